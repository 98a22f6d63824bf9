"""EventBridge: tell the account what became of an upload."""

from typing import TYPE_CHECKING

from cutout.aws.errors import served
from cutout.domain.errors import ServiceError
from cutout.domain.messages import BusEvent

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "cutout"


class EventBus:
    """The event bus. Raises `ServiceError` when EventBridge does not take an event."""

    def __init__(self, client: "EventBridgeClient", bus: str) -> None:
        self._client = client
        self._bus = bus

    def publish(self, event: BusEvent) -> None:
        """Publish an event under the name that its class has."""
        entry: PutEventsRequestEntryTypeDef = {
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": event.model_dump_json(),
            "EventBusName": self._bus,
        }
        with served("EventBridge failed or refused the event"):
            answer = self._client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise ServiceError("EventBridge refused the event")
