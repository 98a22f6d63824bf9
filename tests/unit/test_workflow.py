import json
from typing import TYPE_CHECKING

import boto3
import pytest

from cutout.errors import ServiceError
from cutout.workflow import Workflow
from tests.factories import make_task

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
    task = make_task(attempt=2)
    Workflow(client, machine).start(task, first_wait=5)
    (execution,) = client.list_executions(stateMachineArn=machine)["executions"]
    assert execution["name"] == f"{task.task_id}-2"
    started = client.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(started["input"]) == {"task_id": task.task_id, "wait_seconds": 5}


def test_an_attempt_has_one_execution(client: "SFNClient", machine: str) -> None:
    workflow, task = Workflow(client, machine), make_task(attempt=1)
    workflow.start(task, first_wait=2)
    workflow.start(task, first_wait=9)
    assert names(client, machine) == [f"{task.task_id}-1"]


def test_another_attempt_has_another_execution(client: "SFNClient", machine: str) -> None:
    workflow, task = Workflow(client, machine), make_task()
    workflow.start(task.model_copy(update={"attempt": 1}), first_wait=2)
    workflow.start(task.model_copy(update={"attempt": 2}), first_wait=2)
    assert names(client, machine) == [f"{task.task_id}-1", f"{task.task_id}-2"]


def test_a_machine_that_is_not_there_is_a_service_error(client: "SFNClient", machine: str) -> None:
    with pytest.raises(ServiceError, match="no execution was started"):
        Workflow(client, f"{machine}-gone").start(make_task(), first_wait=2)
