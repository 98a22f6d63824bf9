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
from tests.support.harness import (
    LEASE_SECONDS,
    WEBHOOK_URL,
    PipelineHarness,
    Reply,
    accepted,
    answer,
    refused,
)
from tests.support.images import jpeg

NO_MACHINE = "arn:aws:states:us-east-1:1:stateMachine:no"
LOST = httpx.ReadTimeout("no answer")


@pytest.fixture
def upload(harness: PipelineHarness) -> Upload:
    return harness.upload(jpeg(40, 30))


def failed(harness: PipelineHarness, upload: Upload, reply: httpx.Response | None = None) -> Task:
    """A task that the vendor took and that ended without an image."""
    harness.answers = [reply or accepted("p1")]
    harness.submitter(webhook_url=WEBHOOK_URL).submit(upload)
    task = harness.task(upload)
    if task.status is Status.FAILED:
        return task
    return harness.ledger.move(
        task, Status.FAILED, harness.now, code="timed_out", reason="the vendor had no result"
    )


def uncertain(harness: PipelineHarness, upload: Upload, **settings: Any) -> Task:
    """A task of which nobody knows whether the vendor has it."""
    harness.answers = [LOST]
    harness.submitter(**settings).submit(upload)
    return harness.task(upload)


def posts(harness: PipelineHarness) -> int:
    return sum(request.method == "POST" for request in harness.requests)


def retry(
    harness: PipelineHarness, task: Task, *, pay_again: bool = False, **settings: Any
) -> None:
    """One delivery of the request to retry the task as it was then."""
    harness.retrier(**settings).retry(task.task_id, pay_again=pay_again, attempt=task.attempt)


@pytest.mark.parametrize("status", ["completed", "processing", "created", "something new"])
def test_what_the_vendor_has_or_will_have_is_fetched_for_nothing(
    harness: PipelineHarness, upload: Upload, status: str
) -> None:
    before = failed(harness, upload)
    harness.answers = [answer(id="p1", status=status)]

    retry(harness, before, pay_again=False)

    task = harness.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p1")
    assert (task.code, task.reason) == (None, None)
    assert posts(harness) == 1
    assert sorted(harness.executions()) == [f"{upload.task_id}-1", f"{upload.task_id}-2"]
    assert not task.callback_expected
    assert not harness.first_input(task)["await_callback"]


def test_a_result_of_no_use_is_paid_again_by_a_persons_word(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = failed(harness, upload)
    harness.answers = [accepted("p2")]

    retry(harness, before, pay_again=True)

    task = harness.task(upload)
    assert (task.status, task.prediction_id) == (Status.PROCESSING, "p2")
    assert posts(harness) == 2


@pytest.mark.parametrize(
    "reply",
    [
        answer(id="p1", status="failed", error="no subject"),
        answer(id="p1", status="deleted"),
        refused(404, "Prediction not found"),
    ],
)
def test_what_the_vendor_has_not_is_sent_once_more(
    harness: PipelineHarness, upload: Upload, reply: httpx.Response
) -> None:
    before = failed(harness, upload)
    harness.answers = [reply, accepted("p2")]

    retry(harness, before)

    task = harness.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p2")
    assert (task.code, task.reason) == (None, None)
    assert posts(harness) == 2


def test_what_was_refused_is_sent_once_more(harness: PipelineHarness, upload: Upload) -> None:
    before = failed(harness, upload, refused(400, "no such model"))
    harness.answers = [accepted("p2")]

    retry(harness, before)

    assert harness.task(upload).prediction_id == "p2"


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
    harness: PipelineHarness, upload: Upload, reply: Reply, seconds: int
) -> None:
    before = failed(harness, upload)
    harness.answers = [reply]

    retry(harness, before)

    task = harness.task(upload)
    assert (task.status, task.prediction_id) == (Status.QUEUED, "p1")
    assert task.code
    assert task.due_at == harness.now + timedelta(seconds=seconds)

    harness.pass_time(seconds)
    assert harness.tick() == {task.code: 1}
    harness.answers = [answer(id="p1", status="completed")]
    harness.submitter().wake(task.task_id)
    assert harness.task(upload).status is Status.PROCESSING
    assert posts(harness) == 1


def test_an_uncertain_task_is_not_paid_again_unasked(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = uncertain(harness, upload)

    retry(harness, before)

    assert harness.task(upload) == before
    assert posts(harness) == 1


def test_an_uncertain_task_is_paid_again_when_asked(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = uncertain(harness, upload)
    harness.answers = [accepted("p2")]

    retry(harness, before, pay_again=True)

    task = harness.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p2")
    assert (task.code, task.reason) == (None, None)


def test_a_request_delivered_twice_pays_once(harness: PipelineHarness, upload: Upload) -> None:
    before = uncertain(harness, upload)
    harness.answers = [LOST]

    retry(harness, before, pay_again=True)
    retry(harness, before, pay_again=True)

    assert harness.task(upload).status is Status.UNCERTAIN
    assert posts(harness) == 2


def test_after_a_paid_retry_the_policy_holds_again(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = uncertain(harness, upload, on_uncertain="resubmit")
    harness.answers = [LOST]

    retry(harness, before, pay_again=True, on_uncertain="resubmit")

    assert harness.task(upload).due_at == harness.now + timedelta(seconds=600)
    harness.pass_time(599)
    retry(harness, before, pay_again=True, on_uncertain="resubmit")
    assert harness.task(upload).status is Status.UNCERTAIN
    harness.pass_time(1)
    harness.answers = [accepted("p3")]
    retry(harness, before, pay_again=True, on_uncertain="resubmit")
    assert harness.task(upload).prediction_id == "p3"


def test_a_rejected_task_is_looked_at_again(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(1001, 1000))
    harness.submitter().submit(upload)
    before = harness.task(upload)
    assert before.code == "too_many_pixels"
    harness.answers = [accepted("p1")]

    retry(harness, before, max_megapixels=2)

    assert harness.task(upload).status is Status.PROCESSING


def test_what_is_rejected_again_says_so_again(harness: PipelineHarness) -> None:
    upload = harness.upload(b"%PDF-1.7\n", "a.pdf")
    harness.submitter().submit(upload)
    before = harness.task(upload)
    harness.pass_time(60)

    retry(harness, before)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, "unsupported_format")
    assert task.entered_at[Status.REJECTED] == harness.now
    assert posts(harness) == 0


def complete(harness: PipelineHarness, task: Task) -> Task:
    return harness.ledger.move(task, Status.COMPLETED, harness.now)


def supersede(harness: PipelineHarness, task: Task) -> Task:
    return harness.ledger.move(
        task, Status.SUPERSEDED, harness.now, code="superseded", reason="newer"
    )


@pytest.mark.parametrize("end", [complete, supersede])
def test_what_is_done_is_left_alone(
    harness: PipelineHarness, upload: Upload, end: Callable[[PipelineHarness, Task], Task]
) -> None:
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    before = end(harness, harness.task(upload))

    retry(harness, before, pay_again=True)

    assert harness.task(upload) == before
    assert len(harness.executions()) == 1


def test_an_unknown_task_is_told(harness: PipelineHarness) -> None:
    with pytest.raises(TaskNotFound):
        harness.retrier().retry("0" * 32, pay_again=False)


def test_without_an_attempt_the_last_one_is_meant(harness: PipelineHarness, upload: Upload) -> None:
    uncertain(harness, upload)
    harness.answers = [accepted("p2")]

    harness.retrier().retry(upload.task_id, pay_again=True)

    assert harness.task(upload).attempt == 2


# ---------------------------------------------------------------- no dead end


def processing(harness: PipelineHarness, upload: Upload) -> Task:
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    return harness.task(upload)


def test_what_is_processed_is_left_to_its_execution(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = processing(harness, upload)
    arn = harness.execution_arn(before)
    assert harness.states.describe_execution(executionArn=arn)["status"] == "RUNNING"

    retry(harness, before, pay_again=True)

    assert harness.task(upload) == before
    assert len(harness.executions()) == 1


def test_what_is_processed_without_an_execution_gets_one(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = harness.submitter()
    harness.answers = [accepted("p1")]
    with monkeypatch.context() as broken:
        broken.setattr(submitter.wait_loop, "_arn", NO_MACHINE)
        submitter.submit(upload)
    assert harness.executions() == []

    retry(harness, harness.task(upload))

    assert harness.executions() == [f"{upload.task_id}-1"]


def test_what_is_processed_by_an_execution_that_has_ended_is_taken_up_again(
    harness: PipelineHarness, upload: Upload
) -> None:
    """As after an outage in which neither the wait loop nor its event could close the task."""
    before = processing(harness, upload)
    harness.states.stop_execution(executionArn=harness.execution_arn(before))
    harness.answers = [answer(id="p1", status="completed")]

    retry(harness, before)

    task = harness.task(upload)
    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p1")
    assert posts(harness) == 1


def test_what_waits_is_sent_at_once(harness: PipelineHarness, upload: Upload) -> None:
    harness.answers = [refused(400, "insufficient credits")]
    harness.submitter().submit(upload)
    harness.answers = [accepted("p2")]

    retry(harness, harness.task(upload))

    assert harness.task(upload).prediction_id == "p2"


def test_a_sender_is_waited_for_until_its_lease_ends(
    harness: PipelineHarness, upload: Upload
) -> None:
    harness.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        harness.submitter().submit(upload)
    before = harness.task(upload)

    retry(harness, before)
    assert harness.task(upload) == before
    harness.pass_time(LEASE_SECONDS)
    retry(harness, before)

    assert harness.task(upload).status is Status.UNCERTAIN


# ---------------------------------------------------------------- the message comes back


def test_a_retry_that_has_to_wait_goes_on_when_its_message_comes_back(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = failed(harness, upload, refused(400, "no such model"))
    harness.answers = [refused(429)]
    retry(harness, before)
    assert harness.task(upload).status is Status.QUEUED

    harness.pass_time(60)
    harness.answers = [accepted("p2")]
    retry(harness, before)

    assert harness.task(upload).status is Status.PROCESSING


def test_a_retry_that_died_before_its_execution_starts_it(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = failed(harness, upload)
    retrier = harness.retrier()
    harness.answers = [answer(id="p1", status="completed")]
    with monkeypatch.context() as patch:
        patch.setattr(
            retrier.submitter.wait_loop, "_arn", "arn:aws:states:us-east-1:1:stateMachine:no"
        )
        retrier.retry(before.task_id, pay_again=False, attempt=before.attempt)
    assert harness.task(upload).attempt == 2

    retry(harness, before)

    assert f"{upload.task_id}-2" in harness.executions()


def test_a_retry_takes_a_new_slot_of_the_plan(harness: PipelineHarness, upload: Upload) -> None:
    """A rejected task may still hold the slot that it waited for: by now it is another's minute."""
    first = harness.upload(jpeg(50, 30), "first.jpg")
    harness.answers = [accepted("p1"), accepted("p2"), accepted("p3")]
    submitter = harness.submitter(images_per_minute=2)
    submitter.submit(first)
    harness.pass_time(0.001)
    submitter.submit(upload)
    slot = harness.task(upload).slot_at
    assert slot
    harness.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))
    harness.now = slot
    submitter.submit(upload)
    rejected = harness.task(upload)
    assert rejected.code == "source_gone"

    harness.pass_time(3600)
    submitter.submit(harness.upload(jpeg(60, 30), "busy.jpg"))
    harness.retrier(images_per_minute=2).retry(rejected.task_id)

    task = harness.task(upload)
    assert task.slot_at != slot
    assert task.status is Status.REJECTED
    assert posts(harness) == 2


# ---------------------------------------------------------------- the message


def handle(harness: PipelineHarness, body: str) -> None:
    """One delivery of a message to the submit function."""
    app.handle_message(body, harness.submitter(), harness.retrier())


def test_the_message_of_a_retry_is_understood(harness: PipelineHarness, upload: Upload) -> None:
    before = uncertain(harness, upload)
    harness.answers = [accepted("p2")]
    message = RetryRequest.body(before.task_id, pay_again=True, attempt=1)

    handle(harness, message)
    handle(harness, message)

    assert harness.task(upload).prediction_id == "p2"
    assert posts(harness) == 2


def test_a_message_that_does_not_say_so_does_not_pay_again(
    harness: PipelineHarness, upload: Upload
) -> None:
    before = uncertain(harness, upload)

    handle(harness, RetryRequest.body(before.task_id))

    assert harness.task(upload) == before
