"""What runs in a worker process. Only here is the remover, and with it numpy, imported.

The server hands over paths, not images: nothing large goes through the pipes between processes.
"""

import functools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cutout_local.wavespeed.errors import BadMedia, ExecutionFailed, ServerFailure


@dataclass(frozen=True)
class EncodedCutout:
    """A finished PNG; confidence lies in 0..1, None where the engine gives no score."""

    png: bytes
    confidence: float | None = None
    level: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How an image came out; the PNG itself is in the target file."""

    inference_ms: float
    confidence: float | None
    level: str | None


Engine = Callable[[bytes], EncodedCutout]
"""From the bytes of an image file to the PNG; raises `TaskFailure`."""

LoadEngine = Callable[[], Engine]
"""Runs in the worker, so it is picklable: a module's function or a `partial` of one."""


def remover_engine(max_pixels: int) -> Engine:
    """Load the remover; raise `ServerFailure` if it cannot run here."""
    from cutout_local import remover

    try:
        remover.load_network()
    except remover.RemoverUnavailable as error:
        raise ServerFailure(str(error)) from error

    def cut_out(data: bytes) -> EncodedCutout:
        try:
            cutout = remover.remove(remover.decode(data, max_pixels))
        except (remover.UnreadableImage, remover.ImageTooLarge) as error:
            raise BadMedia(str(error)) from error
        except remover.RemoverError as error:
            raise ExecutionFailed(str(error)) from error
        return EncodedCutout(remover.encode_png(cutout.rgba), cutout.confidence, cutout.level)

    return cut_out


def start() -> None:
    """Prepare a worker process, whose end is its parent's business alone."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed server cannot stop its workers, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@functools.cache
def engine(load: LoadEngine) -> Engine:
    """Load once in each process."""
    return load()


def warm(load: LoadEngine) -> None:
    """Load the engine before the first image comes."""
    engine(load)


def cut_out(load: LoadEngine, source: Path, target: Path) -> Outcome:
    """Write the cutout of the image file `source` to `target`; raise `TaskFailure`."""
    run = engine(load)
    began = time.perf_counter()
    cutout = run(source.read_bytes())
    inference_ms = (time.perf_counter() - began) * 1_000
    target.write_bytes(cutout.png)
    return Outcome(inference_ms, cutout.confidence, cutout.level)
