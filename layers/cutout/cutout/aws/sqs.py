"""SQS: put an upload back into the queue, to be looked at again later."""

from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import ServiceError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS = 15 * 60  # SQS allows no more


class UploadQueue:
    """The queue in front of the submit function."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def requeue(self, body: str, wait: timedelta) -> None:
        """Send the message anew, hidden for `wait`, at most `MAX_DELAY_SECONDS`.

        Anew and not by its visibility: a wait must count neither towards the dead-letter queue
        nor towards the message's retention. Raises `ServiceError`.
        """
        delay = min(max(ceil(wait.total_seconds()), 1), MAX_DELAY_SECONDS)
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay)
        except (ClientError, BotoCoreError) as error:
            raise ServiceError("SQS failed to take the message") from error
