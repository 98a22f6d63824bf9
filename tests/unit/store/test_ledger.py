from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from cutout.domain.errors import IllegalTransition, ServiceError, StatusChanged, TaskNotFound
from cutout.domain.tasks import AttemptId, Status, Task, new_task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from tests.support.harness import NOW, TABLE, PipelineHarness

UPLOAD = Upload(bucket="uploads", key="a b/ü+%.jpg", version_id="v1", etag="e", size=5)


@pytest.fixture
def task(harness: PipelineHarness) -> Task:
    return harness.ledger.claim(new_task(UPLOAD, "cutouts", "a b/ü+%.jpg.png", "model", NOW, 30))


def item(harness: PipelineHarness, task: Task) -> dict[str, Any]:
    """The item as it lies in the table."""
    key = {"task_id": {"S": task.task_id}}
    found: dict[str, Any] = harness.dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    return found


def test_a_claimed_task_reads_back_as_it_was_written(harness: PipelineHarness, task: Task) -> None:
    assert harness.ledger.get(task.task_id) == task
    assert item(harness, task)["object"] == {"S": "uploads/a b/ü+%.jpg"}


def test_a_second_claim_finds_the_task_as_it_stands(harness: PipelineHarness, task: Task) -> None:
    moved = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)

    again = harness.ledger.claim(new_task(UPLOAD, "elsewhere", "k", "model", NOW, 1))

    assert again == moved


def test_a_move_writes_its_changes_and_when_it_happened(
    harness: PipelineHarness, task: Task
) -> None:
    moved = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1, lease_until=NOW)

    assert moved.status is Status.SUBMITTING
    assert moved.entered_at == {Status.QUEUED: NOW, Status.SUBMITTING: NOW}
    assert (moved.attempt, moved.lease_until) == (1, NOW)


def test_a_change_to_none_removes_the_attribute(harness: PipelineHarness, task: Task) -> None:
    submitting = harness.ledger.move(task, Status.SUBMITTING, NOW, reason="because")
    queued = harness.ledger.move(submitting, Status.QUEUED, NOW, reason=None)

    assert queued.reason is None
    assert "reason" not in item(harness, task)


def test_a_move_from_a_state_that_was_left_is_refused(harness: PipelineHarness, task: Task) -> None:
    harness.ledger.move(task, Status.SUBMITTING, NOW)

    with pytest.raises(StatusChanged):
        harness.ledger.move(task, Status.REJECTED, NOW)
    assert harness.ledger.get(task.task_id).status is Status.SUBMITTING


def test_a_late_answer_of_an_earlier_attempt_is_refused(
    harness: PipelineHarness, task: Task
) -> None:
    first = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)
    queued = harness.ledger.move(first, Status.QUEUED, NOW)
    harness.ledger.move(queued, Status.SUBMITTING, NOW, attempt=2)

    with pytest.raises(StatusChanged):
        harness.ledger.move(first, Status.PROCESSING, NOW, prediction_id="late")


def test_a_step_that_the_table_does_not_have_is_refused(
    harness: PipelineHarness, task: Task
) -> None:
    with pytest.raises(IllegalTransition):
        harness.ledger.move(task, Status.COMPLETED, NOW)


def test_a_change_is_written_where_the_task_stays(harness: PipelineHarness, task: Task) -> None:
    changed = harness.ledger.update(task, reason="because")

    assert (changed.status, changed.reason) == (Status.QUEUED, "because")
    assert harness.ledger.get(task.task_id) == changed


@pytest.mark.parametrize("moved_first", [True, False])
def test_a_change_to_a_task_that_has_moved_on_is_refused(
    harness: PipelineHarness, task: Task, *, moved_first: bool
) -> None:
    now = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=0 if moved_first else 1)
    if not moved_first:
        now = harness.ledger.move(now, Status.QUEUED, NOW)

    with pytest.raises(StatusChanged):
        harness.ledger.update(task, reason="late")
    assert harness.ledger.get(task.task_id) == now


def test_a_move_that_was_carried_out_and_answered_with_an_error_is_ones_own(
    harness: PipelineHarness, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 sends it again by itself, and the condition does not hold any more."""
    once = harness.dynamodb.update_item

    def twice(**asked: Any) -> Any:
        once(**asked)
        return once(**asked)

    monkeypatch.setattr(harness.dynamodb, "update_item", twice)
    moved = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)

    assert (moved.status, moved.attempt) == (Status.SUBMITTING, 1)
    assert harness.ledger.get(task.task_id) == moved


def test_what_has_not_ended_cannot_be_reopened(harness: PipelineHarness, task: Task) -> None:
    sent = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)

    with pytest.raises(IllegalTransition):
        harness.ledger.reopen(sent, NOW)
    assert harness.ledger.get(task.task_id) == sent


def test_the_tasks_of_an_object_are_those_of_its_revisions_newest_first(
    harness: PipelineHarness, task: Task
) -> None:
    def claim(upload: Upload, hours: int) -> Task:
        at = NOW + timedelta(hours=hours)
        return harness.ledger.claim(new_task(upload, "cutouts", "k", "model", at, 30))

    newest = claim(UPLOAD.model_copy(update={"version_id": "v3"}), 2)
    newer = claim(UPLOAD.model_copy(update={"version_id": "v2"}), 1)
    claim(UPLOAD.model_copy(update={"key": "another"}), 3)

    assert harness.ledger.of_object(UPLOAD.bucket, UPLOAD.key) == [newest, newer, task]
    assert harness.ledger.of_object(UPLOAD.bucket, "none") == []


def test_of_two_who_postpone_a_task_one_succeeds(harness: PipelineHarness, task: Task) -> None:
    (due,) = harness.ledger.due(Status.QUEUED, NOW)

    first = harness.ledger.postpone(due, due_at=NOW + timedelta(hours=1))

    assert first.due_at == NOW + timedelta(hours=1)
    with pytest.raises(StatusChanged):
        harness.ledger.postpone(due, due_at=NOW + timedelta(hours=2))
    assert harness.ledger.get(task.task_id) == first


def test_a_task_that_was_moved_on_is_not_postponed(harness: PipelineHarness, task: Task) -> None:
    (due,) = harness.ledger.due(Status.QUEUED, NOW)
    moved = harness.ledger.move(task, Status.SUBMITTING, NOW, due_at=NOW)

    with pytest.raises(StatusChanged):
        harness.ledger.postpone(due, due_at=NOW + timedelta(hours=1))
    assert harness.ledger.get(task.task_id) == moved


def test_only_tasks_to_look_at_are_in_the_status_index(
    harness: PipelineHarness, task: Task
) -> None:
    assert item(harness, task)["open_status"] == {"S": "queued"}
    assert harness.ledger.count(Status.QUEUED) == 1

    harness.ledger.move(task, Status.REJECTED, NOW)

    assert "open_status" not in item(harness, task)
    assert harness.ledger.count(Status.QUEUED) == 0


def test_polls_are_counted_beside_other_writes(harness: PipelineHarness, task: Task) -> None:
    harness.ledger.count_poll(task.task_id)

    assert harness.ledger.count_poll(task.task_id).polls == 2
    assert harness.ledger.move(task, Status.SUBMITTING, NOW).polls == 2


def test_an_unknown_task_is_not_found(harness: PipelineHarness) -> None:
    with pytest.raises(TaskNotFound, match="no task nobody"):
        harness.ledger.get("nobody")
    with pytest.raises(TaskNotFound, match="no task nobody"):
        harness.ledger.count_poll("nobody")


def test_trouble_of_the_service_is_told_as_such(
    harness: PipelineHarness, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(**_arguments: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    for operation in ("get_item", "put_item", "update_item"):
        monkeypatch.setattr(harness.dynamodb, operation, unreachable)
    with pytest.raises(ServiceError):
        harness.ledger.get(task.task_id)
    with pytest.raises(ServiceError):
        harness.ledger.claim(task)
    with pytest.raises(ServiceError):
        harness.ledger.count_poll(task.task_id)


def test_a_missing_table_is_trouble_of_the_service(harness: PipelineHarness, task: Task) -> None:
    with pytest.raises(ServiceError):
        Ledger(Table(harness.dynamodb, "nowhere")).get(task.task_id)


def test_a_prediction_is_of_the_attempt_that_claimed_it(
    harness: PipelineHarness, task: Task
) -> None:
    sent = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=3)

    assert harness.ledger.claimant("p1") is None
    harness.ledger.claim_prediction(sent, "p1")
    assert harness.ledger.claimant("p1") == AttemptId(task.task_id, 3)


def test_unanswered_submits_are_those_under_way_uncertain_and_given_up(
    harness: PipelineHarness, task: Task
) -> None:
    ledger, until = harness.ledger, NOW + timedelta(seconds=210)

    def unanswered() -> list[int]:
        return [submit.attempt for submit in ledger.unanswered_submits()]

    assert unanswered() == []
    task = ledger.move(task, Status.SUBMITTING, NOW, attempt=1, lease_until=until)
    assert unanswered() == [1]
    task = ledger.move(task, Status.UNCERTAIN, NOW, code="answer_lost")
    assert unanswered() == [1]
    task = ledger.reopen(task, NOW)
    assert unanswered() == [1]
    task = ledger.move(task, Status.SUBMITTING, NOW, attempt=2, lease_until=until)
    assert unanswered() == [2, 1]
    ledger.move(task, Status.PROCESSING, NOW, prediction_id="p2")
    (given_up,) = ledger.unanswered_submits()
    assert (given_up.owner, given_up.attempt) == (task.task_id, 1)
    assert (given_up.sent_at, given_up.lease_until) == (NOW, until)
    assert given_up.model == task.model


def test_a_submit_that_was_accepted_after_all_is_not_given_up(
    harness: PipelineHarness, task: Task
) -> None:
    sent = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)
    lost = harness.ledger.move(sent, Status.UNCERTAIN, NOW)

    harness.ledger.move(lost, Status.PROCESSING, NOW, prediction_id="p1")

    assert list(harness.ledger.unanswered_submits()) == []


def test_a_submit_that_was_refused_is_not_given_up(harness: PipelineHarness, task: Task) -> None:
    sent = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)

    harness.ledger.move(sent, Status.QUEUED, NOW)

    assert list(harness.ledger.unanswered_submits()) == []


def test_what_is_given_up_is_remembered_once_and_for_longer_than_the_vendor_does(
    harness: PipelineHarness, task: Task
) -> None:
    sent = harness.ledger.move(task, Status.SUBMITTING, NOW, attempt=1)
    lost = harness.ledger.move(sent, Status.UNCERTAIN, NOW)
    harness.ledger.reopen(lost, NOW)

    with pytest.raises(StatusChanged):  # a second one that was killed in between
        harness.ledger.reopen(lost, NOW)

    (found,) = harness.ledger.unanswered_submits()
    key = {"task_id": {"S": f"#given-up#{task.task_id}-1"}}
    kept = harness.dynamodb.get_item(TableName=TABLE, Key=key)["Item"]["expires_at"]["N"]
    assert float(kept) > (NOW + timedelta(days=7)).timestamp()
    assert found.sent_at == NOW


def test_only_a_task_that_has_ended_is_forgotten_counted_from_its_end(
    harness: PipelineHarness, task: Task
) -> None:
    def forgotten_at() -> float | None:
        item = harness.table.get(task.task_id) or {}
        return item.get("expires_at")

    assert forgotten_at() is None
    much_later, month = NOW + timedelta(days=400), timedelta(days=30)
    sent = harness.ledger.move(task, Status.SUBMITTING, much_later)
    assert forgotten_at() is None
    assert sent.expires_at == (much_later + month).timestamp()

    failed = harness.ledger.move(sent, Status.FAILED, much_later + month)
    assert forgotten_at() == (much_later + 2 * month).timestamp()

    harness.ledger.reopen(failed, much_later + month)
    assert forgotten_at() is None
