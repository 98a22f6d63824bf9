"""The commands around an AWS in memory, whose pipeline is done with an upload at once."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from cutout.domain.tasks import Confidence, Status, Task, new_task
from cutout.domain.uploads import Upload
from cutout.wavespeed.client import WaveSpeed
from cutout_cli.main import app
from cutout_cli.stacks import Stack
from tests.support.harness import MODEL, TABLE, PipelineHarness, answer
from tests.support.images import jpeg, png

PARAMETERS = {
    "WaveSpeedBaseUrl": "https://vendor.test",
    "ModelId": MODEL,
    "Webhook": "off",
    "OnUncertain": "hold",
    "PricePerImage": "0.01",
    "ImagesPerMinute": "10",
    "DailyBudget": "5",
    "OpaqueCutout": "save",
}

FAILED = (Status.FAILED, "timed_out", "the vendor had no result")
WAITING = (Status.QUEUED, "waits_for_slot", "its turn comes at 12:30")


class CloudFormation:
    """What CloudFormation tells of one stack."""

    def __init__(self, outputs: dict[str, str], resources: dict[str, tuple[str, str]]) -> None:
        self.outputs = outputs
        self.resources = resources
        self.parameters = dict(PARAMETERS)
        self.status = "CREATE_COMPLETE"

    def describe_stacks(self, **_asked: str) -> dict[str, Any]:
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]
        pairs = [{"ParameterKey": k, "ParameterValue": v} for k, v in self.parameters.items()]
        told = {"Outputs": outputs, "Parameters": pairs, "StackStatus": self.status}
        return {"Stacks": [told]}

    def get_paginator(self, operation: str) -> "CloudFormation":
        assert operation == "list_stack_resources"
        return self

    def paginate(self, **_asked: str) -> list[dict[str, Any]]:
        return [
            {
                "StackResourceSummaries": [
                    {"LogicalResourceId": name, "ResourceType": kind, "PhysicalResourceId": found}
                    for name, (kind, found) in self.resources.items()
                ]
            }
        ]


class FakeStack(Stack):
    """A stack whose vendor is the harness's."""

    asks_vendor = True

    @cached_property
    def vendor(self) -> WaveSpeed | None:
        harness: PipelineHarness = self.client("harness")
        return harness._wavespeed() if self.asks_vendor else None


@pytest.fixture
def cloudformation(harness: PipelineHarness) -> CloudFormation:
    def queue(name: str) -> str:
        return harness.sqs.create_queue(QueueName=name)["QueueUrl"]

    queues = {name: queue(name) for name in ("uploads", "UploadDeadLetters", "BackstopDeadLetters")}
    outputs = {
        "InputBucket": "uploads",
        "OutputBucket": "cutouts",
        "TasksTable": TABLE,
        "UploadQueueUrl": queues.pop("uploads"),
        "StateMachineArn": harness.machine,
    }
    return CloudFormation(outputs, {name: ("AWS::SQS::Queue", url) for name, url in queues.items()})


@pytest.fixture
def stack(
    harness: PipelineHarness,
    aws: Any,
    cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
) -> FakeStack:
    """What every command finds."""
    clients: dict[str, Any] = {"cloudformation": cloudformation, "harness": harness}

    def client(service: str) -> Any:
        if service not in clients:
            clients[service] = aws.client(service)
        return clients[service]

    for service in ("s3", "dynamodb", "sqs", "stepfunctions"):
        clients[service] = {"stepfunctions": harness.states}.get(service) or getattr(
            harness, service
        )
    stack = FakeStack("cutout", client, is_local=True)
    monkeypatch.setattr("cutout_cli.stacks.find_stack", lambda *_: stack)
    return stack


@dataclass
class Fates:
    """What becomes of uploads by their key; completed, if nothing is said.

    A fate is a status, with a code and a reason where it has one.
    """

    harness: PipelineHarness
    by_key: dict[str, tuple[Status, str, str]] = field(default_factory=dict)
    output: bytes = field(default_factory=lambda: png(40, 30))
    confidence: Confidence | None = None

    def arrived(self, upload: Upload) -> Task:
        """Do at once what the pipeline would do about an upload."""
        harness, ledger = self.harness, self.harness.ledger
        status, code, reason = self.by_key.get(upload.key, (Status.COMPLETED, "", ""))
        new = new_task(upload, "cutouts", f"{upload.key}.png", MODEL, harness.now, 30)
        task = ledger.claim(new)
        if status is Status.QUEUED:
            return ledger.update(task, code=code, reason=reason)
        if status is Status.REJECTED:
            return ledger.move(task, status, harness.now, code=code, reason=reason)
        task = ledger.move(task, Status.SUBMITTING, harness.now + timedelta(seconds=1), attempt=1)
        if status is Status.UNCERTAIN:
            return ledger.move(task, status, harness.now, code=code, reason=reason)
        at = harness.now + timedelta(seconds=2)
        task = ledger.move(task, Status.PROCESSING, at, prediction_id=f"p-{task.task_id}")
        if status is Status.PROCESSING:
            return task
        at += timedelta(seconds=3)
        if status is Status.FAILED:
            return ledger.move(task, status, at, code=code, reason=reason)
        harness.s3.put_object(Bucket="cutouts", Key=task.output_key, Body=self.output)
        return ledger.move(task, status, at, inference_ms=2500, confidence=self.confidence)


@pytest.fixture
def fates(harness: PipelineHarness) -> Fates:
    """The pipeline: what is put into the input bucket has its fate when the call returns."""
    fates = Fates(harness)

    def uploaded(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = {"key": params["Key"], "bucket": params["Bucket"]}

    def done(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        asked = context.pop("asked")
        if asked["bucket"] == "uploads":
            etag = parsed["ETag"].strip('"')
            fates.arrived(Upload(**asked, version_id=parsed["VersionId"], etag=etag, size=9))

    harness.on(harness.s3, "before-parameter-build.s3.PutObject", uploaded)
    harness.on(harness.s3, "after-call.s3.PutObject", done)
    return fates


class Cutout:
    """The command, called as the shell calls it."""

    def __init__(self) -> None:
        self._runner = CliRunner()

    def __call__(self, *arguments: str | Path) -> Result:
        result = self._runner.invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def cutout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cutout:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUTOUT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    return Cutout()


@pytest.fixture
def upload(harness: PipelineHarness, stack: FakeStack, fates: Fates) -> Callable[..., Task]:
    """An upload with a fate of its own."""

    def uploaded(key: str, *fate: Any) -> Task:
        if fate:
            fates.by_key[key] = fate
        return harness.task(harness.upload(jpeg(), key))

    return uploaded


def vendor_says(harness: PipelineHarness, *statuses: str) -> None:
    """What the vendor answers to the questions about results, one after the other."""

    def saying(status: str) -> Callable[[httpx.Request], httpx.Response]:
        return lambda request: answer(id=request.url.path.split("/")[-2], status=status)

    harness.answers = [saying(status) for status in statuses]


def messages(harness: PipelineHarness, stack: FakeStack, queue: str = "") -> list[dict[str, Any]]:
    """What is in the upload queue, or in a dead-letter queue."""
    url = stack.of_type("AWS::SQS::Queue")[queue] if queue else stack.outputs["UploadQueueUrl"]
    found = harness.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]
