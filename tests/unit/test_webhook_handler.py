"""The webhook function, from a request to its URL to the answer."""

import base64
import json
import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cutout.domain.errors import VendorUnavailable
from cutout.domain.messages import Callback
from cutout.domain.tasks import Status, Task
from functions.webhook import app as webhook
from tests.support import events
from tests.support.factories import make_task
from tests.support.harness import NOW, WEBHOOK_SECRET, PipelineHarness, callback, secret_is, signed

CONTEXT: Any = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:f",
    aws_request_id="r",
)
BODY = callback()
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def function(monkeypatch: pytest.MonkeyPatch, harness: PipelineHarness) -> None:
    """The function's harness; the vendor tells its secret once."""
    receiver = harness.webhook_receiver()
    harness.answers = [secret_is()]
    monkeypatch.setattr(webhook, "webhook_receiver", lambda: receiver)


@pytest.fixture
def task(harness: PipelineHarness) -> Task:
    """A task whose execution waits for the callback."""
    entered = {Status.QUEUED: NOW, Status.PROCESSING: NOW}
    fields: dict[str, Any] = {
        "attempt": 1,
        "prediction_id": "p1",
        "callback_expected": True,
        "callback_token": TOKEN,
    }
    return harness.ledger.claim(
        make_task(status=Status.PROCESSING, entered_at=entered, task_token="the-token", **fields)
    )


def request(path: str, body: bytes, headers: dict[str, str], *, encoded: bool) -> dict[str, Any]:
    """What Lambda makes of a request to a Function URL; binary bodies come encoded.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
    """
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {
            "domainName": "abc.lambda-url.eu-central-1.on.aws",
            "http": {"method": "POST", "path": path, "sourceIp": "192.0.2.1"},
            "requestId": "r",
            "stage": "$default",
        },
        "body": base64.b64encode(body).decode() if encoded else body.decode(),
        "isBase64Encoded": encoded,
    }


def path_of(task: Task) -> str:
    return f"/{task.execution_name}-{task.callback_token}"


def deliver(
    task: Task, body: bytes = BODY, headers: dict[str, str] | None = None, *, encoded: bool = True
) -> dict[str, Any]:
    headers = signed(body) if headers is None else headers
    event = request(path_of(task), body, headers, encoded=encoded)
    return webhook.handler(event, CONTEXT)


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("body", [BODY, BODY[:-1] + ', "error": "größer"}'.encode()])
def test_a_good_callback_wakes_the_task(
    harness: PipelineHarness, task: Task, body: bytes, encoded: bool
) -> None:
    assert deliver(task, body, encoded=encoded) == {"statusCode": 200}

    assert harness.woken == ["the-token"]
    assert harness.ledger.get(task.task_id).called_back_at == NOW


def test_header_names_may_be_spelled_in_any_case(harness: PipelineHarness, task: Task) -> None:
    headers = {name.title(): value for name, value in signed(BODY).items()}

    assert deliver(task, BODY, headers) == {"statusCode": 200}
    assert harness.woken == ["the-token"]


def test_a_callback_to_another_path_is_refused_before_the_vendor_is_asked(
    harness: PipelineHarness,
) -> None:
    event = request("/favicon.ico", BODY, signed(BODY), encoded=True)

    assert webhook.handler(event, CONTEXT) == {"statusCode": 401}
    assert (harness.woken, harness.requests) == ([], [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post"])
def test_any_method_but_post_is_refused(harness: PipelineHarness, task: Task, method: str) -> None:
    event = request(path_of(task), BODY, signed(BODY), encoded=True)
    event["requestContext"]["http"]["method"] = method

    assert webhook.handler(event, CONTEXT) == {"statusCode": 405}

    assert (harness.woken, harness.requests) == ([], [])
    assert harness.ledger.get(task.task_id) == task


@pytest.mark.parametrize("body", [BODY, b"", b"\xff\xfe\x00garbage", b"A" * 1000])
def test_a_forged_callback_is_refused_without_a_word(
    harness: PipelineHarness, task: Task, body: bytes
) -> None:
    forged = signed(body, secret="whsec_of-an-attacker")

    assert deliver(task, body, forged) == {"statusCode": 401}
    assert deliver(task, body, {}) == {"statusCode": 401}

    assert harness.ledger.get(task.task_id) == task
    assert harness.woken == []


def test_a_signed_body_of_garbage_is_accepted_and_left_alone(
    harness: PipelineHarness, task: Task
) -> None:
    assert deliver(task, b"\xff\xfe\x00garbage") == {"statusCode": 200}

    assert harness.ledger.get(task.task_id) == task


def test_a_request_without_a_body_and_headers_is_refused(task: Task) -> None:
    event = request("/", b"", {}, encoded=False)
    del event["body"], event["headers"]

    assert webhook.handler(event, CONTEXT) == {"statusCode": 401}


def padded(size: int) -> bytes:
    """A callback of so many bytes."""
    return BODY[:-1] + b" " * (size - len(BODY)) + BODY[-1:]


def test_a_body_of_the_largest_size_is_read(harness: PipelineHarness, task: Task) -> None:
    assert deliver(task, padded(webhook.MAX_BODY_BYTES)) == {"statusCode": 200}

    assert harness.woken == ["the-token"]


@pytest.mark.parametrize("encoded", [True, False])
def test_an_oversized_body_is_refused_unread(
    harness: PipelineHarness, task: Task, encoded: bool
) -> None:
    body = padded(256 * 1024 + 1)

    assert deliver(task, body, encoded=encoded) == {"statusCode": 413}

    assert harness.requests == []
    assert harness.ledger.get(task.task_id) == task


def test_a_vendor_that_does_not_tell_its_secret_lets_the_callback_come_again(
    harness: PipelineHarness, task: Task
) -> None:
    harness.answers = [httpx.Response(503)] * 3

    with pytest.raises(VendorUnavailable):  # which the Function URL answers with 502
        deliver(task)

    assert harness.ledger.get(task.task_id) == task


def test_the_callback_in_events_is_one_that_the_vendor_could_send(harness: PipelineHarness) -> None:
    event = events.load("webhook")
    harness.now = datetime.fromtimestamp(int(event["headers"]["webhook-timestamp"]), UTC)
    named = Callback.parse(event["rawPath"])
    assert named
    task_id, attempt = named.attempt
    harness.ledger.claim(make_task(task_id=task_id, attempt=attempt, callback_token=named.token))

    assert webhook.handler(event, CONTEXT) == {"statusCode": 200}
    harness.pass_time(3600)
    assert webhook.handler(event, CONTEXT) == {"statusCode": 401}


def test_nothing_that_is_secret_is_logged(
    harness: PipelineHarness, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = json.dumps({**json.loads(BODY), "outputs": ["https://cdn.test/hush"]}).encode()
    good = signed(body)
    bad = signed(body, secret="whsec_of-an-attacker")
    elsewhere = request("/nowhere", body, good, encoded=True)

    assert deliver(task, body, good) == {"statusCode": 200}
    assert deliver(task, body, bad) == {"statusCode": 401}
    assert webhook.handler(elsewhere, CONTEXT) == {"statusCode": 401}
    assert deliver(make_task(attempt=9), body, good) == {"statusCode": 401}
    harness.ledger.move(harness.ledger.get(task.task_id), Status.COMPLETED, NOW)
    assert deliver(task, body, good) == {"statusCode": 200}
    assert deliver(task, padded(webhook.MAX_BODY_BYTES + 1)) == {"statusCode": 413}

    logged = repr([vars(record) for record in caplog.records])
    for message in ("refused", "names no attempt", "has ended"):
        assert message in logged
    for hush in (
        "cdn.test",
        "the-token",
        TOKEN,
        "the-key",
        WEBHOOK_SECRET.removeprefix("whsec_"),
        good["webhook-signature"].removeprefix("v3,"),
        bad["webhook-signature"].removeprefix("v3,"),
    ):
        assert hush not in logged
