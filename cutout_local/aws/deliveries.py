"""EventBridge, SQS and Function URLs: how events reach queues and functions as on AWS."""

import json
import os
import re
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any
from uuid import uuid4

from ministack.core import iam_evaluator
from ministack.core.concurrency import esm_wake
from ministack.core.responses import get_account_id, get_region, json_response
from ministack.services import iam, lambda_svc, sqs

from cutout_local.aws.faults import Call
from cutout_local.aws.functions import LINEAGE
from cutout_local.aws.injection import injector
from cutout_local.aws.patching import replaces

_EVENTBRIDGE = "events.amazonaws.com"
_TRACE: ContextVar[str] = ContextVar("trace", default="")
_REPORTS: ContextVar[bool] = ContextVar("reports", default=False)
_PATIENT: ContextVar[bool] = ContextVar("patient", default=False)
_LONGEST_CHAIN = 16
_POLLER_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


@replaces("services.eventbridge", "_invoke_target", "rule targets")
def _target(original: Callable[..., None]) -> Any:
    """AWS asks the target's resource policy or role, and has dead letters; MiniStack has neither.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    No upstream issue exists. AWS tries again for as long as the retry policy says before that.
    """

    def deliver(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        arn = target["Arn"] if _may_deliver(target, rule["Arn"]) else dead_letters
        if arn and _may_deliver({**target, "Arn": arn}, rule["Arn"]):
            _with_faults(original, {**target, "Arn": arn}, event, rule, view)

    return deliver


def _with_faults(deliver: Callable[..., None], target: Any, event: Any, *more: Any) -> None:
    call = Call(caller="eventbridge", action=f"deliver:{event['Source']}")
    rule = injector.rule_for(call)
    if rule is None:
        deliver(target, event, *more)
    elif rule.carried_out:
        run = copy_context().run
        threading.Timer(rule.delay, run, (deliver, target, event, *more)).start()


@replaces("services.eventbridge", "_parse_rate_seconds", "schedules")
def _rate(original: Callable[[str], int | None]) -> Any:
    """A minute of a schedule takes what `schedule_scale` makes of it.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
    MiniStack looks every ten seconds; so a minute takes up to seventy. No upstream issue exists.
    """

    def scaled(expression: str) -> float | None:
        seconds = original(expression)
        return seconds and seconds * float(os.environ["CUTOUT_SCHEDULE_SCALE"])

    return scaled


@replaces("services.eventbridge", "_SCHEDULER_TICK_INTERVAL", "schedules")
def _sweep_seconds(_original: int) -> Any:
    return 0.25


def _may_deliver(target: dict[str, Any], rule: str) -> bool:
    """Whether the target is there and lets this rule in, or has a role that does."""
    arn = target["Arn"]
    match arn.split(":")[2]:
        case "sqs":
            return bool(sqs.queue_policy_allows(arn, _EVENTBRIDGE, rule, get_account_id()))
        case "states":
            role = target.get("RoleArn", "").rpartition("/")[2]
            found = iam._roles.get_scoped(get_account_id(), None, role) or {}
            trusts = _lets_in(found.get("AssumeRolePolicyDocument"), "sts:AssumeRole", "*", rule)
            return trusts and _role_allows(role, "states:StartExecution", arn)
    policy, *_ = lambda_svc.function_policy_for_arn(arn) or [None]
    return _lets_in(policy, "lambda:InvokeFunction", arn, rule)


def _lets_in(policy: Any, action: str, resource: str, rule: str) -> bool:
    """Whether a resource's policy allows EventBridge an action for this rule."""
    source = {"aws:sourcearn": rule, "aws:sourceaccount": get_account_id()}
    context = _context(action, resource, "Service", service_context=source)
    evaluate = iam_evaluator.evaluate_resource_policy
    return bool(evaluate(policy, context, service=_EVENTBRIDGE).decision == "Allow")


@replaces("core.iam_actions", "_action_from_target", "rights of batches")
def _batch_needs_the_right_of_one(original: Callable[[dict[str, str]], str | None]) -> Any:
    """SendMessageBatch of SQS needs sqs:SendMessage, and so the other batches.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    No upstream issue exists.
    """

    def action(headers: dict[str, str]) -> str | None:
        name = original(headers)
        of_sqs = headers.get("x-amz-target", "").startswith("AmazonSQS.")
        return name.removesuffix("Batch") if name and of_sqs else name

    return action


def _context(action: str, resource: str, kind: str, **more: Any) -> iam_evaluator.EvalContext:
    return iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type=kind,
        principal_account="" if kind == "Service" else get_account_id(),
        action=action,
        resource_arn=resource,
        region=get_region(),
        **more,
    )


@replaces("services.eventbridge", "_dispatch_to_lambda", "rule targets")
def _asynchronously(_original: Any) -> Any:
    """EventBridge invokes asynchronously: with retries and a failure destination."""

    def dispatch(arn: str, payload: str) -> None:
        function, config, _ = lambda_svc._get_func_record_for_ref(arn)
        record = lambda_svc._execution_record_for_config(function, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    return dispatch


@replaces("services.lambda_svc", "_sqs_esm_concurrency", "poller by role")
def _poller(original: Callable[..., int]) -> Any:
    """Lambda polls a queue with the function's role; MiniStack asks nobody.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    No upstream issue exists.
    """

    def concurrency(mapping: Any, function: Any, config: Any, queue: Any = None) -> int:
        role, arn = config["Role"].rsplit("/", 1)[1], mapping["EventSourceArn"]
        if all(_role_allows(role, action, arn) for action in _POLLER_ACTIONS):
            return original(mapping, function, config, queue)
        mapping["LastProcessingResult"] = "PROBLEM: the execution role may not read the queue."
        return 0

    return concurrency


def _role_allows(role: str, action: str, resource: str) -> bool:
    policies = iam_evaluator._gather_role_policies(role, get_account_id())
    context = _context(action, resource, "AssumedRole")
    return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")


@replaces("services.sqs", "handle_request", "recursive loops")
def _keep_trace(original: Callable[..., Any]) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], *more: Any) -> Any:
        _TRACE.set(headers.get("x-amzn-trace-id", ""))
        return await original(method, path, headers, *more)

    return handle


@replaces("services.sqs", "_build_send_sys_attrs", "recursive loops")
def _hand_on_trace(original: Callable[..., dict[str, str]]) -> Any:
    def attributes(now: float, given: Any) -> dict[str, str]:
        trace = {"AWSTraceHeader": _TRACE.get()} if _TRACE.get() else {}
        return trace | original(now, given)

    return attributes


@replaces("services.lambda_svc", "_run_sqs_batch", "recursive loops")
def _stop_loops(original: Callable[..., None]) -> Any:
    """The 17th invocation of a chain of messages does not happen: they become dead letters.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    MiniStack counts chains of Invoke, not of messages. No upstream issue exists.
    """

    def run(mapping: Any, function: Any, event: Any, batch: Any, url: str, name: str) -> None:
        depth = max(_depth(record["attributes"]) for record in event["Records"])
        if depth >= _LONGEST_CHAIN and function.get("recursive_loop") != "Allow":
            _bury(batch, url)
            return
        LINEAGE.set(depth)
        original(mapping, function, event, batch, url, name)

    return run


def _depth(attributes: dict[str, str]) -> int:
    counted = re.search(r"Lineage=1:\d+:(\d+)", attributes.get("AWSTraceHeader", ""))
    return int(counted[1]) if counted else 0


def _bury(batch: list[dict[str, Any]], url: str) -> None:
    """Without a dead-letter queue they are gone."""
    sqs._delete_messages_for_esm(url, {message["receipt_handle"] for message in batch})
    queue = sqs._queues[url]["attributes"]
    if policy := queue.get("RedrivePolicy"):
        dead_letters = sqs._queue_by_arn(json.loads(policy)["deadLetterTargetArn"])
        source = {"DeadLetterQueueSourceArn": queue["QueueArn"]}
        letters = [{**m, "visible_at": time.time(), "sys": m["sys"] | source} for m in batch]
        with sqs._queues_lock:
            dead_letters["messages"] += letters
        esm_wake.set()


@replaces("services.lambda_svc", "_run_sqs_batch", "batch reports")
def _expect_report(original: Callable[..., None]) -> Any:
    def run(mapping: Any, *more: Any) -> None:
        reports = "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", [])
        _run_with(_REPORTS, reports, original, mapping, *more)

    return run


def _run_with(
    variable: ContextVar[bool], value: bool, call: Callable[..., None], *args: Any
) -> None:
    """Call with a variable set that whoever calls after us must not see."""
    context = copy_context()
    context.run(variable.set, value)
    context.run(call, *args)


@replaces("services.lambda_svc", "invoke_async_with_retry", "throttled events")
def _be_patient(original: Callable[..., None]) -> Any:
    return lambda function, event: _run_with(_PATIENT, True, original, function, event)


@replaces("services.lambda_svc", "_execute_function", "throttled events")
def _outlast_throttling(original: Callable[..., Any]) -> Any:
    """An event that finds no concurrency stays in Lambda's queue; MiniStack counts it as a failure.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
    No upstream issue exists.
    """

    def execute(function: Any, event: Any) -> Any:
        while (result := original(function, event)).get("throttle") and _PATIENT.get():
            time.sleep(1)
        return result

    return execute


@replaces("services.lambda_svc", "_execute_function", "batch reports")
def _check_report(original: Callable[..., Any]) -> Any:
    """A report of failed items that cannot be read fails the whole batch.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    MiniStack skips what it cannot read. No upstream issue exists.
    """

    def execute(function: Any, event: Any) -> Any:
        result = original(function, event)
        if _REPORTS.get() and not result.get("error"):
            ids = {record["messageId"] for record in event["Records"]}
            if not _is_report(result["body"], ids):
                result["body"] = {"batchItemFailures": [{"itemIdentifier": each} for each in ids]}
        return result

    return execute


def _is_report(body: Any, ids: set[str]) -> bool:
    failures = body.get("batchItemFailures") or [] if isinstance(body, dict) else [body]
    return body is None or all(
        isinstance(failure, dict) and failure.get("itemIdentifier") in ids for failure in failures
    )


@replaces("services.lambda_svc", "_create_function_url_config", "function URLs")
def _function_url(original: Callable[..., Any]) -> Any:
    """AWS's host name leads to AWS. This is the path at which MiniStack serves the same URL.

    https://github.com/ministackorg/ministack#lambda-function-urls
    """

    def create(function: str, data: Any, qualifier: Any) -> Any:
        answer = original(function, data, qualifier)
        made = lambda_svc._function_urls.get(lambda_svc._url_config_key(function, qualifier))
        if answer[0] != 201 or made is None:
            return answer
        url_id = uuid4().hex
        made["FunctionUrl"] = f"{os.environ['AWS_ENDPOINT_URL']}/_aws/lambda-url/{url_id}/"
        return json_response(made, status=201)

    return create


@replaces("services.lambda_svc", "_function_url_id", "function URLs")
def _function_url_id(_original: Any) -> Any:
    return lambda url: url.rstrip("/").rsplit("/", 1)[-1]
