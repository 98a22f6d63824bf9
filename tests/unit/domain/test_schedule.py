from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.schedule import BETTER, DISTRIBUTIONS, Draw, compare, verdict
from cutout.domain.schedule import LONGEST, SHORTEST, Schedule, next_wait
from cutout.domain.tasks import Status
from tests.support.factories import NOON, make_task

FALLBACK = {"webhook_fallback_seconds": 60}

DEADLINE = 1800
# The ledger can hold neither NaN nor infinity, but everything else that is a number.
RECENT = st.lists(st.floats(allow_nan=False), max_size=50)
AGES = st.floats(-10, 100_000)


def wait(age: float, polls: int = 0, recent: list[float] | None = None) -> int:
    return next_wait(timedelta(seconds=age), polls, recent or [])


def poll_times(recent: list[float]) -> Iterator[int]:
    """When a task is polled that never ends."""
    age = polls = 0
    while age < DEADLINE:
        age += wait(age, polls, recent)
        polls += 1
        yield age


# ------------------------------------------------------------------ nothing is known


@pytest.mark.parametrize(
    ("age", "expected"), [(-5, 2), (0, 2), (8, 2), (20, 5), (60, 15), (120, 30), (86_400, 30)]
)
def test_without_completions_it_is_a_quarter_of_the_age_within_bounds(
    age: float, expected: int
) -> None:
    assert wait(age) == expected


def test_without_completions_the_vendor_is_never_polled_faster_than_it_asks_for() -> None:
    assert min(wait(age) for age in range(300)) == SHORTEST == 2


@given(st.lists(st.floats(max_value=0, allow_nan=False)), AGES)
def test_latencies_that_are_none_are_overlooked(recent: list[float], age: float) -> None:
    assert wait(age, recent=[*recent, 0]) == wait(age)


# ------------------------------------------------------------------ something is known


def test_the_first_wait_is_just_short_of_the_fastest() -> None:
    assert wait(0, recent=[30, 25, 40]) == 20


def test_around_what_is_known_there_is_a_poll_every_second() -> None:
    assert {wait(age, recent=[30, 25, 40]) for age in range(20, 160)} == {1}


def test_nothing_is_polled_between_two_humps() -> None:
    times = list(poll_times([3, 3, 100]))
    assert [age for age in times if 12 <= age <= 81] == [12, 42, 72, 80, 81]


def test_beyond_what_is_known_waits_grow_to_the_cap() -> None:
    late = [age for age in poll_times([10]) if age >= 40]
    waits = [after - before for before, after in pairwise(late)]
    assert (late[0], waits[:6]) == (40, [2, 2, 2, 2, 2, 3])
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST


def test_a_model_three_times_slower_is_still_found_on_the_second() -> None:
    assert set(range(24, 41)) <= set(poll_times([10]))


def test_one_odd_completion_does_not_hide_the_others() -> None:
    assert set(range(24, 120)) <= set(poll_times([0.1, 30, 1e9]))


# ------------------------------------------------------------------ whatever is known


@given(AGES, st.integers(0, 10**6), RECENT)
def test_a_wait_is_whole_seconds_within_bounds(age: float, polls: int, recent: list[float]) -> None:
    seconds = wait(age, polls, recent)
    assert isinstance(seconds, int)
    assert 1 <= seconds <= LONGEST


@given(AGES, st.integers(0, 10**6), RECENT)
def test_the_order_of_completions_does_not_matter(
    age: float, polls: int, recent: list[float]
) -> None:
    assert wait(age, polls, recent) == wait(age, polls, sorted(recent))


@given(AGES, st.integers(0, 10_000), st.integers(0, 10_000), RECENT)
def test_more_polls_never_make_it_faster(
    age: float, polls: int, more: int, recent: list[float]
) -> None:
    assert wait(age, polls, recent) <= wait(age, polls + more, recent)


@given(st.lists(st.floats(0, 10_000)), st.floats(0, 10_000), st.floats(0, 10_000))
def test_beyond_what_is_known_waits_never_shrink(
    recent: list[float], overtime: float, more: float
) -> None:
    beyond = 4 * max(recent, default=0) + overtime
    assert wait(beyond, recent=recent) <= wait(beyond + more, recent=recent)


@given(RECENT)
def test_a_task_that_never_ends_is_polled_a_bounded_number_of_times(recent: list[float]) -> None:
    assert DEADLINE / LONGEST <= len(list(poll_times(recent))) <= 750


def test_the_worst_case_is_the_one_that_the_bound_is_for() -> None:
    assert len(list(poll_times([1, 3, 10, 30, 100, 300, 1000]))) == 750


# ------------------------------------------------------------------ beside the vendor's SDKs


@pytest.mark.parametrize(("recent", "latency"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_it_needs_fewer_polls_than_the_sdks_and_is_no_later(recent: Draw, latency: Draw) -> None:
    assert verdict(*compare(recent, latency)) == BETTER


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 8),
        ({"callback_expected": True}, 60),
        ({"callback_expected": True, "called_back_at": NOON}, 8),
        ({"polls": 4_000}, 21),
    ],
    ids=["polled", "with a callback to come", "called back", "polled often"],
)
def test_a_task_waits_as_its_model_and_the_webhook_suggest(
    fields: dict[str, Any], seconds: int
) -> None:
    task = make_task(entered_at={Status.PROCESSING: NOON}, **fields)
    schedule = Schedule(recent=lambda model: [10.0] if model == task.model else [], **FALLBACK)

    assert schedule.wait(task, NOON) == seconds
