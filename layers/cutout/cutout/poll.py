"""Poll a task: ask the vendor how it stands and save the output once it is there."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Unpack

from cutout.aws.events import EventBus
from cutout.aws.s3 import Storage
from cutout.domain.errors import PredictionFailed, PredictionMissing, Superseded, TimedOut
from cutout.domain.images import MEGABYTE
from cutout.domain.messages import CutoutCompleted, WaitLoopState
from cutout.domain.png import PngCheck
from cutout.domain.schedule import Schedule
from cutout.domain.tasks import Status, Task, TaskChanges
from cutout.observability import count_task, logger, measure_completed
from cutout.settings import PollSettings
from cutout.store.latencies import Latencies
from cutout.store.ledger import Ledger
from cutout.store.output_locks import OutputLocks
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.contract import Prediction, PredictionStatus
from cutout.wavespeed.outputs import Outputs


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

        Any other error of this project means that looking again may help.
        """
        logger.append_keys(task_id=task_id)
        task = self.ledger.count_poll(task_id)
        if task.status is not Status.PROCESSING:
            return _result(task)  # an earlier try got further than its answer
        if task.prediction_id is None:
            raise PredictionMissing("the ledger holds no prediction of this task; retry it")
        prediction = self.wavespeed.result(task.prediction_id)
        if prediction.status is PredictionStatus.COMPLETED:
            return _result(self._save(task, prediction))
        if prediction.status.ended:
            reason = prediction.error or "no reason given"
            raise PredictionFailed(f"the vendor ended it as {prediction.status}: {reason}")
        return self._wait(task)

    def _save(self, task: Task, prediction: Prediction) -> Task:
        if not prediction.outputs:
            raise PredictionFailed("the vendor completed it without an output")
        now = self.clock()
        try:
            self.locks.acquire(task, now, now + timedelta(seconds=self.settings.lock_seconds))
        except Superseded as error:
            return self._end(task, Status.SUPERSEDED, code=error.code, reason=str(error))
        check = PngCheck(self.settings.max_output_megabytes * MEGABYTE)
        try:
            with closing(self.outputs.read(prediction.outputs[0])) as blocks:
                self.storage.save_png(task, blocks, check)
        finally:
            self.locks.release(task)
        logger.info(
            "the output was saved", output_bytes=check.size, width=check.width, height=check.height
        )
        inference_ms = round(prediction.timings.inference)
        # Published before it is written: a crash in between publishes twice, never not at all.
        self.events.publish(CutoutCompleted.of(task))
        completed = self._end(task, Status.COMPLETED, inference_ms=inference_ms)
        measure_completed(completed)
        if inference_ms:
            self.latencies.remember(task, inference_ms)
        return completed

    def _end(self, task: Task, status: Status, **changes: Unpack[TaskChanges]) -> Task:
        ended = self.ledger.move(task, status, self.clock(), **changes)
        count_task(status)
        return ended

    def _wait(self, task: Task) -> WaitLoopState:
        now, limit = self.clock(), self.settings.deadline_seconds
        if now >= task.deadline(limit):
            raise TimedOut(f"timed out: the vendor had no result within {limit} s")
        return _result(task, self.schedule.wait(task, now))


def _result(task: Task, wait_seconds: int = 0) -> WaitLoopState:
    return WaitLoopState(
        task_id=task.task_id,
        status=task.status,
        wait_seconds=wait_seconds,
        await_callback=task.awaits_callback,
    )
