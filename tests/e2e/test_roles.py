"""IAM is enforced in the local stack: what a role lacks fails, what it need not have is found."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yaml import safe_dump

from cutout.domain.messages import RetryRequest, VendorAnswer, VendorQuestion
from cutout.domain.tasks import Status
from cutout_cli.bucket import watch
from cutout_local.aws.template import read
from cutout_local.stack import BUILD
from tests.e2e.conftest import photo, running
from tests.support.images import HEIC, avif
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for

# Allowed and not called here, each for its reason.
UNVERSIONED = {"s3:GetObjectTagging"}  # of an existing bucket without versions
TELLS_GONE_FROM_FORBIDDEN = {"s3:ListBucket"}  # checked by S3 and never called
POLLER = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}  # Lambda's own
NOT_CALLED = {
    "SubmitFunction": TELLS_GONE_FROM_FORBIDDEN
    | POLLER
    | {"sqs:SendMessage"},  # for a slot ahead, and this stack has no plan
    # Multipart uploads of large images need no more than s3:PutObject, but for breaking off; tags
    # are in a header of PutObject.
    "PollFunction": UNVERSIONED
    | TELLS_GONE_FROM_FORBIDDEN
    | {"s3:AbortMultipartUpload", "s3:PutObjectTagging"},
    "ConvertFunction": TELLS_GONE_FROM_FORBIDDEN,
    "WebhookFunction": set[str](),
    "BackstopFunction": {"sqs:SendMessage"},  # by Lambda, when it fails
    "ClockFunction": {"events:PutEvents"},  # for executions whose end nobody was told of
    "WaitLoop": set[str](),
    "BackfillFunction": TELLS_GONE_FROM_FORBIDDEN,
    "Backfill": set[str](),
    "ReconcileFunction": set[str](),  # it lists the outputs
    "Reconcile": set[str](),
}
Template = dict[str, Any]


def template() -> Template:
    """What `sam build` made, with paths that hold from everywhere."""
    document: Template = read(BUILD / "template.yaml")
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        for name in {"CodeUri", "ContentUri", "DefinitionUri"} & properties.keys():
            properties[name] = str((BUILD / properties[name]).resolve())
    return document


def statements(document: Template, owner: str) -> list[dict[str, Any]]:
    """Those of the role that a function or state machine has."""
    role = document["Resources"][owner]["Properties"]["Role"]["Fn::GetAtt"][0]
    policies = document["Resources"][role]["Properties"]["Policies"]
    return [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]


def actions(statement: dict[str, Any]) -> set[str]:
    given = statement["Action"]
    return {given} if isinstance(given, str) else set(given)


def without(owner: str, action: str, folder: Path) -> Path:
    """A build whose role of `owner` lacks one action."""
    document = template()
    for statement in statements(document, owner):
        left = actions(statement) - {action}
        statement["Action"] = sorted(left or {"sts:GetCallerIdentity"})
    (folder / "template.yaml").write_text(safe_dump(document))
    return folder


def test_an_execution_whose_role_may_not_poll_fails(tmp_path: Path) -> None:
    build = without("WaitLoop", "lambda:InvokeFunction", tmp_path)
    with running(build=build, wait_scale=0) as stack:
        task = stack.ended(stack.upload(photo(), "forbidden.jpg"))

        assert task.status is Status.FAILED
        assert stack.execution(task)["error"] == "Lambda.AccessDeniedException"


def test_an_upload_that_the_role_may_not_claim_ends_in_the_dead_letter_queue(
    tmp_path: Path,
) -> None:
    build = without("SubmitFunction", "dynamodb:PutItem", tmp_path)
    with running(build=build) as stack:
        stack.upload(photo(), "forbidden.jpg")

        dead_letters = stack.env["DEAD_LETTER_QUEUE_URL"]
        assert wait_for(lambda: stack.sqs.receive_message(QueueUrl=dead_letters).get("Messages"))
        assert stack.output_keys() == set()


@pytest.fixture(scope="module")
def called() -> Iterator[dict[str, set[str]]]:
    """The actions that each caller used in a stack that went through all it can go through."""
    with running(
        schedule_scale=1 / 20, Webhook="on", WebhookFallbackSeconds="12", ReuseResults="true"
    ) as stack:
        go_through_everything(stack)
        made: dict[str, set[str]] = {}
        for call, _ in stack.aws.report().calls:
            made.setdefault(call.caller, set()).add(call.action)
        names = {owner: stack.local.physical_name(owner).split(":")[-1] for owner in NOT_CALLED}
        yield {owner: made.get(name, set()) for owner, name in names.items()}


def go_through_everything(stack: StackClient) -> None:
    # Slow enough for the loop to be waiting when the vendor calls back.
    stack.ask_for_fault("task-slow", "tagged.jpg", seconds=5)
    completed = stack.ended(stack.upload(photo(), "tagged.jpg", Tagging="a=b"))
    assert completed.status is Status.COMPLETED
    rejected = stack.upload(b"no image", "bad.jpg")
    stack.ask_for_fault("submit-accepted-dropped", "lost.jpg")
    settled = stack.upload(photo(161), "lost.jpg")
    stack.reached(settled, Status.COMPLETED)
    stack.ask_for_fault("submit-rate-limited", "later.jpg", times=1)
    later = stack.upload(photo(162), "later.jpg")
    stack.end_wait(stack.reached(later, Status.QUEUED, code="rate_limited"))
    stack.ask_for_fault("task-never-ends", "slow.jpg")
    slow = stack.reached(stack.upload(photo(163), "slow.jpg"), Status.PROCESSING)
    wait_for(lambda: stack.ledger.get(slow.task_id).polls)
    stack.send(RetryRequest.body(slow.task_id))
    stack.end_wait(slow)  # the clock looks at its execution
    stack.send("poison")
    asked = stack.local.physical_name("ClockFunction")
    told = stack.aws.client("lambda").invoke(
        FunctionName=asked, Payload=VendorQuestion().model_dump_json(by_alias=True)
    )
    assert VendorAnswer.model_validate_json(told["Payload"].read()).balance
    for caller in ("SubmitFunction", "ClockFunction"):
        wait_for_call(stack, caller, "states:DescribeExecution")
    wait_for_call(stack, "SubmitFunction", "sqs:ChangeMessageVisibility")
    stack.states.stop_execution(executionArn=stack.execution_arn(slow))
    stack.reached(slow.upload, Status.FAILED)
    stack.ask_for_fault("task-fails", "fails.jpg")
    stack.execution(stack.ended(stack.upload(photo(164), "fails.jpg")))
    stack.ended(rejected)
    stack.execution(completed)
    stack.ended(later)
    copied = stack.ended(stack.upload(photo(), "copied.jpg"))
    assert (copied.status, copied.reused_from) == (Status.COMPLETED, completed.task_id)
    assert stack.billed("copied.jpg") == []
    phone = [stack.upload(HEIC, "phone.heic"), stack.upload(avif(60, 40), "phone.avif")]
    assert [stack.ended(upload).status for upload in phone] == [Status.COMPLETED] * 2
    assert stack.image("phone.heic.png").size == (48, 64)
    watch(stack.s3, stack.env["INPUT_BUCKET"], on=False)
    stack.upload(photo(165), "missed.jpg")
    watch(stack.s3, stack.env["INPUT_BUCKET"], on=True)
    stack.states.start_execution(stateMachineArn=stack.local.outputs["BackfillArn"], input="{}")
    for action in ("s3:GetObject", "sqs:SendMessage"):
        wait_for_call(stack, "BackfillFunction", action)
    everything = {"cursors": [{"pages": pages} for pages in ("uploads", "outputs", "failed")]}
    stack.states.start_execution(
        stateMachineArn=stack.local.outputs["ReconcileArn"], input=json.dumps(everything)
    )
    for action in ("s3:GetObject", "s3:ListBucket", "secretsmanager:GetSecretValue"):
        wait_for_call(stack, "ReconcileFunction", action)
    left = stack.s3.list_objects_v2(Bucket=stack.local.physical_name("ConvertedBucket"))
    assert left["KeyCount"] == 0


def wait_for_call(stack: StackClient, owner: str, action: str) -> None:
    name = stack.local.physical_name(owner).split(":")[-1]
    wait_for(
        lambda: any((c.caller, c.action) == (name, action) for c, _ in stack.aws.report().calls)
    )


@pytest.mark.parametrize("owner", NOT_CALLED)
def test_a_role_allows_nothing_that_is_not_called(owner: str, called: dict[str, set[str]]) -> None:
    allowed = set[str]().union(*(actions(s) for s in statements(template(), owner)))
    ours = {action for action in allowed if not action.startswith(("logs:", "xray:"))}

    assert ours - called[owner] == NOT_CALLED[owner]
