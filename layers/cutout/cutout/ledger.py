"""The ledger: one DynamoDB item per task, every write conditional on the state it leaves.

Items are flat JSON of `Task`, plus two attributes for the indexes: `object` (bucket and key) and
`open_status` (the status, only while an operator may have to look at the task).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from cutout.errors import ServiceError, StatusChanged, TaskNotFound
from cutout.tasks import WATCHED, Status, Task, check_transition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class Ledger:
    """Reads and moves tasks. Raises `ServiceError` when DynamoDB does not serve a call."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def claim(self, task: Task) -> Task:
        """Write a new task, or return the one that is already there."""
        try:
            self._put(task)
        except StatusChanged:
            return self.get(task.task_id)
        return task

    def get(self, task_id: str) -> Task:
        """Read a task, strongly consistent. Raises `TaskNotFound`."""
        try:
            answer = self._client.get_item(
                TableName=self._table, Key=_key(task_id), ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"DynamoDB did not return task {task_id}") from error
        if "Item" not in answer:
            raise TaskNotFound(f"the ledger has no task {task_id}")
        return _task(answer["Item"])

    def move(self, task: Task, to: Status, now: datetime, **changes: Any) -> Task:
        """Take one step of the transition table, writing `changes` with it.

        Raises `StatusChanged` if the task has left the status or the attempt it was read in.
        """
        check_transition(task.status, to)
        moved = task.model_copy(
            update={"status": to, "entered_at": task.entered_at | {to: now}, **changes}
        )
        names = sorted({"status", "entered_at", "open_status", *changes})
        expression, aliases, values = _assignments(_item(moved), names)
        return self._update(
            task.task_id,
            expression,
            condition="#status = :status_before AND attempt = :attempt_before",
            names=aliases,
            values=values
            | {
                ":status_before": {"S": task.status.value},
                ":attempt_before": {"N": str(task.attempt)},
            },
        )

    def count_poll(self, task_id: str) -> Task:
        """Add one to the task's polls and return it. Raises `TaskNotFound`."""
        try:
            return self._update(
                task_id,
                "ADD #polls :one",
                condition="attribute_exists(task_id)",
                names={"#polls": "polls"},
                values={":one": {"N": "1"}},
            )
        except StatusChanged as error:
            raise TaskNotFound(f"the ledger has no task {task_id}") from error

    def _put(self, task: Task) -> None:
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item(task),
                ConditionExpression="attribute_not_exists(task_id)",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise StatusChanged(f"task {task.task_id} exists") from error
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"DynamoDB did not take task {task.task_id}") from error

    def _update(
        self,
        task_id: str,
        expression: str,
        *,
        condition: str,
        names: Mapping[str, str],
        values: Mapping[str, Any],
    ) -> Task:
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(task_id),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise StatusChanged(f"task {task_id} was moved by somebody else") from error
        except (ClientError, BotoCoreError) as error:
            raise ServiceError(f"DynamoDB did not update task {task_id}") from error
        return _task(answer["Attributes"])


def _key(task_id: str) -> dict[str, Any]:
    return {"task_id": {"S": task_id}}


def _assignments(
    item: Mapping[str, Any], names: list[str]
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """An update expression that makes the named attributes as they are in the item, or absent."""
    present = [name for name in names if name in item]
    absent = [f"#{name}" for name in names if name not in item]
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in present)
    if absent:
        expression += " REMOVE " + ", ".join(absent)
    return expression, {f"#{n}": n for n in names}, {f":{n}": item[n] for n in present}


def _item(task: Task) -> dict[str, Any]:
    plain = task.model_dump(mode="json", exclude_none=True)
    plain["object"] = f"{task.bucket}/{task.key}"
    if task.status in WATCHED:
        plain["open_status"] = task.status.value
    return {name: _serialize(value) for name, value in plain.items()}


def _task(item: Mapping[str, Any]) -> Task:
    return Task.model_validate({name: _deserialize(value) for name, value in item.items()})
