"""End a task without a PNG: the one author of failures and rejections."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cutout.aws.events import EventBus
from cutout.domain.errors import CutoutError
from cutout.domain.messages import CutoutFailed, CutoutRejected
from cutout.domain.tasks import Status, Task
from cutout.observability import count_task, logger
from cutout.store.ledger import Ledger


@dataclass(frozen=True)
class Closer:
    """Publishes, writes, counts and logs; `clock` gives the time in UTC.

    Raises `ServiceError`, and `StatusChanged` if the task has moved on.
    """

    ledger: Ledger
    events: EventBus
    clock: Callable[[], datetime]

    def close(self, task: Task, to: Status, code: str, reason: str) -> None:
        """Published before it is written: a crash in between publishes twice, never not at all."""
        self._publish(task, to, code, reason)
        self._write(task, to, code, reason)

    def close_refused(self, task: Task, error: CutoutError) -> None:
        """For a refused submit it is the other way round.

        A crash before the write would leave a task that may have been accepted, for a person to
        look at; one after it costs an event.
        """
        self._write(task, Status.FAILED, error.code, str(error))
        self._publish(task, Status.FAILED, error.code, str(error))

    def _publish(self, task: Task, to: Status, code: str, reason: str) -> None:
        event = CutoutRejected if to is Status.REJECTED else CutoutFailed
        self.events.publish(event.of(task, code, reason))

    def _write(self, task: Task, to: Status, code: str, reason: str) -> None:
        self.ledger.move(task, to, self.clock(), code=code, reason=reason)
        count_task(to)
        logger.warning("the task ended without a PNG", status=to, code=code, reason=reason)
