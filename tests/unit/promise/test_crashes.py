"""A function is killed before each of its calls in turn, and nothing is lost or left untold."""

from collections.abc import Callable

import pytest

from cutout.domain.tasks import Status
from tests.support.fakes import Run
from tests.support.harness import CONVERTED
from tests.support.images import HEIC
from tests.unit.promise.harness import PromiseHarness
from tests.unit.promise.vendor import ACCEPTED, LIMITED, REFUSED

MOST_CALLS = 20  # no function makes as many on these ways


def harness(reply: str = ACCEPTED) -> PromiseHarness:
    """An upload whose event is in the queue."""
    harness = PromiseHarness("resubmit", webhook=False)
    harness.vendor.reply = reply
    harness.put("a")
    return harness


def phone() -> PromiseHarness:
    """A phone's photo, which is converted first, and its event."""
    harness = PromiseHarness("resubmit", webhook=False, image=HEIC)
    harness.put("a")
    return harness


def submitted(harness: Callable[[], PromiseHarness] = harness) -> PromiseHarness:
    """An upload that waits for its first poll."""
    ready = harness()
    ready.deliver(ready.visible()[0], Run())
    (execution,) = ready.loops.running()
    while execution.state != "Poll":
        ready.now = max(ready.now, execution.until)
        ready.loops.step(execution, Run())
    return ready


def copying() -> PromiseHarness:
    """An upload that waits for its first poll, and an equal one that has been completed."""
    ready = PromiseHarness("resubmit", webhook=False, reuse=True)
    for key in "ab":
        ready.put(key)
        ready.deliver(ready.visible()[0], Run())
        while ready.loops.running() and key == "a":
            ready.vendor.end_all()
            ready.now = ready.loops.running()[0].until
            ready.loops.step(ready.loops.running()[0], Run())
    (execution,) = ready.loops.running()
    while execution.state != "Poll":
        ready.loops.step(execution, Run())
    return ready


def settled(harness: PromiseHarness) -> Status:
    harness.calm_down()
    harness.audit()
    return harness.rows()[-1].status


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_submit_that_is_killed_is_completed_later(kill_at: int) -> None:
    killed = harness()
    killed.deliver(killed.visible()[0], Run(kill_at))

    assert settled(killed) is Status.COMPLETED


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_conversion_that_is_killed_is_completed_later(kill_at: int) -> None:
    killed = phone()
    killed.deliver(killed.visible()[0], Run(kill_at))

    assert settled(killed) is Status.COMPLETED
    assert not [key for bucket, key, _ in killed.bucket.versions if bucket == CONVERTED]


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_poll_that_is_killed_before_it_deletes_a_copy_is_completed(kill_at: int) -> None:
    killed = submitted(phone)
    killed.vendor.end_all()
    killed.loops.step(killed.loops.running()[0], Run(kill_at))

    assert settled(killed) is Status.COMPLETED


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_poll_that_is_killed_while_it_saves_is_completed_and_told(kill_at: int) -> None:
    killed = submitted()
    killed.vendor.end_all()
    killed.loops.step(killed.loops.running()[0], Run(kill_at))

    assert settled(killed) is Status.COMPLETED


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_copy_that_is_killed_is_completed_later_and_not_paid(kill_at: int) -> None:
    killed = copying()
    killed.loops.step(killed.loops.running()[0], Run(kill_at))

    assert settled(killed) is Status.COMPLETED
    assert len(killed.vendor.posts) == 1


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_failure_is_told_however_often_its_close_is_killed(kill_at: int) -> None:
    failed = submitted()
    failed.vendor.processing()[0].status = "failed"
    (execution,) = failed.loops.running()
    failed.loops.step(execution, Run())
    assert execution.state == "Close"
    failed.loops.step(execution, Run(kill_at))

    assert settled(failed) is Status.FAILED


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_refusal_that_is_killed_is_failed_or_settled(kill_at: int) -> None:
    refused = harness(REFUSED)
    refused.deliver(refused.visible()[0], Run(kill_at))

    assert settled(refused) in {Status.FAILED, Status.COMPLETED}


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_submit_that_is_killed_and_whose_message_is_lost_is_completed_later(
    kill_at: int,
) -> None:
    killed = harness()
    killed.deliver(killed.visible()[0], Run(kill_at))
    for message in list(killed.queue):
        killed.lose(message)

    assert settled(killed) is Status.COMPLETED


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
def test_a_clock_that_is_killed_has_only_woken_late(kill_at: int) -> None:
    limited = harness(LIMITED)
    limited.deliver(limited.visible()[0], Run())
    assert not limited.queue
    limited.pass_time(60)
    limited.tick_once(Run(kill_at))

    assert settled(limited) is Status.COMPLETED


def test_an_execution_of_whose_end_nobody_was_told_is_closed() -> None:
    stopped = submitted()
    (execution,) = stopped.loops.running()
    stopped.loops.end(execution, "ABORTED")
    stopped.loops.ended.clear()

    assert settled(stopped) is Status.FAILED


@pytest.mark.parametrize("kill_at", range(MOST_CALLS))
@pytest.mark.parametrize("brought_by", ["event", "backfill"])
def test_an_upload_without_a_version_whose_submit_is_killed_and_message_lost_is_brought_again(
    kill_at: int, brought_by: str
) -> None:
    killed = PromiseHarness("resubmit", webhook=False, versioned=False)
    killed.put("a")
    event = killed.visible()[0]
    if brought_by == "event":  # and a backfill was killed that was faster
        killed.backfill(Run())
        killed.queue.remove(event)
    killed.deliver(killed.visible()[0], Run(kill_at))
    for message in list(killed.queue):
        killed.lose(message)
    if brought_by == "event":
        killed.missed.clear()
        killed.deliver_event(0)

    assert settled(killed) is Status.COMPLETED
    assert len(killed.vendor.posts) <= 2
