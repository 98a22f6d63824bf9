"""EventBridge: tell the account what became of an upload."""

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import ServiceError
from cutout.domain.tasks import Task

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "cutout"
FAILED = "Cutout Failed"


class EventBus:
    """The event bus. Raises `ServiceError` when EventBridge does not take an event."""

    def __init__(self, client: "EventBridgeClient", bus: str) -> None:
        self._client = client
        self._bus = bus

    def publish_failed(self, task: Task, code: str, reason: str) -> None:
        """Announce a task that ends before it has an execution, which would announce it."""
        detail = {
            "task_id": task.task_id,
            "bucket": task.bucket,
            "key": task.key,
            "code": code,
            "reason": reason,
        }
        entry: PutEventsRequestEntryTypeDef = {
            "Source": SOURCE,
            "DetailType": FAILED,
            "Detail": json.dumps(detail),
            "EventBusName": self._bus,
        }
        try:
            answer = self._client.put_events(Entries=[entry])
        except (ClientError, BotoCoreError) as error:
            raise ServiceError("EventBridge did not take the event") from error
        if answer["FailedEntryCount"]:
            raise ServiceError("EventBridge did not take the event")
