"""How long a model took lately, so that the poll schedule knows when to look."""

from cutout.domain.tasks import Task
from cutout.store.table import Table

_SLOTS = 50  # latencies remembered per model


class Latencies:
    """One item per model. Each completion is one blind write, so nothing can be lost in a race."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def recent(self, model: str) -> list[float]:
        """Seconds that late tasks of a model took, in no order; empty while none completed."""
        item = self._table.get(_key(model)) or {}
        return [int(ms) / 1000 for name, ms in item.items() if name.startswith("slot_")]

    def remember(self, task: Task, milliseconds: int) -> None:
        """Keep one latency, in place of a random older one; the same however often repeated."""
        slot = f"slot_{int(task.task_id, 16) % _SLOTS}"
        self._table.update(
            _key(task.model),
            f"SET {slot} = :ms, expires_at = :expires",
            values={":ms": milliseconds, ":expires": task.expires_at},
        )


def _key(model: str) -> str:
    return f"#latencies#{model}"
