"""Close a task whose execution was stopped, timed out, or failed outside of its own Catch."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cutout.aws.events import EventBus
from cutout.domain.errors import StatusChanged, TaskNotFound
from cutout.domain.messages import CutoutFailed, Execution
from cutout.domain.tasks import AttemptId, Status, Task
from cutout.observability import count_task, logger
from cutout.store.ledger import Ledger


@dataclass(frozen=True)
class Backstop:
    """Everything that closing needs; `clock` gives the time in UTC."""

    ledger: Ledger
    events: EventBus
    clock: Callable[[], datetime]

    def close(self, execution: Execution) -> None:
        """Fail the execution's task if it is still open, and announce that.

        Raises `ServiceError`, to be tried again.
        """
        attempt = AttemptId.parse(execution.name)
        task = attempt and self._task(attempt)
        if task is None:
            logger.warning("an execution ended that belongs to no task", execution=execution.name)
            return
        if task.status is not Status.PROCESSING or task.attempt_id != attempt:
            return  # the execution recorded its end itself, or the task has moved on
        ended = execution.status.lower().replace("_", " ")
        code, reason = "execution_ended", f"the wait loop {ended}: {execution.cause or 'no cause'}"
        self.events.publish(CutoutFailed.of(task, code, reason))
        try:
            self.ledger.move(task, Status.FAILED, self.clock(), code=code, reason=reason)
        except StatusChanged:
            return
        count_task(Status.FAILED)
        logger.warning("the task is failed", code=code, reason=reason)

    def _task(self, attempt: AttemptId) -> Task | None:
        logger.append_keys(task_id=attempt.task_id)
        try:
            return self.ledger.get(attempt.task_id)
        except TaskNotFound:
            return None
