"""Compare the poll schedule with the fixed second of the vendor's SDKs, by simulation.

    python -m benchmarks.schedule

Every task sees the latencies of 50 completions of its own. Both sides poll without round trips;
the SDKs (`wavespeed` 2.0.5, `_wait`) poll at once and then every second. "late" is the time from
the result's being there to the poll that sees it. On whole seconds nothing can be less late than a
poll at every one, so the best there is are fewer polls that are not later, to 0.01 s.
"""

import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from math import ceil
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutout.domain.schedule import next_wait

TASKS = 3000
COMPLETIONS = 50
SAME = 0.01  # seconds: a smaller delay than any round trip
BETTER = "fewer polls, no later"

Latencies = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Latencies]


class Row(NamedTuple):
    """What a schedule costs on average: polls per task, and seconds from result to poll."""

    polls: float
    late: float


def around(median: float, spread: float = 0.2) -> Draw:
    """Log-normal latencies in seconds; a spread of 0.2 is a fifth up or down."""
    return lambda rng, count: median * np.exp(spread * rng.standard_normal(count))


def two_humps(rng: np.random.Generator, count: int) -> Latencies:
    slow = rng.random(count) < 0.2
    return np.where(slow, around(40)(rng, count), around(3)(rng, count))


def nothing(_rng: np.random.Generator, _count: int) -> Latencies:
    return np.empty(0)


# What the recent completions were drawn from, and what the next tasks are drawn from.
DISTRIBUTIONS: dict[str, tuple[Draw, Draw]] = {
    "short, about 2.5 s": (around(2.5), around(2.5)),
    "long, about 30 s": (around(30), around(30)),
    "long, about 2 min": (around(120), around(120)),
    "two humps, 80 % 3 s and 20 % 40 s": (two_humps, two_humps),
    "heavy tail, 5 s, one in 100 over 50 s": (around(5, 1.0), around(5, 1.0)),
    "suddenly slower, 30 s to 90 s": (around(30), around(90)),
}
# Here the recent completions tell nothing or the wrong thing; it is not asked to be as early then.
IN_THE_DARK: dict[str, tuple[Draw, Draw]] = {
    "nothing known, about 2.5 s": (nothing, around(2.5)),
    "nothing known, about 30 s": (nothing, around(30)),
    "suddenly faster, 30 s to 10 s": (around(30), around(10)),
}


def compare(recent: Draw, latency: Draw) -> tuple[Row, Row]:
    """The schedule's row and the fixed second's, for the same tasks."""
    rng = np.random.default_rng(1)
    latencies = latency(rng, TASKS).tolist()
    ours = [follow(each, recent(rng, COMPLETIONS).tolist()) for each in latencies]
    fixed = [Row(ceil(each) + 1, ceil(each) - each) for each in latencies]
    return mean(ours), mean(fixed)


def follow(latency: float, recent: list[float]) -> Row:
    """One task, polled until its result is seen."""
    age = polls = 0
    while age < latency:
        age += next_wait(timedelta(seconds=age), polls, recent)
        polls += 1
    return Row(polls, age - latency)


def mean(rows: Iterable[Row]) -> Row:
    polls, late = zip(*rows, strict=True)
    return Row(fmean(polls), fmean(late))


def verdict(ours: Row, fixed: Row) -> str:
    polls = "fewer polls" if ours.polls < fixed.polls else "no fewer polls"
    late = "no later" if ours.late <= fixed.late + SAME else "later"
    return f"{polls}, {late}"


def print_row(name: str, recent: Draw, latency: Draw) -> bool:
    """Print how the schedule does on one distribution; whether it is better."""
    ours, fixed = compare(recent, latency)
    told = verdict(ours, fixed)
    numbers = f"{ours.polls:7.1f}{fixed.polls:8.1f}{ours.late:8.3f}{fixed.late:8.3f}"
    print(f"{name:40}{numbers}   {told}")
    return told == BETTER


def main() -> None:
    print(f"{'':40}{'polls':>15}{'late by, s':>16}")
    print(f"{'latencies':40}{'ours':>7}{'1 s':>8}{'ours':>8}{'1 s':>8}   verdict")
    better = [print_row(name, *draws) for name, draws in DISTRIBUTIONS.items()]
    print("\nwhen the recent completions do not know:")
    for name, draws in IN_THE_DARK.items():
        print_row(name, *draws)
    sys.exit(not all(better))


if __name__ == "__main__":
    main()
