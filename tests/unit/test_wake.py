"""What the clock wakes, and what it leaves alone."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.errors import ServiceError
from cutout.domain.tasks import EXECUTION_CHECK, Status, Task, new_task
from cutout.domain.uploads import Upload
from cutout.wake import STUCK_AFTER
from tests.support.harness import LEASE_SECONDS, NOW, PipelineHarness, accepted, refused
from tests.support.images import jpeg
from tests.unit.test_observability import metrics

MINUTE = timedelta(minutes=1)


def processing(harness: PipelineHarness, prediction_id: str = "p1") -> Task:
    upload = harness.upload(jpeg())
    harness.answers = [accepted(prediction_id)]
    harness.submitter().submit(upload)
    return harness.task(upload)


def waiting(harness: PipelineHarness, count: int) -> list[Upload]:
    """Uploads that the vendor refused for its rate, one a second."""
    submitter, uploads = harness.submitter(), []
    for number in range(count):
        harness.answers = [refused(429)]
        uploads.append(harness.upload(jpeg(), f"{number}.jpg"))
        submitter.submit(uploads[-1])
        harness.pass_time(1)
    return uploads


def test_nothing_is_woken_before_its_time(harness: PipelineHarness) -> None:
    waiting(harness, 3)

    assert harness.tick() == {}
    assert harness.sent == []


def test_what_is_due_is_told_to_the_submit_function_oldest_first(harness: PipelineHarness) -> None:
    uploads = waiting(harness, 12)
    harness.pass_time(60)

    assert harness.tick() == {"rate_limited": 12}

    assert harness.sent == [(upload.task_id, 0) for upload in uploads]


def test_of_two_clocks_one_wakes_a_task(harness: PipelineHarness) -> None:
    (upload,) = waiting(harness, 1)
    harness.pass_time(60)
    (due,) = harness.ledger.due(Status.QUEUED, harness.now)

    assert harness.tick() == {"rate_limited": 1}

    other = harness.waker()
    assert other._postponed(due, {"due_at": harness.now}) is None
    assert harness.tick() == {}
    assert [task_id for task_id, _ in harness.sent] == [upload.task_id]


def test_a_message_that_is_lost_is_sent_again_when_its_function_must_have_ended(
    harness: PipelineHarness,
) -> None:
    waiting(harness, 1)
    harness.pass_time(60)
    harness.tick()

    harness.pass_time(LEASE_SECONDS - 1)
    assert harness.tick() == {}
    harness.pass_time(1)

    assert harness.tick() == {"waits_for_slot": 1}
    assert len(harness.sent) == 2


def test_turns_are_given_oldest_first_as_many_as_the_plan_has(harness: PipelineHarness) -> None:
    uploads = waiting(harness, 6)
    harness.pass_time(60)

    assert harness.tick(images_per_minute=2) == {"rate_limited": 4}

    slots = [harness.task(upload).slot_at for upload in uploads]
    assert slots[:4] == sorted(slot for slot in slots[:4] if slot)
    assert slots[4:] == [None, None]
    assert [task_id for task_id, _ in harness.sent] == [u.task_id for u in uploads[:4]]
    delays = [delay for _, delay in harness.sent]
    assert delays == [0, 31, 62, 93]
    task = harness.task(uploads[1])
    assert task.slot_at
    assert (task.code, task.submit_after) == ("waits_for_slot", task.slot_at)
    assert task.due_at == task.slot_at + timedelta(seconds=LEASE_SECONDS)


def test_while_others_wait_a_newcomer_waits_behind_them(harness: PipelineHarness) -> None:
    waiting(harness, 6)
    harness.pass_time(60)
    harness.tick(images_per_minute=2)
    newcomer = harness.upload(jpeg(), "new.jpg")

    harness.submitter(images_per_minute=2).submit(newcomer)

    task = harness.task(newcomer)
    assert (task.code, task.slot_at, task.due_at) == ("waits_for_turn", None, harness.now)
    assert task.reason == "others were there before (2 images a minute)"
    harness.pass_time(120)
    harness.tick(images_per_minute=2)
    assert harness.task(newcomer).slot_at


def test_when_nobody_waits_any_more_a_newcomer_takes_a_slot(harness: PipelineHarness) -> None:
    waiting(harness, 6)
    harness.pass_time(60)
    for _ in range(3):
        harness.tick(images_per_minute=2)
        harness.pass_time(120)
    newcomer = harness.upload(jpeg(), "new.jpg")
    harness.answers = [accepted()]

    harness.submitter(images_per_minute=2).submit(newcomer)

    assert harness.task(newcomer).status is Status.PROCESSING


def test_an_overdue_slot_is_given_up_and_the_place_in_the_line_kept(
    harness: PipelineHarness,
) -> None:
    submitter = harness.submitter(images_per_minute=2)
    harness.answers = [accepted()]
    submitter.submit(harness.upload(jpeg(), "first.jpg"))
    late = harness.upload(jpeg(), "late.jpg")
    submitter.submit(late)
    harness.pass_time(31 + 60)

    submitter.wake(late.task_id)

    task = harness.task(late)
    assert (task.code, task.slot_at, task.submit_after) == ("waits_for_turn", None, None)
    assert task.due_at == NOW
    harness.answers = [accepted("p2")]
    harness.tick(images_per_minute=2)
    submitter.wake(late.task_id)
    assert harness.task(late).status is Status.PROCESSING


def test_while_sending_is_paused_nobody_is_woken(harness: PipelineHarness) -> None:
    (upload,) = waiting(harness, 1)
    harness.pass_time(60)
    waker = harness.waker()
    waker.governor.pause()

    assert harness.tick() == {}
    newcomer = harness.upload(jpeg(), "new.jpg")
    harness.submitter().submit(newcomer)
    assert harness.task(newcomer).reason == "others were there before (sending is paused)"

    waker.governor.resume()
    assert harness.tick() == {"rate_limited": 1, "waits_for_turn": 1}
    assert [task_id for task_id, _ in harness.sent] == [upload.task_id, newcomer.task_id]


class TestProcessing:
    def test_is_looked_at_after_a_while(self, harness: PipelineHarness) -> None:
        task = processing(harness)

        harness.now = NOW + EXECUTION_CHECK - timedelta(seconds=1)
        assert harness.tick() == {}
        harness.now = NOW + EXECUTION_CHECK
        assert harness.tick() == {"execution_running": 1}
        assert harness.tick() == {}
        later = harness.ledger.get(task.task_id)
        assert later.due_at == harness.now + EXECUTION_CHECK
        assert later.status is Status.PROCESSING
        assert harness.sent == []

    def test_without_an_execution_it_is_told_to_the_submit_function(
        self, harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(type(harness.submitter().wait_loop), "start", lambda *_: None)
            task = processing(harness)
        harness.now = NOW + EXECUTION_CHECK

        assert harness.tick() == {"execution_missing": 1}

        assert harness.sent == [(task.task_id, 0)]
        harness.submitter().wake(task.task_id)
        assert harness.executions() == [task.execution_name]

    def test_whose_execution_ended_untold_it_is_closed(self, harness: PipelineHarness) -> None:
        task = processing(harness)
        harness.states.stop_execution(executionArn=harness.execution_arn(task))
        harness.now = NOW + EXECUTION_CHECK

        assert harness.tick() == {"execution_aborted": 1}

        closed = harness.ledger.get(task.task_id)
        assert (closed.status, closed.code) == (Status.FAILED, "execution_ended")
        (event,) = harness.published()
        assert event["detail"]["task_id"] == task.task_id

    def test_does_not_keep_the_others_from_their_turns(
        self, harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for prediction_id in ("p1", "p2", "p3"):
            processing(harness, prediction_id)
        harness.now = NOW + EXECUTION_CHECK - MINUTE
        waiting(harness, 2)
        harness.pass_time(60)
        slow = harness.waker()

        def find(*_: Any) -> None:
            harness.pass_time(20)

        monkeypatch.setattr(type(slow.wait_loop), "find", find)
        woken = harness.tick()

        assert woken == {"execution_missing": 1, "rate_limited": 2}

    def test_that_cannot_be_looked_at_keeps_nobody_from_his_turn(
        self, harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processing(harness)
        harness.now = NOW + EXECUTION_CHECK - MINUTE
        waiting(harness, 1)
        harness.pass_time(60)

        def find(*_: Any) -> None:
            raise ServiceError("throttled")

        monkeypatch.setattr(type(harness.waker().wait_loop), "find", find)
        with pytest.raises(ServiceError, match="throttled"):
            harness.tick()

        assert len(harness.sent) == 1


def counted(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """What was counted besides the reasons for which tasks were woken."""
    found = metrics(capsys)
    return {name: value for _, _, name, value in found if name in {"TasksRecovered", "TasksStuck"}}


def test_an_execution_that_runs_long_after_its_deadline_is_stuck(
    harness: PipelineHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    task = processing(harness)
    stuck_at = task.deadline(600) + STUCK_AFTER
    harness.now = stuck_at - timedelta(seconds=1)
    assert harness.tick(deadline_seconds=600) == {"execution_running": 1}
    harness.now += EXECUTION_CHECK

    assert harness.tick(deadline_seconds=600) == {"execution_overdue": 1}

    assert counted(capsys) == {"TasksStuck": 1}
    assert harness.ledger.get(task.task_id).status is Status.PROCESSING


def test_what_waited_is_not_counted_as_recovered(
    harness: PipelineHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    processing(harness)
    waiting(harness, 2)
    harness.now = NOW + EXECUTION_CHECK

    assert harness.tick() == {"rate_limited": 2, "execution_running": 1}

    assert counted(capsys) == {}


def test_what_was_lost_is_counted_as_recovered(
    harness: PipelineHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    task = processing(harness)
    harness.states.stop_execution(executionArn=harness.execution_arn(task))
    new = harness.ledger.claim(
        new_task(harness.upload(jpeg(), "killed.jpg"), "cutouts", "killed.png", "m", NOW, 30)
    )
    sender = harness.ledger.claim(
        new_task(harness.upload(jpeg(), "sender.jpg"), "cutouts", "sender.png", "m", NOW, 30)
    )
    harness.ledger.move(sender, Status.SUBMITTING, NOW, due_at=NOW)
    harness.now = NOW + EXECUTION_CHECK

    assert harness.tick() == {"submitting_lost": 1, "execution_aborted": 1, "queued_lost": 1}

    assert counted(capsys) == {"TasksRecovered": 3}
    assert harness.sent == [(sender.task_id, 0), (new.task_id, 0)]


def test_a_held_task_is_looked_at_once_an_hour(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg())
    harness.answers = [httpx.ReadTimeout("no answer")]
    submitter = harness.submitter(uncertain_grace_seconds=600)
    submitter.submit(upload)
    harness.pass_time(600)

    assert harness.tick() == {"answer_lost": 1}
    submitter.wake(upload.task_id)

    assert harness.task(upload).due_at == harness.now + timedelta(hours=1)
    assert harness.task(upload).status is Status.UNCERTAIN


def test_what_does_not_fit_into_the_time_is_left_to_the_next_minute(
    harness: PipelineHarness,
) -> None:
    waiting(harness, 3)
    harness.pass_time(60)

    woken = harness.waker().wake(harness.now)

    assert sum(woken.values()) == 1
