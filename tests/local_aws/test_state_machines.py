from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cutout_local.aws import LocalAws

from .support import eventually

ROLE = "arn:aws:iam::123456789012:role/any"
AWKWARD = 'a "b" \\ \n ü \U0001f600'
UPDATE_ITEM = {
    "UpdateExpression": "SET #k = :k",
    "ConditionExpression": "attribute_not_exists(#k)",
    "ExpressionAttributeNames": {"#k": "kind"},
    "ExpressionAttributeValues": {":k": {"S": "{% $states.input.kind %}"}},
}


def machine(aws: LocalAws, states: dict[str, Any], **more: Any) -> str:
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
    created = aws.client("stepfunctions").create_state_machine(
        name=uuid.uuid4().hex, roleArn=ROLE, definition=json.dumps({**definition, **more})
    )
    return str(created["stateMachineArn"])


def start(aws: LocalAws, arn: str, given: Any = None, **more: Any) -> str:
    started = aws.client("stepfunctions").start_execution(
        stateMachineArn=arn, input=json.dumps(given or {}), **more
    )
    return str(started["executionArn"])


def ended(aws: LocalAws, execution: str) -> dict[str, Any]:
    states = aws.client("stepfunctions")

    def look() -> dict[str, Any] | None:
        seen: dict[str, Any] = states.describe_execution(executionArn=execution)
        return None if seen["status"] == "RUNNING" else seen

    return eventually(look)


def run(aws: LocalAws, states: dict[str, Any], given: Any = None, **more: Any) -> dict[str, Any]:
    return ended(aws, start(aws, machine(aws, states, **more), given))


def output(aws: LocalAws, states: dict[str, Any], given: Any = None) -> Any:
    execution = run(aws, states, given)
    assert execution["status"] == "SUCCEEDED", execution
    return json.loads(execution["output"])


def check(aws: LocalAws, payload: Any, **more: Any) -> dict[str, Any]:
    """A task that invokes the checker."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": aws.outputs["Checker"], "Payload": payload},
        **more,
    }


def show(value: Any) -> dict[str, Any]:
    return {"Type": "Pass", "Output": value, "End": True}


def test_variables_and_input_keep_awkward_text(aws: LocalAws) -> None:
    states = {
        "Assign": {"Type": "Pass", "Assign": {"x": "{% $states.input.x %}"}, "Next": "Show"},
        "Show": show(["{% $x %}", "{% $states.input.x %}"]),
    }
    assert output(aws, states, {"x": AWKWARD}) == [AWKWARD, AWKWARD]


def test_the_context_object_tells_name_and_start(aws: LocalAws) -> None:
    expression = "{% $states.context.Execution.Name %}"
    started = "{% $toMillis($now()) - $toMillis($states.context.Execution.StartTime) %}"
    arn = machine(aws, {"Show": show([expression, started])})
    name, age = json.loads(ended(aws, start(aws, arn, name="this-one"))["output"])
    assert name == "this-one"
    assert 0 <= age < 60_000


def test_a_task_s_result_is_assigned_and_put_out(aws: LocalAws) -> None:
    said = "{% $states.result.Payload.event.say %}"
    states = {
        "Ask": check(
            aws,
            {"say": "{% $states.input.x %}"},
            Assign={"said": said},
            Output="{% $states.result.StatusCode %}",
            Next="Show",
        ),
        "Show": show(["{% $said %}", "{% $states.input %}"]),
    }
    assert output(aws, states, {"x": AWKWARD}) == [AWKWARD, 200]


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"do": "raise", "say": AWKWARD}, "TemporarilyUnavailable"),
        ({"do": "sleep", "seconds": 60}, "Sandbox.Timedout"),
        ({"do": "exit"}, "Runtime.ExitError"),
    ],
)
def test_a_function_s_error_is_caught_by_its_name(
    aws: LocalAws, payload: dict[str, Any], name: str
) -> None:
    states = {
        "Ask": check(
            aws,
            payload,
            Catch=[
                {
                    "ErrorEquals": [name],
                    "Assign": {"why": "{% $parse($states.errorOutput.Cause).errorType %}"},
                    "Output": "{% $states.errorOutput.Error %}",
                    "Next": "Show",
                }
            ],
            End=True,
        ),
        "Show": show(["{% $why %}", "{% $states.input %}"]),
    }
    assert output(aws, states) == [name, name]


def test_a_retry_waits_within_its_limit_and_gives_up(aws: LocalAws) -> None:
    retry = {
        "ErrorEquals": ["TemporarilyUnavailable"],
        "IntervalSeconds": 1,
        "BackoffRate": 2,
        "MaxDelaySeconds": 1,
        "MaxAttempts": 2,
        "JitterStrategy": "FULL",
    }
    tries = "{% $string($states.context.State.RetryCount) %}"
    execution = run(
        aws, {"Ask": check(aws, {"do": "raise", "say": tries}, Retry=[retry], End=True)}
    )
    assert execution["error"] == "TemporarilyUnavailable"
    assert json.loads(execution["cause"])["errorMessage"] == "2"


def test_a_choice_and_a_wait_by_expression(aws: LocalAws) -> None:
    states = {
        "Sleep": {"Type": "Wait", "Seconds": "{% $max([0, $states.input.s]) %}", "Next": "Well?"},
        "Well?": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.s > 0 %}", "Next": "Lost"}],
            "Assign": {"way": "default"},
            "Default": "Show",
        },
        "Lost": {"Type": "Fail", "Error": "Lost"},
        "Show": show(["{% $way %}"]),
    }
    assert output(aws, states, {"s": -1}) == ["default"]


def test_a_fail_state_tells_error_and_cause(aws: LocalAws) -> None:
    fail = {"Type": "Fail", "Error": "{% $states.input.e %}", "Cause": "{% $states.input.c %}"}
    execution = run(aws, {"Fail": fail}, {"e": "My.Error", "c": AWKWARD})
    assert (execution["status"], execution["error"]) == ("FAILED", "My.Error")
    assert execution["cause"] == AWKWARD


@pytest.mark.parametrize("expression", ["{% $states.input.nothing %}", "{% $parse('{') %}"])
def test_an_expression_without_a_value_is_a_query_evaluation_error(
    aws: LocalAws, expression: str
) -> None:
    assert run(aws, {"Show": show(expression)})["error"] == "States.QueryEvaluationError"


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        ("dynamodb:updateItem", "DynamoDB.ConditionalCheckFailedException"),
        ("aws-sdk:dynamodb:updateItem", "DynamoDb.ConditionalCheckFailedException"),
    ],
)
def test_an_item_is_updated_on_a_condition(aws: LocalAws, resource: str, error: str) -> None:
    key = {"id": {"S": uuid.uuid4().hex}}
    states = {
        "Update": {
            "Type": "Task",
            "Resource": f"arn:aws:states:::{resource}",
            "Arguments": {"TableName": aws.outputs["Table"], "Key": key, **UPDATE_ITEM},
            "End": True,
        }
    }
    assert run(aws, states, {"kind": AWKWARD})["status"] == "SUCCEEDED"
    table = aws.client("dynamodb")
    item = table.get_item(TableName=aws.outputs["Table"], Key=key)["Item"]
    assert item["kind"]["S"] == AWKWARD
    assert run(aws, states, {"kind": AWKWARD})["error"] == error


def test_events_are_put_with_the_execution_among_their_resources(aws: LocalAws) -> None:
    events, sqs = aws.client("events"), aws.client("sqs")
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    events.put_rule(Name="hear", EventPattern='{"source": ["test"]}')
    arn = f"arn:aws:sqs:{aws.region}:123456789012:heard"
    events.put_targets(Rule="hear", Targets=[{"Id": "queue", "Arn": arn}])
    entry = {"Source": "test", "DetailType": "Heard", "Detail": {"x": "{% $states.input.x %}"}}
    states = {
        "Tell": {
            "Type": "Task",
            "Resource": "arn:aws:states:::events:putEvents",
            "Arguments": {"Entries": [entry]},
            "End": True,
        }
    }
    execution = run(aws, states, {"x": AWKWARD})
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    heard = json.loads(message["Body"])
    assert heard["detail"] == {"x": AWKWARD}
    assert heard["account"] == "123456789012"
    assert execution["executionArn"] in heard["resources"]


def waiting_for_token(aws: LocalAws, key: str, seconds: int, **more: Any) -> dict[str, Any]:
    """A task that writes its token into the table and waits for it."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
        "TimeoutSeconds": f"{{% {seconds} %}}",
        "Arguments": {
            "TableName": aws.outputs["Table"],
            "Key": {"id": {"S": key}},
            "UpdateExpression": "SET kind = :t",
            "ExpressionAttributeValues": {":t": {"S": "{% $states.context.Task.Token %}"}},
        },
        **more,
    }


def token(aws: LocalAws, key: str) -> Callable[[], str | None]:
    def look() -> str | None:
        answer = aws.client("dynamodb").get_item(
            TableName=aws.outputs["Table"], Key={"id": {"S": key}}
        )
        found: str | None = answer.get("Item", {}).get("kind", {}).get("S")
        return found

    return look


def test_a_task_token_wakes_its_task_once(aws: LocalAws) -> None:
    states = aws.client("stepfunctions")
    arn = machine(aws, {"Ask": waiting_for_token(aws, "once", 60, End=True)})
    execution = start(aws, arn)
    found = eventually(token(aws, "once"))
    states.send_task_success(taskToken=found, output=json.dumps({"x": AWKWARD}))
    assert json.loads(ended(aws, execution)["output"]) == {"x": AWKWARD}
    with pytest.raises(states.exceptions.TaskTimedOut):
        states.send_task_success(taskToken=found, output="{}")
    with pytest.raises(states.exceptions.InvalidToken):
        states.send_task_success(taskToken="of no task", output="{}")


def test_a_task_token_that_nobody_sends_times_out_and_is_then_late(aws: LocalAws) -> None:
    states = aws.client("stepfunctions")
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "Sleep"}]
    task = waiting_for_token(aws, "late", 1, Catch=catch, End=True)
    sleep = {"Type": "Wait", "Seconds": 60, "End": True}
    execution = start(aws, machine(aws, {"Ask": task, "Sleep": sleep}))
    found = eventually(token(aws, "late"))
    eventually(lambda: "WaitStateEntered" in history(aws, execution))
    with pytest.raises(states.exceptions.TaskTimedOut):
        states.send_task_success(taskToken=found, output="{}")


def history(aws: LocalAws, execution: str) -> list[str]:
    events = aws.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    return [event["type"] for event in events]


def test_an_execution_that_is_stopped_while_it_waits_for_a_token_is_aborted(aws: LocalAws) -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Show"}]
    task = waiting_for_token(aws, "stopped", 60, Catch=catch, End=True)
    execution = start(aws, machine(aws, {"Ask": task, "Show": show(1)}))
    eventually(token(aws, "stopped"))
    aws.client("stepfunctions").stop_execution(executionArn=execution)
    assert ended(aws, execution)["status"] == "ABORTED"


def test_a_machine_s_timeout_ends_the_execution(aws: LocalAws) -> None:
    sleep = {"Type": "Wait", "Seconds": 60, "End": True}
    assert run(aws, {"Sleep": sleep}, TimeoutSeconds=1)["status"] == "TIMED_OUT"


def test_a_name_stands_for_one_execution(aws: LocalAws) -> None:
    arn = machine(aws, {"Sleep": {"Type": "Wait", "Seconds": 60, "End": True}})
    first = start(aws, arn, {"a": 1}, name="one")
    assert start(aws, arn, {"a": 1}, name="one") == first
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        start(aws, arn, {"a": 2}, name="one")
    aws.client("stepfunctions").stop_execution(executionArn=first)
    ended(aws, first)
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        start(aws, arn, {"a": 1}, name="one")
