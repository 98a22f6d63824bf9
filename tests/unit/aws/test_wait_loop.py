import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from cutout.aws.wait_loop import WaitLoop
from cutout.domain.errors import ServiceError
from cutout.domain.tasks import Status
from tests.support.factories import NOON, make_task

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

DEFINITION = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


@pytest.fixture
def client(aws: boto3.Session) -> "SFNClient":
    return aws.client("stepfunctions")


@pytest.fixture
def machine(client: "SFNClient") -> str:
    role = "arn:aws:iam::123456789012:role/wait-loop"
    created = client.create_state_machine(
        name="wait-loop", definition=json.dumps(DEFINITION), roleArn=role
    )
    return created["stateMachineArn"]


def names(client: "SFNClient", machine: str) -> list[str]:
    listed = client.list_executions(stateMachineArn=machine)["executions"]
    return sorted(execution["name"] for execution in listed)


def test_an_execution_is_named_after_the_task_and_its_attempt(
    client: "SFNClient", machine: str
) -> None:
    task = make_task(attempt=2, status=Status.PROCESSING)
    WaitLoop(client, machine).start(task, first_wait=5)
    (execution,) = client.list_executions(stateMachineArn=machine)["executions"]
    assert execution["name"] == f"{task.task_id}-2"
    assert input_of(client, machine) == {
        "task_id": task.task_id,
        "status": "processing",
        "wait_seconds": 5,
        "await_callback": False,
    }


def input_of(client: "SFNClient", machine: str) -> Any:
    """The input of the only execution."""
    (execution,) = client.list_executions(stateMachineArn=machine)["executions"]
    started = client.describe_execution(executionArn=execution["executionArn"])
    return json.loads(started["input"])


@pytest.mark.parametrize(
    ("fields", "awaits"),
    [
        ({"callback_expected": True}, True),
        ({"callback_expected": True, "called_back_at": NOON}, False),
        ({"callback_expected": False}, False),
    ],
)
def test_only_a_callback_that_is_still_to_come_is_awaited(
    client: "SFNClient", machine: str, fields: dict[str, Any], awaits: bool
) -> None:
    WaitLoop(client, machine).start(make_task(attempt=1, **fields), first_wait=60)
    assert input_of(client, machine)["await_callback"] is awaits


def test_a_task_to_be_looked_at_at_once_awaits_no_callback(
    client: "SFNClient", machine: str
) -> None:
    task = make_task(attempt=1, callback_expected=True)
    WaitLoop(client, machine).start(task, first_wait=0)
    started = input_of(client, machine)
    assert (started["wait_seconds"], started["await_callback"]) == (0, False)


def test_an_attempt_has_one_execution(client: "SFNClient", machine: str) -> None:
    wait_loop, task = WaitLoop(client, machine), make_task(attempt=1)
    wait_loop.start(task, first_wait=2)
    wait_loop.start(task, first_wait=9)
    assert names(client, machine) == [f"{task.task_id}-1"]


def test_another_attempt_has_another_execution(client: "SFNClient", machine: str) -> None:
    wait_loop, task = WaitLoop(client, machine), make_task()
    wait_loop.start(task.model_copy(update={"attempt": 1}), first_wait=2)
    wait_loop.start(task.model_copy(update={"attempt": 2}), first_wait=2)
    assert names(client, machine) == [f"{task.task_id}-1", f"{task.task_id}-2"]


def test_a_machine_that_is_not_there_is_a_service_error(client: "SFNClient", machine: str) -> None:
    with pytest.raises(ServiceError, match="failed to start task"):
        WaitLoop(client, f"{machine}-gone").start(make_task(), first_wait=2)


# ------------------------------------------------------------------ wake


def test_a_token_ends_the_wait_that_it_belongs_to(client: "SFNClient", machine: str) -> None:
    with Stubber(client) as stubbed:
        stubbed.add_response("send_task_success", {}, {"taskToken": "the-token", "output": "{}"})
        WaitLoop(client, machine).wake("the-token")
        stubbed.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_wait_that_is_over_cannot_be_woken_and_need_not(
    client: "SFNClient", machine: str, code: str
) -> None:
    with Stubber(client) as stubbed:
        stubbed.add_client_error("send_task_success", code)
        WaitLoop(client, machine).wake("late")
        stubbed.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "InvalidOutput"])
def test_any_other_error_of_a_wake_is_a_service_error(
    client: "SFNClient", machine: str, code: str
) -> None:
    with Stubber(client) as stubbed:
        stubbed.add_client_error("send_task_success", code)
        with pytest.raises(ServiceError) as caught:
            WaitLoop(client, machine).wake("the-token")
    assert "the-token" not in str(caught.value)


def test_a_connection_that_fails_is_a_service_error(
    client: "SFNClient", machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(**_arguments: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://states")

    monkeypatch.setattr(client, "send_task_success", unreachable)
    with pytest.raises(ServiceError):
        WaitLoop(client, machine).wake("the-token")
