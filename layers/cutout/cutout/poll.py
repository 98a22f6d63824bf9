"""Poll a task: ask the vendor how it stands and save the output once it is there."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import Unpack

from cutout.aws.converted import ConvertedImages
from cutout.aws.events import EventBus
from cutout.aws.s3 import Storage
from cutout.domain.errors import (
    CutoutError,
    MetadataRefused,
    NotNow,
    OutputBusy,
    OutputGone,
    OutputUnavailable,
    PredictionFailed,
    PredictionMissing,
    PredictionNotFound,
    ServiceError,
    Superseded,
    TimedOut,
    VendorUnavailable,
)
from cutout.domain.images import MEGABYTE, MEGAPIXEL
from cutout.domain.messages import CutoutCompleted, WaitLoopState
from cutout.domain.png import OpaqueCutouts, Output, PngCheck
from cutout.domain.schedule import Schedule
from cutout.domain.tasks import SAVED, Confidence, Status, Task, TaskChanges
from cutout.observability import (
    count_not_erased,
    count_reused,
    count_task,
    logger,
    measure_completed,
)
from cutout.settings import PollSettings
from cutout.store.latencies import Latencies
from cutout.store.ledger import Ledger
from cutout.store.output_locks import OutputLocks
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.contract import Prediction, PredictionStatus
from cutout.wavespeed.outputs import Outputs

# What passes by itself: the vendor is in trouble, refuses the key or the pace, or another revision
# of the object is being saved.
_PASSING = (VendorUnavailable, NotNow, OutputUnavailable, OutputBusy)
# The vendor may not know a new prediction everywhere at once.
_KNOWN_WITHIN = timedelta(minutes=2)
_LONGEST_WAIT = 60  # seconds until the next look in a trouble
_GROWTH = 0.25

OpenOutput = Callable[[], AbstractContextManager[Output]]


@dataclass(frozen=True)
class Poller:
    """Everything that polling needs; `clock` gives the time in UTC."""

    settings: PollSettings
    ledger: Ledger
    locks: OutputLocks
    latencies: Latencies
    schedule: Schedule
    storage: Storage
    wavespeed: WaveSpeed
    outputs: Outputs
    converted: ConvertedImages
    events: EventBus
    clock: Callable[[], datetime]

    def poll(self, task_id: str) -> WaitLoopState:
        """Look once. Raises a `Failed` if the task is over without an output.

        In a trouble that may pass, the task is still processing until its deadline. Any other
        error of this project means that looking again may help.
        """
        logger.append_keys(task_id=task_id)
        task = self.ledger.count_poll(task_id)
        if task.status is not Status.PROCESSING:
            self._erase(task)  # an earlier try got further than its answer, or than this
            return _result(task)
        try:
            if task.reused_from:
                return self._copy(task, task.reused_from)
            if task.prediction_id is None:
                raise PredictionMissing("the ledger holds no prediction of this task; retry it")
            return self._look(task, task.prediction_id)
        except _PASSING as error:
            return self._wait_out(task, error)
        except PredictionNotFound as error:
            if self.clock() - task.entered_at[Status.PROCESSING] > _KNOWN_WITHIN:
                raise
            return self._wait_out(task, error)

    def _look(self, task: Task, prediction_id: str) -> WaitLoopState:
        prediction = self.wavespeed.result(prediction_id)
        if prediction.status.ended:
            self._delete_converted(task)
        if prediction.status is PredictionStatus.COMPLETED:
            return _result(self._saved(task, prediction))
        if prediction.status.ended:
            reason = prediction.error or "no reason given"
            raise PredictionFailed(f"the vendor ended it as {prediction.status}: {reason}")
        self._check_deadline(task, "it is still being processed")
        return _result(task, self.schedule.wait(task, self.clock()))

    def _saved(self, task: Task, prediction: Prediction) -> Task:
        if not prediction.outputs:
            raise PredictionFailed("the vendor completed it without an output")
        output = partial(self.outputs.open, prediction.outputs[0])
        return self._save(task, output, round(prediction.timings.inference))

    def _wait_out(self, task: Task, error: CutoutError) -> WaitLoopState:
        """Look again, ever later while the task grows old."""
        logger.warning("the poll found a trouble that may pass", code=error.code, reason=str(error))
        self._check_deadline(task, str(error))
        age = self.clock() - task.entered_at[Status.PROCESSING]
        wait = min(ceil(age.total_seconds() * _GROWTH), _LONGEST_WAIT)
        return _result(task, max(wait, self.schedule.wait(task, self.clock())))

    def _delete_converted(self, task: Task) -> None:
        """The vendor has read the copy of an upload that was converted."""
        if not (task.converted and self.settings.converted_bucket):
            return
        try:
            self.converted.delete(task.task_id)
        except ServiceError:
            logger.exception("the converted copy stays until its bucket forgets it")

    def _copy(self, task: Task, source_id: str) -> WaitLoopState:
        """Save the PNG of an equal upload, or wait for it; if none comes, pay after all."""
        source = self.ledger.find(source_id)
        if source and source.png_is_known:
            try:
                saved = self._save(task, partial(self.storage.open_png, source))
            except OutputGone:
                self.ledger.update(source, output_etag=None)  # nobody need look for it again
            else:
                count_reused()
                return _result(saved)
        elif source and source.is_sent:
            return _result(task, self.schedule.wait(task, self.clock()))
        return _result(self._queue_again(task))

    def _queue_again(self, task: Task) -> Task:
        logger.info("the equal upload has no PNG; this one is sent itself")
        reason = "the upload with the same content, which came before, has no PNG to be copied"
        return self.ledger.move(
            task,
            Status.QUEUED,
            self.clock(),
            reused_from=None,
            code="waits_for_turn",
            reason=reason,
        )

    def _save(self, task: Task, output: OpenOutput, inference_ms: int = 0) -> Task:
        now = self.clock()
        try:
            self.locks.acquire(task, now, now + timedelta(seconds=self.settings.lock_seconds))
            saved = self._stream(task, output)
        except Superseded as error:
            return self._end(task, Status.SUPERSEDED, code=error.code, reason=str(error))
        # Published before it is written: a crash in between publishes twice, never not at all.
        self.events.publish(CutoutCompleted.of(task))
        changes: TaskChanges = {"inference_ms": inference_ms, **saved}
        completed = self._end(task, Status.COMPLETED, **changes)
        measure_completed(completed)
        if inference_ms:
            self.latencies.remember(task, inference_ms)
        return completed

    def _stream(self, task: Task, output: OpenOutput) -> TaskChanges:
        """Save the output under the key that this task has locked; what to note about it."""
        try:
            try:
                confidence = self._save_png(task, output)
            except MetadataRefused:
                confidence = self._save_png(task, output, carry_over=False)
            version_id, etag = self._saved_png(task)
        finally:
            self.locks.release(task)
        return {"confidence": confidence, "output_version_id": version_id, "output_etag": etag}

    def _save_png(
        self, task: Task, output: OpenOutput, *, carry_over: bool = True
    ) -> Confidence | None:
        check = PngCheck(
            self.settings.max_output_megabytes * MEGABYTE,
            self.settings.max_megapixels * MEGAPIXEL,
            refuse_opaque=self.settings.opaque_cutout is OpaqueCutouts.FAIL,
        )
        with output() as found:
            told = task.model_copy(update={"confidence": found.confidence})
            self.storage.save_png(told, found.blocks, check, carry_over=carry_over)
        logger.info(
            "the output was saved", output_bytes=check.size, width=check.width, height=check.height
        )
        return found.confidence

    def _saved_png(self, task: Task) -> tuple[str | None, str | None]:
        """Which object to copy for an equal upload; looked up only where that may be asked for."""
        return self.storage.saved_png(task) if self.settings.reuse_results else (None, None)

    def _end(self, task: Task, status: Status, **changes: Unpack[TaskChanges]) -> Task:
        ended = self.ledger.move(task, status, self.clock(), **changes)
        count_task(status)
        return self._erase(ended)

    def _erase(self, task: Task) -> Task:
        """Have the vendor delete what nobody needs any more. The task has ended: no failing."""
        wanted = self.settings.erase_at_vendor and task.status in SAVED
        if not (wanted and task.predictions) or task.erased_at:
            return task
        try:
            self.wavespeed.delete(task.predictions)
            return self.ledger.update(task, erased_at=self.clock())
        except CutoutError as error:
            count_not_erased()
            logger.warning("the vendor may keep the result", code=error.code, reason=str(error))
            return task

    def _check_deadline(self, task: Task, why: str) -> None:
        limit = self.settings.deadline_seconds
        if self.clock() >= task.deadline(limit):
            raise TimedOut(f"timed out: there was no result within {limit} s; at last: {why}")


def _result(task: Task, wait_seconds: int = 0) -> WaitLoopState:
    return WaitLoopState(
        task_id=task.task_id,
        status=task.status,
        wait_seconds=wait_seconds,
        await_callback=task.awaits_callback,
    )
