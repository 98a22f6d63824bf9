"""Operate a stack, on AWS or on this machine: what a person does when something went wrong."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import CutoutError, ServiceError, TaskNotFound
from cutout.domain.tasks import REOPENINGS, Status, Task
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout_cli.running import environment


class NothingToRetry(CutoutError):
    """The task is on its way, or done, or must not be paid twice unasked."""


@dataclass(frozen=True)
class Stack:
    """Where a stack's resources are; `client` are the arguments that reach its account."""

    input_bucket: str
    tasks_table: str
    upload_queue_url: str
    dead_letter_queue_url: str
    client: Mapping[str, Any]


def find_stack(name: str | None) -> Stack:
    """A stack on AWS by its name, or the local one that is up.

    Raises `NoStackRunning` or `ServiceError`.
    """
    return on_aws(name) if name else on_this_machine(environment())


def on_this_machine(env: Mapping[str, str]) -> Stack:
    """The local stack with this environment."""
    return Stack(
        input_bucket=env["INPUT_BUCKET"],
        tasks_table=env["TASKS_TABLE"],
        upload_queue_url=env["UPLOAD_QUEUE_URL"],
        dead_letter_queue_url=env["DEAD_LETTER_QUEUE_URL"],
        client={
            "endpoint_url": env["AWS_ENDPOINT_URL"],
            "region_name": env["AWS_DEFAULT_REGION"],
            "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
            "verify": env["AWS_CA_BUNDLE"],
        },
    )


def on_aws(name: str) -> Stack:
    """A stack of the account and region that boto3 finds. Raises `ServiceError`."""
    try:
        stacks = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(f"the stack {name} cannot be read: {error}") from error
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stacks[0].get("Outputs", [])}
    return Stack(
        input_bucket=outputs["InputBucket"],
        tasks_table=outputs["TasksTable"],
        upload_queue_url=outputs["UploadQueueUrl"],
        dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
        client={},
    )


class Operator:
    """Acts on one stack. Raises `ServiceError` when AWS does not serve a call."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sqs = boto3.client("sqs", **stack.client)
        self._ledger = Ledger(Table(boto3.client("dynamodb", **stack.client), stack.tasks_table))

    def retry(self, key: str, *, pay_again: bool) -> str:
        """Ask the submit function to take an object's newest task up again; tells what was done.

        Raises `TaskNotFound` or `NothingToRetry`.
        """
        tasks = self._ledger.of_object(self._stack.input_bucket, key)
        if not tasks:
            raise TaskNotFound(f"no upload of {key!r} is in the ledger")
        task = tasks[0]
        _check_retry(task, pay_again=pay_again)
        # The attempt makes the wish good for one retry, however often its message is delivered.
        wish = {"task_id": task.task_id, "attempt": task.attempt, "pay_again": pay_again}
        self._send(json.dumps({"detail-type": "Cutout Retry", "detail": wish}))
        return f"{key}: task {task.task_id} was {task.status} ({task.code}); it is taken up again"

    def redrive(self) -> int:
        """Move all messages of the dead-letter queue back; how many there were."""
        moved = 0
        while messages := self._dead_letters():
            for message in messages:
                self._send(message["Body"])
                self._sqs.delete_message(
                    QueueUrl=self._stack.dead_letter_queue_url,
                    ReceiptHandle=message["ReceiptHandle"],
                )
                moved += 1
        return moved

    def _dead_letters(self) -> list[Any]:
        try:
            answer = self._sqs.receive_message(
                QueueUrl=self._stack.dead_letter_queue_url, MaxNumberOfMessages=10
            )
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"the dead-letter queue cannot be read: {error}") from error
        return list(answer.get("Messages", []))

    def _send(self, body: str) -> None:
        try:
            self._sqs.send_message(QueueUrl=self._stack.upload_queue_url, MessageBody=body)
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"the upload queue took no message: {error}") from error


def _check_retry(task: Task, *, pay_again: bool) -> None:
    """Raise `NothingToRetry` for a task that the submit function would leave as it is."""
    told = f"{task.key}: task {task.task_id} is {task.status}"
    if task.status not in REOPENINGS:
        raise NothingToRetry(f"{told}; there is nothing to retry")
    if task.status is Status.UNCERTAIN and not pay_again:
        raise NothingToRetry(
            f"{told}: the vendor may have accepted and billed it. Look at your WaveSpeedAI "
            "history; to send it anew all the same, add --pay-again"
        )
