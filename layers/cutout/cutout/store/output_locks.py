"""Who may write an output key: one task at a time, and no older revision after a newer one."""

from datetime import datetime

from cutout.domain.errors import ConditionFailed, OutputBusy, Superseded
from cutout.domain.tasks import Task
from cutout.store.table import Table


class OutputLocks:
    """One item per output key: the newest revision that began to be saved, and who saves now."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def acquire(self, task: Task, now: datetime, until: datetime) -> None:
        """Hold the task's output key until it is released, or until a time.

        Raises `Superseded` if a newer revision came first, `OutputBusy` if another task saves.
        """
        key = _key(task)
        # Without sequencers all revisions compare equal, so that nothing is superseded.
        not_older = "(attribute_not_exists(revision) OR revision <= :mine)"
        free = "attribute_not_exists(locked_by)"
        mine_or_expired = "locked_by = :me OR locked_until < :now"
        try:
            self._table.update(
                key,
                "SET locked_by = :me, locked_until = :until,"
                " revision = :mine, expires_at = :expires",
                condition=f"{not_older} AND ({free} OR {mine_or_expired})",
                values={
                    ":me": task.task_id,
                    ":mine": task.revision,
                    ":now": int(now.timestamp()),
                    ":until": int(until.timestamp()),
                    ":expires": task.expires_at,
                },
            )
        except ConditionFailed as error:
            held = self._table.get(key) or {}
            if held.get("revision", "") > task.revision:
                raise Superseded("a newer revision of the object was saved first") from error
            raise OutputBusy("an older revision of the object is being saved") from error

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


def _key(task: Task) -> str:
    return f"#output#{task.output_bucket}/{task.output_key}"
