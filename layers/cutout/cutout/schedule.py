"""When to poll next."""

from datetime import timedelta

# The vendor's docs ask for no more than one poll every 2 s, at growing intervals.
SHORTEST = 2
LONGEST = 30
_GROWTH = 0.25


def next_wait(age: timedelta) -> int:
    """Whole seconds until the next poll of a prediction submitted `age` ago.

    A quarter of the age: the result is then found at most 25 % later than it could have been.
    """
    return round(min(max(age.total_seconds() * _GROWTH, SHORTEST), LONGEST))
