"""Take a task up again because a person asked for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cutout.backstop import Backstop
from cutout.domain.errors import StatusChanged
from cutout.domain.tasks import REOPENABLE, Status, Task
from cutout.observability import logger
from cutout.store.ledger import Ledger
from cutout.submit import Submitter


@dataclass(frozen=True)
class Retrier:
    """Everything that a retry needs; `clock` gives the time in UTC."""

    submitter: Submitter
    ledger: Ledger
    backstop: Backstop
    clock: Callable[[], datetime]

    def retry(self, task_id: str, *, pay_again: bool = False, attempt: int | None = None) -> None:
        """Queue a task again and submit it; raises as `Submitter.submit` does, and `TaskNotFound`.

        A result that the vendor has, or is still working on, is taken and costs nothing, unless
        the person says that it may be paid again: the result may be useless. Otherwise the image is
        sent anew; one that the vendor may have accepted before, only if the person says so.

        A task that waits need not wait any more, and one whose execution has ended is closed before
        it is queued again, so that there is always something that a retry does.

        One request is one retry: told which attempt it is about, it leaves later ones alone,
        however often its message comes.
        """
        task = self.ledger.get(task_id)
        if attempt in (None, task.attempt):
            try:
                task = self._taken_up(task, pay_again=pay_again)
            except StatusChanged:
                logger.info("the task changed its status meanwhile", task_id=task_id)
        self.submitter.resume(task)

    def _taken_up(self, task: Task, *, pay_again: bool) -> Task:
        if task.status is Status.PROCESSING:
            self.backstop.check(task, self.submitter.wait_loop)
            task = self.ledger.get(task.task_id)
        if task.status in REOPENABLE and (pay_again or task.status is not Status.UNCERTAIN):
            known = None if pay_again else task.prediction_id
            return self.ledger.reopen(
                task, self.clock(), slot_at=None, submit_after=None, prediction_id=known
            )
        if task.status is Status.QUEUED:
            return self.ledger.update(task, submit_after=None)
        return task
