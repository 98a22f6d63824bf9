"""With a history that lags, the grace time is what keeps an image from being paid twice."""

from datetime import timedelta

import pytest

from cutout.domain.tasks import Status
from tests.support.fakes import Run
from tests.unit.promise.stage import Stage
from tests.unit.promise.vendor import DEAD, HISTORY_LAG, LOST_AFTER, LOST_BEFORE


def lost(*replies: str, grace: timedelta = HISTORY_LAG) -> Stage:
    """Uploads whose submits' answers were lost."""
    stage = Stage("settle", webhook=False, grace=grace)
    for key, reply in zip("ab", replies, strict=False):
        stage.vendor.reply = reply
        stage.put(key)
        stage.now = stage.queue[-1].visible_at
        stage.deliver(stage.queue[-1], Run())
        if stage.queue:  # it waited for its turn
            stage.now = stage.queue[-1].visible_at
            stage.deliver(stage.queue[-1], Run())
    return stage


@pytest.mark.parametrize(("reply", "attempts"), [(LOST_AFTER, 1), (DEAD, 1), (LOST_BEFORE, 2)])
def test_after_the_lag_it_is_taken_or_sent_again(reply: str, attempts: int) -> None:
    stage = lost(reply)
    stage.calm_down()
    stage.audit()

    (row,) = stage.rows()
    assert (row.status, row.attempt) == (Status.COMPLETED, attempts)
    assert sum(bool(post.prediction_id) for post in stage.vendor.posts) == 1


def test_too_short_a_grace_time_pays_twice() -> None:
    stage = lost(LOST_AFTER, grace=timedelta(seconds=10))

    with pytest.raises(AssertionError, match="sent again"):
        stage.calm_down()


def test_one_prediction_of_two_lost_submits_is_given_to_none() -> None:
    stage = lost(LOST_BEFORE, LOST_AFTER)
    stage.calm_down()
    stage.audit()

    assert [row.status for row in stage.rows()] == [Status.UNCERTAIN] * 2
    assert len(stage.vendor.posts) == 2


def test_one_that_was_created_before_the_other_was_sent_is_not_the_others() -> None:
    stage = lost(LOST_AFTER, LOST_BEFORE)
    stage.calm_down()
    stage.audit()

    assert [(row.status, row.attempt) for row in stage.rows()] == [
        (Status.COMPLETED, 1),
        (Status.COMPLETED, 2),
    ]


def test_the_prediction_of_a_submit_that_a_person_gave_up_is_given_to_nobody_else() -> None:
    stage = lost(LOST_BEFORE, LOST_AFTER)
    other, given_up = stage.rows()
    stage.request_retry(given_up, pay_again=True)
    stage.calm_down()
    stage.audit()

    assert stage.task(given_up.upload).status is Status.COMPLETED
    assert stage.task(other.upload).status is Status.UNCERTAIN
