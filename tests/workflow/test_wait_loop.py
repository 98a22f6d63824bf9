"""The state machine file of the project, executed, with a poll function that plays scripts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl

from cutout import errors
from cutout.ledger import Ledger
from cutout.tasks import Status, new_task
from cutout.uploads import Upload
from cutout_local.aws import LocalAws
from tests.waiting import wait_for

TEMPLATE = Path(__file__).parent / "template.yaml"
ONE_POLL = ["Wait", "Poll", "Finished?"]
KEY = 'a "b"\n\\c.jpg'
FAILING = ["Record failure", "Announce failure", "Failed"]


class Workflow:
    """Runs executions and tells what became of them."""

    def __init__(self, aws: LocalAws) -> None:
        self._machine = aws.outputs["Machine"]
        self._table = aws.outputs["TasksTable"]
        self._announced = aws.outputs["Announced"]
        self._states = aws.client("stepfunctions")
        self._dynamodb = aws.client("dynamodb")
        self._sqs = aws.client("sqs")
        self.slept: list[float] = []

    def run(self, task_id: str, status: Status = Status.PROCESSING) -> dict[str, Any]:
        """Play a task's script to the end of its execution."""
        upload = Upload(bucket="in", key=KEY, etag="e", size=1)
        task = new_task(upload, "out", "k.png", datetime.now(UTC), retention_days=1)
        ledger = Ledger(self._dynamodb, self._table)
        ledger.claim(task.model_copy(update={"task_id": task_id, "status": status}))
        arn = self._states.start_execution(
            stateMachineArn=self._machine,
            name=task_id,
            input=json.dumps({"task_id": task_id, "wait_seconds": 0}),
        )["executionArn"]
        return wait_for(lambda: self._ended(arn))

    def states(self, execution: dict[str, Any]) -> list[str]:
        events = self._states.get_execution_history(
            executionArn=execution["executionArn"], maxResults=1000
        )["events"]
        entered = (event.get("stateEnteredEventDetails") for event in events)
        return [details["name"] for details in entered if details]

    def item(self, task_id: str) -> dict[str, Any]:
        key = {"task_id": {"S": task_id}}
        item: dict[str, Any] = self._dynamodb.get_item(TableName=self._table, Key=key)["Item"]
        return item

    def announcement(self) -> dict[str, Any]:
        """The next event on the bus."""
        messages = wait_for(
            lambda: self._sqs.receive_message(QueueUrl=self._announced).get("Messages")
        )
        self._sqs.delete_message(
            QueueUrl=self._announced, ReceiptHandle=messages[0]["ReceiptHandle"]
        )
        event: dict[str, Any] = json.loads(messages[0]["Body"])
        return event

    def _ended(self, arn: str) -> dict[str, Any] | None:
        execution: dict[str, Any] = self._states.describe_execution(executionArn=arn)
        return None if execution["status"] == "RUNNING" else execution


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws(TEMPLATE, {}, secrets={}) as aws:
        yield aws


@pytest.fixture
def workflow(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    workflow = Workflow(aws)
    monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=workflow.slept.append))
    return workflow


def test_a_completed_task_is_announced_and_succeeds(workflow: Workflow) -> None:
    execution = workflow.run("processing.processing.completed")

    assert execution["status"] == "SUCCEEDED"
    assert workflow.states(execution) == [*ONE_POLL * 3, "Announce completion", "Completed"]
    event = workflow.announcement()
    assert event["detail-type"] == "Cutout Completed"
    assert event["detail"] == {
        "task_id": "processing.processing.completed",
        "bucket": "in",
        "key": KEY,
        "output_bucket": "out",
        "output_key": "k.png",
    }


def test_a_failed_task_is_recorded_and_announced_and_fails(workflow: Workflow) -> None:
    execution = workflow.run("processing.PredictionFailed")

    assert workflow.states(execution) == [*ONE_POLL, "Wait", "Poll", *FAILING]
    assert (execution["status"], execution["error"]) == ("FAILED", "PredictionFailed")
    assert execution["cause"] == 'it said "PredictionFailed"'
    item = workflow.item("processing.PredictionFailed")
    assert item["status"] == item["open_status"] == {"S": "failed"}
    assert item["code"] == {"S": "prediction_failed"}
    assert item["reason"] == {"S": 'it said "PredictionFailed"'}
    assert item["entered_at"]["M"]["failed"]["S"].endswith("Z")
    event = workflow.announcement()
    assert event["detail-type"] == "Cutout Failed"
    assert event["detail"]["key"] == KEY
    assert event["detail"]["code"] == "prediction_failed"


@pytest.mark.parametrize("name", ["TimedOut", "BadOutput", "OutputGone", "OutputBlocked"])
def test_the_code_is_the_one_that_python_gives_the_error(workflow: Workflow, name: str) -> None:
    workflow.run(name)

    assert workflow.item(name)["code"] == {"S": getattr(errors, name)("").code}
    assert workflow.announcement()["detail"]["code"] == errors.code_of(name)
    assert workflow.slept == []


@pytest.mark.parametrize(
    "trouble",
    ["VendorUnavailable", "OutputUnavailable", "RateLimited", "ServiceError", "PredictionNotFound"],
)
def test_a_passing_trouble_is_retried(workflow: Workflow, trouble: str) -> None:
    execution = workflow.run(f"{trouble}.{trouble}.completed")

    assert execution["status"] == "SUCCEEDED"
    assert len(workflow.slept) == 2
    workflow.announcement()


def test_a_trouble_that_does_not_pass_fails_the_task(workflow: Workflow) -> None:
    execution = workflow.run("VendorUnavailable-forever")

    assert execution["error"] == "VendorUnavailable"
    assert workflow.item("VendorUnavailable-forever")["code"] == {"S": "vendor_unavailable"}
    assert len(workflow.slept) == 12
    assert max(workflow.slept) <= 60
    workflow.announcement()


@pytest.mark.parametrize("death", ["crash", "hang"])
def test_a_killed_function_is_tried_again(workflow: Workflow, death: str) -> None:
    execution = workflow.run(f"{death}.completed")

    assert execution["status"] == "SUCCEEDED"
    assert len(workflow.slept) == 1
    workflow.announcement()


def test_a_function_that_always_dies_fails_the_task(workflow: Workflow) -> None:
    execution = workflow.run("crash")

    assert execution["error"] == "Runtime.ExitError"
    assert len(workflow.slept) == 6
    assert workflow.announcement()["detail"]["code"] == "runtime.exit_error"


def test_a_task_that_was_closed_elsewhere_is_left_as_it_is(workflow: Workflow) -> None:
    execution = workflow.run("TimedOut-late", status=Status.COMPLETED)

    assert execution["error"] == "TimedOut"
    assert workflow.item("TimedOut-late")["status"] == {"S": "completed"}
    assert workflow.states(execution) == ["Wait", "Poll", "Record failure", "Failed"]


def test_a_poll_that_finds_the_task_ended_says_so(workflow: Workflow) -> None:
    execution = workflow.run("superseded")

    assert execution["error"] == "TaskEndedElsewhere"
    assert execution["cause"] == "the ledger says that the task is superseded"
    assert workflow.states(execution) == [*ONE_POLL, "Failed"]
