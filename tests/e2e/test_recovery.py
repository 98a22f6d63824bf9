"""What comes in the wrong order, ends in the wrong way, or is taken up again by a person."""

import json

from cutout.domain.tasks import Status
from cutout_cli.redrive import DeadLetters
from cutout_cli.retry import Cost
from cutout_cli.stacks import local
from tests.e2e.conftest import photo, retry
from tests.support.stack_client import StackClient, event_of
from tests.support.waiting import wait_for


def test_a_late_result_of_an_older_revision_replaces_nothing(stack: StackClient) -> None:
    stack.ask_for_fault("task-slow", "revised.jpg", seconds=20, times=1)
    older = stack.upload(photo(160, 120), "revised.jpg")
    stack.reached(older, Status.PROCESSING)
    newer = stack.upload(photo(200, 100), "revised.jpg")

    assert stack.reached(newer, Status.COMPLETED).task_id != older.task_id
    superseded = stack.reached(older, Status.SUPERSEDED, Status.COMPLETED)

    assert (superseded.status, superseded.code) == (Status.SUPERSEDED, "superseded")
    assert stack.execution(superseded)["status"] == "SUCCEEDED"
    assert stack.image("revised.jpg.png").size == (200, 100)
    versions = stack.s3.list_object_versions(
        Bucket=stack.env["OUTPUT_BUCKET"], Prefix="revised.jpg.png"
    )
    assert len(versions["Versions"]) == 1


def test_an_aborted_execution_closes_its_task(stack: StackClient) -> None:
    stack.ask_for_fault("task-never-ends", "aborted.jpg")
    task = stack.reached(stack.upload(photo(), "aborted.jpg"), Status.PROCESSING)
    wait_for(lambda: stack.ledger.get(task.task_id).polls)

    stack.states.stop_execution(executionArn=stack.execution_arn(task))

    failed = stack.reached(task.upload, Status.FAILED)
    assert failed.code == "execution_ended"
    assert str(failed.reason).startswith("the wait loop aborted")


def test_a_poll_function_that_is_killed_finishes_on_the_next_try(stack: StackClient) -> None:
    stack.ask_for_fault("task-slow", "killed.jpg", seconds=3)
    upload = stack.upload(photo(), "killed.jpg")
    stack.reached(upload, Status.PROCESSING)

    wait_for(lambda: stack.ledger.get(upload.task_id).polls)
    stack.kill("PollFunction")

    assert stack.ended(upload).status is Status.COMPLETED
    assert len(stack.billed("killed.jpg")) == 1


def test_a_failure_of_the_vendor_is_sent_anew(stack: StackClient) -> None:
    stack.ask_for_fault("task-fails", "again.jpg", times=1)
    upload = stack.upload(photo(), "again.jpg")
    assert stack.ended(upload).code == "prediction_failed"

    assert retry(stack, "again.jpg").cost is Cost.PAID

    assert stack.reached(upload, Status.COMPLETED).code is None
    assert [task["refunded"] for task in stack.billed("again.jpg")] == [True, False]


def test_an_uncertain_task_is_paid_again_only_by_a_persons_word(stack: StackClient) -> None:
    stack.ask_for_fault("submit-dropped", "unsure.jpg", times=1)
    upload = stack.upload(photo(), "unsure.jpg")
    stack.reached(upload, Status.UNCERTAIN)

    left = retry(stack, "unsure.jpg")
    assert not left.sends
    assert "may have accepted and billed" in left.what
    retry(stack, "unsure.jpg", pay_again=True)

    assert stack.reached(upload, Status.COMPLETED).attempt == 2


def test_a_completed_task_is_not_retried(stack: StackClient) -> None:
    stack.ended(stack.upload(photo(), "done.jpg"))

    left = retry(stack, "done.jpg", pay_again=True)
    assert not left.sends
    assert "it has its PNG" in left.what


def test_dead_letters_go_back_to_work(stack: StackClient) -> None:
    upload = stack.upload(photo(), "dead.jpg")
    stack.ended(upload)
    stack.sqs.send_message(
        QueueUrl=stack.env["DEAD_LETTER_QUEUE_URL"], MessageBody=event_of(upload)
    )

    letters = DeadLetters(local(stack.env))
    (letter,) = letters.messages()
    assert (letter.queue, letter.text) == ("UploadDeadLetters", "upload of dead.jpg")
    letters.put_back(letter)
    (letter,) = letters.messages()
    letters.redrive(letter)
    assert list(letters.messages()) == []
    assert len(stack.billed("dead.jpg")) == 1


def test_waiting_in_the_queue_never_ends_in_the_dead_letters(stack: StackClient) -> None:
    # More refusals than a message may fail: a wait is not a failure.
    stack.ask_for_fault("submit-rate-limited", "patient.jpg", times=3)
    upload = stack.upload(photo(), "patient.jpg")
    for _ in range(3):
        waiting = stack.reached(upload, Status.QUEUED, code="rate_limited")
        stack.end_wait(waiting)
        stack.send(event_of(upload))
        attempts = waiting.attempt
        wait_for(lambda: stack.ledger.get(upload.task_id).attempt > attempts)  # noqa: B023

    assert stack.ended(upload).attempt == 4
    dead = stack.sqs.receive_message(QueueUrl=stack.env["DEAD_LETTER_QUEUE_URL"])
    assert "Messages" not in dead


def test_a_retry_can_be_asked_for_with_the_plain_aws_cli_too(stack: StackClient) -> None:
    stack.ask_for_fault("task-fails", "plain.jpg", times=1)
    upload = stack.upload(photo(), "plain.jpg")
    stack.ended(upload)

    asked = {"detail-type": "Cutout Retry", "detail": {"task_id": upload.task_id}}
    stack.send(json.dumps(asked))

    assert stack.reached(upload, Status.COMPLETED).attempt == 2
