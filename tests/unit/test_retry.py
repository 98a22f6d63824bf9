"""What a person's retry does, and what it never does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.errors import TaskNotFound
from cutout.domain.messages import RetryRequest
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from functions.submit import app
from tests.support.images import jpeg
from tests.support.world import LEASE_SECONDS, Reply, World, accepted, answer, refused

NO_MACHINE = "arn:aws:states:us-east-1:1:stateMachine:no"
LOST = httpx.ReadTimeout("no answer")


@pytest.fixture
def upload(world: World) -> Upload:
    return world.upload(jpeg(40, 30))


def failed(world: World, upload: Upload, reply: httpx.Response | None = None) -> Task:
    """A task that the vendor took and that ended without an image."""
    world.answers = [reply or accepted("p1")]
    world.submitter().submit(upload)
    task = world.task(upload)
    if task.status is Status.FAILED:
        return task
    return world.ledger.move(
        task, Status.FAILED, world.now, code="timed_out", reason="the vendor had no result"
    )


def uncertain(world: World, upload: Upload, **settings: Any) -> Task:
    """A task of which nobody knows whether the vendor has it."""
    world.answers = [LOST]
    world.submitter(**settings).submit(upload)
    return world.task(upload)


def posts(world: World) -> int:
    return sum(request.method == "POST" for request in world.requests)


def retry(world: World, task: Task, *, pay_again: bool = False, **settings: Any) -> None:
    """One delivery of the request to retry the task as it was then."""
    world.retrier(**settings).retry(task.task_id, pay_again=pay_again, attempt=task.attempt)


@pytest.mark.parametrize("status", ["completed", "processing", "created", "something new"])
def test_what_the_vendor_has_or_will_have_is_fetched_for_nothing(
    world: World, upload: Upload, status: str
) -> None:
    before = failed(world, upload)
    world.answers = [answer(id="p1", status=status)]

    retry(world, before, pay_again=False)

    task = world.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p1")
    assert (task.code, task.reason) == (None, None)
    assert posts(world) == 1
    assert sorted(world.executions()) == [f"{upload.task_id}-1", f"{upload.task_id}-2"]
    assert not world.first_input(task)["await_callback"]


def test_a_result_of_no_use_is_paid_again_by_a_persons_word(world: World, upload: Upload) -> None:
    before = failed(world, upload)
    world.answers = [accepted("p2")]

    retry(world, before, pay_again=True)

    task = world.task(upload)
    assert (task.status, task.prediction_id) == (Status.PROCESSING, "p2")
    assert posts(world) == 2


@pytest.mark.parametrize(
    "reply",
    [
        answer(id="p1", status="failed", error="no subject"),
        answer(id="p1", status="deleted"),
        refused(404, "Prediction not found"),
    ],
)
def test_what_the_vendor_has_not_is_sent_once_more(
    world: World, upload: Upload, reply: httpx.Response
) -> None:
    before = failed(world, upload)
    world.answers = [reply, accepted("p2")]

    retry(world, before)

    task = world.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p2")
    assert (task.code, task.reason) == (None, None)
    assert posts(world) == 2


def test_what_was_refused_is_sent_once_more(world: World, upload: Upload) -> None:
    before = failed(world, upload, refused(400, "no such model"))
    world.answers = [accepted("p2")]

    retry(world, before)

    assert world.task(upload).prediction_id == "p2"


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (refused(500), 60),
        (httpx.ConnectError("no route"), 60),
        (refused(429), 60),
        (refused(401), 900),
    ],
    ids=["a vendor that fails", "no connection", "the rate limit", "a refused key"],
)
def test_while_the_vendor_cannot_be_asked_the_retry_waits(
    world: World, upload: Upload, reply: Reply, seconds: int
) -> None:
    before = failed(world, upload)
    world.answers = [reply]

    retry(world, before)

    task = world.task(upload)
    assert (task.status, task.prediction_id) == (Status.QUEUED, "p1")
    assert task.code
    assert task.due_at == world.now + timedelta(seconds=seconds)

    world.pass_time(seconds)
    assert world.tick() == {task.code: 1}
    world.answers = [answer(id="p1", status="completed")]
    world.submitter().wake(task.task_id)
    assert world.task(upload).status is Status.PROCESSING
    assert posts(world) == 1


def test_an_uncertain_task_is_not_paid_again_unasked(world: World, upload: Upload) -> None:
    before = uncertain(world, upload)

    retry(world, before)

    assert world.task(upload) == before
    assert posts(world) == 1


def test_an_uncertain_task_is_paid_again_when_asked(world: World, upload: Upload) -> None:
    before = uncertain(world, upload)
    world.answers = [accepted("p2")]

    retry(world, before, pay_again=True)

    task = world.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p2")
    assert (task.code, task.reason) == (None, None)


def test_a_request_delivered_twice_pays_once(world: World, upload: Upload) -> None:
    before = uncertain(world, upload)
    world.answers = [LOST]

    retry(world, before, pay_again=True)
    retry(world, before, pay_again=True)

    assert world.task(upload).status is Status.UNCERTAIN
    assert posts(world) == 2


def test_after_a_paid_retry_the_policy_holds_again(world: World, upload: Upload) -> None:
    before = uncertain(world, upload, on_uncertain="resubmit")
    world.answers = [LOST]

    retry(world, before, pay_again=True, on_uncertain="resubmit")

    assert world.task(upload).due_at == world.now + timedelta(seconds=600)
    world.pass_time(599)
    retry(world, before, pay_again=True, on_uncertain="resubmit")
    assert world.task(upload).status is Status.UNCERTAIN
    world.pass_time(1)
    world.answers = [accepted("p3")]
    retry(world, before, pay_again=True, on_uncertain="resubmit")
    assert world.task(upload).prediction_id == "p3"


def test_a_rejected_task_is_looked_at_again(world: World) -> None:
    upload = world.upload(jpeg(1001, 1000))
    world.submitter().submit(upload)
    before = world.task(upload)
    assert before.code == "too_many_pixels"
    world.answers = [accepted("p1")]

    retry(world, before, max_megapixels=2)

    assert world.task(upload).status is Status.PROCESSING


def test_what_is_rejected_again_says_so_again(world: World) -> None:
    upload = world.upload(b"%PDF-1.7\n", "a.pdf")
    world.submitter().submit(upload)
    before = world.task(upload)
    world.pass_time(60)

    retry(world, before)

    task = world.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, "unsupported_format")
    assert task.entered_at[Status.REJECTED] == world.now
    assert posts(world) == 0


def complete(world: World, task: Task) -> Task:
    return world.ledger.move(task, Status.COMPLETED, world.now)


def supersede(world: World, task: Task) -> Task:
    return world.ledger.move(task, Status.SUPERSEDED, world.now, code="superseded", reason="newer")


@pytest.mark.parametrize("end", [complete, supersede])
def test_what_is_done_is_left_alone(
    world: World, upload: Upload, end: Callable[[World, Task], Task]
) -> None:
    world.answers = [accepted("p1")]
    world.submitter().submit(upload)
    before = end(world, world.task(upload))

    retry(world, before, pay_again=True)

    assert world.task(upload) == before
    assert len(world.executions()) == 1


def test_an_unknown_task_is_told(world: World) -> None:
    with pytest.raises(TaskNotFound):
        world.retrier().retry("0" * 32, pay_again=False)


def test_without_an_attempt_the_last_one_is_meant(world: World, upload: Upload) -> None:
    uncertain(world, upload)
    world.answers = [accepted("p2")]

    world.retrier().retry(upload.task_id, pay_again=True)

    assert world.task(upload).attempt == 2


# ---------------------------------------------------------------- no dead end


def processing(world: World, upload: Upload) -> Task:
    world.answers = [accepted("p1")]
    world.submitter().submit(upload)
    return world.task(upload)


def test_what_is_processed_is_left_to_its_execution(world: World, upload: Upload) -> None:
    before = processing(world, upload)
    arn = world.execution_arn(before)
    assert world.states.describe_execution(executionArn=arn)["status"] == "RUNNING"

    retry(world, before, pay_again=True)

    assert world.task(upload) == before
    assert len(world.executions()) == 1


def test_what_is_processed_without_an_execution_gets_one(
    world: World, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = world.submitter()
    world.answers = [accepted("p1")]
    with monkeypatch.context() as broken:
        broken.setattr(submitter.wait_loop, "_arn", NO_MACHINE)
        submitter.submit(upload)
    assert world.executions() == []

    retry(world, world.task(upload))

    assert world.executions() == [f"{upload.task_id}-1"]


def test_what_is_processed_by_an_execution_that_has_ended_is_taken_up_again(
    world: World, upload: Upload
) -> None:
    """As after an outage in which neither the wait loop nor its event could close the task."""
    before = processing(world, upload)
    world.states.stop_execution(executionArn=world.execution_arn(before))
    world.answers = [answer(id="p1", status="completed")]

    retry(world, before)

    task = world.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p1")
    assert posts(world) == 1


def test_what_waits_is_sent_at_once(world: World, upload: Upload) -> None:
    world.answers = [refused(400, "insufficient credits")]
    world.submitter().submit(upload)
    world.answers = [accepted("p2")]

    retry(world, world.task(upload))

    assert world.task(upload).prediction_id == "p2"


def test_a_sender_is_waited_for_until_its_lease_ends(world: World, upload: Upload) -> None:
    world.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.submitter().submit(upload)
    before = world.task(upload)

    retry(world, before)
    assert world.task(upload) == before
    world.pass_time(LEASE_SECONDS)
    retry(world, before)

    assert world.task(upload).status is Status.UNCERTAIN


# ---------------------------------------------------------------- the message comes back


def test_a_retry_that_has_to_wait_goes_on_when_its_message_comes_back(
    world: World, upload: Upload
) -> None:
    before = failed(world, upload, refused(400, "no such model"))
    world.answers = [refused(429)]
    retry(world, before)
    assert world.task(upload).status is Status.QUEUED

    world.pass_time(60)
    world.answers = [accepted("p2")]
    retry(world, before)

    assert world.task(upload).status is Status.PROCESSING


def test_a_retry_that_died_before_its_execution_starts_it(
    world: World, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = failed(world, upload)
    retrier = world.retrier()
    world.answers = [answer(id="p1", status="completed")]
    with monkeypatch.context() as patch:
        patch.setattr(
            retrier.submitter.wait_loop, "_arn", "arn:aws:states:us-east-1:1:stateMachine:no"
        )
        retrier.retry(before.task_id, pay_again=False, attempt=before.attempt)
    assert world.task(upload).attempt == 2

    retry(world, before)

    assert f"{upload.task_id}-2" in world.executions()


def test_a_retry_takes_a_new_slot_of_the_plan(world: World, upload: Upload) -> None:
    """A rejected task may still hold the slot that it waited for: by now it is another's minute."""
    first = world.upload(jpeg(50, 30), "first.jpg")
    world.answers = [accepted("p1"), accepted("p2"), accepted("p3")]
    submitter = world.submitter(images_per_minute=2)
    submitter.submit(first)
    world.pass_time(0.001)
    submitter.submit(upload)
    slot = world.task(upload).slot_at
    assert slot
    world.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))
    world.now = slot
    submitter.submit(upload)
    rejected = world.task(upload)
    assert rejected.code == "source_gone"

    world.pass_time(3600)
    submitter.submit(world.upload(jpeg(60, 30), "busy.jpg"))
    world.retrier(images_per_minute=2).retry(rejected.task_id)

    task = world.task(upload)
    assert task.slot_at != slot
    assert task.status is Status.REJECTED
    assert posts(world) == 2


# ---------------------------------------------------------------- the message


def handle(world: World, body: str) -> None:
    """One delivery of a message to the submit function."""
    app.handle_message(body, world.submitter(), world.retrier())


def test_the_message_of_a_retry_is_understood(world: World, upload: Upload) -> None:
    before = uncertain(world, upload)
    world.answers = [accepted("p2")]
    message = RetryRequest.body(before.task_id, pay_again=True, attempt=1)

    handle(world, message)
    handle(world, message)

    assert world.task(upload).prediction_id == "p2"
    assert posts(world) == 2


def test_a_message_that_does_not_say_so_does_not_pay_again(world: World, upload: Upload) -> None:
    before = uncertain(world, upload)

    handle(world, RetryRequest.body(before.task_id))

    assert world.task(upload) == before
