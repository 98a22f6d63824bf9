"""One process in which a handler runs, as in one execution environment of Lambda."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from threading import Thread

from .runtime_api import Answer, Exited, Invocation, RuntimeApi

INIT_SECONDS = 60
"""Lambda gives 10 s to import a handler; a laptop that does other things gets more."""


@dataclass(frozen=True)
class TimedOut:
    """The handler ran longer than the function's timeout, and was killed."""


Outcome = Answer | Exited | TimedOut


class Sandbox:
    """Starts `python -m awslambdaric handler` in `folder`; `close` kills it.

    `on_line` gets each line the process writes, in a thread of ours.
    """

    def __init__(
        self,
        handler: str,
        folder: Path,
        layers: Sequence[Path],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        self._api = RuntimeApi()
        self.on_line = on_line
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=folder,
            env={
                **environment,
                "AWS_LAMBDA_RUNTIME_API": self._api.address,
                "PYTHONPATH": os.pathsep.join(str(_python_folder(layer)) for layer in layers),
                "PATH": os.defpath,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A terminal's Ctrl-C must reach us alone: we end the process when its work is stopped.
            start_new_session=True,
        )
        self._watcher = Thread(target=self._watch, name=f"watch-{handler}-{self.pid}")
        self._watcher.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def usable(self) -> bool:
        return self._process.poll() is None and not self._api.failed_to_initialise

    def run(self, request_id: str, event: bytes, function_arn: str, seconds: float) -> Outcome:
        """Runs one invocation to its end; only the time in the handler counts as `seconds`."""
        if not self._api.initialised.wait(INIT_SECONDS):
            self.kill()
            return TimedOut()
        deadline_ms = int((time.time() + seconds) * 1000)
        self._api.offer(Invocation(request_id, event, deadline_ms, function_arn))
        try:
            return self._api.outcomes.get(timeout=seconds)
        except Empty:
            self.kill()
            return TimedOut()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if self._process.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._watcher.join()
        self._api.close()

    def _watch(self) -> None:
        with self._process as process:
            for line in process.stdout or ():
                self.on_line(line.decode(errors="replace").rstrip("\n"))
        self._api.report_failed_initialisation(Exited(process.returncode))


def _python_folder(layer: Path) -> Path:
    """A layer that `sam build` made keeps its packages in python/; a source folder, beside it."""
    built = layer / "python"
    return built if built.is_dir() else layer
