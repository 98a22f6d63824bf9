"""How a stack is found, and what is said when it is not."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from cutout_cli import stacks
from cutout_cli.errors import StackNotFound


class CloudFormation:
    """Answers one question in one way."""

    def __init__(self, answer: dict[str, Any] | ClientError) -> None:
        self._answer = answer

    def describe_stacks(self, **_asked: str) -> dict[str, Any]:
        if isinstance(self._answer, ClientError):
            raise self._answer
        return self._answer


def stack_that(answer: dict[str, Any] | ClientError) -> stacks.Stack:
    return stacks.Stack("photos", lambda _service: CloudFormation(answer))


def refusal(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


def test_a_stack_that_is_not_there_is_looked_for_elsewhere() -> None:
    stack = stack_that(refusal("ValidationError", "Stack with id photos does not exist"))

    with pytest.raises(StackNotFound, match=r"no stack photos .* --region and --profile"):
        _ = stack.outputs
    with pytest.raises(StackNotFound):
        _ = stack_that(refusal("ValidationError", "Stack with id photos does not exist")).resources


def test_a_refused_call_stays_what_it_is() -> None:
    stack = stack_that(refusal("AccessDenied", "not authorized"))

    with pytest.raises(ClientError):
        _ = stack.outputs


def test_another_stack_is_no_cutout() -> None:
    stack = stack_that({"Stacks": [{"Outputs": [{"OutputKey": "Url", "OutputValue": "x"}]}]})

    with pytest.raises(StackNotFound, match="the stack photos is no Cutout"):
        _ = stack.tasks_table


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(StackNotFound, match=r"profile \(work\) could not be found"):
        stacks.find_stack("photos", profile="work")


def test_a_stack_on_aws_is_reached_with_the_options_that_found_it() -> None:
    stack = stacks.find_stack("photos", region="eu-west-1")

    assert stack.options == " --stack photos --region eu-west-1"
    assert stack.client("sqs").meta.region_name == "eu-west-1"


def test_the_vendor_is_asked_only_with_a_key() -> None:
    described = {
        "Outputs": [
            {"OutputKey": name, "OutputValue": "x"}
            for name in ("InputBucket", "OutputBucket", "TasksTable", "UploadQueueUrl")
        ],
        "Parameters": [{"ParameterKey": "WaveSpeedBaseUrl", "ParameterValue": "https://v.test"}],
    }
    client = CloudFormation({"Stacks": [described]})

    assert stacks.Stack("s", lambda _: client, environment={}).vendor is None
    assert stacks.Stack("s", lambda _: client, environment={"WAVESPEED_API_KEY": "k"}).vendor
