"""The handlers, from a queue message or a state's input to what Lambda gets back."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from cutout.aws.clients import client
from cutout.aws.sqs import UploadQueue
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from functions.backstop import app as backstop
from functions.poll import app as poll
from functions.submit import app as submit
from functions.webhook import app as webhook
from tests.support.images import jpeg
from tests.support.world import World, accepted, answer, refused
from tests.unit.test_settings import BACKSTOP, POLL, SUBMIT, WEBHOOK

CONTEXT: Any = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:f",
    aws_request_id="r",
)


@pytest.fixture
def queue_url(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    url = world.sqs.create_queue(QueueName="uploads")["QueueUrl"]
    monkeypatch.setattr(submit, "submitter", world.submitter)
    monkeypatch.setattr(submit, "retrier", world.retrier)
    monkeypatch.setattr(submit, "upload_queue", lambda: UploadQueue(world.sqs, url))
    return url


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    for made in (
        submit.settings,
        submit.submitter,
        submit.retrier,
        submit.upload_queue,
        poll.poller,
        webhook.webhook_receiver,
        backstop.backstop,
    ):
        made.cache_clear()


def event_of(upload: Upload) -> str:
    """The body of the queue message about an upload."""
    created = {
        "key": upload.key,
        "size": upload.size,
        "etag": upload.etag,
        "version-id": upload.version_id,
    }
    return json.dumps({"detail": {"bucket": {"name": upload.bucket}, "object": created}})


def batch(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {"messageId": f"m{number}", "eventSource": "aws:sqs", "body": body}
            for number, body in enumerate(bodies)
        ]
    }


def test_only_the_message_that_failed_goes_back(world: World, queue_url: str) -> None:
    upload = world.upload(jpeg(4, 3))
    world.answers = [accepted()]

    result = submit.handler(batch("not an event", event_of(upload)), CONTEXT)

    assert result == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert world.task(upload).status is Status.PROCESSING


def test_a_message_that_must_wait_is_put_back_and_not_failed(world: World, queue_url: str) -> None:
    upload = world.upload(jpeg(4, 3))
    body = event_of(upload)
    world.answers = [refused(429)]

    result = submit.handler(batch(body), CONTEXT)

    assert result == {"batchItemFailures": []}
    attributes = world.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_bad_message_is_logged_without_its_content(
    world: World, queue_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    submit.handler(batch('{"detail": {"secret": "do-not-log"}}'), CONTEXT)

    assert "goes back to the queue" in caplog.text
    assert "do-not-log" not in caplog.text


def test_the_poll_handler_returns_what_the_machine_reads(
    world: World, queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = world.upload(jpeg(4, 3))
    world.answers = [accepted(), answer(id="p1", status="processing")]
    world.submitter().submit(upload)
    monkeypatch.setattr(poll, "poller", world.poller)

    result = poll.handler({"task_id": upload.task_id}, CONTEXT)

    assert (result["status"], result["wait_seconds"]) == ("processing", 2)
    json.dumps(result)


def test_a_poll_without_a_task_is_refused() -> None:
    with pytest.raises(ValidationError, match="task_id"):
        poll.handler({}, CONTEXT)


@pytest.mark.parametrize(
    ("make", "environment"),
    [
        (submit.submitter, SUBMIT),
        (submit.retrier, SUBMIT),
        (submit.upload_queue, SUBMIT),
        (poll.poller, POLL),
        (webhook.webhook_receiver, WEBHOOK),
        (backstop.backstop, BACKSTOP),
    ],
)
def test_a_function_is_made_of_its_environment(
    make: Callable[[], object], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert make() is make()


def test_presigned_urls_are_signed_for_the_buckets_own_region() -> None:
    config = client("s3").meta.config

    assert (config.signature_version, config.s3["addressing_style"]) == ("s3v4", "virtual")
    assert client("sqs").meta.config.read_timeout == config.read_timeout == 30


@pytest.mark.parametrize("make", [submit.submitter, poll.poller, webhook.webhook_receiver])
def test_a_function_without_its_environment_names_what_is_missing(make: Any) -> None:
    with pytest.raises(ValidationError, match="tasks_table"):
        make()
