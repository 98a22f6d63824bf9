"""Submit an upload: claim it, look at it, have it processed, start its wait loop.

Every step can be run again: a message that comes back finds the task in the ledger and goes on
from there. `submitting` is written before the POST, so that a POST is never sent twice unnoticed.
What has to wait is written down with its time, and its message is done with: the clock wakes it.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Unpack

from cutout.aws.convert_function import ConvertFunction
from cutout.aws.s3 import Storage
from cutout.aws.sqs import UploadQueue
from cutout.aws.wait_loop import WaitLoop
from cutout.close import Closer
from cutout.domain import images, naming
from cutout.domain.errors import (
    AnswerLost,
    ConversionFailed,
    ConversionInterrupted,
    CutoutError,
    Failed,
    NotNow,
    PredictionNotFound,
    RateLimited,
    Rejected,
    ServiceError,
    StatusChanged,
    TaskNotFound,
    VendorUnavailable,
)
from cutout.domain.messages import callback_url
from cutout.domain.options import Options, overridden
from cutout.domain.schedule import Schedule
from cutout.domain.tasks import OnUncertain, Status, Task, TaskChanges, new_task
from cutout.domain.uploads import Upload
from cutout.observability import count_task, count_wait, logger
from cutout.reuse import Reuse
from cutout.settings import SubmitSettings
from cutout.settle import Accepted, NotAccepted, Settler, Unclear
from cutout.store.governor import Charge, Governor
from cutout.store.ledger import Ledger
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.contract import PredictionStatus

# A message may come this much before its time by the clock of another machine.
_CLOCK_SKEW = timedelta(seconds=1)
# How soon a task is taken up again after a trouble that has lasted for a while, and at the latest.
_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=30), timedelta(minutes=15)
# Somebody may have changed what becomes of uncertain tasks.
_LOOK_AGAIN = timedelta(hours=1)

# How long interruptions of the convert function are taken for accidents; the first always is.
_CONVERTED_WITHIN = timedelta(minutes=10)

_TOKEN_BYTES = 16  # nobody guesses 128 bits


@dataclass(frozen=True)
class Submitter:
    """Everything that submitting needs; `clock` gives the time in UTC, `price` that of a model."""

    settings: SubmitSettings
    ledger: Ledger
    governor: Governor
    price: Callable[[str], Decimal]
    schedule: Schedule
    storage: Storage
    wavespeed: WaveSpeed
    queue: UploadQueue
    wait_loop: WaitLoop
    closer: Closer
    settler: Settler
    reuse: Reuse
    convert_function: ConvertFunction
    clock: Callable[[], datetime]

    def submit(self, upload: Upload, announced_at: datetime | None = None) -> None:
        """Take the upload as far as it goes now; `announced_at` is when its event says it was made.

        Raises `ServiceError` if it could not even be written down, to be tried again.
        """
        if task := self.ledger.claim_upload(self._new_task(upload), announced_at):
            self.resume(task)
        else:
            logger.info("a message was ignored: the object has a task already", key=upload.key)

    def wake(self, task_id: str) -> None:
        """Take a task further whose time has come; raises as `submit` does."""
        try:
            self.resume(self.ledger.get(task_id))
        except TaskNotFound:
            logger.warning("a message was ignored: the ledger has no such task", task_id=task_id)

    def resume(self, task: Task) -> None:
        """Take a task that is in the ledger further; raises as `submit` does."""
        logger.append_keys(task_id=task.task_id)
        try:
            self._step(task)
        except StatusChanged:
            logger.info("another delivery is working on the task")
        except Exception as error:  # noqa: BLE001 - none may send the message to the dead letters
            logger.exception("the task could not be taken further for now")
            self._try_later(task.task_id, error)

    def _try_later(self, task_id: str, error: Exception) -> None:
        """Whatever failed, the ledger carries the task: it is due again, ever later."""
        task, now = self.ledger.get(task_id), self.clock()
        due_at = now + _growing(now - task.entered_at[task.status])
        try:
            if task.status is Status.QUEUED:
                code, reason = _told(error)
                self._put_off(task, due_at, code, reason, submit_after=None)
                count_wait(code)
            elif task.status in {Status.PROCESSING, Status.UNCERTAIN}:
                self.ledger.update(task, due_at=due_at)
        except StatusChanged:
            logger.info("another delivery is working on the task")

    def _step(self, task: Task) -> None:
        match task.status:
            case Status.QUEUED:
                self._send(task)
            case Status.SUBMITTING:
                self._wait_for_sender(task)
            case Status.UNCERTAIN:
                self._settle(task)
            case Status.PROCESSING:
                self._start(task)

    def _send(self, task: Task) -> None:
        now = self.clock()
        if task.submit_after and task.submit_after > now + _CLOCK_SKEW:
            return
        try:
            if self._result_exists(task):
                self._mark_processing(
                    task, attempt=task.attempt + 1, callback_expected=False, code=None, reason=None
                )
                return
            options = preflight(task, self.storage, self.settings)
            task = self._hashed(task)
            source = self._source(task, options)
            url = "" if source else self._presigned(task, options)
        except ConversionInterrupted as error:
            self._convert_again(task, error)
            return
        except (NotNow, VendorUnavailable) as error:
            self._queue_again(task, error)
            return
        except Rejected as error:
            self.closer.close(task, Status.REJECTED, error.code, str(error))
            return
        if source:
            self._copy(task, source, options.model)
        elif self._has_its_turn(task):
            self._submit(task, url, options)

    def _source(self, task: Task, options: Options) -> str | None:
        """The task of an equal upload, whose PNG can be copied or waited for."""
        return self.reuse.source(task, options.model) if self.settings.reuse_results else None

    def _presigned(self, task: Task, options: Options) -> str:
        """Where the vendor reads the upload, or its converted copy, which is made first.

        That takes seconds, so it is done before the task has its turn.
        """
        seconds = self.settings.presign_seconds
        if options.convert:
            copy = self.convert_function.convert(task)
            return self.storage.presign(copy, seconds, copy.media_type)
        return self.storage.presign(task, seconds, options.media_type)

    def _convert_again(self, task: Task, error: ConversionInterrupted) -> None:
        """Later; but what interrupts the function again and again is the image."""
        lasted = self.clock() - task.entered_at[Status.QUEUED]
        if lasted < _CONVERTED_WITHIN or task.code != error.code:
            self._queue_again(task, error)
            return
        failed = ConversionFailed(
            "converting the image takes more memory or time than the convert function has; "
            "upload it as JPEG, or raise ConvertMemoryMegabytes"
        )
        self.closer.close(task, Status.REJECTED, failed.code, str(failed))

    def _hashed(self, task: Task) -> Task:
        """By its bytes an upload is known that has been cut out before; they are read once."""
        if not self.settings.reuse_results or task.content_sha256:
            return task
        return self.ledger.update(task, content_sha256=self.storage.sha256(task))

    def _copy(self, task: Task, source: str, model: str) -> None:
        """Have the poll function copy the PNG of an equal upload, or wait for it, for nothing."""
        self._mark_processing(
            task,
            first_wait=0,
            attempt=task.attempt + (task.status is Status.QUEUED),
            model=model,
            reused_from=source,
            prediction_id=None,
            callback_expected=False,
            callback_token=None,
            called_back_at=None,
            slot_at=None,
            submit_after=None,
            code=None,
            reason=None,
        )

    def _submit(self, task: Task, url: str, options: Options) -> None:
        try:
            charge = self.governor.charge(lambda: self.price(options.model), self.clock())
        except NotNow as error:
            self._queue_again(task, error)
            return
        try:
            task = self._write_ahead(task, options)
        except StatusChanged:
            self.governor.refund(charge)
            raise
        if source := self._faster(task, options.model):
            self._copy(task, source, options.model)
            self.governor.refund(charge)
        else:
            self._post(task, url, options, charge)

    def _faster(self, task: Task, model: str) -> str | None:
        """The equal upload that pays, if it was faster. This one is written ahead: no failing."""
        if not self.settings.reuse_results:
            return None
        try:
            return self.reuse.claim(task, model)
        except ServiceError:
            logger.exception("whether an equal upload is paid is not known; this one is paid")
            return None

    def _result_exists(self, task: Task) -> bool:
        """Whether the vendor has the result of an earlier attempt, or will have it."""
        if task.prediction_id is None:
            return False
        try:
            status = self.wavespeed.result(task.prediction_id).status
        except PredictionNotFound:
            return False
        return status is PredictionStatus.COMPLETED or not status.ended

    def _has_its_turn(self, task: Task) -> bool:
        now = self.clock()
        slot = self.governor.slot(task.slot_at, now)
        if slot is None:
            self._wait_for_turn(task)
        elif slot > now + _CLOCK_SKEW:
            self._wait_for_slot(task, slot)
        else:
            return True
        return False

    def _wait_for_turn(self, task: Task) -> None:
        """The clock gives it a slot, oldest first; its place is that of its coming."""
        if task.code == "waits_for_turn":
            return
        plan = self.governor.plan()
        pace = "sending is paused" if plan.paused else f"{plan.images_per_minute} images a minute"
        reason = f"others were there before ({pace})"
        self._put_off(
            task, task.entered_at[Status.QUEUED], "waits_for_turn", reason, submit_after=None
        )

    def _wait_for_slot(self, task: Task, slot: datetime) -> None:
        reason = f"its turn comes at {slot:%Y-%m-%d %H:%M:%S} UTC"
        self._put_off(
            task, slot + self._lease, "waits_for_slot", reason, slot_at=slot, submit_after=slot
        )
        self.queue.send_due([(task.task_id, slot - self.clock())])

    def _put_off(
        self,
        task: Task,
        due_at: datetime,
        code: str,
        reason: str,
        *,
        submit_after: datetime | None,
        slot_at: datetime | None = None,
    ) -> None:
        self.ledger.update(
            task,
            due_at=due_at,
            submit_after=submit_after,
            slot_at=slot_at,
            code=code,
            reason=reason,
        )

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
            due_at=now + self._lease,
            model=options.model,
            converted=options.convert,
            callback_expected=callback,
            callback_token=secrets.token_hex(_TOKEN_BYTES) if callback else None,
            called_back_at=None,
            task_token=None,
            prediction_id=None,
            candidate=None,
            reused_from=None,
            slot_at=None,
            submit_after=None,
            code=None,
            reason=None,
        )

    def _post(self, task: Task, url: str, options: Options, charge: Charge) -> None:
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
        except AnswerLost as error:
            self._mark_uncertain(task, error)
        except Failed as error:
            self.closer.close_refused(task, error)
            self.governor.refund(charge)
        else:
            first_wait = 0 if prediction.status.ended else None
            self._mark_processing(task, first_wait, prediction_id=prediction.id)

    def _wait_for_sender(self, task: Task) -> None:
        """A sender holds the task until its lease ends; a sender that died may have sent it."""
        if task.lease_until is None or task.lease_until <= self.clock():
            lost = AnswerLost("the function timed out or was killed; the submit may be accepted")
            self._mark_uncertain(task, lost)

    def _mark_uncertain(self, task: Task, error: AnswerLost) -> None:
        due_at = self._decided_after(task, self.clock())
        self._settle(self._move(task, Status.UNCERTAIN, error, due_at=due_at))

    def _decided_after(self, task: Task, uncertain_since: datetime) -> datetime:
        """When the grace time of a task ends whose answer was lost."""
        since = uncertain_since
        if self.settings.on_uncertain is OnUncertain.SETTLE and task.lease_until:
            # Until then its request may be on its way, and the history must have it after that.
            since = max(since, task.lease_until)
        return since + timedelta(seconds=self.settings.uncertain_grace_seconds)

    def _settle(self, task: Task) -> None:
        """Decide about a task of which nobody knows whether it was accepted."""
        now = self.clock()
        if task.called_back_at:
            self._mark_processing(task, code=None, reason=None)
        elif now < self._decided_after(task, task.entered_at[Status.UNCERTAIN]):
            return
        elif self.settings.on_uncertain is OnUncertain.RESUBMIT:
            self._send(self.ledger.move(task, Status.QUEUED, now))
        elif self.settings.on_uncertain is OnUncertain.SETTLE:
            self._look_up(task)
        else:
            self.ledger.update(task, due_at=now + _LOOK_AGAIN)

    def _look_up(self, task: Task) -> None:
        """Decide by what the vendor's history says."""
        now = self.clock()
        match self.settler.look_up(task, now):
            case Accepted(prediction_id):
                logger.info("the vendor had accepted the submit", prediction_id=prediction_id)
                self.ledger.claim_prediction(task, prediction_id)
                self._mark_processing(task, prediction_id=prediction_id, code=None, reason=None)
            case NotAccepted():
                logger.info("the vendor had not accepted the submit; it is sent again")
                self._send(self.ledger.move(task, Status.QUEUED, now))
            case Unclear(reason, candidate):
                due_at = now + (self._lease if candidate else _LOOK_AGAIN)
                told = f"whether it was accepted is unknown; {reason}"
                self.ledger.update(task, due_at=due_at, candidate=candidate, reason=told)

    def _mark_processing(
        self, task: Task, first_wait: int | None = None, **changes: Unpack[TaskChanges]
    ) -> None:
        """The vendor has the task: write that down, and wait for the result."""
        task = self.ledger.move(task, Status.PROCESSING, self.clock(), **changes)
        self._start(task, first_wait)

    def _queue_again(self, task: Task, error: NotNow | VendorUnavailable) -> timedelta:
        wait = timedelta(seconds=error.wait_seconds)
        time = self.clock() + wait
        if task.status is Status.QUEUED:
            self._put_off(task, time, *_told(error), submit_after=time if wait else None)
        else:
            # The vendor took nothing: a callback that came all the same is about nothing.
            self._move(
                task,
                Status.QUEUED,
                error,
                due_at=time,
                submit_after=time,
                prediction_id=None,
                called_back_at=None,
            )
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
        told: TaskChanges = {**changes, "code": error.code, "reason": str(error)}
        moved = self.ledger.move(task, to, self.clock(), **told)
        count_task(to)
        logger.warning("the task changed its status", status=to, code=error.code, reason=str(error))
        return moved

    def _new_task(self, upload: Upload) -> Task:
        settings = self.settings
        key = naming.output_key(upload.key, settings.output_naming, settings.output_prefix)
        now = self.clock()
        return new_task(
            upload,
            settings.output_bucket,
            key,
            settings.model_id,
            now,
            settings.task_retention_days,
            due_at=now + self._lease,
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)


def _growing(lasted: timedelta) -> timedelta:
    """How long to leave a task alone that has not got on for a while."""
    return min(max(lasted / 2, _FIRST_RETRY), _LAST_RETRY)


def _told(error: Exception) -> tuple[str, str]:
    """Code and reason. What an error that nobody expected says might be anything."""
    if isinstance(error, CutoutError):
        return error.code, str(error)
    return "internal_error", f"{type(error).__name__}: see the submit function's log"


def preflight(task: Task, storage: Storage, settings: SubmitSettings) -> Options:
    """How to process an upload. Raises `Rejected` for what the vendor would refuse.

    It costs nothing: only headers are read.
    """
    images.check_bytes(task.size, settings.max_upload_megabytes)
    naming.check_output_key(task.output_key)
    defaults = Options(
        model=settings.model_id, sync=settings.sync_mode, base64_output=settings.base64_output
    )
    file = storage.open(task)
    if settings.convert_function and images.is_convertible(file):
        defaults.convert = True  # its pixels are counted where it is decoded
    else:
        image = images.identify(file)
        images.check_pixels(image, settings.max_megapixels)
        defaults.media_type = image.media_type
    return overridden(defaults, storage.metadata(task), settings.allowed_models)
