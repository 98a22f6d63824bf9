"""Close a task whose execution was stopped, timed out, or failed outside of its own Catch."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from cutout.aws.events import EventBus
from cutout.domain.errors import StatusChanged, TaskNotFound
from cutout.domain.tasks import Status
from cutout.observability import count_task, logger
from cutout.store.ledger import Ledger


class Execution(BaseModel):
    """An execution as the event tells it; its name is `<task id>-<attempt>`."""

    name: str
    status: str
    cause: str | None = None


class ExecutionEnded(BaseModel):
    """The "Step Functions Execution Status Change" event.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    detail: Execution


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
        task_id, _, attempt = execution.name.partition("-")
        logger.append_keys(task_id=task_id)
        try:
            task = self.ledger.get(task_id)
        except TaskNotFound:
            logger.warning("an execution ended that belongs to no task")
            return
        if task.status is not Status.PROCESSING or str(task.attempt) != attempt:
            return  # the execution recorded its end itself, or the task has moved on
        ended = execution.status.lower().replace("_", " ")
        code, reason = "execution_ended", f"the wait loop {ended}: {execution.cause or 'no cause'}"
        self.events.publish_failed(task, code, reason)
        try:
            self.ledger.move(task, Status.FAILED, self.clock(), code=code, reason=reason)
        except StatusChanged:
            return
        count_task(Status.FAILED)
        logger.warning("the task is failed", code=code, reason=reason)
