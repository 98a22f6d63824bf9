"""What the clock wakes, and what it leaves alone."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.errors import ServiceError
from cutout.domain.tasks import EXECUTION_CHECK, Status, Task
from cutout.domain.uploads import Upload
from tests.support.images import jpeg
from tests.support.world import LEASE_SECONDS, NOW, World, accepted, refused

MINUTE = timedelta(minutes=1)


def processing(world: World, prediction_id: str = "p1") -> Task:
    upload = world.upload(jpeg())
    world.answers = [accepted(prediction_id)]
    world.submitter().submit(upload)
    return world.task(upload)


def waiting(world: World, count: int) -> list[Upload]:
    """Uploads that the vendor refused for its rate, one a second."""
    submitter, uploads = world.submitter(), []
    for number in range(count):
        world.answers = [refused(429)]
        uploads.append(world.upload(jpeg(), f"{number}.jpg"))
        submitter.submit(uploads[-1])
        world.pass_time(1)
    return uploads


def test_nothing_is_woken_before_its_time(world: World) -> None:
    waiting(world, 3)

    assert world.tick() == {}
    assert world.sent == []


def test_what_is_due_is_told_to_the_submit_function_oldest_first(world: World) -> None:
    uploads = waiting(world, 12)
    world.pass_time(60)

    assert world.tick() == {"rate_limited": 12}

    assert world.sent == [(upload.task_id, 0) for upload in uploads]


def test_of_two_clocks_one_wakes_a_task(world: World) -> None:
    (upload,) = waiting(world, 1)
    world.pass_time(60)
    (due,) = world.ledger.due(Status.QUEUED, world.now)

    assert world.tick() == {"rate_limited": 1}

    other = world.waker()
    assert other._postponed(due, {"due_at": world.now}) is None
    assert world.tick() == {}
    assert [task_id for task_id, _ in world.sent] == [upload.task_id]


def test_a_message_that_is_lost_is_sent_again_when_its_function_must_have_ended(
    world: World,
) -> None:
    waiting(world, 1)
    world.pass_time(60)
    world.tick()

    world.pass_time(LEASE_SECONDS - 1)
    assert world.tick() == {}
    world.pass_time(1)

    assert world.tick() == {"waits_for_slot": 1}
    assert len(world.sent) == 2


def test_turns_are_given_oldest_first_as_many_as_the_plan_has(world: World) -> None:
    uploads = waiting(world, 6)
    world.pass_time(60)

    assert world.tick(images_per_minute=2) == {"rate_limited": 4}

    slots = [world.task(upload).slot_at for upload in uploads]
    assert slots[:4] == sorted(slot for slot in slots[:4] if slot)
    assert slots[4:] == [None, None]
    assert [task_id for task_id, _ in world.sent] == [u.task_id for u in uploads[:4]]
    delays = [delay for _, delay in world.sent]
    assert delays == [0, 31, 62, 93]
    task = world.task(uploads[1])
    assert task.slot_at
    assert (task.code, task.submit_after) == ("waits_for_slot", task.slot_at)
    assert task.due_at == task.slot_at + timedelta(seconds=LEASE_SECONDS)


def test_while_others_wait_a_newcomer_waits_behind_them(world: World) -> None:
    waiting(world, 6)
    world.pass_time(60)
    world.tick(images_per_minute=2)
    newcomer = world.upload(jpeg(), "new.jpg")

    world.submitter(images_per_minute=2).submit(newcomer)

    task = world.task(newcomer)
    assert (task.code, task.slot_at, task.due_at) == ("waits_for_turn", None, world.now)
    assert task.reason == "others were there before (2 images a minute)"
    world.pass_time(120)
    world.tick(images_per_minute=2)
    assert world.task(newcomer).slot_at


def test_when_nobody_waits_any_more_a_newcomer_takes_a_slot(world: World) -> None:
    waiting(world, 6)
    world.pass_time(60)
    for _ in range(3):
        world.tick(images_per_minute=2)
        world.pass_time(120)
    newcomer = world.upload(jpeg(), "new.jpg")
    world.answers = [accepted()]

    world.submitter(images_per_minute=2).submit(newcomer)

    assert world.task(newcomer).status is Status.PROCESSING


def test_an_overdue_slot_is_given_up_and_the_place_in_the_line_kept(world: World) -> None:
    submitter = world.submitter(images_per_minute=2)
    world.answers = [accepted()]
    submitter.submit(world.upload(jpeg(), "first.jpg"))
    late = world.upload(jpeg(), "late.jpg")
    submitter.submit(late)
    world.pass_time(31 + 60)

    submitter.wake(late.task_id)

    task = world.task(late)
    assert (task.code, task.slot_at, task.submit_after) == ("waits_for_turn", None, None)
    assert task.due_at == NOW
    world.answers = [accepted("p2")]
    world.tick(images_per_minute=2)
    submitter.wake(late.task_id)
    assert world.task(late).status is Status.PROCESSING


def test_while_sending_is_paused_nobody_is_woken(world: World) -> None:
    (upload,) = waiting(world, 1)
    world.pass_time(60)
    waker = world.waker()
    waker.governor.pause()

    assert world.tick() == {}
    newcomer = world.upload(jpeg(), "new.jpg")
    world.submitter().submit(newcomer)
    assert world.task(newcomer).reason == "others were there before (sending is paused)"

    waker.governor.resume()
    assert world.tick() == {"rate_limited": 1, "waits_for_turn": 1}
    assert [task_id for task_id, _ in world.sent] == [upload.task_id, newcomer.task_id]


class TestProcessing:
    def test_is_looked_at_after_a_while(self, world: World) -> None:
        task = processing(world)

        world.now = NOW + EXECUTION_CHECK - timedelta(seconds=1)
        assert world.tick() == {}
        world.now = NOW + EXECUTION_CHECK
        assert world.tick() == {"execution_running": 1}
        assert world.tick() == {}
        later = world.ledger.get(task.task_id)
        assert later.due_at == world.now + EXECUTION_CHECK
        assert later.status is Status.PROCESSING
        assert world.sent == []

    def test_without_an_execution_it_is_told_to_the_submit_function(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(type(world.submitter().wait_loop), "start", lambda *_: None)
            task = processing(world)
        world.now = NOW + EXECUTION_CHECK

        assert world.tick() == {"execution_missing": 1}

        assert world.sent == [(task.task_id, 0)]
        world.submitter().wake(task.task_id)
        assert world.executions() == [task.execution_name]

    def test_whose_execution_ended_untold_it_is_closed(self, world: World) -> None:
        task = processing(world)
        world.states.stop_execution(executionArn=world.execution_arn(task))
        world.now = NOW + EXECUTION_CHECK

        assert world.tick() == {"execution_aborted": 1}

        closed = world.ledger.get(task.task_id)
        assert (closed.status, closed.code) == (Status.FAILED, "execution_ended")
        (event,) = world.published()
        assert event["detail"]["task_id"] == task.task_id

    def test_does_not_keep_the_others_from_their_turns(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for prediction_id in ("p1", "p2", "p3"):
            processing(world, prediction_id)
        world.now = NOW + EXECUTION_CHECK - MINUTE
        waiting(world, 2)
        world.pass_time(60)
        slow = world.waker()

        def find(*_: Any) -> None:
            world.pass_time(20)

        monkeypatch.setattr(type(slow.wait_loop), "find", find)
        woken = world.tick()

        assert woken == {"execution_missing": 1, "rate_limited": 2}

    def test_that_cannot_be_looked_at_keeps_nobody_from_his_turn(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processing(world)
        world.now = NOW + EXECUTION_CHECK - MINUTE
        waiting(world, 1)
        world.pass_time(60)

        def find(*_: Any) -> None:
            raise ServiceError("throttled")

        monkeypatch.setattr(type(world.waker().wait_loop), "find", find)
        with pytest.raises(ServiceError, match="throttled"):
            world.tick()

        assert len(world.sent) == 1


def test_a_held_task_is_looked_at_once_an_hour(world: World) -> None:
    upload = world.upload(jpeg())
    world.answers = [httpx.ReadTimeout("no answer")]
    submitter = world.submitter(uncertain_grace_seconds=600)
    submitter.submit(upload)
    world.pass_time(600)

    assert world.tick() == {"answer_lost": 1}
    submitter.wake(upload.task_id)

    assert world.task(upload).due_at == world.now + timedelta(hours=1)
    assert world.task(upload).status is Status.UNCERTAIN


def test_what_does_not_fit_into_the_time_is_left_to_the_next_minute(world: World) -> None:
    waiting(world, 3)
    world.pass_time(60)

    woken = world.waker().wake(world.now)

    assert sum(woken.values()) == 1
