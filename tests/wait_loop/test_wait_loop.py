"""The state machine file of the project, executed, with a poll function that plays scripts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl

from cutout.aws import wait_loop as adapter
from cutout.domain import errors
from cutout.domain.tasks import AttemptId, Status, new_task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout_local.aws import LocalAws
from tests.waiting import wait_for

TEMPLATE = Path(__file__).parent / "template.yaml"
HOUR = 3600
ONE_POLL = ["Callback expected?", "Wait", "Poll", "Finished?"]
KEY = 'a "b"\n\\c.jpg'
AWAITED = ["Callback expected?", "Wait for callback", "Poll", "Finished?"]
COMPLETING = ["Announce completion", "Completed"]
FAILING = ["Record failure", "Announce failure", "Failed"]


class WaitLoopHarness:
    """Runs executions and tells what became of them."""

    def __init__(self, aws: LocalAws) -> None:
        self._machines = aws.outputs
        self._table = aws.outputs["TasksTable"]
        self._announced = aws.outputs["Announced"]
        self._states = aws.client("stepfunctions")
        self._dynamodb = aws.client("dynamodb")
        self._sqs = aws.client("sqs")
        self.ledger = Ledger(Table(self._dynamodb, self._table))
        self.slept: list[float] = []

    def run(self, task_id: str, status: Status = Status.PROCESSING) -> dict[str, Any]:
        """Play a task's script to the end of its execution."""
        return self.end(self.start(task_id, status=status))

    def start(
        self, task_id: str, wait_seconds: int = 0, machine: str = "Machine", **fields: Any
    ) -> str:
        """Begin to play a task's script; with a wait, a callback is expected."""
        upload = Upload(bucket="in", key=KEY, etag="e", size=1)
        task = new_task(upload, "out", "k.png", "model", datetime.now(UTC), retention_days=1)
        fields = {"status": Status.PROCESSING, "attempt": 1, **fields}
        self.ledger.claim(task.model_copy(update={"task_id": task_id, **fields}))
        first = {"wait_seconds": wait_seconds, "await_callback": wait_seconds > 0}
        started = self._states.start_execution(
            stateMachineArn=self._machines[machine],
            name=task_id,
            input=json.dumps({"task_id": task_id, **first}),
        )
        return str(started["executionArn"])

    def end(self, arn: str) -> dict[str, Any]:
        """Wait for an execution's end."""
        return wait_for(lambda: self._ended(arn))

    def token(self, task_id: str, other_than: str | None = None) -> str:
        """Wait for the token that an execution leaves, once it is another one."""

        def changed() -> str | None:
            token = self.ledger.get(task_id).task_token
            return None if token == other_than else token

        return wait_for(changed)

    def wake(self, token: str) -> None:
        """What the webhook function does."""
        adapter.WaitLoop(self._states, self._machines["Machine"]).wake(token)

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
def loop(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> WaitLoopHarness:
    loop = WaitLoopHarness(aws)
    monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=loop.slept.append))
    return loop


def test_a_completed_task_is_announced_and_succeeds(loop: WaitLoopHarness) -> None:
    execution = loop.run("processing.processing.completed")

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*ONE_POLL * 3, *COMPLETING]
    event = loop.announcement()
    assert event["detail-type"] == "Cutout Completed"
    assert event["detail"] == {
        "task_id": "processing.processing.completed",
        "bucket": "in",
        "key": KEY,
        "output_bucket": "out",
        "output_key": "k.png",
    }


def test_a_failed_task_is_recorded_and_announced_and_fails(loop: WaitLoopHarness) -> None:
    execution = loop.run("processing.PredictionFailed")

    assert loop.states(execution) == [*ONE_POLL, *ONE_POLL[:3], *FAILING]
    assert (execution["status"], execution["error"]) == ("FAILED", "PredictionFailed")
    assert execution["cause"] == 'it said "PredictionFailed"'
    item = loop.item("processing.PredictionFailed")
    assert item["status"] == item["open_status"] == {"S": "failed"}
    assert item["code"] == {"S": "prediction_failed"}
    assert item["reason"] == {"S": 'it said "PredictionFailed"'}
    assert item["entered_at"]["M"]["failed"]["S"].endswith("Z")
    event = loop.announcement()
    assert event["detail-type"] == "Cutout Failed"
    assert event["detail"]["key"] == KEY
    assert event["detail"]["code"] == "prediction_failed"


@pytest.mark.parametrize("name", ["TimedOut", "BadOutput", "OutputGone", "OutputBlocked"])
def test_the_code_is_the_one_that_python_gives_the_error(loop: WaitLoopHarness, name: str) -> None:
    loop.run(name)

    assert loop.item(name)["code"] == {"S": getattr(errors, name)("").code}
    assert loop.announcement()["detail"]["code"] == errors.code_of(name)
    assert loop.slept == []


@pytest.mark.parametrize(
    "trouble",
    ["VendorUnavailable", "OutputUnavailable", "RateLimited", "ServiceError", "PredictionNotFound"],
)
def test_a_passing_trouble_is_retried(loop: WaitLoopHarness, trouble: str) -> None:
    execution = loop.run(f"{trouble}.{trouble}.completed")

    assert execution["status"] == "SUCCEEDED"
    assert len(loop.slept) == 2
    loop.announcement()


def test_a_trouble_that_does_not_pass_fails_the_task(loop: WaitLoopHarness) -> None:
    execution = loop.run("VendorUnavailable-forever")

    assert execution["error"] == "VendorUnavailable"
    assert loop.item("VendorUnavailable-forever")["code"] == {"S": "vendor_unavailable"}
    assert len(loop.slept) == 12
    assert max(loop.slept) <= 60
    loop.announcement()


@pytest.mark.parametrize("death", ["crash", "hang"])
def test_a_killed_function_is_tried_again(loop: WaitLoopHarness, death: str) -> None:
    execution = loop.run(f"{death}.completed")

    assert execution["status"] == "SUCCEEDED"
    assert len(loop.slept) == 1
    loop.announcement()


def test_a_function_that_always_dies_fails_the_task(loop: WaitLoopHarness) -> None:
    execution = loop.run("crash")

    assert execution["error"] == "Runtime.ExitError"
    assert len(loop.slept) == 6
    assert loop.announcement()["detail"]["code"] == "runtime.exit_error"


def test_a_task_that_was_closed_elsewhere_is_left_as_it_is(loop: WaitLoopHarness) -> None:
    execution = loop.run("TimedOut-late", status=Status.COMPLETED)

    assert execution["error"] == "TimedOut"
    assert loop.item("TimedOut-late")["status"] == {"S": "completed"}
    assert loop.states(execution) == [*ONE_POLL[:3], "Record failure", "Failed"]


def test_a_poll_that_finds_the_task_ended_says_so(loop: WaitLoopHarness) -> None:
    execution = loop.run("failed")

    assert execution["error"] == "TaskEndedElsewhere"
    assert execution["cause"] == "the ledger says that the task is failed"
    assert loop.states(execution) == [*ONE_POLL, "Failed"]


def test_a_superseded_task_ends_well_and_quietly(loop: WaitLoopHarness) -> None:
    execution = loop.run("superseded")

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*ONE_POLL, "Superseded"]


# ------------------------------------------------------------------ with the webhook on


def test_a_callback_ends_the_wait_at_once(loop: WaitLoopHarness) -> None:
    arn = loop.start("completed-woken", wait_seconds=HOUR)
    token = loop.token("completed-woken")
    loop.ledger.record_callback(AttemptId("completed-woken", 1), "p1", datetime.now(UTC))
    loop.wake(token)
    execution = loop.end(arn)

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED, *COMPLETING]
    assert loop.ledger.get("completed-woken").polls == 1
    loop.announcement()


def test_a_callback_that_came_before_the_token_is_not_missed(loop: WaitLoopHarness) -> None:
    arn = loop.start("completed-early", wait_seconds=HOUR, called_back_at=datetime.now(UTC))
    execution = loop.end(arn)

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED, *COMPLETING]
    assert loop.ledger.get("completed-early").task_token is None
    loop.announcement()


def test_a_callback_that_never_comes_costs_a_moment(loop: WaitLoopHarness) -> None:
    execution = loop.end(loop.start("completed-lost", wait_seconds=1))

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED, *COMPLETING]
    loop.announcement()
    # It comes after all.
    loop.wake(loop.token("completed-lost"))


def test_a_callback_to_a_wait_that_is_over_does_no_harm(loop: WaitLoopHarness) -> None:
    arn = loop.start("awaiting.completed-late", wait_seconds=1)
    first = loop.token("awaiting.completed-late")
    second = loop.token("awaiting.completed-late", other_than=first)
    loop.wake(first)
    execution = loop.end(arn)
    loop.wake(second)

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED * 2, *COMPLETING]
    loop.announcement()


def test_a_callback_that_was_too_soon_leaves_the_rest_to_the_timer(loop: WaitLoopHarness) -> None:
    arn = loop.start("processing.completed-soon", wait_seconds=HOUR)
    loop.wake(loop.token("processing.completed-soon"))
    execution = loop.end(arn)

    assert loop.states(execution) == [*AWAITED, *ONE_POLL, *COMPLETING]
    loop.announcement()


def test_a_woken_task_can_fail(loop: WaitLoopHarness) -> None:
    arn = loop.start("PredictionFailed-woken", wait_seconds=HOUR)
    loop.wake(loop.token("PredictionFailed-woken"))
    execution = loop.end(arn)

    assert execution["error"] == "PredictionFailed"
    assert loop.states(execution) == [*AWAITED[:3], *FAILING]
    assert loop.item("PredictionFailed-woken")["code"] == {"S": "prediction_failed"}
    loop.announcement()


def test_a_task_that_is_over_is_not_waited_for(loop: WaitLoopHarness) -> None:
    arn = loop.start("failed-over", wait_seconds=HOUR, status=Status.FAILED)
    execution = loop.end(arn)

    assert execution["error"] == "TaskEndedElsewhere"
    assert loop.states(execution) == [*AWAITED, "Failed"]
    assert loop.ledger.get("failed-over").task_token is None


def test_without_a_place_for_the_token_the_timer_does(loop: WaitLoopHarness) -> None:
    arn = loop.start("completed-no-table", wait_seconds=1, machine="MachineWithoutTable")
    execution = loop.end(arn)

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED[:2], *ONE_POLL[1:], *COMPLETING]
    assert loop.ledger.get("completed-no-table").task_token is None
    loop.announcement()
