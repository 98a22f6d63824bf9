"""With a history that lags, the grace time is what keeps an image from being paid twice."""

from datetime import timedelta

import pytest

from cutout.domain.tasks import Status
from tests.support.fakes import Run
from tests.unit.promise.harness import PromiseHarness
from tests.unit.promise.vendor import DEAD, HISTORY_LAG, LOST_AFTER, LOST_BEFORE


def lost(*replies: str, grace: timedelta = HISTORY_LAG) -> PromiseHarness:
    """Uploads whose submits' answers were lost."""
    harness = PromiseHarness("settle", webhook=False, grace=grace)
    for key, reply in zip("ab", replies, strict=False):
        harness.vendor.reply = reply
        harness.put(key)
        harness.now = harness.queue[-1].visible_at
        harness.deliver(harness.queue[-1], Run())
        if harness.queue:  # it waited for its turn
            harness.now = harness.queue[-1].visible_at
            harness.deliver(harness.queue[-1], Run())
    return harness


@pytest.mark.parametrize(("reply", "attempts"), [(LOST_AFTER, 1), (DEAD, 1), (LOST_BEFORE, 2)])
def test_after_the_lag_it_is_taken_or_sent_again(reply: str, attempts: int) -> None:
    harness = lost(reply)
    harness.calm_down()
    harness.audit()

    (row,) = harness.rows()
    assert (row.status, row.attempt) == (Status.COMPLETED, attempts)
    assert sum(bool(post.prediction_id) for post in harness.vendor.posts) == 1


def test_too_short_a_grace_time_pays_twice() -> None:
    harness = lost(LOST_AFTER, grace=timedelta(seconds=10))

    with pytest.raises(AssertionError, match="sent again"):
        harness.calm_down()


def test_one_prediction_of_two_lost_submits_is_given_to_none() -> None:
    harness = lost(LOST_BEFORE, LOST_AFTER)
    harness.calm_down()
    harness.audit()

    assert [row.status for row in harness.rows()] == [Status.UNCERTAIN] * 2
    assert len(harness.vendor.posts) == 2


def test_one_that_was_created_before_the_other_was_sent_is_not_the_others() -> None:
    harness = lost(LOST_AFTER, LOST_BEFORE)
    harness.calm_down()
    harness.audit()

    assert [(row.status, row.attempt) for row in harness.rows()] == [
        (Status.COMPLETED, 1),
        (Status.COMPLETED, 2),
    ]


def test_the_prediction_of_a_submit_that_a_person_gave_up_is_given_to_nobody_else() -> None:
    harness = lost(LOST_BEFORE, LOST_AFTER)
    other, given_up = harness.rows()
    harness.request_retry(given_up, pay_again=True)
    harness.calm_down()
    harness.audit()

    assert harness.task(given_up.upload).status is Status.COMPLETED
    assert harness.task(other.upload).status is Status.UNCERTAIN
