"""Submit an upload: claim it, look at it, have it processed, start its wait loop.

Every step can be run again: a message that comes back finds the task in the ledger and goes on
from there. `submitting` is written before the POST, so that a POST is never sent twice unnoticed.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Unpack

from cutout.aws.s3 import Storage
from cutout.aws.wait_loop import WaitLoop
from cutout.close import Closer
from cutout.domain import images, naming
from cutout.domain.errors import (
    AnswerLost,
    CutoutError,
    Failed,
    NotNow,
    RateLimited,
    Rejected,
    StatusChanged,
)
from cutout.domain.messages import callback_url
from cutout.domain.options import Options, overridden
from cutout.domain.schedule import Schedule
from cutout.domain.tasks import OnUncertain, Status, Task, TaskChanges, new_task
from cutout.domain.uploads import Upload
from cutout.observability import count_task, count_wait, logger
from cutout.settings import SubmitSettings
from cutout.store.governor import Charge, Governor
from cutout.store.ledger import Ledger
from cutout.wavespeed.client import WaveSpeed

_TOKEN_BYTES = 16  # nobody guesses 128 bits


@dataclass(frozen=True)
class Submitter:
    """Everything that submitting needs; `clock` gives the time in UTC."""

    settings: SubmitSettings
    ledger: Ledger
    governor: Governor
    schedule: Schedule
    storage: Storage
    wavespeed: WaveSpeed
    wait_loop: WaitLoop
    closer: Closer
    clock: Callable[[], datetime]

    def submit(self, upload: Upload) -> timedelta | None:
        """Take the upload as far as it goes now.

        Returns how long to leave it alone before it is looked at again; None if there is nothing
        left to do. Raises `ServiceError` if an AWS service fails, to be tried again.
        """
        return self.resume(self.ledger.claim(self._new_task(upload)))

    def resume(self, task: Task) -> timedelta | None:
        """Take a task that is in the ledger further; returns and raises as `submit` does."""
        logger.append_keys(task_id=task.task_id)
        try:
            return self._step(task)
        except StatusChanged:
            # Another delivery of the same event is being worked on; look later whether it finished.
            return self._lease

    def _step(self, task: Task) -> timedelta | None:
        match task.status:
            case Status.QUEUED:
                return self._send(task)
            case Status.SUBMITTING:
                return self._wait_for_sender(task)
            case Status.UNCERTAIN:
                return self._settle(task)
            case Status.PROCESSING:
                self._start(task)
        return None

    def _send(self, task: Task) -> timedelta | None:
        if left := _remaining(task.submit_after, self.clock()):
            return left
        try:
            options = preflight(task, self.storage, self.settings)
        except Rejected as error:
            self.closer.close(task, Status.REJECTED, error.code, str(error))
            return None
        if left := self._wait_for_slot(task):
            return left
        # Presigned before the write-ahead: between that and the POST nothing else may fail.
        url = self.storage.presign(task, self.settings.presign_seconds)
        try:
            charge = self.governor.charge(options.model, self.clock())
        except NotNow as error:
            return self._queue_again(task, error)
        try:
            task = self._write_ahead(task, options)
        except StatusChanged:
            self.governor.refund(charge)
            raise
        return self._post(task, url, options, charge)

    def _wait_for_slot(self, task: Task) -> timedelta | None:
        now = self.clock()
        slot = self.governor.slot(task.slot_at, now)
        if slot > now:
            rate = self.settings.images_per_minute
            reason = f"its turn comes at {slot:%Y-%m-%d %H:%M:%S} UTC, at {rate} images a minute"
            self.ledger.update(
                task, slot_at=slot, submit_after=slot, code="waits_for_slot", reason=reason
            )
        return _remaining(slot, now)

    def _write_ahead(self, task: Task, options: Options) -> Task:
        now = self.clock()
        # The vendor refuses a webhook together with base64 output.
        callback = bool(self.settings.webhook_url) and not options.base64_output
        return self.ledger.move(
            task,
            Status.SUBMITTING,
            now,
            attempt=task.attempt + 1,
            lease_until=now + self._lease,
            model=options.model,
            callback_expected=callback,
            callback_token=secrets.token_hex(_TOKEN_BYTES) if callback else None,
            called_back_at=None,
            task_token=None,
            prediction_id=None,
            slot_at=None,
            submit_after=None,
            code=None,
            reason=None,
        )

    def _post(self, task: Task, url: str, options: Options, charge: Charge) -> timedelta | None:
        webhook = self.settings.webhook_url
        callback = callback_url(webhook, task) if task.callback_expected else None
        try:
            prediction = self.wavespeed.submit(url, options, callback)
            self.ledger.claim_prediction(task, prediction.id)
        except NotNow as error:
            # What the answer means for the task comes first: all else may fail.
            wait = self._queue_again(task, error)
            self.governor.refund(charge)
            if isinstance(error, RateLimited):
                self.governor.back_off(self.clock(), wait)
            return wait
        except AnswerLost as error:
            return self._settle(self._move(task, Status.UNCERTAIN, error))
        except Failed as error:
            self.closer.close_refused(task, error)
            self.governor.refund(charge)
            return None
        first_wait = 0 if prediction.status.ended else None
        self._mark_processing(task, first_wait, prediction_id=prediction.id)
        return None

    def _wait_for_sender(self, task: Task) -> timedelta | None:
        """A sender holds the task until its lease ends; a sender that died may have sent it."""
        if left := _remaining(task.lease_until, self.clock()):
            return left
        lost = AnswerLost("the function timed out or was killed; the submit may be accepted")
        return self._settle(self._move(task, Status.UNCERTAIN, lost))

    def _settle(self, task: Task) -> timedelta | None:
        """Decide about a task of which nobody knows whether it was accepted."""
        if task.called_back_at:
            self._mark_processing(task, first_wait=0, code=None, reason=None)
            return None
        if self.settings.on_uncertain is OnUncertain.HOLD:
            return None
        grace = timedelta(seconds=self.settings.uncertain_grace_seconds)
        if left := _remaining(task.entered_at[Status.UNCERTAIN] + grace, self.clock()):
            return left
        return self._send(self.ledger.move(task, Status.QUEUED, self.clock()))

    def _mark_processing(
        self, task: Task, first_wait: int | None, **changes: Unpack[TaskChanges]
    ) -> None:
        """The vendor has the task: write that down, and wait for the result."""
        task = self.ledger.move(task, Status.PROCESSING, self.clock(), **changes)
        self._start(task, first_wait)

    def _queue_again(self, task: Task, error: NotNow) -> timedelta:
        wait = timedelta(seconds=error.wait_seconds)
        later: TaskChanges = {"slot_at": None, "submit_after": self.clock() + wait}
        if task.status is Status.QUEUED:
            self.ledger.update(task, **_because(error, later))
        else:
            self._move(task, Status.QUEUED, error, **later)
        count_wait(error.code)
        return wait

    def _start(self, task: Task, first_wait: int | None = None) -> None:
        if first_wait is None:
            # After a callback there is nothing to wait for.
            first_wait = 0 if task.called_back_at else self.schedule.wait(task, self.clock())
        self.wait_loop.start(task, first_wait)
        logger.info("processing started", prediction_id=task.prediction_id)

    def _move(
        self, task: Task, to: Status, error: CutoutError, **changes: Unpack[TaskChanges]
    ) -> Task:
        moved = self.ledger.move(task, to, self.clock(), **_because(error, changes))
        count_task(to)
        logger.warning("the task changed its status", status=to, code=error.code, reason=str(error))
        return moved

    def _new_task(self, upload: Upload) -> Task:
        settings = self.settings
        key = naming.output_key(upload.key, settings.output_naming, settings.output_prefix)
        return new_task(
            upload,
            settings.output_bucket,
            key,
            settings.model_id,
            self.clock(),
            settings.task_retention_days,
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)


def _remaining(until: datetime | None, now: datetime) -> timedelta | None:
    """How long it is until a time; None if it has come."""
    return until - now if until and until > now else None


def preflight(task: Task, storage: Storage, settings: SubmitSettings) -> Options:
    """How to process an upload. Raises `Rejected` for what the vendor would refuse.

    It costs nothing: only headers are read.
    """
    images.check_bytes(task.size, settings.max_upload_megabytes)
    naming.check_output_key(task.output_key)
    images.check_pixels(images.identify(storage.open(task)), settings.max_megapixels)
    defaults = Options(
        model=settings.model_id, sync=settings.sync_mode, base64_output=settings.base64_output
    )
    return overridden(defaults, storage.metadata(task), settings.allowed_models)


def _because(error: CutoutError, changes: TaskChanges) -> TaskChanges:
    return {**changes, "code": error.code, "reason": str(error)}
