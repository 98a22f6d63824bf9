"""SQS: messages about tasks that are due, and failed messages that come back soon."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

from cutout.aws.errors import served
from cutout.domain.errors import ServiceError
from cutout.domain.messages import ObjectCreated, TaskDue
from cutout.domain.uploads import Upload
from cutout.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        SendMessageBatchRequestEntryTypeDef,
        SendMessageBatchResultTypeDef,
    )

MAX_DELAY_SECONDS = 15 * 60  # SQS allows no more
_MOST_IN_A_BATCH = 10
_RETRY_SECONDS = (10, 30, 90, 270, 810)


class UploadQueue:
    """The queue in front of the submit function."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send_due(self, due: Iterable[tuple[str, timedelta]]) -> None:
        """Tell the submit function of tasks by their ids, each after a delay of up to 15 minutes.

        Raises `ServiceError`. A message that SQS refuses alone is logged: its task is due again.
        """
        for entries in _batches(due):
            if refused := self._send(entries).get("Failed"):
                logger.warning("SQS refused messages", count=len(refused), code=refused[0]["Code"])

    def send_uploads(self, uploads: Iterable[Upload]) -> None:
        """Tell the submit function of uploads, as their events would have.

        Raises `ServiceError` if SQS refuses one: sending all again changes nothing.
        """
        ahead = iter(uploads)
        while batch := list(islice(ahead, _MOST_IN_A_BATCH)):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": upload.task_id, "MessageBody": ObjectCreated.body(upload)}
                for upload in batch
            ]
            if refused := self._send(entries).get("Failed"):
                raise ServiceError(f"SQS refused messages: {refused[0]['Code']}")

    def retry_soon(self, receipt_handle: str, receives: int) -> None:
        """Have a failed message come back after 10 s, 30 s, 90 s and so on, up to 13.5 minutes.

        The queue's own visibility timeout is for functions that were killed. Raises `ServiceError`.
        """
        wait = _RETRY_SECONDS[min(receives, len(_RETRY_SECONDS)) - 1]
        with served("SQS failed to change a message's visibility"):
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=receipt_handle,
                VisibilityTimeout=wait,
            )

    def _send(
        self, entries: list["SendMessageBatchRequestEntryTypeDef"]
    ) -> "SendMessageBatchResultTypeDef":
        with served("SQS failed to take the messages"):
            return self._client.send_message_batch(QueueUrl=self._url, Entries=entries)


def _batches(
    due: Iterable[tuple[str, timedelta]],
) -> Iterator[list["SendMessageBatchRequestEntryTypeDef"]]:
    ahead = iter(due)
    while batch := list(islice(ahead, _MOST_IN_A_BATCH)):
        yield [
            {
                "Id": task_id,
                "MessageBody": TaskDue.body(task_id),
                "DelaySeconds": min(max(ceil(delay.total_seconds()), 0), MAX_DELAY_SECONDS),
            }
            for task_id, delay in batch
        ]
