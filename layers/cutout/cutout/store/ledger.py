"""The ledger: one item per task, every write conditional on the state it leaves.

Items are flat JSON of `Task`, plus two attributes for the indexes: `object` (bucket and key) and
`open_status` (the status, only while somebody may have to look at the task), and `expires_at`, for
DynamoDB to forget a task that has ended.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Unpack
from uuid import uuid4

from pydantic_core import to_jsonable_python

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
    UnansweredSubmit,
    check_reopening,
    check_transition,
    default_due_at,
)
from cutout.domain.uploads import Upload
from cutout.store.table import Item, Table

_ALWAYS = datetime.max.replace(tzinfo=UTC)
_GIVEN_UP = "given_up"  # an `open_status` of what is no task
_REMEMBERED = timedelta(days=8)  # the vendor's history has the last seven


class Due(NamedTuple):
    """What the index tells of a task that is due."""

    task_id: str
    status: Status
    due_at: str
    code: str | None


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

    def claim_upload(self, task: Task, announced_at: datetime | None) -> Task | None:
        """As `claim`, but None if the object has another task: an event and a listing tell of one.

        Without a version, the two would be two tasks. Whoever comes first has it; but the same
        bytes may be uploaded again, which is told by a later event (`announced_at`).
        """
        if not (shared := _claimed_as(task.upload)):
            return self.claim(task)
        claim = {
            "task_id": shared,
            "claimed_by": task.task_id,
            "listed": task.sequencer is None,
            "claimed_at": _text(task.created_at),
            "expires_at": task.expires_at,
        }
        try:
            # Together: a claim without its task would have the object passed over for ever.
            self._table.put_both_new(_item(task), claim)
        except ConditionFailed:
            if found := self.find(task.task_id):
                return found
            held = self._table.get(shared)
            return self.claim(task) if _is_another(held, task, announced_at) else None
        return task

    def missing(self, uploads: Sequence[Upload]) -> list[Upload]:
        """Those of the uploads that no task has; strongly consistent."""
        keys = [_claimed_as(upload) or upload.task_id for upload in uploads]
        existing = self._table.existing(keys)
        return [one for one, key in zip(uploads, keys, strict=True) if key not in existing]

    def of_uploads(self, uploads: Sequence[Upload]) -> list[Task]:
        """The tasks that these uploads have, in no order; strongly consistent."""
        claims = self._table.get_many(key for one in uploads if (key := _claimed_as(one)))
        ids = [claim["claimed_by"] for claim in claims]
        ids += [one.task_id for one in uploads if not _claimed_as(one)]
        return [Task.model_validate(item) for item in self._table.get_many(ids)]

    def unclaimed(self, predictions: Sequence[str]) -> list[str]:
        """Those of the vendor's predictions that no task was told of."""
        claimed = self._table.existing(map(_claim, predictions))
        return [one for one in predictions if _claim(one) not in claimed]

    def get(self, task_id: str) -> Task:
        """Read a task, strongly consistent. Raises `TaskNotFound`."""
        task = self.find(task_id)
        if task is None:
            raise TaskNotFound(f"the ledger has no task {task_id}")
        return task

    def find(self, task_id: str) -> Task | None:
        """Read a task, strongly consistent; None if there is none, or none any more."""
        item = self._table.get(task_id)
        return Task.model_validate(item) if item is not None else None

    def of_object(self, bucket: str, key: str) -> list[Task]:
        """The tasks of an object's newest revisions (up to 1 MB of them), newest first.

        An index is read, which is a moment behind the writes.
        """
        items = self._table.query("by-object", "object", f"{bucket}/{key}")
        return [Task.model_validate(item) for item in items]

    def due(self, status: Status, now: datetime) -> Iterator[Due]:
        """The tasks of a status that are due by now, oldest first.

        An index is read, which is a moment behind the writes.
        """
        key, until = ("open_status", status.value), ("due_at", _text(now))
        for item in self._table.query_until("by-status", key, until):
            yield Due(item["task_id"], status, item["due_at"], item.get("code"))

    def count(self, status: Status) -> int:
        """How many tasks are in one of the statuses that are `WATCHED`.

        An index is read, which is a moment behind the writes. Some 900,000 are as many as it
        counts, which takes some seconds and a thousandth of a USD.
        """
        return self._table.count("by-status", "open_status", status.value, most_pages=100)

    def postpone(self, due: Due, **changes: Unpack[TaskChanges]) -> Task:
        """Give a task that is due a later `due_at`; of several who try it, one succeeds.

        Raises `StatusChanged`.
        """
        item = {name: to_jsonable_python(value) for name, value in changes.items()}
        expression, aliases, values = _assignments(item, sorted(item))
        return self._update(
            due.task_id,
            expression,
            condition="#status_seen = :status_seen AND due_at = :due_seen",
            names=aliases | {"#status_seen": "status"},
            values=values | {":status_seen": due.status.value, ":due_seen": due.due_at},
        )

    def move(self, task: Task, to: Status, now: datetime, **changes: Unpack[TaskChanges]) -> Task:
        """Take one step of the transition table, writing `changes` with it.

        Raises `StatusChanged` if the task has left the status or the attempt it was read in.
        """
        check_transition(task.status, to)
        return self._enter(task, to, now, changes)

    def reopen(self, task: Task, now: datetime, **changes: Unpack[TaskChanges]) -> Task:
        """Queue an ended task again because a person said so. Raises as `move` does."""
        check_reopening(task.status)
        return self._enter(task, Status.QUEUED, now, changes)

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
        of them would get the other's image.
        """
        try:
            self._table.update(
                _claim(prediction_id),
                "SET claimed_by = :me, attempt = :attempt, expires_at = :expires",
                condition="attribute_not_exists(claimed_by) OR claimed_by = :me",
                values={
                    ":me": task.task_id,
                    ":attempt": task.attempt,
                    ":expires": task.expires_at,
                },
            )
        except ConditionFailed as error:
            raise PredictionTaken(
                "the vendor named a prediction that belongs to another task; "
                "whether this one was accepted is unknown"
            ) from error

    def claimant(self, prediction_id: str) -> AttemptId | None:
        """Whose a prediction is, if any task was told of it."""
        item = self._table.get(_claim(prediction_id))
        return AttemptId(item["claimed_by"], int(item["attempt"])) if item else None

    def unanswered_submits(self) -> Iterator[UnansweredSubmit]:
        """Every submit that may have been accepted under a prediction that nobody was told of.

        An index is read, which is a moment behind the writes.
        """
        waiting = (Status.SUBMITTING, Status.UNCERTAIN)
        for due in [due for status in waiting for due in self.due(status, _ALWAYS)]:
            if (task := self.get(due.task_id)).status in waiting:
                yield task.unanswered_submit
        key, until = ("open_status", _GIVEN_UP), ("due_at", _text(_ALWAYS))
        for found in self._table.query_until("by-status", key, until):
            if item := self._table.get(found["task_id"]):
                yield UnansweredSubmit.model_validate(item)

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
        if task.status is Status.UNCERTAIN and to is Status.QUEUED:
            self._give_up(task.unanswered_submit, now)
        entered = {
            "status": to,
            "entered_at": task.entered_at | {to: now},
            "due_at": default_due_at(to, now),
        }
        changes = _remembered(task, changes)
        changed = task.model_copy(update={**entered, **changes})
        return self._write(task, changed, {*entered, "open_status", "expires_at", *changes})

    def _give_up(self, submit: UnansweredSubmit, now: datetime) -> None:
        """Remember a submit that may have been accepted, for its task goes on without it.

        Were it forgotten, its prediction would look like that of another task.
        """
        item = submit.model_dump(mode="json") | {
            "task_id": f"#given-up#{AttemptId(submit.owner, submit.attempt)}",
            "open_status": _GIVEN_UP,
            "due_at": _text(submit.lease_until),
            "expires_at": int((now + _REMEMBERED).timestamp()),
        }
        with suppress(ConditionFailed):  # it is remembered already
            self._table.put_new(item)

    def _write(self, before: Task, after: Task, names: Iterable[str]) -> Task:
        write_id = uuid4().hex
        after = after.model_copy(update={"write_id": write_id})
        expression, aliases, values = _assignments(_item(after), sorted({*names, "write_id"}))
        try:
            return self._update(
                before.task_id,
                expression,
                condition="#status_before = :status_before AND attempt = :attempt_before",
                names=aliases | {"#status_before": "status"},
                values=values
                | {":status_before": before.status.value, ":attempt_before": before.attempt},
            )
        except StatusChanged:
            # A write that was carried out and answered with an error is repeated by boto3, and
            # meets itself.
            if (found := self.get(before.task_id)).write_id == write_id:
                return found
            raise

    def _update(self, task_id: str, expression: str, **how: Any) -> Task:
        try:
            return Task.model_validate(self._table.update(task_id, expression, **how))
        except ConditionFailed as error:
            raise StatusChanged(f"conflict: task {task_id} has moved on meanwhile") from error


def _remembered(task: Task, changes: TaskChanges) -> TaskChanges:
    """The changes, and with them the prediction that they would have a task forget."""
    if task.prediction_id in {None, changes.get("prediction_id", task.prediction_id)}:
        return changes
    return {**changes, "earlier_predictions": task.predictions}


def _claim(prediction_id: str) -> str:
    """The key of the item that says whose a prediction is."""
    return f"#prediction#{prediction_id}"


def _claimed_as(upload: Upload) -> str | None:
    """The key of the item that says whose an object without a version is."""
    return f"#unversioned#{upload.unversioned_id}" if upload.unversioned_id else None


def _is_another(held: Item | None, task: Task, announced_at: datetime | None) -> bool:
    """Whether a task's upload is not the one that a claim is about, if it is there still."""
    if held is None:
        return True
    taken_at = datetime.fromisoformat(held["claimed_at"])
    again = announced_at is not None and announced_at > taken_at
    return task.sequencer is not None and (again or not held["listed"])


def _text(time: datetime) -> str:
    """A time as items have it."""
    return str(to_jsonable_python(time))


def _assignments(item: Item, names: list[str]) -> tuple[str, dict[str, str], Item]:
    """An update expression that makes the named attributes as they are in the item, or absent.

    One at least is in the item.
    """
    present = [name for name in names if name in item]
    absent = [f"#{name}" for name in names if name not in item]
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in present)
    if absent:
        expression += " REMOVE " + ", ".join(absent)
    return expression, {f"#{n}": n for n in names}, {f":{n}": item[n] for n in present}


def _item(task: Task) -> Item:
    item = task.model_dump(mode="json", exclude_none=True)
    item["object"] = f"{task.bucket}/{task.key}"
    if task.status in WATCHED:
        item["open_status"] = task.status.value
    if task.status.ended:  # what waits or is uncertain may do so for as long as it takes
        item["expires_at"] = task.expires_at
    return item
