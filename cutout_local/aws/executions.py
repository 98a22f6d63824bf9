"""Step Functions: what executions do differently in MiniStack than on AWS."""

import hashlib
import json
import os
import random
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import lru_cache
from typing import Any

import botocore.session
import yaml
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import json_response, now_iso
from ministack.services import stepfunctions, sts

from cutout_local.aws.patching import replaces

_ROLE: ContextVar[tuple[str, str]] = ContextVar("role")  # its ARN, and the state machine's name
_FOR_EVER = 365 * 86400  # no execution may take longer
_creating = threading.Lock()


@replaces("services.stepfunctions", "_run_execution", "calls by role")
def _run(original: Callable[[str], None]) -> Any:
    """MiniStack makes an execution's calls past IAM. AWS makes them with the role's rights.

    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
    No upstream issue exists.
    """

    def run(execution_arn: str) -> None:
        execution = stepfunctions._executions[execution_arn]
        machine = stepfunctions._state_machines[execution["stateMachineArn"]]
        _ROLE.set((machine["roleArn"], machine["name"]))
        original(execution_arn)

    return run


@replaces("services.stepfunctions", "_run_execution", "timeout of an execution")
def _time_out(original: Callable[[str], None]) -> Any:
    """AWS ends an execution after the state machine's `TimeoutSeconds`; MiniStack does not.

    https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
    No upstream issue exists.
    """

    def run(execution_arn: str) -> None:
        execution = stepfunctions._executions[execution_arn]
        machine = stepfunctions._state_machines[execution["stateMachineArn"]]
        seconds = json.loads(machine["definition"]).get("TimeoutSeconds", _FOR_EVER)
        timer = threading.Timer(seconds, copy_context().run, (time_out, execution))
        timer.start()
        original(execution_arn)
        timer.cancel()

    return run


def time_out(execution: dict[str, Any]) -> None:
    if execution["status"] == "RUNNING":
        ended = {"status": "TIMED_OUT", "error": "States.Timeout", "stopDate": now_iso()}
        execution.update(ended)
        stepfunctions._add_event(execution, "ExecutionTimedOut", {})
        stepfunctions._emit_execution_status_event(execution)


@replaces("services.stepfunctions", "_find_matching_retrier", "retries")
def _retrier(original: Callable[..., Any]) -> Any:
    """AWS knows `MaxDelaySeconds` and `JitterStrategy`; MiniStack does not.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    No upstream issue exists. MiniStack waits no longer than a minute; that is not mended.
    """

    def find(retriers: Any, error: str, counts: dict[int, int]) -> Any:
        found, place = original(retriers, error, counts)
        if found is None:
            return None, -1
        growth = found.get("BackoffRate", 2) ** counts.get(place, 0)
        seconds = found.get("IntervalSeconds", 1) * growth
        seconds = min(seconds, found.get("MaxDelaySeconds", seconds))
        if found.get("JitterStrategy") == "FULL":
            seconds = random.uniform(0, seconds)  # noqa: S311
        return {**found, "IntervalSeconds": seconds, "BackoffRate": 1}, place

    return find


@replaces("services.stepfunctions", "_start_execution", "repeated starts")
def _start(original: Callable[..., Any]) -> Any:
    """The same start again, while the execution runs, is answered as the first was.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    No upstream issue exists.
    """

    def start(request: dict[str, Any]) -> Any:
        answer = original(request)
        if answer[0] == 200 or "name" not in request:
            return answer
        machine = request["stateMachineArn"].replace(":stateMachine:", ":execution:")
        running = stepfunctions._executions.get(f"{machine}:{request['name']}", {})
        if running.get("status") != "RUNNING" or running["input"] != request.get("input", "{}"):
            return answer
        return json_response({key: running[key] for key in ("executionArn", "startDate")})

    return start


@replaces("services.stepfunctions", "_call_lambda", "calls by role")
def _lambda(_original: Any) -> Any:
    return invoke


@replaces("services.stepfunctions", "_invoke_nested_start_execution", "calls by role")
def _nested(_original: Any) -> Any:
    return lambda _, arguments: start_execution(arguments)


@replaces("services.stepfunctions", "_invoke_dynamodb", "calls by role")
def _dynamodb(_original: Any) -> Any:
    return lambda operation, arguments: call("DynamoDB", "dynamodb", operation, arguments)


@replaces("services.stepfunctions", "_SERVICE_DISPATCH", "calls by role")
def _integrations(original: dict[str, Any]) -> Any:
    return {**original, "arn:aws:states:::events:putEvents": lambda _, given: put_events(given)}


@replaces("services.stepfunctions", "_invoke_aws_sdk_integration", "calls by role")
def _sdk(_original: Any) -> Any:
    def invoke_sdk(resource: str, arguments: dict[str, Any]) -> Any:
        service, operation = resource.split(":")[6:8]
        # The SDK for Java's names, e.g. `DynamoDb`, begin the errors of these integrations.
        prefix = {"dynamodb": "DynamoDb"}.get(service, service.capitalize())
        return call(prefix, service, operation.removesuffix(".waitForTaskToken"), arguments)

    return invoke_sdk


def invoke(function: str, event: Any) -> Any:
    """lambda:invoke. A function's error is named by its type, and its cause is the payload."""
    payload = json.dumps(event)
    answer = call("Lambda", "lambda", "invoke", {"FunctionName": function, "Payload": payload})
    body = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        name = json.loads(body).get("errorType", "Lambda.Unknown")
        raise stepfunctions._ExecutionError(name, body)
    return json.loads(body or "null")


def start_execution(arguments: dict[str, Any]) -> Any:
    """states:startExecution, whose errors have the names of the SDK for Java.

    https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
    """
    given = {xform_name(name): value for name, value in arguments.items()}
    request: dict[str, Any] = {"stateMachineArn": given["state_machine_arn"]}
    request |= {"input": json.dumps(given.get("input", {}))}
    request |= {"name": given["name"]} if "name" in given else {}
    try:
        started = call("StepFunctions", "stepfunctions", "startExecution", request)
    except stepfunctions._ExecutionError as error:
        raise stepfunctions._ExecutionError(f"{error.error}Exception", error.cause) from error
    return {"ExecutionArn": started["executionArn"], "StartDate": str(started["startDate"])}


def put_events(arguments: dict[str, Any]) -> Any:
    """events:putEvents, which takes the detail as JSON, and fails with what EventBridge refused."""
    entries = [{**entry, "Detail": json.dumps(entry["Detail"])} for entry in arguments["Entries"]]
    answer = call("EventBridge", "events", "putEvents", {"Entries": entries})
    if answer["FailedEntryCount"]:
        raise stepfunctions._ExecutionError("EventBridge.FailedEntry", json.dumps(answer))
    return answer


def call(prefix: str, service: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A call as the SDK of an execution makes it, with the rights of its role."""
    method = getattr(_client(service, *_ROLE.get()), xform_name(operation))
    try:
        answer: dict[str, Any] = method(**arguments)
    except ClientError as error:
        code, cause = error.response["Error"]["Code"], str(error)
        raise stepfunctions._ExecutionError(f"{prefix}.{code}", cause) from error
    except BotoCoreError as error:
        name = f"{prefix}.SdkClientException"
        raise stepfunctions._ExecutionError(name, str(error)) from error
    answer.pop("ResponseMetadata", None)
    return answer


def _client(service: str, role: str, name: str) -> Any:
    with _creating:  # making a client is not safe from several threads
        return _cached_client(service, role, name)


@lru_cache
def _cached_client(service: str, role: str, name: str) -> Any:
    digest = hashlib.sha256(f"{role}/{name}".encode()).hexdigest()
    key, secret, token = f"ASIA{digest[:16].upper()}", digest[16:40], digest[40:]
    role_name = role.rsplit("/", 1)[1]
    session = {
        "Arn": f"arn:aws:sts::{role.split(':')[4]}:assumed-role/{role_name}/{name}",
        "UserId": f"{role_name}:{name}",
        "SecretAccessKey": secret,
        "SessionToken": token,
    }
    sts.register_session(key, session)
    return botocore.session.get_session().create_client(
        service,
        region_name=os.environ["MINISTACK_REGION"],
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        # A function may take 15 minutes; what fails is the state machine's to try again.
        config=Config(
            read_timeout=900, retries={"total_max_attempts": 1}, max_pool_connections=100
        ),
    )


@replaces("services.stepfunctions", "_execute_task", "timeout in JSONata")
def _task(original: Callable[..., Any]) -> Any:
    """AWS evaluates `TimeoutSeconds`; MiniStack takes the expression for a number.

    https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html
    No upstream issue exists.
    """

    def execute(state: dict[str, Any], state_input: Any, execution: Any, context: Any) -> Any:
        if isinstance(state.get("TimeoutSeconds"), str):
            evaluate = stepfunctions._jsonata_state_field
            seconds = evaluate(state, "TimeoutSeconds", "number", state_input, context)
            state = {**state, "TimeoutSeconds": seconds}
        return original(state, state_input, execution, context)

    return execute


@replaces("services.stepfunctions", "_fail_execution", "aborted stays aborted")
def _fail(original: Callable[..., None]) -> Any:
    """A task that fails after its execution was aborted makes MiniStack call it FAILED.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
    No upstream issue exists.
    """

    def fail(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            original(execution, error, cause)

    return fail


@replaces("services.cloudformation.provisioners", "_sfn_definition", "definition in YAML")
def _definition(original: Callable[[dict[str, Any]], str]) -> Any:
    """AWS takes a definition in S3 as JSON or YAML; MiniStack only as JSON.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-stepfunctions-statemachine.html
    No upstream issue exists.
    """
    return lambda properties: json.dumps(yaml.load(original(properties), yaml.CSafeLoader))
