"""When to poll next.

Step Functions waits for whole seconds, so no schedule finds a result sooner than a poll every
second from the submit on, which is what the vendor's SDKs do: 0.5 s late on average. What can be
saved are the polls at which no result can be there yet, and recent completions tell which those
are. Around these it polls every second, for the 2 s that the vendor's docs ask for would double the
delay; when nothing is known, and when a task outlives what is known, it keeps to the 2 s and slows
down.

Expected, with 50 recent latencies that vary by a fifth (round trips come on top):

    latency         polls    polls of the SDKs    late by, both
    about 2.5 s         2                    4            0.5 s
    about 30 s         16                   32            0.5 s
    about 2 min        64                  124            0.5 s

With nothing known a result is late by at most 2 s or about a quarter of its latency. A model that
becomes several times faster is found out late, by its first completions.
`python -m benchmarks schedule` measures this and more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from cutout.domain.tasks import Status, Task

SHORTEST = 2
LONGEST = 30
# Where an end is expected, as multiples of a recent latency: somewhat before the fastest seen, and
# late enough for a model that has suddenly become three times slower.
_EARLIEST, _LATEST = 0.8, 4.0
_GROWTH = 0.25
_POLLS_AT_ONE_PACE = 200


def next_wait(age: timedelta, polls: int = 0, recent: Sequence[float] = ()) -> int:
    """Whole seconds, 1 to `LONGEST`, until the next poll of a prediction submitted `age` ago.

    `recent` are the model's latest latencies, in seconds from submit to completion. `polls` were
    made already; every 200 of them the shortest wait becomes a second longer, whatever is expected.
    """
    seconds = max(age.total_seconds(), 0)
    expected = [latency for latency in recent if seconds < latency * _LATEST]
    if expected:
        wait = min(expected) * _EARLIEST - seconds
    else:
        overtime = seconds - max(recent, default=0) * _LATEST
        wait = max(overtime * _GROWTH, SHORTEST)
    return ceil(min(max(wait, 1 + polls // _POLLS_AT_ONE_PACE), LONGEST))


@dataclass(frozen=True)
class Schedule:
    """When to poll a task next; `recent` tells a model's latest latencies in seconds."""

    recent: Callable[[str], Sequence[float]]
    webhook_fallback_seconds: int

    def wait(self, task: Task, now: datetime) -> int:
        """Whole seconds until the next poll; longer while the vendor is expected to call back."""
        age = now - task.entered_at[Status.PROCESSING]
        wait = next_wait(age, task.polls, self.recent(task.model))
        return max(wait, self.webhook_fallback_seconds) if task.awaits_callback else wait
