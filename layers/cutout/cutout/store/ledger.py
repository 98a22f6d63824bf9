"""The ledger: one item per task, every write conditional on the state it leaves.

Items are flat JSON of `Task`, plus two attributes for the indexes: `object` (bucket and key) and
`open_status` (the status, only while an operator may have to look at the task).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Unpack

from cutout.domain.errors import (
    ConditionFailed,
    PredictionTaken,
    StatusChanged,
    TaskNotFound,
)
from cutout.domain.tasks import (
    WATCHED,
    AttemptId,
    Status,
    Task,
    TaskChanges,
    check_reopening,
    check_transition,
)
from cutout.store.table import Item, Table


class Ledger:
    """Reads and moves tasks. Raises `ServiceError` when DynamoDB does not serve a call."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def claim(self, task: Task) -> Task:
        """Write a new task, or return the one that is already there."""
        try:
            self._table.put_new(_item(task))
        except ConditionFailed:
            return self.get(task.task_id)
        return task

    def get(self, task_id: str) -> Task:
        """Read a task, strongly consistent. Raises `TaskNotFound`."""
        item = self._table.get(task_id)
        if item is None:
            raise TaskNotFound(f"the ledger has no task {task_id}")
        return Task.model_validate(item)

    def of_object(self, bucket: str, key: str) -> list[Task]:
        """The tasks of an object's newest revisions (up to 1 MB of them), newest first.

        An index is read, which is a moment behind the writes.
        """
        items = self._table.query("by-object", "object", f"{bucket}/{key}")
        return [Task.model_validate(item) for item in items]

    def move(self, task: Task, to: Status, now: datetime, **changes: Unpack[TaskChanges]) -> Task:
        """Take one step of the transition table, writing `changes` with it.

        Raises `StatusChanged` if the task has left the status or the attempt it was read in.
        """
        check_transition(task.status, to)
        return self._enter(task, to, now, changes)

    def reopen(self, task: Task, to: Status, now: datetime, **changes: Unpack[TaskChanges]) -> Task:
        """Take an ended task back to work because a person said so. Raises as `move` does."""
        check_reopening(task.status, to)
        return self._enter(task, to, now, changes)

    def update(self, task: Task, **changes: Unpack[TaskChanges]) -> Task:
        """Write changes to a task that stays where it is. Raises `StatusChanged`."""
        return self._write(task, task.model_copy(update=changes), changes)

    def count_poll(self, task_id: str) -> Task:
        """Add one to the task's polls and return it. Raises `TaskNotFound`."""
        try:
            item = self._table.update(
                task_id,
                "ADD polls :one",
                condition="attribute_exists(task_id)",
                values={":one": 1},
            )
        except ConditionFailed as error:
            raise TaskNotFound(f"the ledger has no task {task_id}") from error
        return Task.model_validate(item)

    def claim_prediction(self, task: Task, prediction_id: str) -> None:
        """Have a prediction belong to this task for ever. Raises `PredictionTaken`.

        Whoever writes a prediction's id to a task claims it first: were it another task's too, one
        of them would get the other's picture.
        """
        try:
            self._table.update(
                f"#prediction#{prediction_id}",
                "SET claimed_by = :me, expires_at = :expires",
                condition="attribute_not_exists(claimed_by) OR claimed_by = :me",
                values={":me": task.task_id, ":expires": task.expires_at},
            )
        except ConditionFailed as error:
            raise PredictionTaken(
                "the vendor named a prediction that belongs to another task; "
                "whether this one was accepted is unknown"
            ) from error

    def record_callback(self, attempt: AttemptId, prediction_id: str, now: datetime) -> Task:
        """Note that the vendor called back about a task that is not over yet.

        Raises `StatusChanged` if it is over, or if this is about another attempt or prediction.
        """
        return self._update(
            attempt.task_id,
            "SET called_back_at = :now, prediction_id = :prediction",
            condition=(
                "attempt = :attempt AND #status IN (:submitting, :uncertain, :processing)"
                " AND (attribute_not_exists(prediction_id) OR prediction_id = :prediction)"
            ),
            names={"#status": "status"},
            values={
                ":now": now.isoformat(),
                ":prediction": prediction_id,
                ":attempt": attempt.attempt,
                ":submitting": Status.SUBMITTING.value,
                ":uncertain": Status.UNCERTAIN.value,
                ":processing": Status.PROCESSING.value,
            },
        )

    def _enter(self, task: Task, to: Status, now: datetime, changes: TaskChanges) -> Task:
        entered = {"status": to, "entered_at": task.entered_at | {to: now}}
        changed = task.model_copy(update={**entered, **changes})
        return self._write(task, changed, {*entered, "open_status", *changes})

    def _write(self, before: Task, after: Task, names: Iterable[str]) -> Task:
        expression, aliases, values = _assignments(_item(after), sorted(names))
        return self._update(
            before.task_id,
            expression,
            condition="#status_before = :status_before AND attempt = :attempt_before",
            names=aliases | {"#status_before": "status"},
            values=values
            | {":status_before": before.status.value, ":attempt_before": before.attempt},
        )

    def _update(self, task_id: str, expression: str, **how: Any) -> Task:
        try:
            return Task.model_validate(self._table.update(task_id, expression, **how))
        except ConditionFailed as error:
            raise StatusChanged(f"conflict: task {task_id} has moved on meanwhile") from error


def _assignments(item: Item, names: list[str]) -> tuple[str, dict[str, str], Item]:
    """An update expression that makes the named attributes as they are in the item, or absent."""
    present = [name for name in names if name in item]
    absent = [f"#{name}" for name in names if name not in item]
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in present) if present else ""
    if absent:
        expression += " REMOVE " + ", ".join(absent)
    return expression, {f"#{n}": n for n in names}, {f":{n}": item[n] for n in present}


def _item(task: Task) -> Item:
    item = task.model_dump(mode="json", exclude_none=True)
    item["object"] = f"{task.bucket}/{task.key}"
    if task.status in WATCHED:
        item["open_status"] = task.status.value
    return item
