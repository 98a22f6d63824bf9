"""The state machine file of the project, executed, with a poll function that plays scripts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cutout.aws import wait_loop as adapter
from cutout.domain import errors
from cutout.domain.messages import WaitLoopState
from cutout.domain.tasks import Status, Task, new_task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout_local.aws.deploy import deploy, package
from cutout_local.aws.stack import LocalAws
from tests.support.waiting import wait_for

HOUR = 3600
ONE_POLL = ["What now?", "Wait", "Poll"]
AWAITED = ["What now?", "Wait for callback", "Poll"]
COMPLETING = ["What now?", "Completed"]
FAILING = ["Close", "Failed"]
ENDED_ELSEWHERE = ["What now?", *FAILING]
KEY = 'a "b"\n\\c.jpg'


class WaitLoopHarness:
    """Runs executions and tells what became of them."""

    def __init__(self, aws: LocalAws, outputs: dict[str, str]) -> None:
        self._machines = outputs
        self._published = outputs["Published"]
        self._states = aws.client("stepfunctions")
        self._sqs = aws.client("sqs")
        self.ledger = Ledger(Table(aws.client("dynamodb"), outputs["TasksTable"]))

    def run(self, script: str, **fields: Any) -> dict[str, Any]:
        """Play a script to the end of its execution."""
        return self.end(self.start(self.task(script, **fields)))

    def task(self, script: str, **fields: Any) -> Task:
        """A task whose polls follow a script."""
        upload = Upload(bucket="in", key=KEY, etag=uuid4().hex, size=1)
        task = new_task(upload, "out", "k.png", script, datetime.now(UTC), retention_days=1)
        fields = {"status": Status.PROCESSING, "attempt": 1, **fields}
        return self.ledger.claim(task.model_copy(update=fields))

    def start(self, task: Task, wait_seconds: int = 0, machine: str = "Machine") -> str:
        """Begin the task's execution; with a wait, a callback is expected."""
        first = WaitLoopState(
            task_id=task.task_id,
            status=Status.PROCESSING,
            wait_seconds=wait_seconds,
            await_callback=wait_seconds > 0,
        )
        started = self._states.start_execution(
            stateMachineArn=self._machines[machine],
            name=task.execution_name,
            input=first.model_dump_json(),
        )
        return str(started["executionArn"])

    def end(self, arn: str) -> dict[str, Any]:
        """Wait for an execution's end."""
        return wait_for(lambda: self._ended(arn))

    def token(self, task: Task, other_than: str | None = None) -> str:
        """Wait for the token that an execution leaves, once it is another one."""

        def changed() -> str | None:
            token = self.ledger.get(task.task_id).task_token
            return None if token == other_than else token

        return wait_for(changed)

    def wake(self, token: str) -> None:
        """What the webhook function does."""
        adapter.WaitLoop(self._states, self._machines["Machine"]).wake(token)

    def states(self, execution: dict[str, Any]) -> list[str]:
        entered = (event.get("stateEnteredEventDetails") for event in self._history(execution))
        return [details["name"] for details in entered if details]

    def retries(self, execution: dict[str, Any]) -> int:
        """How often a function was invoked again."""
        scheduled = (e.get("taskScheduledEventDetails") for e in self._history(execution))
        invocations = [task for task in scheduled if task and "lambda" in task["resource"]]
        states = self.states(execution)
        return len(invocations) - states.count("Poll") - states.count("Close")

    def _history(self, execution: dict[str, Any]) -> list[dict[str, Any]]:
        history = self._states.get_execution_history(
            executionArn=execution["executionArn"], maxResults=1000
        )
        events: list[dict[str, Any]] = history["events"]
        return events

    def now(self, execution: dict[str, Any]) -> Task:
        """The execution's task as it is now."""
        return self.ledger.get(execution["name"].rpartition("-")[0])

    def event(self) -> dict[str, Any]:
        """The next event on the bus."""
        messages = wait_for(
            lambda: self._sqs.receive_message(QueueUrl=self._published).get("Messages")
        )
        self._sqs.delete_message(
            QueueUrl=self._published, ReceiptHandle=messages[0]["ReceiptHandle"]
        )
        event: dict[str, Any] = json.loads(messages[0]["Body"])
        return event

    def _ended(self, arn: str) -> dict[str, Any] | None:
        execution: dict[str, Any] = self._states.describe_execution(executionArn=arn)
        return None if execution["status"] == "RUNNING" else execution


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WaitLoopHarness]:
    with LocalAws(tmp_path_factory.mktemp("aws"), wait_scale=0) as aws:
        yield WaitLoopHarness(aws, deploy(aws, package(Path(__file__).parent), "wait-loop", {}))


def test_a_completed_task_succeeds(loop: WaitLoopHarness) -> None:
    execution = loop.run("processing.processing.completed")

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*ONE_POLL * 3, *COMPLETING]


def test_a_failed_task_is_closed_and_fails(loop: WaitLoopHarness) -> None:
    execution = loop.run("processing.PredictionFailed")

    assert loop.states(execution) == [*ONE_POLL * 2, *FAILING]
    assert (execution["status"], execution["error"]) == ("FAILED", "PredictionFailed")
    assert execution["cause"] == 'it said "PredictionFailed"'
    task = loop.now(execution)
    assert (task.status, task.code) == (Status.FAILED, "prediction_failed")
    assert task.reason == 'it said "PredictionFailed"'
    assert Status.FAILED in task.entered_at
    event = loop.event()
    assert event["detail-type"] == "Cutout Failed"
    assert event["detail"]["key"] == KEY
    assert event["detail"]["code"] == "prediction_failed"


@pytest.mark.parametrize("name", ["TimedOut", "BadOutput", "OutputGone", "OutputBlocked"])
def test_the_code_is_the_errors_own(loop: WaitLoopHarness, name: str) -> None:
    execution = loop.run(name)

    assert loop.now(execution).code == getattr(errors, name)("").code
    assert loop.event()["detail"]["code"] == errors.code_of(name)
    assert loop.retries(execution) == 0


@pytest.mark.parametrize("trouble", ["ServiceError", "StatusChanged"])
def test_a_passing_trouble_is_retried(loop: WaitLoopHarness, trouble: str) -> None:
    execution = loop.run(f"{trouble}.{trouble}.completed")

    assert execution["status"] == "SUCCEEDED"
    assert loop.retries(execution) == 2


def test_what_the_poll_function_gives_up_is_over(loop: WaitLoopHarness) -> None:
    execution = loop.run("PredictionNotFound")

    assert execution["error"] == "PredictionNotFound"
    assert loop.now(execution).code == "prediction_not_found"
    assert loop.retries(execution) == 0
    loop.event()


def test_a_function_that_is_just_being_deployed_is_tried_again(loop: WaitLoopHarness) -> None:
    execution = loop.run("mixed.mixed.completed")

    assert execution["status"] == "SUCCEEDED"
    assert loop.retries(execution) == 2


@pytest.mark.parametrize("death", ["crash", "hang"])
def test_a_killed_function_is_tried_again(loop: WaitLoopHarness, death: str) -> None:
    execution = loop.run(f"{death}.completed")

    assert execution["status"] == "SUCCEEDED"
    assert loop.retries(execution) == 1


def test_a_function_that_always_dies_fails_the_task(loop: WaitLoopHarness) -> None:
    execution = loop.run("crash")

    assert execution["error"] == "Runtime.ExitError"
    assert loop.retries(execution) == 6
    assert loop.event()["detail"]["code"] == "runtime.exit_error"


def test_a_task_that_was_closed_elsewhere_is_left_as_it_is(loop: WaitLoopHarness) -> None:
    execution = loop.run("TimedOut", status=Status.COMPLETED)

    assert execution["error"] == "TimedOut"
    assert loop.now(execution).status is Status.COMPLETED
    assert loop.states(execution) == [*ONE_POLL, *FAILING]


def test_a_poll_that_finds_the_task_ended_says_so(loop: WaitLoopHarness) -> None:
    execution = loop.run("failed", status=Status.FAILED, code="timed_out")

    assert execution["error"] == "TaskEndedElsewhere"
    assert execution["cause"] == "the ledger says that the task is failed"
    assert loop.states(execution) == [*ONE_POLL, *ENDED_ELSEWHERE]
    assert loop.now(execution).code == "timed_out"


def test_a_superseded_task_ends_well_and_quietly(loop: WaitLoopHarness) -> None:
    execution = loop.run("superseded")

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*ONE_POLL, "What now?", "Superseded"]


def test_a_task_that_is_queued_again_ends_its_execution_quietly(loop: WaitLoopHarness) -> None:
    execution = loop.run("queued")

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*ONE_POLL, "What now?", "Queued again"]


def test_a_task_that_could_not_be_closed_leaves_its_reason_in_the_execution(
    loop: WaitLoopHarness,
) -> None:
    task = loop.task("BadOutput")
    execution = loop.end(loop.start(task, machine="MachineWithoutClose"))

    assert (execution["status"], execution["error"]) == ("FAILED", "BadOutput")
    assert json.loads(execution["cause"])["errorMessage"] == 'it said "BadOutput"'
    assert loop.retries(execution) == 6
    assert loop.now(execution).status is Status.PROCESSING


# ------------------------------------------------------------------ with the webhook on


def test_a_callback_ends_the_wait_at_once(loop: WaitLoopHarness) -> None:
    task = loop.task("completed")
    arn = loop.start(task, wait_seconds=HOUR)
    token = loop.token(task)
    loop.ledger.record_callback(task.attempt_id, "p1", datetime.now(UTC))
    loop.wake(token)
    execution = loop.end(arn)

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED, *COMPLETING]
    assert loop.now(execution).polls == 1


def test_a_callback_that_came_before_the_token_is_not_missed(loop: WaitLoopHarness) -> None:
    task = loop.task("completed", called_back_at=datetime.now(UTC))
    execution = loop.end(loop.start(task, wait_seconds=HOUR))

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED, *COMPLETING]
    assert loop.now(execution).task_token is None


def test_a_callback_that_never_comes_costs_a_moment(loop: WaitLoopHarness) -> None:
    task = loop.task("completed")
    execution = loop.end(loop.start(task, wait_seconds=1))

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED, *COMPLETING]
    # It comes after all.
    loop.wake(loop.token(task))


def test_a_callback_to_a_wait_that_is_over_does_no_harm(loop: WaitLoopHarness) -> None:
    task = loop.task("awaiting.completed")
    arn = loop.start(task, wait_seconds=1)
    first = loop.token(task)
    second = loop.token(task, other_than=first)
    loop.wake(first)
    execution = loop.end(arn)
    loop.wake(second)

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED * 2, *COMPLETING]


def test_a_callback_that_was_too_soon_leaves_the_rest_to_the_timer(loop: WaitLoopHarness) -> None:
    task = loop.task("processing.completed")
    arn = loop.start(task, wait_seconds=HOUR)
    loop.wake(loop.token(task))
    execution = loop.end(arn)

    assert loop.states(execution) == [*AWAITED, *ONE_POLL, *COMPLETING]


def test_a_woken_task_can_fail(loop: WaitLoopHarness) -> None:
    task = loop.task("PredictionFailed")
    arn = loop.start(task, wait_seconds=HOUR)
    loop.wake(loop.token(task))
    execution = loop.end(arn)

    assert execution["error"] == "PredictionFailed"
    assert loop.states(execution) == [*AWAITED, *FAILING]
    assert loop.now(execution).code == "prediction_failed"
    loop.event()


def test_a_task_that_is_over_is_not_waited_for(loop: WaitLoopHarness) -> None:
    task = loop.task("failed", status=Status.FAILED)
    execution = loop.end(loop.start(task, wait_seconds=HOUR))

    assert execution["error"] == "TaskEndedElsewhere"
    assert loop.states(execution) == [*AWAITED, *ENDED_ELSEWHERE]
    assert loop.now(execution).task_token is None


def test_without_a_place_for_the_token_the_timer_does(loop: WaitLoopHarness) -> None:
    task = loop.task("completed")
    execution = loop.end(loop.start(task, wait_seconds=1, machine="MachineWithoutTable"))

    assert execution["status"] == "SUCCEEDED"
    assert loop.states(execution) == [*AWAITED[:2], *ONE_POLL[1:], *COMPLETING]
    assert loop.now(execution).task_token is None
