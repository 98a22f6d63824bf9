"""Step Functions, in JSONata."""

import contextlib
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.local_aws.support import Account
from tests.support.waiting import wait_for

AWKWARD = 'a "b" \\ \n ü \U0001f600'
SHOW = {"Type": "Pass", "Output": "{% $states.input %}", "End": True}
LONG = {"Type": "Wait", "Seconds": 60, "End": True}


def catch(error: str) -> dict[str, Any]:
    found = "{% $states.errorOutput.Error %}"
    return {"Catch": [{"ErrorEquals": [error], "Output": found, "Next": "Show"}], "End": True}


def waiting(aws: Account, key: str, seconds: Any, **more: Any) -> dict[str, Any]:
    """A state that leaves its token in the table and waits for it."""
    token = {":t": {"S": "{% $states.context.Task.Token %}"}}
    leave = {"UpdateExpression": "SET task_token = :t", "ExpressionAttributeValues": token}
    state = aws.update(key, leave, TimeoutSeconds=seconds, **more)
    return {**state, "Resource": state["Resource"] + ".waitForTaskToken"}


def token(aws: Account, key: str) -> str:
    return str(wait_for(lambda: aws.item(key).get("task_token", {}).get("S"), 10))


def gone(aws: Account) -> tuple[type[Exception], ...]:
    names = aws.states.exceptions
    return names.TaskTimedOut, names.TaskDoesNotExist


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"do": "raise", "say": AWKWARD}, "TemporarilyUnavailable"),
        ({"do": "sleep", "seconds": 60}, "Sandbox.Timedout"),
        ({"do": "exit"}, "Runtime.ExitError"),
    ],
)
def test_a_function_s_error_is_caught_by_its_name(
    aws: Account, event: dict[str, Any], name: str
) -> None:
    assert aws.output({"Ask": aws.task(event, **catch(name)), "Show": SHOW}) == name


def test_the_cause_of_a_function_s_error_is_its_whole_payload(aws: Account) -> None:
    execution = aws.run({"Ask": aws.task({"do": "raise", "say": AWKWARD}, End=True)})
    assert (execution["status"], execution["error"]) == ("FAILED", "TemporarilyUnavailable")
    cause = json.loads(execution["cause"])
    assert (cause["errorMessage"], cause["errorType"]) == (AWKWARD, "TemporarilyUnavailable")
    assert cause["stackTrace"]


def test_a_retry_tries_as_often_as_it_says(aws: Account) -> None:
    tries = "{% 'try ' & $string($states.context.State.RetryCount) %}"
    retry = [{"ErrorEquals": ["TemporarilyUnavailable"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    ask = aws.task({"do": "raise", "say": tries}, Retry=retry, End=True)
    execution = aws.run({"Ask": ask})
    assert execution["error"] == "TemporarilyUnavailable"
    assert json.loads(execution["cause"])["errorMessage"] == "try 1"


def test_a_retry_waits_no_longer_than_its_limit(aws: Account) -> None:
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 60}
    retry |= {"MaxDelaySeconds": 1, "MaxAttempts": 2, "JitterStrategy": "FULL"}
    machine = aws.machine({"Ask": aws.task({"do": "raise"}, Retry=[retry], End=True)})
    assert aws.ended(aws.start(machine), 4)["status"] == "FAILED"


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        ("dynamodb:updateItem", "DynamoDB.ConditionalCheckFailedException"),
        ("aws-sdk:dynamodb:updateItem", "DynamoDb.ConditionalCheckFailedException"),
    ],
)
def test_an_item_is_updated_on_a_condition(aws: Account, resource: str, error: str) -> None:
    key = uuid4().hex
    update = {
        "UpdateExpression": "SET kind = :k",
        "ConditionExpression": "attribute_not_exists(kind)",
        "ExpressionAttributeValues": {":k": {"S": "{% $states.input.kind %}"}},
    }
    state = aws.update(key, update, **catch(error)) | {"Resource": f"arn:aws:states:::{resource}"}
    assert aws.output({"Update": state, "Show": SHOW}, {"kind": AWKWARD}) != error
    assert aws.item(key)["kind"]["S"] == AWKWARD
    assert aws.output({"Update": state, "Show": SHOW}, {"kind": AWKWARD}) == error


@pytest.mark.parametrize("expression", ["{% $states.input.nothing %}", "{% $parse('{') %}"])
def test_an_expression_without_a_value_is_a_query_evaluation_error(
    aws: Account, expression: str
) -> None:
    execution = aws.run({"Show": {**SHOW, "Output": expression}})
    assert execution["error"] == "States.QueryEvaluationError"


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("seconds", [1, "{% $states.input.seconds %}"])
def test_a_task_that_takes_too_long_is_a_timeout(aws: Account, seconds: Any) -> None:
    state = aws.task(
        {"do": "sleep", "seconds": 60}, TimeoutSeconds=seconds, **catch("States.Timeout")
    )
    assert aws.output({"Ask": state, "Show": SHOW}, {"seconds": 1}) == "States.Timeout"


@pytest.mark.parametrize("seconds", [1, "{% $states.input.seconds %}"])
def test_a_token_that_nobody_sends_is_a_timeout_and_then_late(aws: Account, seconds: Any) -> None:
    key = uuid4().hex
    state = waiting(aws, key, seconds, **catch("States.Timeout"))
    assert aws.output({"Ask": state, "Show": SHOW}, {"seconds": 1}) == "States.Timeout"
    with pytest.raises(gone(aws)):
        aws.states.send_task_success(taskToken=token(aws, key), output="{}")


def test_a_wait_and_a_choice_by_expression(aws: Account) -> None:
    wait = {"Type": "Wait", "Seconds": "{% $max([0, $states.input.s]) %}", "Next": "Well?"}
    choice = {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input.s > 0 %}", "Next": "Lost"}],
        "Assign": {"way": "default"},
        "Default": "Show",
    }
    states = {
        "Sleep": wait,
        "Well?": choice,
        "Lost": {"Type": "Fail", "Error": "Lost"},
        "Show": {**SHOW, "Output": "{% $way %}"},
    }
    assert aws.output(states, {"s": -1}) == "default"


def test_an_execution_that_takes_too_long_is_timed_out(aws: Account) -> None:
    execution = aws.start(aws.machine({"Sleep": {**LONG, "Seconds": 2}}, TimeoutSeconds=1))
    assert aws.ended(execution)["status"] == "TIMED_OUT"


# ---------------------------------------------------------------- tokens


def test_a_token_wakes_its_task_once(aws: Account) -> None:
    key = uuid4().hex
    execution = aws.start(aws.machine({"Ask": waiting(aws, key, 60, End=True)}))
    found = token(aws, key)
    aws.states.send_task_success(taskToken=found, output=json.dumps({"x": AWKWARD}))
    assert json.loads(aws.ended(execution)["output"]) == {"x": AWKWARD}
    with pytest.raises(gone(aws)):
        aws.states.send_task_success(taskToken=found, output="{}")


def test_a_token_can_tell_of_a_failure(aws: Account) -> None:
    key = uuid4().hex
    state = waiting(aws, key, 60, **catch("Vendor.Failed"))
    execution = aws.start(aws.machine({"Ask": state, "Show": SHOW}))
    aws.states.send_task_failure(taskToken=token(aws, key), error="Vendor.Failed", cause="x")
    assert json.loads(aws.ended(execution)["output"]) == "Vendor.Failed"


def test_a_call_that_fails_does_not_wait_for_its_token(aws: Account) -> None:
    state = waiting(aws, uuid4().hex, 60, **catch("DynamoDb.ResourceNotFoundException"))
    state["Arguments"]["TableName"] = "of-nobody"
    found = aws.output({"Ask": state, "Show": SHOW})
    assert found == "DynamoDb.ResourceNotFoundException"


# ---------------------------------------------------------------- stops and names


def test_an_execution_that_is_stopped_stays_aborted_and_is_announced(aws: Account) -> None:
    key, url = uuid4().hex, aws.new_queue()
    machine = aws.machine({"Ask": waiting(aws, key, 2, **catch("States.ALL")), "Show": SHOW})
    ends = ["FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED"]
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ends}}
    aws.listen(url, pattern)
    execution = aws.start(machine)
    found = token(aws, key)
    aws.states.stop_execution(executionArn=execution, error="Why", cause="because")
    (message,) = aws.receive(url)
    event = json.loads(message["Body"])
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert (event["detail"]["executionArn"], event["detail"]["status"]) == (execution, "ABORTED")
    with contextlib.suppress(*gone(aws)):
        aws.states.send_task_success(taskToken=found, output="{}")
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert aws.ended(execution)["status"] == "ABORTED"


def test_a_failing_task_does_not_undo_a_stop(aws: Account) -> None:
    machine = aws.machine({"Ask": aws.task({"do": "sleep", "seconds": 60}, End=True)})
    execution = aws.start(machine)
    wait_for(lambda: "TaskScheduled" in aws.history(execution))
    aws.states.stop_execution(executionArn=execution)
    wait_for(lambda: "TaskFailed" in aws.history(execution), 10)
    assert aws.ended(execution)["status"] == "ABORTED"
    assert "ExecutionFailed" not in aws.history(execution)


def test_a_name_stands_for_one_execution(aws: Account) -> None:
    machine = aws.machine({"Show": SHOW})
    aws.ended(aws.start(machine, {"a": 1}, name="one"))
    with pytest.raises(aws.states.exceptions.ExecutionAlreadyExists):
        aws.start(machine, {"a": 1}, name="one")


def test_a_start_that_is_repeated_while_it_runs_is_the_same(aws: Account) -> None:
    machine = aws.machine({"Sleep": LONG})
    execution = aws.start(machine, {"a": 1}, name="one")
    try:
        assert aws.start(machine, {"a": 1}, name="one") == execution
    finally:
        aws.states.stop_execution(executionArn=execution)


def test_a_running_name_with_another_input_is_refused(aws: Account) -> None:
    machine = aws.machine({"Sleep": LONG})
    execution = aws.start(machine, {"a": 1}, name="one")
    with pytest.raises(aws.states.exceptions.ExecutionAlreadyExists):
        aws.start(machine, {"a": 2}, name="one")
    aws.states.stop_execution(executionArn=execution)


def test_a_definition_in_yaml_is_deployed(aws: Account) -> None:
    execution = aws.start(aws.outputs["Machine"], {"x": AWKWARD})
    assert json.loads(aws.ended(execution)["output"]) == {"x": AWKWARD}


# ---------------------------------------------------------------- events and rights


def test_events_are_put_and_refused_ones_fail_the_task(aws: Account) -> None:
    url = aws.new_queue()
    aws.listen(url, {"source": ["test.told"]})
    entry = {"Source": "test.told", "DetailType": "Told", "Detail": "{% $states.input %}"}
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::events:putEvents",
        "Arguments": {"Entries": [entry]},
        "End": True,
    }
    assert aws.run({"Tell": state}, {"x": AWKWARD})["status"] == "SUCCEEDED"
    (message,) = aws.receive(url)
    assert json.loads(message["Body"])["detail"] == {"x": AWKWARD}
    entry["Source"] = "aws.s3"
    assert aws.run({"Tell": state}, {"x": 1})["error"] == "EventBridge.FailedEntry"


def test_an_execution_has_the_rights_of_its_role(aws: Account) -> None:
    update = {"UpdateExpression": "SET kind = id"}
    execution = aws.run({"Update": aws.update("x", update, End=True)}, role="NarrowRole")
    assert execution["error"].endswith("AccessDeniedException")
    invoke = aws.run({"Ask": aws.task({}, End=True)}, role="NarrowRole")
    assert invoke["error"] == "Lambda.AccessDeniedException"
