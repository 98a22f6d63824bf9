"""What each function really calls, beside what its role in the template allows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cutout.domain.tasks import Status
from cutout_local.aws import Call, required_actions
from cutout_local.aws.template import to_cloudformation
from cutout_local.stack import TEMPLATE, local_stack
from tests.e2e.conftest import Stack, photo
from tests.support.waiting import wait_for

# Allowed and not seen here, each for its reason.
LAMBDA_ITSELF = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
UNVERSIONED = {"s3:GetObject"}  # of an existing bucket without versions
TELLS_GONE_FROM_FORBIDDEN = {"s3:ListBucket"}  # checked by S3 and never called
UNSEEN = {
    "SubmitFunction": LAMBDA_ITSELF
    | UNVERSIONED
    | TELLS_GONE_FROM_FORBIDDEN
    | {"sqs:GetQueueAttributes"},  # by Lambda's own poller
    "PollFunction": LAMBDA_ITSELF
    | UNVERSIONED
    | TELLS_GONE_FROM_FORBIDDEN
    # Multipart uploads of large pictures need no more than s3:PutObject, but for breaking off.
    | {"s3:AbortMultipartUpload"},
    "WebhookFunction": LAMBDA_ITSELF,
    "BackstopFunction": LAMBDA_ITSELF | {"sqs:SendMessage"},  # by Lambda, when it fails
    "states": {
        "logs:CreateLogDelivery",
        "logs:GetLogDelivery",
        "logs:UpdateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
    },
}


@pytest.fixture(scope="module")
def calls() -> Iterator[set[Call]]:
    """Every call of a stack that went through all it can go through."""
    made: set[Call] = set()
    parameters = {"Webhook": "on", "WebhookFallbackSeconds": "4"}
    with local_stack(parameters=parameters, on_call=made.add) as local:
        go_through_everything(Stack(local))
        yield made


def go_through_everything(stack: Stack) -> None:
    # Slow enough for the loop to be waiting when the vendor calls back.
    stack.ask_for_fault("task-slow", "tagged.jpg", seconds=1)
    completed = stack.ended(stack.upload(photo(), "tagged.jpg", Tagging="a=b"))
    rejected = stack.upload(b"no picture", "bad.jpg")
    stack.ask_for_fault("submit-accepted-dropped", "lost.jpg")
    settled = stack.upload(photo(), "lost.jpg")
    stack.reached(settled, Status.COMPLETED)
    stack.ask_for_fault("submit-rate-limited", "later.jpg")
    stack.reached(stack.upload(photo(), "later.jpg"), Status.QUEUED, code="rate_limited")
    stack.ask_for_fault("task-never-ends", "slow.jpg")
    slow = stack.reached(stack.upload(photo(), "slow.jpg"), Status.PROCESSING)
    wait_for(lambda: stack.ledger.get(slow.task_id).polls)
    stack.states.stop_execution(executionArn=stack.execution_arn(slow))
    stack.reached(slow.upload, Status.FAILED)
    stack.ask_for_fault("task-fails", "fails.jpg")
    failed = stack.ended(stack.upload(photo(), "fails.jpg"))
    stack.execution(failed)
    stack.ended(rejected)
    stack.execution(completed)


def allowed(caller: str) -> set[str]:
    """The actions in the policies of the role that a caller has."""
    resources: dict[str, Any] = json.loads(to_cloudformation(TEMPLATE, {"Webhook": "on"}))[
        "Resources"
    ]
    user = resources["WaitLoop" if caller == "states" else caller]["Properties"]
    role = user.get("RoleArn") or user["Role"]
    policies = resources[role["Fn::GetAtt"][0]]["Properties"]["Policies"]
    statements = [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]
    actions = (statement["Action"] for statement in statements)
    return {name for a in actions for name in ([a] if isinstance(a, str) else a)}


@pytest.mark.parametrize("caller", UNSEEN)
def test_a_role_allows_what_is_called_and_nothing_else(caller: str, calls: set[Call]) -> None:
    mine = (required_actions(call) for call in calls if call.caller == caller)
    called = set[str]().union(*mine)

    assert called - allowed(caller) == set()
    assert allowed(caller) - called == UNSEEN[caller]


def test_every_caller_is_known(calls: set[Call]) -> None:
    assert {call.caller for call in calls} - set(UNSEEN) == {"test"}
