"""With a history that lags, the grace time is what keeps an image from being paid twice."""

from datetime import timedelta

import pytest

from cutout.domain.tasks import Status
from tests.support.fakes import Run
from tests.unit.promise.stage import Stage
from tests.unit.promise.vendor import DEAD, HISTORY_LAG, LOST_AFTER, LOST_BEFORE


def lost(reply: str, grace: timedelta) -> Stage:
    """An upload whose submit's answer was lost."""
    stage = Stage("settle", webhook=False, grace=grace)
    stage.vendor.reply = reply
    stage.put("a")
    stage.deliver(stage.visible()[0], Run())
    return stage


@pytest.mark.parametrize(("reply", "attempts"), [(LOST_AFTER, 1), (DEAD, 1), (LOST_BEFORE, 2)])
def test_after_the_lag_it_is_taken_or_sent_again(reply: str, attempts: int) -> None:
    stage = lost(reply, HISTORY_LAG)
    stage.calm_down()
    stage.audit()

    (row,) = stage.rows()
    assert (row.status, row.attempt) == (Status.COMPLETED, attempts)
    assert sum(bool(post.prediction_id) for post in stage.vendor.posts) == 1


def test_too_short_a_grace_time_pays_twice() -> None:
    stage = lost(LOST_AFTER, timedelta(seconds=10))

    with pytest.raises(AssertionError, match="sent again"):
        stage.calm_down()
