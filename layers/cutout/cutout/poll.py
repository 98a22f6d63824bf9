"""Poll a task: ask the vendor how it stands and save the output once it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Unpack

from cutout.aws.events import EventBus
from cutout.aws.s3 import Storage
from cutout.domain.errors import (
    CutoutError,
    MetadataRefused,
    NotNow,
    OutputBusy,
    OutputUnavailable,
    PredictionFailed,
    PredictionMissing,
    PredictionNotFound,
    Superseded,
    TimedOut,
    VendorUnavailable,
)
from cutout.domain.images import MEGABYTE, MEGAPIXEL
from cutout.domain.messages import CutoutCompleted, WaitLoopState
from cutout.domain.png import OpaqueCutouts, PngCheck
from cutout.domain.schedule import Schedule
from cutout.domain.tasks import Confidence, Status, Task, TaskChanges
from cutout.observability import count_task, logger, measure_completed
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
            return _result(task)  # an earlier try got further than its answer
        if task.prediction_id is None:
            raise PredictionMissing("the ledger holds no prediction of this task; retry it")
        try:
            return self._look(task, task.prediction_id)
        except _PASSING as error:
            return self._wait_out(task, error)
        except PredictionNotFound as error:
            if self.clock() - task.entered_at[Status.PROCESSING] > _KNOWN_WITHIN:
                raise
            return self._wait_out(task, error)

    def _look(self, task: Task, prediction_id: str) -> WaitLoopState:
        prediction = self.wavespeed.result(prediction_id)
        if prediction.status is PredictionStatus.COMPLETED:
            return _result(self._save(task, prediction))
        if prediction.status.ended:
            reason = prediction.error or "no reason given"
            raise PredictionFailed(f"the vendor ended it as {prediction.status}: {reason}")
        self._check_deadline(task, "it is still being processed")
        return _result(task, self.schedule.wait(task, self.clock()))

    def _wait_out(self, task: Task, error: CutoutError) -> WaitLoopState:
        """Look again, ever later while the task grows old."""
        logger.warning("the poll found a trouble that may pass", code=error.code, reason=str(error))
        self._check_deadline(task, str(error))
        age = self.clock() - task.entered_at[Status.PROCESSING]
        wait = min(ceil(age.total_seconds() * _GROWTH), _LONGEST_WAIT)
        return _result(task, max(wait, self.schedule.wait(task, self.clock())))

    def _save(self, task: Task, prediction: Prediction) -> Task:
        if not prediction.outputs:
            raise PredictionFailed("the vendor completed it without an output")
        now = self.clock()
        try:
            self.locks.acquire(task, now, now + timedelta(seconds=self.settings.lock_seconds))
            confidence = self._stream(task, prediction.outputs[0])
        except Superseded as error:
            return self._end(task, Status.SUPERSEDED, code=error.code, reason=str(error))
        inference_ms = round(prediction.timings.inference)
        # Published before it is written: a crash in between publishes twice, never not at all.
        self.events.publish(CutoutCompleted.of(task))
        completed = self._end(
            task, Status.COMPLETED, inference_ms=inference_ms, confidence=confidence
        )
        measure_completed(completed)
        if inference_ms:
            self.latencies.remember(task, inference_ms)
        return completed

    def _stream(self, task: Task, output: str) -> Confidence | None:
        """Save the output under the key that this task has locked; how sure the remover was."""
        try:
            return self._save_png(task, output)
        except MetadataRefused:
            return self._save_png(task, output, carry_over=False)
        finally:
            self.locks.release(task)

    def _save_png(self, task: Task, output: str, *, carry_over: bool = True) -> Confidence | None:
        check = PngCheck(
            self.settings.max_output_megabytes * MEGABYTE,
            self.settings.max_megapixels * MEGAPIXEL,
            refuse_opaque=self.settings.opaque_cutout is OpaqueCutouts.FAIL,
        )
        with self.outputs.open(output) as found:
            told = task.model_copy(update={"confidence": found.confidence})
            self.storage.save_png(told, found.blocks, check, carry_over=carry_over)
        logger.info(
            "the output was saved", output_bytes=check.size, width=check.width, height=check.height
        )
        return found.confidence

    def _end(self, task: Task, status: Status, **changes: Unpack[TaskChanges]) -> Task:
        ended = self.ledger.move(task, status, self.clock(), **changes)
        count_task(status)
        return ended

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
