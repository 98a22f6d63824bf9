"""Working on tasks, from `created` to their end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from cutout.wavespeed.contract import PredictionStatus
from cutout_local.wavespeed.errors import (
    ExecutionFailed,
    Interrupted,
    ServerFailure,
    TaskFailure,
    WorkerDied,
)
from cutout_local.wavespeed.faults import Fault, Faults
from cutout_local.wavespeed.media import Fetcher
from cutout_local.wavespeed.pool import CutOut
from cutout_local.wavespeed.tasks import Task

logger = logging.getLogger(__name__)

CANARY = "CANARY0123456789"
"""What an error quotes that is full of secrets; it must appear nowhere."""

_ENDINGS = {
    Fault.TASK_CANCELLED: PredictionStatus.CANCELLED,
    Fault.TASK_TIMEOUT: PredictionStatus.TIMEOUT,
    Fault.TASK_DELETED: PredictionStatus.DELETED,
}


class Background:
    """asyncio tasks that nobody waits for, held until they end or are stopped."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Start `work`."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Cancel everything and wait until it is gone."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


class Runner:
    """Works on tasks, as many at once as there are workers; `on_end` is told of every end."""

    def __init__(
        self,
        fetcher: Fetcher,
        cut_out: CutOut,
        faults: Faults,
        workers: int,
        on_end: Callable[[Task], None],
    ) -> None:
        self._fetcher = fetcher
        self._cut_out = cut_out
        self._faults = faults
        self._workers = asyncio.Semaphore(workers)
        self._on_end = on_end
        self._background = Background()

    @property
    def open_tasks(self) -> int:
        """How many tasks have not ended."""
        return len(self._background)

    def start(self, task: Task) -> None:
        """Begin to work on a task."""
        self._background.spawn(self._run(task))

    async def stop(self) -> None:
        """Leave all work where it is."""
        await self._background.stop()

    async def _run(self, task: Task) -> None:
        source = task.output.with_suffix(".source")
        try:
            failure = await self._failure(task, source)
            self._end(task, failure)
        finally:
            source.unlink(missing_ok=True)
            task.ended.set()

    async def _failure(self, task: Task, source: Path) -> TaskFailure | None:
        try:
            await self._work(task, source)
        except TaskFailure as failure:
            return failure
        except WorkerDied as error:
            return ServerFailure(str(error))
        # Whatever else goes wrong is a bug here, and must not leave a task open for ever.
        except Exception:
            logger.exception("task %s: internal error", task.id)
            return ServerFailure("internal server error")
        return None

    def _end(self, task: Task, failure: TaskFailure | None) -> None:
        task.status = failure.status if failure else PredictionStatus.COMPLETED
        if failure:
            task.error, task.code = str(failure), failure.code
            logger.info("task %s: %s: %s", task.id, task.status, failure)
        self._on_end(task)

    async def _work(self, task: Task, source: Path) -> None:
        fires = partial(self._faults.fires, image=task.request.image, asked=task.asked)
        unknown = fires(Fault.TASK_UNKNOWN_STATUS) is not None
        processing = PredictionStatus.UNKNOWN if unknown else PredictionStatus.PROCESSING
        if fires(Fault.TASK_NEVER_ENDS) is not None:
            task.status = processing
            await asyncio.Event().wait()
        if fires(Fault.TASK_FAILS) is not None:
            raise ExecutionFailed("the model failed, as a fault asked it to")
        if fires(Fault.TASK_FAILS_WITH_SECRETS) is not None:
            raise ExecutionFailed(f"no image at {task.request.image}, Bearer {CANARY}")
        for fault, status in _ENDINGS.items():
            if fires(fault) is not None:
                raise Interrupted(status)
        await self._fetcher.fetch(task.request.image, source)
        async with self._workers:
            task.status = processing
            task.outcome = await self._cut_out(source, task.output)
        await asyncio.sleep(fires(Fault.TASK_SLOW) or 0)
        logger.info(
            "task %s: completed in %.0f ms, confidence %s (%s)",
            task.id,
            task.outcome.inference_ms,
            task.outcome.confidence,
            task.outcome.level,
        )
