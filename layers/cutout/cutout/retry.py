"""Take a task up again because a person asked for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cutout.domain.errors import NotNow, PredictionNotFound, StatusChanged, VendorUnavailable
from cutout.domain.tasks import REOPENINGS, Status, Task
from cutout.observability import logger
from cutout.store.ledger import Ledger
from cutout.submit import Submitter
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.contract import PredictionStatus


@dataclass(frozen=True)
class Retrier:
    """Everything that a retry needs; `clock` gives the time in UTC."""

    submitter: Submitter
    ledger: Ledger
    wavespeed: WaveSpeed
    clock: Callable[[], datetime]

    def retry(
        self, task_id: str, *, pay_again: bool = False, attempt: int | None = None
    ) -> timedelta | None:
        """Reopen a task and submit it; returns and raises as `Submitter.submit` does.

        A result that the vendor has, or is still working on, is taken and costs nothing, unless
        the person says that it may be paid again: the result may be useless. Otherwise the image is
        sent anew; one that the vendor may have accepted before, only if the person says so.

        One request is one retry: told which attempt it is about, it leaves later ones alone,
        however often its message comes. Raises `TaskNotFound`.
        """
        task = self.ledger.get(task_id)
        if attempt in (None, task.attempt):
            try:
                task = self._reopened(task, pay_again=pay_again)
            except (NotNow, VendorUnavailable) as error:
                logger.warning("the retry waits", code=error.code, reason=str(error))
                return timedelta(seconds=error.wait_seconds)
        return self.submitter.resume(task)

    def _reopened(self, task: Task, *, pay_again: bool) -> Task:
        try:
            if task.status is Status.FAILED and not pay_again and self._result_exists(task):
                return self.ledger.reopen(
                    task,
                    Status.PROCESSING,
                    self.clock(),
                    attempt=task.attempt + 1,
                    callback_expected=False,
                    code=None,
                    reason=None,
                )
            if task.status in REOPENINGS and (pay_again or task.status is not Status.UNCERTAIN):
                return self.ledger.reopen(
                    task, Status.QUEUED, self.clock(), slot_at=None, submit_after=None
                )
        except StatusChanged:
            logger.info("the task changed its status meanwhile", task_id=task.task_id)
        return task

    def _result_exists(self, task: Task) -> bool:
        """Whether the vendor has the result, or will have it."""
        if task.prediction_id is None:
            return False
        try:
            status = self.wavespeed.result(task.prediction_id).status
        except PredictionNotFound:
            return False
        return status is PredictionStatus.COMPLETED or not status.ended
