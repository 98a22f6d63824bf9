"""Wait for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float = 100) -> T:
    """The first result of `look` that is true; fails if none comes in time."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        if result := look():
            return result
        # Many looks ask the local stack, which takes the processor from what is waited for.
        time.sleep(min(0.02 + waited / 20, 0.5))
    raise AssertionError(f"waited {seconds} s in vain")
