"""Where a stack that is kept running tells its endpoints to other terminals.

One file a stack, named after its AWS port, and locked for as long as the stack lives: a file that
nobody has locked is left over from a process that was killed.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cutout_cli.errors import NoStackRunning, StillRunning

_CHECKOUT = Path(__file__).parents[1]
_STOP_SECONDS = 30


@dataclass(frozen=True)
class RunningStack:
    """A local stack that is up: its process, its AWS port, and what a client needs."""

    pid: int
    port: int
    environment: Mapping[str, str]


def folder() -> Path:
    """`CUTOUT_STATE`, or `.cutout` in the checkout."""
    return Path(os.environ.get("CUTOUT_STATE", _CHECKOUT / ".cutout"))


@contextmanager
def publisher() -> Iterator[Callable[[int, Mapping[str, str]], None]]:
    """A function that tells a stack's AWS port and environment until the block ends.

    The block is left when the stack has ended, so that `stop` can wait for that.
    """
    with ExitStack() as until_the_end:

        def publish(port: int, environment: Mapping[str, str]) -> None:
            folder().mkdir(parents=True, exist_ok=True)
            file = folder() / f"{port}.json"
            new = file.with_suffix(f".{os.getpid()}.new")
            state = until_the_end.enter_context(new.open("w", encoding="utf-8"))
            fcntl.flock(state, fcntl.LOCK_EX)
            json.dump({"pid": os.getpid(), "port": port, "environment": dict(environment)}, state)
            state.flush()
            new.replace(file)  # whole and locked from the first moment that it is there
            until_the_end.callback(file.unlink, missing_ok=True)

        yield publish


def running_stacks() -> list[RunningStack]:
    """All local stacks of this checkout that are up."""
    found = []
    for file in sorted(folder().glob("*.json")):
        # One that ends just now takes its file away.
        with suppress(FileNotFoundError), file.open(encoding="utf-8") as state:
            if _is_locked(state):
                found.append(RunningStack(**json.load(state)))
    return found


def running_stack(port: int | None = None) -> RunningStack:
    """The one that is up, or that on a port. Raises `NoStackRunning`."""
    stacks = [stack for stack in running_stacks() if port in {None, stack.port}]
    if len(stacks) > 1:
        ports = ", ".join(str(stack.port) for stack in stacks)
        raise NoStackRunning(f"local stacks run on the ports {ports}; choose with --aws-port")
    if not stacks:
        where = f" on port {port}" if port else ""
        raise NoStackRunning(f"no local stack is running{where}; start one with: make up")
    return stacks[0]


def stop(port: int | None = None) -> RunningStack:
    """End the stack that is up, or that on a port, and wait until it has. Raises as above."""
    stack = running_stack(port)
    os.kill(stack.pid, signal.SIGTERM)
    ends = time.monotonic() + _STOP_SECONDS
    while stack in running_stacks():
        if time.monotonic() > ends:
            raise StillRunning(f"the stack on port {stack.port} (process {stack.pid}) does not end")
        time.sleep(0.05)
    return stack


def _is_locked(state: IO[str]) -> bool:
    try:
        fcntl.flock(state, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
