"""Every place where moto is changed, each with what moto does and what AWS documents.

The differences that are left are small; they are written where they matter: `functions`,
`function_urls`, `event_sources`, `event_bus`. Besides: roles and bucket policies are not enforced,
TTL deletes nothing, alarms never fire, lifecycle rules do nothing.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from types import SimpleNamespace
from typing import Any

from moto.awslambda.models import EventSourceMapping, LambdaBackend, LambdaFunction
from moto.cloudformation import parsing
from moto.core.config import default_user_config
from moto.dynamodb.responses import DynamoHandler
from moto.events.models import Rule
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server import werkzeug_app
from moto.moto_server.utilities import RegexConverter
from moto.s3 import notifications
from moto.s3.models import FakeBucket, s3_backends
from moto.sqs.models import Queue, sqs_backends
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.eval import states, variable_store
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped, ProgramTimedOut
from moto.stepfunctions.parser.asl.jsonata import jsonata
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.backend.execution import (
    BaseExecutionWorkerCommunication,
    Execution,
)
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from werkzeug.routing import Map

from . import event_bus
from .event_sources import EventSources
from .expressions import ExpressionFailed, declare, evaluate
from .function_urls import FunctionUrl, FunctionUrls
from .functions import Functions
from .state_machines import (
    Starts,
    StateMachines,
    interrupt_tokens,
    query_evaluation_error,
    refusing_late,
)

logger = logging.getLogger(__name__)

REGION = "eu-central-2"
"""Not us-east-1: in the older regions, version 1 of the AWS CLI calls SQS at an address of its own,
whatever AWS_ENDPOINT_URL says."""
PARTITION = "aws"


@contextmanager
def patched(
    endpoint_url: str,
    functions: Functions,
    urls: FunctionUrls,
    sources: EventSources,
    machines: StateMachines,
) -> Iterator[None]:
    """moto as the stack needs it, for as long as the context lasts; its state is new before
    and gone after.
    """
    with ExitStack() as stack:
        moto_api_backend.reset()
        stack.callback(moto_api_backend.reset)
        _environment(stack, endpoint_url)
        _quiet(stack)
        _functions(stack, functions)
        _function_urls(stack, endpoint_url, functions, urls)
        _queues(stack, endpoint_url, sources)
        _buckets(stack)
        _tables(stack)
        _events(stack, functions)
        _state_machines(stack, machines)
        _expressions(stack)
        yield


def _replace(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    stack.callback(setattr, owner, name, owner.__dict__[name])
    setattr(owner, name, value)


def _environment(stack: ExitStack, endpoint_url: str) -> None:
    settings = {
        "AWS_DEFAULT_REGION": REGION,  # the SAM translator asks a session of its own
        "MOTO_PORT": endpoint_url.rsplit(":", 1)[1],  # where state machines make their calls
        # Code stays in its folder: what its packaged location names is not in S3.
        "VALIDATE_LAMBDA_S3": "false",
    }
    for name, value in settings.items():
        before = os.environ.get(name)
        undo: Callable[[], object] = functools.partial(os.environ.pop, name, None)
        if before is not None:
            undo = functools.partial(os.environ.__setitem__, name, before)
        stack.callback(undo)
        os.environ[name] = value


def _quiet(stack: ExitStack) -> None:
    # The interpreter logs every failed state with its data; the execution's history has it too.
    # CloudFormation warns of each resource it passes over, such as queue policies.
    noisy = logging.getLogger("moto")
    stack.callback(noisy.setLevel, noisy.level)
    noisy.setLevel(logging.CRITICAL)
    quiet = SimpleNamespace(warn=lambda message, **_: logger.debug(message))
    _replace(stack, parsing, "warnings", quiet)


def _functions(stack: ExitStack, functions: Functions) -> None:
    create = LambdaFunction.create_from_cloudformation_json

    def create_from_cloudformation_json(
        name: str, resource: dict[str, Any], *args: Any, **kwargs: Any
    ) -> LambdaFunction:
        # moto leaves out layers and log settings.
        function = create(name, resource, *args, **kwargs)
        functions.add(kwargs["LogicalId"], function, resource["Properties"])
        return function

    def invoke(
        function: LambdaFunction, body: str | bytes, headers: Any, response: Any
    ) -> str | bytes:
        # moto runs Docker, and calls every error "Handled".
        event = (body.encode() if isinstance(body, str) else body) or b"{}"
        if headers.get("X-Amz-Invocation-Type") == "Event":
            functions.invoke_async(function.function_name, event)
            return ""
        answer = functions.named(function.function_name).invoke(event)
        if answer.failed:
            response["x-amz-function-error"] = "Unhandled"
        return answer.payload

    _replace(
        stack,
        LambdaFunction,
        "create_from_cloudformation_json",
        staticmethod(create_from_cloudformation_json),
    )
    _replace(stack, LambdaFunction, "invoke", invoke)


def _function_urls(
    stack: ExitStack, endpoint_url: str, functions: Functions, urls: FunctionUrls
) -> None:
    def create(_: str, resource: dict[str, Any], *_args: Any, **_kwargs: Any) -> FunctionUrl:
        properties = resource["Properties"]
        function = functions.named(properties["TargetFunctionArn"].rsplit(":", 1)[-1])
        made = urls.add(function, endpoint_url)
        function.model.create_url_config(properties).url = made.url  # for GetFunctionUrlConfig
        return made

    # moto's CloudFormation does not know this type of resource.
    kind = SimpleNamespace(
        create_from_cloudformation_json=create, has_cfn_attr=FunctionUrl.has_cfn_attr
    )
    models = {**parsing.get_model_map(), "AWS::Lambda::Url": kind}
    _replace(stack, parsing, "get_model_map", lambda: models)


def _queues(stack: ExitStack, endpoint_url: str, sources: EventSources) -> None:
    create = LambdaBackend.create_event_source_mapping
    delete = Queue.delete_message

    def create_event_source_mapping(
        backend: LambdaBackend, spec: dict[str, Any]
    ) -> EventSourceMapping:
        # moto calls the function inside SendMessage; `event_sources` polls instead.
        mapping = create(backend, spec)
        sources.mappings.append(mapping)
        for queue in sqs_backends[backend.account_id][backend.region_name].queues.values():
            queue.lambda_event_source_mappings.clear()
        return mapping

    def delete_message(queue: Queue, receipt_handle: str) -> None:
        # moto rebuilds the list of messages unlocked: one that is sent meanwhile would be lost.
        with queue._messages_lock:
            delete(queue, receipt_handle)

    _replace(stack, LambdaBackend, "create_event_source_mapping", create_event_source_mapping)
    _replace(stack, Queue, "delete_message", delete_message)
    # A queue's Ref is its URL, of amazonaws.com in moto.
    url = property(lambda queue: f"{endpoint_url}/{queue.account_id}/{queue.name}")
    _replace(stack, Queue, "physical_resource_id", url)


class _AnyCharacter(RegexConverter):
    """moto's `.+` for a key does not take a newline."""

    def __init__(self, url_map: Map, *items: str) -> None:
        super().__init__(url_map, *items)
        self.regex = f"(?s:{self.regex})"


def _buckets(stack: ExitStack) -> None:
    _replace(stack, werkzeug_app, "RegexConverter", _AnyCharacter)
    create = FakeBucket.create_from_cloudformation_json

    def create_from_cloudformation_json(
        name: str,
        resource: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> FakeBucket:
        # moto leaves out versioning and notifications.
        bucket = create(name, resource, account_id, region_name, **kwargs)
        properties = resource.get("Properties", {})
        backend = s3_backends[account_id][PARTITION]
        if versioning := properties.get("VersioningConfiguration"):
            backend.put_bucket_versioning(name, versioning["Status"])
        if "EventBridgeConfiguration" in properties.get("NotificationConfiguration", {}):
            backend.put_bucket_notification_configuration(name, {"EventBridgeConfiguration": {}})
        return bucket

    _replace(
        stack,
        FakeBucket,
        "create_from_cloudformation_json",
        staticmethod(create_from_cloudformation_json),
    )


def _tables(stack: ExitStack) -> None:
    call = DynamoHandler.call_action
    one_at_a_time = Lock()

    def call_action(handler: DynamoHandler) -> Any:
        # moto looks at a condition and writes in two steps: two writers could both find it true.
        with one_at_a_time:
            return call(handler)

    _replace(stack, DynamoHandler, "call_action", call_action)


def _events(stack: ExitStack, functions: Functions) -> None:
    def send_to_targets(rule: Rule, event: Any, **_: Any) -> None:
        event_bus.send_to_targets(rule, event, functions)

    def object_event(account_id: str, bucket: FakeBucket, event_name: str, key: Any) -> None:
        event_bus.object_created(account_id, bucket, event_name, key)

    _replace(stack, Rule, "send_to_targets", send_to_targets)
    _replace(stack, notifications, "_send_event_bridge_message", object_event)


def _state_machines(stack: ExitStack, machines: StateMachines) -> None:
    def create_from_cloudformation_json(
        name: str,
        resource: dict[str, Any],
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> StateMachine:
        return machines.create(name, resource["Properties"], account_id, region_name)

    settings = default_user_config["stepfunctions"]
    stack.callback(settings.update, settings.copy())
    settings["execute_state_machine"] = True
    _replace(
        stack,
        StateMachine,
        "create_from_cloudformation_json",
        staticmethod(create_from_cloudformation_json),
    )
    _replace(stack, boto_client, "boto3", machines)
    _replace(stack, retrier_decl, "time", machines.naps)
    _executions(stack)


def _executions(stack: ExitStack) -> None:
    begin, end = Execution.start, BaseExecutionWorkerCommunication.terminated
    abort, set_error = Execution.stop, Environment.set_error
    start_execution = Starts(StepFunctionsParserBackend.start_execution)

    def start(execution: Execution) -> None:
        begin(execution)
        event_bus.execution_status_changed(execution)

    def terminated(communication: BaseExecutionWorkerCommunication) -> None:
        end(communication)
        event_bus.execution_status_changed(communication.execution)

    _replace(
        stack,
        StepFunctionsParserBackend,
        "start_execution",
        lambda backend, *args, **kwargs: start_execution(backend, *args, **kwargs),
    )

    def stop(execution: Execution, *args: Any, **kwargs: Any) -> None:
        # moto cannot stop what has not quite begun, and lets a task wait on for its token.
        while not (execution.exec_worker and execution.exec_worker.env):
            time.sleep(0.001)
        abort(execution, *args, **kwargs)
        interrupt_tokens(execution)

    def keep_ending(environment: Environment, error: Any) -> None:
        # In moto a task that notices that its execution was stopped turns it into a failed one.
        if not isinstance(environment._program_state, ProgramStopped | ProgramTimedOut):
            set_error(environment, error)

    _replace(stack, Execution, "stop", stop)
    _replace(stack, Environment, "set_error", keep_ending)
    for name in ("send_task_success", "send_task_failure", "send_task_heartbeat"):
        _replace(stack, StepFunctionsParserBackend, name, refusing_late(name))
    _replace(stack, Execution, "start", start)
    _replace(stack, BaseExecutionWorkerCommunication, "terminated", terminated)


def _expressions(stack: ExitStack) -> None:
    evaluate_body = string_expression.StringJSONata._eval_body

    def eval_body(expression: string_expression.StringJSONata, environment: Environment) -> None:
        try:
            evaluate_body(expression, environment)
        except ExpressionFailed as error:
            raise query_evaluation_error(environment, str(error)) from error

    _replace(stack, string_expression.StringJSONata, "_eval_body", eval_body)
    # moto has no evaluator, and stand-ins for the functions that AWS adds.
    _replace(stack, jsonata, "_eval_jsonata", evaluate)
    _replace(stack, string_expression, "get_intrinsic_functions_declarations", lambda **_: "")
    # moto does not escape strings, and writes times with microseconds and an offset.
    for module in (states, variable_store):
        _replace(
            stack,
            module,
            "encode_jsonata_variable_declarations",
            lambda bindings: declare(bindings),
        )
