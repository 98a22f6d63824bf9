"""The worker processes."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from cutout_local.wavespeed import worker
from cutout_local.wavespeed.errors import WorkerDied
from cutout_local.wavespeed.worker import LoadEngine, Outcome

logger = logging.getLogger(__name__)

CutOut = Callable[[Path, Path], Awaitable[Outcome]]
"""From an image file to a PNG file; raises `TaskFailure`."""


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A process that is started here never gets a Ctrl-C, not even while Python starts in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool:
    """Processes that cut out, each one image at a time.

    `load` and what it returns run in the workers. Workers start when there is work for them;
    the first is started at once.
    """

    def __init__(self, load: LoadEngine, workers: int) -> None:
        self._load = load
        self._workers = workers
        self._executor = self._new_executor()
        with _sigint_blocked():
            self.ready: Future[None] = self._executor.submit(worker.warm, load)
        """Done when the first worker has its engine; carries the error if it has none."""

    async def cut_out(self, source: Path, target: Path) -> Outcome:
        """Raise `TaskFailure`, or `WorkerDied` when a worker ended twice under this image."""
        try:
            return await self._run(source, target)
        except BrokenProcessPool:
            # One dead worker breaks the whole pool, so this image may be a bystander.
            logger.warning("a worker process died; its images are tried once more")
        try:
            return await self._run(source, target)
        except BrokenProcessPool as error:
            raise WorkerDied("a worker process died, twice") from error

    async def _run(self, source: Path, target: Path) -> Outcome:
        executor = self._executor
        try:
            with _sigint_blocked():
                outcome = executor.submit(worker.cut_out, self._load, source, target)
            return await asyncio.wrap_future(outcome)
        except BrokenProcessPool:
            if executor is self._executor:
                self._executor = self._new_executor()
            raise

    def _new_executor(self) -> ProcessPoolExecutor:
        # Forking a process that has threads and an event loop would copy their locks.
        return ProcessPoolExecutor(
            self._workers, mp_context=get_context("spawn"), initializer=worker.start
        )

    def close(self) -> None:
        """End the workers at once, also in the middle of an image."""
        # `terminate_workers` does this from Python 3.14 on.
        for process in list((self._executor._processes or {}).values()):
            process.terminate()
        self._executor.shutdown(cancel_futures=True)
