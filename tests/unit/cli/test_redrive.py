"""Dead letters are shown, and put back to work."""

import json
from typing import Any

import pytest

from cutout_cli.redrive import DeadLetters
from tests.support.events import load
from tests.support.harness import PipelineHarness
from tests.support.template import template
from tests.unit.cli.conftest import (
    CloudFormation,
    Cutout,
    FakeStack,
    messages,
)


def test_dead_letters_are_shown_and_stay(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack
) -> None:
    queues = stack.of_type("AWS::SQS::Queue")
    event = load("object-created-put")
    harness.sqs.send_message(QueueUrl=queues["UploadDeadLetters"], MessageBody=json.dumps(event))
    harness.sqs.send_message(QueueUrl=queues["UploadDeadLetters"], MessageBody="noise")

    done = cutout("redrive", "--dry-run")

    key = event["detail"]["object"]["key"]
    assert sorted(done.stdout.splitlines()) == [
        "UploadDeadLetters: unknown message of 5 characters",
        f"UploadDeadLetters: upload of {key}",
    ]
    assert done.stderr == "2 messages found\n"
    assert len(harness.sqs.receive_message(
        QueueUrl=queues["UploadDeadLetters"], MaxNumberOfMessages=10)["Messages"]) == 2  # fmt: skip


def test_a_dead_letter_that_nobody_understands_stays_until_it_is_deleted(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack
) -> None:
    url = stack.of_type("AWS::SQS::Queue")["UploadDeadLetters"]
    harness.sqs.send_message(QueueUrl=url, MessageBody="noise")

    done = cutout("redrive")
    assert done.stdout == "UploadDeadLetters: unknown message of 5 characters\n"
    assert done.stderr == (
        "0 messages put back to work; 1 unknown kept (--delete-unknown deletes them)\n"
    )
    assert messages(harness, stack) == []

    told = cutout("redrive", "--delete-unknown", "--json").stdout
    assert json.loads(told) == {"queue": "UploadDeadLetters", "about": None, "done": "deleted"}
    assert messages(harness, stack, "UploadDeadLetters") == []


def test_dead_letters_of_both_queues_go_back_to_work(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack, cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    queues = stack.of_type("AWS::SQS::Queue")
    upload, ended = load("object-created-put"), load("execution-aborted")
    lambda_record = {"requestPayload": ended, "responsePayload": {"errorType": "X"}}
    for queue, body in {"UploadDeadLetters": upload, "BackstopDeadLetters": lambda_record}.items():
        harness.sqs.send_message(QueueUrl=queues[queue], MessageBody=json.dumps(body))
    cloudformation.resources["BackstopFunction"] = ("AWS::Lambda::Function", "backstop-1")
    del stack.__dict__["resources"]
    invoked: list[dict[str, Any]] = []

    class Lambda:
        def invoke(self, **asked: Any) -> dict[str, Any]:
            invoked.append(asked)
            return {}

    client = stack.client
    monkeypatch.setitem(
        stack.__dict__, "client", lambda name: Lambda() if name == "lambda" else client(name)
    )

    done = cutout("redrive")

    assert done.stderr == "2 messages put back to work\n"
    assert messages(harness, stack) == [upload]
    assert [(asked["FunctionName"], json.loads(asked["Payload"])) for asked in invoked] == [
        ("backstop-1", ended)
    ]
    assert messages(harness, stack, "UploadDeadLetters") == []
    assert messages(harness, stack, "BackstopDeadLetters") == []


def test_the_dead_letter_queues_are_all_that_the_template_has(stack: FakeStack) -> None:
    resources = template()["Resources"]
    queues = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::SQS::Queue" and name != "UploadQueue"
    }

    assert set(DeadLetters(stack).queues) == queues
