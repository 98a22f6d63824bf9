"""Where a stack that is kept running tells its endpoints to other terminals."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STATE = Path(os.environ.get("CUTOUT_STATE", Path(__file__).parents[1] / ".cutout" / "stack.json"))


class NoStackRunning(Exception):
    """There is no stack to tell about."""


@contextmanager
def told_to_others(environment: Mapping[str, str]) -> Iterator[None]:
    """Tell the environment for as long as the block lasts."""
    STATE.parent.mkdir(exist_ok=True)
    STATE.write_text(json.dumps({"pid": os.getpid(), "environment": dict(environment)}))
    try:
        yield
    finally:
        STATE.unlink(missing_ok=True)


def environment() -> dict[str, str]:
    """The running stack's environment. Raises `NoStackRunning`."""
    try:
        state = json.loads(STATE.read_text())
        os.kill(state["pid"], 0)  # signal 0 only asks whether the process is there
    except (FileNotFoundError, ProcessLookupError):
        raise NoStackRunning("no local stack is running; start one with: make up") from None
    told: dict[str, str] = state["environment"]
    return told
