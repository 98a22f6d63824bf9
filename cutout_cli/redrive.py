"""Put the messages of a stack's dead-letter queues back to work."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from cutout.domain.messages import ExecutionEnded, RetryRequest, TaskDue, upload_message
from cutout_cli.errors import NotHandled
from cutout_cli.stacks import Stack

_WAIT_SECONDS = 1  # a long poll asks all servers of a queue; a short one may find nothing
_HIDDEN_SECONDS = 60  # while a message is shown or moved


@dataclass(frozen=True)
class DeadLetter:
    """One message; `queue` is the logical id of its queue, `about` is None if nobody knows it."""

    queue: str
    about: str | None
    body: str = field(repr=False)
    url: str = field(repr=False)
    receipt_handle: str = field(repr=False)

    @property
    def text(self) -> str:
        return self.about or f"unknown message of {len(self.body)} characters"


class DeadLetters:
    """All dead-letter queues of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sqs = stack.client("sqs")
        self._handlers: dict[str, Callable[[str], None]] = {
            "UploadDeadLetters": self._send_to_upload_queue,
            "BackstopDeadLetters": self._invoke_backstop,
        }

    @property
    def queues(self) -> list[str]:
        """The logical ids of the queues whose messages can be put back to work."""
        return list(self._handlers)

    def messages(self) -> Iterator[DeadLetter]:
        """Each message once; it is hidden from others for a minute."""
        queues = self._stack.of_type("AWS::SQS::Queue")
        for queue in self._handlers.keys() & queues.keys():
            yield from self._messages(queue, queues[queue])

    def redrive(self, letter: DeadLetter) -> None:
        """Have a message handled, then delete it: stopped in between, it is handled twice.

        Raises `NotHandled`, and leaves the message where it is.
        """
        self._handlers[letter.queue](letter.body)
        self.delete(letter)

    def delete(self, letter: DeadLetter) -> None:
        """Drop a message without having it handled."""
        self._sqs.delete_message(QueueUrl=letter.url, ReceiptHandle=letter.receipt_handle)

    def put_back(self, letter: DeadLetter) -> None:
        """Show a message to others again."""
        self._sqs.change_message_visibility(
            QueueUrl=letter.url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
        )

    def _messages(self, queue: str, url: str) -> Iterator[DeadLetter]:
        while messages := self._received(url):
            for message in messages:
                body = message["Body"]
                yield DeadLetter(queue, _about(body), body, url, message["ReceiptHandle"])

    def _received(self, url: str) -> list[Any]:
        answer = self._sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=_WAIT_SECONDS,
            VisibilityTimeout=_HIDDEN_SECONDS,
        )
        return list(answer.get("Messages", []))

    def _send_to_upload_queue(self, body: str) -> None:
        self._sqs.send_message(QueueUrl=self._stack.outputs["UploadQueueUrl"], MessageBody=body)

    def _invoke_backstop(self, body: str) -> None:
        """What EventBridge could not deliver, or what Lambda says of an invocation that failed.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        """
        message = json.loads(body)
        answer = self._stack.client("lambda").invoke(
            FunctionName=self._stack.of_type("AWS::Lambda::Function")["BackstopFunction"],
            Payload=json.dumps(message.get("requestPayload", message)),
        )
        if answer.get("FunctionError"):
            raise NotHandled(f"the backstop function failed: {answer['Payload'].read().decode()}")


def _about(body: str) -> str | None:
    try:
        message = upload_message(body)
    except ValidationError:
        return _execution(body)
    if isinstance(message, RetryRequest):
        return f"retry of task {message.detail.task_id}"
    if isinstance(message, TaskDue):
        return f"wake-up of task {message.detail.task_id}"
    return f"upload of {message.upload.key}"


def _execution(body: str) -> str | None:
    try:
        message = json.loads(body)
        event = ExecutionEnded.model_validate(message.get("requestPayload", message))
    except (ValueError, AttributeError):  # ValidationError is a ValueError
        return None
    return f"end of execution {event.detail.name}"
