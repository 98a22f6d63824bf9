"""Submit an upload: claim it, look at it, have it processed, start its wait loop.

Every step can be run again: a message that comes back finds the task in the ledger and goes on
from there. `submitting` is written before the POST, so that a POST is never sent twice unnoticed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cutout import images, naming, schedule
from cutout.announcements import Announcements
from cutout.errors import (
    AnswerLost,
    CutoutError,
    Failed,
    NotNow,
    Rejected,
    StatusChanged,
)
from cutout.ledger import Ledger
from cutout.observability import count_task, logger
from cutout.settings import SubmitSettings
from cutout.storage import Storage
from cutout.tasks import Status, Task, new_task
from cutout.uploads import Upload
from cutout.wavespeed.client import WaveSpeed
from cutout.workflow import Workflow


@dataclass(frozen=True)
class Submission:
    """Everything that submitting needs; `clock` gives the time in UTC."""

    settings: SubmitSettings
    ledger: Ledger
    storage: Storage
    wavespeed: WaveSpeed
    workflow: Workflow
    announcements: Announcements
    clock: Callable[[], datetime]

    def submit(self, upload: Upload) -> timedelta | None:
        """Take the upload as far as it goes now.

        Returns how long to leave it alone before it is looked at again; None if there is nothing
        left to do. Raises `ServiceError` if an AWS service fails, to be tried again.
        """
        task = self.ledger.claim(self._new_task(upload))
        logger.append_keys(task_id=task.task_id)
        try:
            return self._continue(task)
        except StatusChanged:
            # Another delivery of the same event is at work; look later whether it finished.
            return self._lease

    def _continue(self, task: Task) -> timedelta | None:
        match task.status:
            case Status.QUEUED:
                return self._send(task)
            case Status.SUBMITTING:
                return self._wait_for_sender(task)
            case Status.PROCESSING:
                self._start(task)
        return None

    def _send(self, task: Task) -> timedelta | None:
        try:
            self._preflight(task)
        except Rejected as error:
            self._end(task, Status.REJECTED, error)
            return None
        # Lent before the write-ahead: between that and the POST nothing else may fail.
        url = self.storage.presign(task.upload, self.settings.presign_seconds)
        now = self.clock()
        task = self.ledger.move(
            task,
            Status.SUBMITTING,
            now,
            attempt=task.attempt + 1,
            lease_until=now + self._lease,
            submit_after=None,
            code=None,
            reason=None,
        )
        return self._post(task, url)

    def _post(self, task: Task, url: str) -> timedelta | None:
        try:
            prediction = self.wavespeed.submit(url)
        except NotNow as error:
            return self._queue_again(task, error)
        except AnswerLost as error:
            self._move(task, Status.UNCERTAIN, error)
            return None
        except Failed as error:
            self._end(task, Status.FAILED, error)
            return None
        task = self.ledger.move(task, Status.PROCESSING, self.clock(), prediction_id=prediction.id)
        self._start(task)
        return None

    def _preflight(self, task: Task) -> None:
        """Refuse what the vendor would refuse, before any money is spent. Raises `Rejected`."""
        images.check_bytes(task.size, self.settings.max_upload_megabytes)
        naming.check_output_key(task.output_key)
        picture = images.identify(self.storage.open(task.upload))
        images.check_pixels(picture, self.settings.max_megapixels)

    def _wait_for_sender(self, task: Task) -> timedelta | None:
        """A sender holds the task until its lease ends; a sender that died may have sent it."""
        now = self.clock()
        if task.lease_until and now < task.lease_until:
            return task.lease_until - now
        self._move(
            task,
            Status.UNCERTAIN,
            AnswerLost("the function ended while it was sending; nobody knows if it was accepted"),
        )
        return None

    def _queue_again(self, task: Task, error: NotNow) -> timedelta:
        wait = timedelta(seconds=error.wait_seconds)
        self._move(task, Status.QUEUED, error, submit_after=self.clock() + wait)
        return wait

    def _start(self, task: Task) -> None:
        self.workflow.start(task, schedule.next_wait(timedelta()))
        logger.info("the vendor is at work", prediction_id=task.prediction_id)

    def _end(self, task: Task, status: Status, error: CutoutError) -> None:
        # Announced before it is written: a crash in between announces twice, never not at all.
        self.announcements.failed(task, error.code, str(error))
        self._move(task, status, error)

    def _move(self, task: Task, to: Status, error: CutoutError, **changes: object) -> None:
        self.ledger.move(task, to, self.clock(), code=error.code, reason=str(error), **changes)
        count_task(to)
        logger.warning("the task is %s", to, code=error.code, reason=str(error))

    def _new_task(self, upload: Upload) -> Task:
        settings = self.settings
        key = naming.output_key(upload.key, settings.output_naming, settings.output_prefix)
        return new_task(
            upload, settings.output_bucket, key, self.clock(), settings.task_retention_days
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)
