"""Queues polled as Lambda polls them.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html

As many batches are in work at a time as the function has environments here, and no more than
MaximumConcurrency. FilterCriteria are not applied.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.awslambda.models import EventSourceMapping

from .functions import Function, Functions
from .runtime_api import Answer

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

logger = logging.getLogger(__name__)

_MOST_PER_RECEIVE = 10
_WAIT_SECONDS = 1
"""Lambda waits 20 s; a wait that is short makes for a quick stop."""


class EventSources:
    """The event source mappings of a stack, polled from `start` on."""

    def __init__(self) -> None:
        self.mappings: list[EventSourceMapping] = []
        self._pollers: list[QueuePoller] = []

    def start(self, functions: Functions, sqs: Callable[[str], SQSClient]) -> None:
        """`sqs` makes a client for an access key id."""
        for mapping in self.mappings:
            function = functions.named(mapping.function_arn.rsplit(":", 1)[1])
            most = (mapping.scaling_config or {}).get("MaximumConcurrency", functions.environments)
            for _ in range(min(int(most), functions.environments)):
                # Lambda polls with the function's role.
                self._pollers.append(QueuePoller(mapping, function, sqs(function.logical_id)))

    def stop(self) -> None:
        """Takes no further batch."""
        for poller in self._pollers:
            poller.stop()

    def close(self) -> None:
        """Waits for the batches that are in work."""
        for poller in self._pollers:
            poller.close()


class QueuePoller:
    """Receives, invokes, deletes what succeeded; from when it is made until `stop`."""

    def __init__(self, mapping: EventSourceMapping, function: Function, sqs: SQSClient) -> None:
        self._mapping = mapping
        self._function = function
        self._sqs = sqs
        self._stopping = Event()
        account_id, queue = str(mapping.event_source_arn).rsplit(":", 2)[1:]
        self._queue_url = f"{sqs.meta.endpoint_url}/{account_id}/{queue}"
        self._thread = Thread(target=self._poll, name=f"poll-{queue}")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None:
        self._thread.join()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            if not self._mapping.enabled:
                self._stopping.wait(_WAIT_SECONDS)
                continue
            try:
                self._handle(self._batch())
            except (BotoCoreError, ClientError):
                logger.exception("polling %s", self._queue_url)
                self._stopping.wait(_WAIT_SECONDS)

    def _batch(self) -> list[MessageTypeDef]:
        """Up to BatchSize messages, gathered for MaximumBatchingWindowInSeconds at most."""
        batch = self._receive()
        until = time.monotonic() + (self._mapping.max_batch_window or 0)
        while batch and len(batch) < self._mapping.batch_size and time.monotonic() < until:
            if self._stopping.is_set():
                return []
            batch += self._receive(len(batch))
        return batch

    def _receive(self, have: int = 0) -> list[MessageTypeDef]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(self._mapping.batch_size - have, _MOST_PER_RECEIVE),
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _handle(self, batch: list[MessageTypeDef]) -> None:
        if not batch or self._stopping.is_set():
            return
        records = [self._record(message) for message in batch]
        answer = self._function.invoke(json.dumps({"Records": records}).encode())
        failed = failed_messages(
            answer,
            [message["MessageId"] for message in batch],
            partial="ReportBatchItemFailures" in (self._mapping.function_response_types or []),
        )
        for message in batch:
            if message["MessageId"] not in failed:
                self._sqs.delete_message(
                    QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                )

    def _record(self, message: MessageTypeDef) -> dict[str, Any]:
        attributes = message.get("MessageAttributes", {})
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {name: _attribute(value) for name, value in attributes.items()},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._mapping.event_source_arn,
            "awsRegion": self._mapping.region,
        }


def failed_messages(answer: Answer, message_ids: list[str], *, partial: bool) -> set[str]:
    """The ids of the messages of a batch that stay in the queue.

    All of them when the function failed, and also when its answer cannot be trusted: not an
    object, not a list of failures, an identifier that is missing or of no message of the batch.
    """
    everything = set(message_ids)
    if answer.failed:
        return everything
    if not partial:
        return set()
    try:
        report = json.loads(answer.payload) or {}
        failed = {failure["itemIdentifier"] for failure in report.get("batchItemFailures") or []}
    except (ValueError, AttributeError, KeyError, TypeError):
        return everything
    return failed if failed.issubset(everything) else everything


def _attribute(value: Any) -> dict[str, Any]:
    """An attribute as in https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
    record: dict[str, Any] = {
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }
    if "StringValue" in value:
        record["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        record["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return record
