"""The handlers, from a queue message or a state's input to what Lambda gets back."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from cutout.aws.clients import client
from cutout.domain.messages import TaskDue
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from functions.backfill import app as backfill
from functions.backstop import app as backstop
from functions.clock import app as clock
from functions.poll import app as poll
from functions.reconcile import app as reconcile
from functions.submit import app as submit
from functions.webhook import app as webhook
from tests.support.events import load
from tests.support.harness import PipelineHarness, accepted, answer, refused
from tests.support.images import jpeg
from tests.unit.test_settings import BACKFILL, BACKSTOP, CLOCK, POLL, RECONCILE, SUBMIT, WEBHOOK

CONTEXT: Any = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:f",
    aws_request_id="r",
    get_remaining_time_in_millis=lambda: 60_000,
)


@pytest.fixture
def queue_url(harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(submit, "submitter", harness.submitter)
    monkeypatch.setattr(submit, "retrier", harness.retrier)
    monkeypatch.setattr(submit, "upload_queue", lambda: harness.upload_queue)
    return harness.queue_url


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
        clock.waker,
        backfill.backfill,
        reconcile.reconciler,
        clock.meter,
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


def batch(*bodies: str, receives: int = 1) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": f"handle-{number}",
                "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "body": body,
            }
            for number, body in enumerate(bodies)
        ]
    }


def test_only_the_message_that_failed_goes_back(harness: PipelineHarness, queue_url: str) -> None:
    upload = harness.upload(jpeg(4, 3))
    harness.answers = [accepted()]

    result = submit.handler(batch("not an event", event_of(upload)), CONTEXT)

    assert result == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert harness.task(upload).status is Status.PROCESSING


def test_a_message_that_must_wait_is_done_with(harness: PipelineHarness, queue_url: str) -> None:
    upload = harness.upload(jpeg(4, 3))
    harness.answers = [refused(429)]

    result = submit.handler(batch(event_of(upload)), CONTEXT)

    assert result == {"batchItemFailures": []}
    assert harness.task(upload).code == "rate_limited"
    attributes = harness.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert attributes["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "0"


def test_a_message_about_a_task_that_is_due_takes_it_further(
    harness: PipelineHarness, queue_url: str
) -> None:
    upload = harness.upload(jpeg(4, 3))
    harness.answers = [refused(429), accepted()]
    submit.handler(batch(event_of(upload)), CONTEXT)
    harness.pass_time(60)

    submit.handler(batch(TaskDue.body(upload.task_id)), CONTEXT)

    assert harness.task(upload).status is Status.PROCESSING


@pytest.mark.parametrize(("receives", "seconds"), [(1, 10), (3, 90)])
def test_a_message_that_failed_comes_back_soon(
    harness: PipelineHarness,
    queue_url: str,
    receives: int,
    seconds: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden: list[tuple[str, int]] = []

    def hide(**asked: Any) -> None:
        hidden.append((asked["ReceiptHandle"], asked["VisibilityTimeout"]))

    monkeypatch.setattr(harness.sqs, "change_message_visibility", hide)

    result = submit.handler(batch("not an event", receives=receives), CONTEXT)

    assert result == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert hidden == [("handle-0", seconds)]


def test_the_clock_tells_what_it_woke(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = harness.upload(jpeg(4, 3))
    harness.answers = [refused(429)]
    harness.submitter().submit(upload)
    harness.pass_time(60)
    monkeypatch.setattr(clock, "waker", harness.waker)
    monkeypatch.setattr(clock, "utc_now", lambda: harness.now)

    assert clock.handler({}, CONTEXT) == {"rate_limited": 1}


@pytest.mark.parametrize(
    ("minute", "seconds_left", "measures"),
    [(0, 60, True), (5, 60, True), (4, 60, False), (5, 44, False)],
)
def test_the_clock_measures_every_five_minutes_if_there_is_time(
    harness: PipelineHarness,
    monkeypatch: pytest.MonkeyPatch,
    minute: int,
    seconds_left: int,
    *,
    measures: bool,
) -> None:
    measured: list[int] = []
    meter = SimpleNamespace(measure=lambda: measured.append(minute))
    monkeypatch.setattr(clock, "waker", harness.waker)
    monkeypatch.setattr(clock, "meter", lambda: meter)
    monkeypatch.setattr(clock, "utc_now", lambda: harness.now.replace(minute=minute))
    left = {"get_remaining_time_in_millis": lambda: seconds_left * 1000}
    context: Any = SimpleNamespace(**vars(CONTEXT) | left)

    assert clock.handler({}, context) == {}

    assert measured == [minute] * measures


def test_the_clock_answers_a_question_about_the_vendor_and_wakes_nobody(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.answers = [answer(balance=12.5), answer(price=0.01)]
    monkeypatch.setattr(clock, "meter", harness.meter)

    told = clock.handler(load("clock-vendor-question"), CONTEXT)

    assert (told["balance"], told["price"], told["code"]) == ("12.5", "0.01", None)


def test_a_bad_message_is_logged_without_its_content(
    harness: PipelineHarness, queue_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    submit.handler(batch('{"detail": {"secret": "do-not-log"}}'), CONTEXT)

    assert "goes back to the queue" in caplog.text
    assert "do-not-log" not in caplog.text


def test_the_poll_handler_returns_what_the_machine_reads(
    harness: PipelineHarness, queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = harness.upload(jpeg(4, 3))
    harness.answers = [accepted(), answer(id="p1", status="processing")]
    harness.submitter().submit(upload)
    monkeypatch.setattr(poll, "poller", harness.poller)

    result = poll.handler({"task_id": upload.task_id}, CONTEXT)

    assert (result["status"], result["wait_seconds"]) == ("processing", 2)
    json.dumps(result)


def test_the_backfill_handler_returns_what_the_machine_reads(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in BACKFILL.items():
        monkeypatch.setenv(name, value)
    for key in ("a.jpg", "b.jpg"):
        harness.upload(jpeg(4, 3), key)

    first = backfill.handler({"cursor": {}, "page_size": 1, "dry_run": True}, CONTEXT)
    again = {"cursor": first["cursor"], "page_size": 1, "dry_run": True}

    assert first["counts"] == {"objects": 1, "missing": 1}
    assert "cursor" not in backfill.handler(again, CONTEXT)
    json.dumps(first)


def test_the_reconcile_handler_returns_what_the_machine_reads(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in RECONCILE.items():
        monkeypatch.setenv(name, value)
    harness.s3.put_object(Bucket="cutouts", Key="a.png", Body=b"png")
    harness.s3.put_object(Bucket="cutouts", Key="b.png", Body=b"png")

    first = reconcile.handler({"cursor": {"pages": "outputs"}, "page_size": 1}, CONTEXT)

    assert first["counts"] == {"outputs": 1}
    assert first["cursor"]["after_key"] == "a.png"
    json.dumps(first)


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
        (clock.waker, CLOCK),
        (backfill.backfill, BACKFILL),
        (reconcile.reconciler, RECONCILE),
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
