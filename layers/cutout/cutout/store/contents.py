"""Who pays for a content, so that uploads of the same bytes need not all be paid."""

from cutout.domain.errors import ConditionFailed
from cutout.domain.tasks import AttemptId, Task
from cutout.store.table import Table


class Contents:
    """One item per model and content. Raises `ServiceError` when DynamoDB does not serve a call."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def payer(self, task: Task, model: str) -> AttemptId | None:
        """The attempt by which the task's content was sent to a model last."""
        item = self._table.get(_key(task, model)) or {}
        return AttemptId.parse(item.get("paid_by", ""))

    def claim(self, task: Task, model: str, instead_of: AttemptId | None) -> bool:
        """Have the task's attempt be the payer, unless another has become that meanwhile."""
        try:
            self._table.update(
                _key(task, model),
                "SET paid_by = :me, expires_at = :expires",
                condition="attribute_not_exists(paid_by) OR paid_by IN (:seen, :me)",
                values={
                    ":me": str(task.attempt_id),
                    ":seen": str(instead_of),
                    ":expires": task.expires_at,
                },
            )
        except ConditionFailed:
            return False
        return True


def _key(task: Task, model: str) -> str:
    return f"#content#{model}#{task.content_sha256}"
