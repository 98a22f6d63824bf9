"""Close the task of an execution that fails, or that was stopped or timed out.

The wait loop asks for it before it fails; EventBridge tells of executions that could not ask, and
the clock looks for those that nobody told of.
"""

from dataclasses import dataclass

from cutout.aws.wait_loop import WaitLoop
from cutout.close import Closer
from cutout.domain.errors import StatusChanged
from cutout.domain.messages import Closed, Execution
from cutout.domain.tasks import AttemptId, Status, Task
from cutout.observability import logger
from cutout.store.ledger import Ledger


@dataclass(frozen=True)
class Backstop:
    """Everything that closing needs. Raises `ServiceError`, to be tried again."""

    ledger: Ledger
    closer: Closer

    def close(self, execution: Execution) -> Closed:
        """Fail the execution's task if it is still open."""
        if task := self._open_task(execution):
            try:
                self.closer.close(task, Status.FAILED, execution.code, execution.reason)
            except StatusChanged:
                logger.info("the task changed its status meanwhile")
        return Closed(reason=execution.reason)

    def check(self, task: Task, wait_loop: WaitLoop) -> str:
        """Look at the execution of a task that is processing, and close the task if it has ended.

        Returns the execution's status as Step Functions has it, `MISSING` if there is none.
        """
        execution = wait_loop.find(task)
        if execution is None:
            return "MISSING"
        if execution.status != "RUNNING":
            self.close(execution)
        return execution.status

    def _open_task(self, execution: Execution) -> Task | None:
        attempt = AttemptId.parse(execution.name)
        task = attempt and self._find(attempt)
        if task is None:
            logger.warning("an execution ended that belongs to no task", execution=execution.name)
        elif task.status is Status.PROCESSING and task.attempt_id == attempt:
            return task
        return None  # closed already, or in another attempt by now

    def _find(self, attempt: AttemptId) -> Task | None:
        logger.append_keys(task_id=attempt.task_id)
        return self.ledger.find(attempt.task_id)
