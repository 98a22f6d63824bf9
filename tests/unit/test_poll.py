import base64
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from cutout.aws.events import EventBus
from cutout.domain.errors import (
    BadOutput,
    CutoutError,
    EmptyCutout,
    OpaqueCutout,
    OutputBusy,
    OutputGone,
    PredictionFailed,
    PredictionMissing,
    PredictionNotFound,
    ServiceError,
    TaskNotFound,
    TimedOut,
)
from cutout.domain.tasks import AttemptId, Confidence, Status, Task
from cutout.wavespeed.outputs import BLOCK_BYTES
from tests.support.harness import (
    BASE_URL,
    CONVERTED,
    WEBHOOK_URL,
    PipelineHarness,
    Reply,
    accepted,
    answer,
    download,
    refused,
)
from tests.support.images import encode, jpeg, noise, png

OUTPUT = f"{BASE_URL}/out.png"


@pytest.fixture
def task(harness: PipelineHarness) -> Task:
    """A task that the vendor is processing."""
    upload = harness.upload(jpeg(40, 30), "a b/ü+%.jpg")
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    harness.requests.clear()
    return harness.task(upload)


def completed(**more: object) -> httpx.Response:
    return answer(
        id="p1", status="completed", outputs=[OUTPUT], timings={"inference": 1234.4}, **more
    )


def test_a_running_prediction_is_waited_for_ever_longer(
    harness: PipelineHarness, task: Task
) -> None:
    waits = []
    for _ in range(4):
        harness.answers = [answer(id="p1", status="processing")]
        result = harness.poller().poll(task.task_id)
        waits.append(result.wait_seconds)
        harness.pass_time(20)

    assert result.status is Status.PROCESSING
    assert waits == [2, 5, 10, 15]
    assert harness.ledger.get(task.task_id).polls == 4


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_base64_output_is_saved_byte_for_byte(
    harness: PipelineHarness, task: Task, prefix: str
) -> None:
    image = png(400, 300)
    assert len(image) > BLOCK_BYTES
    output = prefix + base64.b64encode(image).decode()
    harness.answers = [answer(id="p1", status="completed", outputs=[output])]

    result = harness.poller().poll(task.task_id)

    assert result.status is Status.COMPLETED
    saved = harness.s3.get_object(Bucket="cutouts", Key=task.output_key)["Body"].read()
    assert hashlib.sha256(saved).digest() == hashlib.sha256(image).digest()
    (request,) = harness.requests
    assert request.url.path == "/api/v3/predictions/p1/result"


@pytest.mark.parametrize(
    "output",
    [
        "",
        "!" * 99,
        base64.b64encode(png(40, 30))[:-4].decode(),
        base64.b64encode(png(40, 30)).decode() + "=",
        base64.b64encode(jpeg(40, 30)).decode(),
        base64.b64encode(png(40, 30, alpha=False)).decode(),
    ],
    ids=["empty", "no base64", "truncated", "odd end", "no PNG", "no alpha"],
)
def test_a_bad_base64_output_fails_and_leaves_nothing(
    harness: PipelineHarness, task: Task, output: str
) -> None:
    harness.answers = [answer(id="p1", status="completed", outputs=[output])]

    with pytest.raises(BadOutput):
        harness.poller().poll(task.task_id)

    assert harness.s3.list_objects_v2(Bucket="cutouts")["KeyCount"] == 0


class TestWithTheWebhook:
    @pytest.fixture
    def expecting(self, harness: PipelineHarness) -> Task:
        """A task that the vendor will call back about."""
        upload = harness.upload(jpeg(40, 30))
        harness.answers = [accepted("p1")]
        harness.submitter(webhook_url=WEBHOOK_URL).submit(upload)
        return harness.task(upload)

    def test_a_poll_that_comes_too_early_waits_for_the_callback(
        self, harness: PipelineHarness, expecting: Task
    ) -> None:
        harness.answers = [answer(id="p1", status="processing")]

        result = harness.poller(webhook_fallback_seconds=45).poll(expecting.task_id)

        assert (result.wait_seconds, result.await_callback) == (45, True)

    def test_the_fallback_makes_no_wait_shorter(
        self, harness: PipelineHarness, expecting: Task
    ) -> None:
        harness.answers = [answer(id="p1", status="processing")]
        harness.pass_time(119)

        result = harness.poller(webhook_fallback_seconds=2).poll(expecting.task_id)

        assert (result.wait_seconds, result.await_callback) == (30, True)

    def test_after_the_callback_it_is_the_schedule_that_counts(
        self, harness: PipelineHarness, expecting: Task
    ) -> None:
        harness.ledger.record_callback(AttemptId(expecting.task_id, 1), "p1", harness.now)
        harness.answers = [answer(id="p1", status="processing")]

        result = harness.poller().poll(expecting.task_id)

        assert (result.wait_seconds, result.await_callback) == (2, False)

    def test_a_finished_task_awaits_nothing(
        self, harness: PipelineHarness, expecting: Task
    ) -> None:
        harness.answers = [completed(), download(png(40, 30))]

        result = harness.poller().poll(expecting.task_id)

        assert (result.status, result.wait_seconds) == (Status.COMPLETED, 0)


@pytest.mark.parametrize("status", ["created", "something-new"])
def test_a_status_that_is_no_end_is_waited_for(
    harness: PipelineHarness, task: Task, status: str
) -> None:
    harness.answers = [answer(id="p1", status=status)]

    assert harness.poller().poll(task.task_id).status is Status.PROCESSING


def test_a_finished_image_is_saved_under_the_mirrored_key(
    harness: PipelineHarness, task: Task
) -> None:
    image = png(40, 30)
    harness.answers = [completed(), download(image)]

    result = harness.poller().poll(task.task_id)

    assert result.model_dump(mode="json") == {
        "task_id": task.task_id,
        "status": "completed",
        "wait_seconds": 0,
        "await_callback": False,
    }
    saved = harness.s3.get_object(Bucket="cutouts", Key="a b/ü+%.jpg.png")
    assert hashlib.sha256(saved["Body"].read()).digest() == hashlib.sha256(image).digest()
    assert saved["ContentType"] == "image/png"
    ended = harness.ledger.get(task.task_id)
    assert (ended.status, ended.inference_ms) == (Status.COMPLETED, 1234)
    assert ended.output_etag is None  # nobody will ask for it
    (event,) = harness.published()
    assert event["detail-type"] == "Cutout Completed"
    assert event["detail"] == {
        "version": "1",
        "task_id": task.task_id,
        "bucket": "uploads",
        "key": "a b/ü+%.jpg",
        "output_bucket": "cutouts",
        "output_key": "a b/ü+%.jpg.png",
        "reused_from": None,
    }


def test_how_sure_the_remover_was_is_in_the_ledger_and_on_the_output(
    harness: PipelineHarness, task: Task
) -> None:
    sure = download(png(40, 30))
    sure.headers["x-cutout-confidence-level"] = "medium"
    harness.answers = [completed(), sure]

    harness.poller().poll(task.task_id)

    assert harness.ledger.get(task.task_id).confidence is Confidence.MEDIUM
    saved = harness.s3.head_object(Bucket="cutouts", Key=task.output_key)
    assert saved["Metadata"]["cutout-confidence"] == "medium"


def test_a_paid_image_is_saved_although_the_bucket_refuses_its_tags(
    harness: PipelineHarness, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    team: Any = {"TagSet": [{"Key": "team", "Value": "a"}]}
    harness.s3.put_object_tagging(Bucket="uploads", Key=task.key, Tagging=team)
    refused_puts: list[str] = []
    denied: Any = {"HTTPStatusCode": 403}

    def refuse_tags(params: Any, **_: Any) -> None:
        if "Tagging" in params:
            refused_puts.append(params["Key"])
            raise ClientError(
                {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": denied}, "Put"
            )

    harness.on(harness.s3, "provide-client-params.s3.PutObject", refuse_tags)
    image = png(40, 30)
    harness.answers = [completed(), download(image), download(image)]

    assert harness.poller().poll(task.task_id).status is Status.COMPLETED

    assert refused_puts == [task.output_key]
    saved = harness.s3.get_object(Bucket="cutouts", Key=task.output_key)
    assert saved["Body"].read() == image
    assert "TagCount" not in saved
    assert "saved without the metadata and tags of its source" in caplog.text
    assert [event["detail-type"] for event in harness.published()] == ["Cutout Completed"]


def test_a_completion_that_cannot_be_published_is_not_written_either(
    harness: PipelineHarness, task: Task
) -> None:
    poller = harness.poller()
    broken = replace(poller, events=EventBus(harness.events, "no-such-bus"))
    harness.answers = [answer for _ in range(2) for answer in (completed(), download(png(40, 30)))]

    with pytest.raises(ServiceError):
        broken.poll(task.task_id)
    assert harness.ledger.get(task.task_id).status is Status.PROCESSING

    assert poller.poll(task.task_id).status is Status.COMPLETED
    assert len(harness.published()) == 1


def test_the_key_is_sent_to_the_api_and_not_to_the_output(
    harness: PipelineHarness, task: Task
) -> None:
    harness.answers = [completed(), download(png(40, 30))]

    harness.poller().poll(task.task_id)

    asked, fetched = harness.requests
    assert asked.url.path == "/api/v3/predictions/p1/result"
    assert asked.headers["Authorization"] == "Bearer the-key"
    assert "Authorization" not in fetched.headers


def test_a_poll_after_the_end_changes_nothing(harness: PipelineHarness, task: Task) -> None:
    harness.answers = [completed(), download(png(40, 30))]
    harness.poller().poll(task.task_id)
    harness.requests.clear()

    result = harness.poller().poll(task.task_id)

    assert result.status is Status.COMPLETED
    assert harness.requests == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "timeout", "deleted"])
def test_a_prediction_that_ended_without_an_image_fails(
    harness: PipelineHarness, task: Task, status: str
) -> None:
    harness.answers = [answer(id="p1", status=status, error={"message": "no subject"})]

    with pytest.raises(PredictionFailed, match=f"ended it as {status}: no subject"):
        harness.poller().poll(task.task_id)


def test_a_failure_without_a_reason_says_so(harness: PipelineHarness, task: Task) -> None:
    harness.answers = [answer(id="p1", status="failed")]

    with pytest.raises(PredictionFailed, match="ended it as failed: no reason given"):
        harness.poller().poll(task.task_id)


def test_a_completion_is_counted_and_its_latency_remembered(
    harness: PipelineHarness, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Status] = []
    measured: list[str] = []
    monkeypatch.setattr("cutout.poll.count_task", counted.append)
    monkeypatch.setattr("cutout.poll.measure_completed", lambda done: measured.append(done.task_id))
    harness.answers = [completed(), download(png(40, 30))]

    poller = harness.poller()
    poller.poll(task.task_id)

    assert (counted, measured) == ([Status.COMPLETED], [task.task_id])
    assert poller.latencies.recent(task.model) == [1.234]


def test_a_completion_without_a_latency_teaches_nothing(
    harness: PipelineHarness, task: Task
) -> None:
    done = answer(id="p1", status="completed", outputs=[OUTPUT], timings={"inference": 0})
    harness.answers = [done, download(png(40, 30))]

    poller = harness.poller()
    poller.poll(task.task_id)

    assert poller.latencies.recent(task.model) == []


@pytest.mark.parametrize(("age", "wait"), [(100, 25), (101, 26), (300, 60)])
def test_a_trouble_is_waited_out_ever_longer_up_to_a_minute(
    harness: PipelineHarness, task: Task, age: int, wait: int
) -> None:
    harness.pass_time(age)
    harness.answers = [httpx.ConnectError("no route")] * 9

    assert harness.poller().poll(task.task_id).wait_seconds == wait


def test_a_completed_prediction_without_outputs_fails(harness: PipelineHarness, task: Task) -> None:
    harness.answers = [answer(id="p1", status="completed", outputs=None)]

    with pytest.raises(PredictionFailed, match="without an output"):
        harness.poller().poll(task.task_id)


def test_of_several_outputs_the_first_is_saved(harness: PipelineHarness, task: Task) -> None:
    outputs = [OUTPUT, f"{BASE_URL}/mask.png"]
    done = answer(id="p1", status="completed", outputs=outputs)
    harness.answers = [done, download(png(40, 30))]

    harness.poller().poll(task.task_id)

    assert harness.requests[-1].url == OUTPUT


@pytest.mark.parametrize(("converted", "bucket"), [(False, CONVERTED), (True, "")])
def test_only_a_copy_that_was_made_is_deleted(
    harness: PipelineHarness, task: Task, *, converted: bool, bucket: str
) -> None:
    deleted: list[Any] = []
    harness.on(
        harness.s3,
        "provide-client-params.s3.DeleteObject",
        lambda params, **_: deleted.append(params),
    )
    harness.ledger.update(task, converted=converted)
    harness.answers = [completed(), download(png(40, 30))]

    harness.poller(converted_bucket=bucket).poll(task.task_id)

    assert deleted == []


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (download(png(40, 30)[:-20]), BadOutput),
        (download(png(40, 30, alpha=False)), BadOutput),
        (download(jpeg(40, 30)), BadOutput),
        (httpx.Response(404), OutputGone),
    ],
)
def test_a_bad_output_fails_and_leaves_nothing(
    harness: PipelineHarness, task: Task, output: httpx.Response, error: type[Exception]
) -> None:
    harness.answers = [completed(), output]

    with pytest.raises(error):
        harness.poller().poll(task.task_id)

    assert harness.s3.list_objects_v2(Bucket="cutouts")["KeyCount"] == 0
    assert harness.ledger.get(task.task_id).status is Status.PROCESSING


def test_an_output_that_is_too_large_fails(harness: PipelineHarness, task: Task) -> None:
    harness.answers = [completed(), download(bytes(11_000_000))]

    with pytest.raises(BadOutput):
        harness.poller().poll(task.task_id)


def test_the_deadline_counts_from_the_submit(harness: PipelineHarness, task: Task) -> None:
    harness.answers = [answer(id="p1", status="processing")] * 2
    harness.pass_time(599)
    assert harness.poller().poll(task.task_id).status is Status.PROCESSING

    harness.pass_time(1)

    with pytest.raises(TimedOut, match="no result within 600 s"):
        harness.poller().poll(task.task_id)


def test_a_result_after_the_deadline_is_still_taken(harness: PipelineHarness, task: Task) -> None:
    harness.pass_time(6000)
    harness.answers = [completed(), download(png(40, 30))]

    assert harness.poller().poll(task.task_id).status is Status.COMPLETED


TROUBLES: dict[str, list[Reply]] = {
    "bad gateway": [httpx.Response(502, html="<h1>Bad Gateway</h1>")],
    "timeout": [httpx.ReadTimeout("slow")],
    "no connection": [httpx.ConnectError("no route")],
    "rate limit": [refused(429)],
    "refused key": [refused(401)],
    "forbidden": [refused(403)],
    "output away": [completed(), httpx.Response(503)],
    "unknown yet": [refused(404, "Prediction not found")],
}


@pytest.mark.parametrize("replies", TROUBLES.values(), ids=TROUBLES)
def test_a_trouble_that_may_pass_is_waited_out(
    harness: PipelineHarness, task: Task, replies: list[Reply]
) -> None:
    harness.answers = list(replies)

    result = harness.poller().poll(task.task_id)

    assert result.status is Status.PROCESSING
    assert result.wait_seconds >= 2
    harness.answers = [completed(), download(png(40, 30))]
    assert harness.poller().poll(task.task_id).status is Status.COMPLETED


def test_a_trouble_is_looked_at_ever_later_until_the_deadline(
    harness: PipelineHarness, task: Task
) -> None:
    waits = []
    for _ in range(9):
        harness.answers = [refused(500)]
        waits.append(harness.poller().poll(task.task_id).wait_seconds)
        harness.pass_time(max(waits[-1], 30))
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (2, 60)

    harness.now = task.deadline(600)
    harness.answers = [refused(500)]
    with pytest.raises(TimedOut, match="within 600 s; at last: the vendor answered 500"):
        harness.poller().poll(task.task_id)


def test_an_older_revision_that_is_being_saved_is_waited_for(
    harness: PipelineHarness, task: Task
) -> None:
    older = task.model_copy(update={"task_id": "0" * 32})
    locks = harness.poller().locks
    locks.acquire(older, harness.now, harness.now + timedelta(seconds=330))
    harness.answers = [completed()]

    assert harness.poller().poll(task.task_id).status is Status.PROCESSING

    harness.pass_time(331)
    harness.answers = [completed(), download(png(40, 30))]
    assert harness.poller().poll(task.task_id).status is Status.COMPLETED


def test_an_output_is_locked_while_it_is_saved_and_no_longer(
    harness: PipelineHarness, task: Task
) -> None:
    locks, other = harness.poller().locks, task.model_copy(update={"task_id": "0" * 32})

    def acquire(seconds: int) -> None:
        at = harness.now + timedelta(seconds=seconds)
        locks.acquire(other, at, at)

    def meanwhile(_request: httpx.Request) -> httpx.Response:
        for seconds in (0, 330):
            with pytest.raises(OutputBusy):
                acquire(seconds)
        return download(png(40, 30))

    harness.answers = [completed(), meanwhile]
    assert harness.poller().poll(task.task_id).status is Status.COMPLETED

    acquire(0)


def test_a_prediction_that_the_vendor_still_does_not_know_is_told(
    harness: PipelineHarness, task: Task
) -> None:
    harness.pass_time(121)
    harness.answers = [refused(404, "Prediction not found")]

    with pytest.raises(PredictionNotFound):
        harness.poller().poll(task.task_id)


def test_for_two_minutes_the_vendor_need_not_know_it(harness: PipelineHarness, task: Task) -> None:
    harness.pass_time(120)
    harness.answers = [refused(404, "Prediction not found")]

    assert harness.poller().poll(task.task_id).status is Status.PROCESSING


def test_a_task_that_is_not_in_the_ledger_is_told(harness: PipelineHarness) -> None:
    with pytest.raises(TaskNotFound):
        harness.poller().poll("nobody")


def test_a_task_without_its_prediction_fails_for_asking_again_cannot_help(
    harness: PipelineHarness, task: Task
) -> None:
    harness.ledger.update(task, prediction_id=None)

    with pytest.raises(PredictionMissing):
        harness.poller().poll(task.task_id)


# ------------------------------------------------------------------ nothing to see


def whole(alpha: int) -> bytes:
    image = noise(40, 30, "RGBA")
    image.putalpha(alpha)
    return encode(image, "PNG")


@pytest.mark.parametrize(
    ("alpha", "wish", "error"), [(0, "save", EmptyCutout), (255, "fail", OpaqueCutout)]
)
def test_an_output_with_nothing_to_see_fails_its_task(
    harness: PipelineHarness, task: Task, alpha: int, wish: str, error: type[CutoutError]
) -> None:
    harness.answers = [completed(), download(whole(alpha))]
    with pytest.raises(error):
        harness.poller(opaque_cutout=wish).poll(task.task_id)
    assert "Contents" not in harness.s3.list_objects_v2(Bucket="cutouts")


def test_an_opaque_output_is_saved_unless_the_stack_says_no(
    harness: PipelineHarness, task: Task
) -> None:
    harness.answers = [completed(), download(whole(255))]
    assert harness.poller().poll(task.task_id).status is Status.COMPLETED


def test_an_output_with_more_pixels_than_an_upload_may_have_is_refused(
    harness: PipelineHarness, task: Task
) -> None:
    harness.answers = [completed(), download(png(1001, 1000))]
    with pytest.raises(BadOutput, match="1001 x 1000 pixels"):
        harness.poller().poll(task.task_id)


def test_another_revisions_output_is_never_saved(harness: PipelineHarness) -> None:
    """Without versions, the vendor may have been given what was uploaded later."""
    upload = harness.upload(jpeg(40, 30)).model_copy(update={"version_id": None, "sequencer": "01"})
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    harness.upload(jpeg(50, 30))
    harness.answers = [completed(), download(png(50, 30))]

    result = harness.poller().poll(upload.task_id)

    task = harness.task(upload)
    assert (result.status, task.status, task.code) == ("superseded", "superseded", "superseded")
    assert task.reason == "the object was replaced while it was processed"
    assert "Contents" not in harness.s3.list_objects_v2(Bucket="cutouts")
