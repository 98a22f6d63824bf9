"""Who may write an output key: one task at a time, and no older revision after a newer one."""

from collections.abc import Callable
from datetime import datetime

from cutout.domain.errors import ConditionFailed, OutputBusy, Superseded
from cutout.domain.tasks import Task
from cutout.domain.uploads import ObjectRevision
from cutout.store.table import Table

_LISTED = "listed#"


class OutputLocks:
    """One item per output key: the newest revision that began to be saved, and who saves now."""

    def __init__(self, table: Table, is_current: Callable[[ObjectRevision], bool]) -> None:
        self._table = table
        self._is_current = is_current

    def acquire(self, task: Task, now: datetime, until: datetime) -> None:
        """Hold the task's output key until it is released, or until a time.

        Of two revisions with sequencers, these say which is newer. What a backfill found has none:
        where it meets another, the one may be saved that is in the bucket now (`is_current`).
        Raises `Superseded` if a newer revision came first, `OutputBusy` if another task saves.
        """
        mine = _revision(task)
        order = "=" if mine.startswith(_LISTED) else "<="
        try:
            self._take(task, now, until, f"revision {order} :seen", seen=mine)
        except ConditionFailed as error:
            held = (self._table.get(_key(task)) or {}).get("revision", "")
            if held == mine or (order == "<=" and held < mine):
                raise OutputBusy("an older revision of the object is being saved") from error
            comparable = not held.startswith(_LISTED) and not mine.startswith(_LISTED)
            if comparable or not self._is_current(task):
                raise Superseded("a newer revision of the object was saved first") from error
            self._take_from(held, task, now, until)

    def _take_from(self, held: str, task: Task, now: datetime, until: datetime) -> None:
        """Take the place of a revision, unless somebody else did."""
        try:
            self._take(task, now, until, "revision = :seen", seen=held)
        except ConditionFailed as error:
            raise OutputBusy("another revision of the object is being saved") from error

    def _take(self, task: Task, now: datetime, until: datetime, may: str, *, seen: str) -> None:
        free = "attribute_not_exists(locked_by)"
        mine_or_expired = "locked_by = :me OR locked_until < :now"
        self._table.update(
            _key(task),
            "SET locked_by = :me, locked_until = :until, revision = :mine, expires_at = :expires",
            condition=f"(attribute_not_exists(revision) OR {may})"
            f" AND ({free} OR {mine_or_expired})",
            values={
                ":me": task.task_id,
                ":mine": _revision(task),
                ":seen": seen,
                ":now": int(now.timestamp()),
                ":until": int(until.timestamp()),
                ":expires": task.expires_at,
            },
        )

    def release(self, task: Task) -> None:
        """Let the next task write; the revision stays."""
        try:
            self._table.update(
                _key(task),
                "REMOVE locked_by, locked_until",
                condition="locked_by = :me",
                values={":me": task.task_id},
            )
        except ConditionFailed:
            return  # the lock had run out, and another task has it


def _revision(task: Task) -> str:
    """Sorts after all sequencers, which are hexadecimal, if the task has none."""
    return task.revision if task.sequencer else f"{_LISTED}{task.task_id}"


def _key(task: Task) -> str:
    return f"#output#{task.output_bucket}/{task.output_key}"
