from datetime import timedelta
from itertools import pairwise

import pytest

from cutout.schedule import LONGEST, SHORTEST, next_wait


@pytest.mark.parametrize(
    ("age", "wait"), [(-5, 2), (0, 2), (8, 2), (20, 5), (60, 15), (120, 30), (86_400, 30)]
)
def test_the_wait_is_a_quarter_of_the_age_within_bounds(age: float, wait: int) -> None:
    assert next_wait(timedelta(seconds=age)) == wait


def test_waits_never_shrink() -> None:
    waits = [next_wait(timedelta(seconds=age)) for age in range(300)]
    assert all(before <= after for before, after in pairwise(waits))
    assert (waits[0], waits[-1]) == (SHORTEST, LONGEST)


def test_the_vendor_is_never_polled_faster_than_it_asks_for() -> None:
    assert SHORTEST == 2
