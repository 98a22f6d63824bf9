"""Wait for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float = 100) -> T:
    """The first result of `look` that is true; fails if none comes in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if result := look():
            return result
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain")
