import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.errors import ServiceError, UploadForbidden
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from tests.support.harness import LEASE_SECONDS, NOW, PipelineHarness, accepted, refused
from tests.support.images import jpeg


def test_an_upload_is_sent_once_and_its_wait_loop_started(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(40, 30), "a/cat.jpg")
    harness.answers = [accepted("p1")]

    harness.submitter().submit(upload)

    task = harness.task(upload)
    assert (task.status, task.prediction_id, task.attempt) == (Status.PROCESSING, "p1", 1)
    assert task.output_key == "a/cat.jpg.png"
    assert harness.executions() == [f"{upload.task_id}-1"]


def test_the_vendor_gets_the_model_the_key_and_a_url_of_the_very_version(
    harness: PipelineHarness,
) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [accepted()]

    harness.submitter().submit(upload)

    (request,) = harness.requests
    assert request.url.path == "/api/v3/wavespeed-ai/image-background-remover"
    assert request.headers["Authorization"] == "Bearer the-key"
    image = httpx.URL(json.loads(request.content)["image"])
    assert image.params["versionId"] == upload.version_id
    assert image.params["X-Amz-Expires"] == "60"
    assert image.params["response-content-type"] == "image/jpeg"


def test_the_same_event_twice_is_one_task_one_post_one_execution(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [accepted()]

    harness.submitter().submit(upload)
    harness.submitter().submit(upload)

    assert len(harness.requests) == 1
    assert len(harness.executions()) == 1


def test_a_new_version_of_an_object_is_a_new_task(harness: PipelineHarness) -> None:
    first, second = harness.upload(jpeg(40, 30)), harness.upload(jpeg(50, 30))
    harness.answers = [accepted("p1"), accepted("p2")]

    harness.submitter().submit(first)
    harness.submitter().submit(second)

    assert harness.task(first).prediction_id == "p1"
    assert harness.task(second).prediction_id == "p2"


def test_an_execution_that_could_not_be_started_is_started_by_the_clock(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [accepted()]
    submitter = harness.submitter()
    with monkeypatch.context() as broken:
        broken.setattr(submitter.wait_loop, "_arn", "arn:aws:states:us-east-1:1:stateMachine:no")
        submitter.submit(upload)
    assert harness.task(upload).status is Status.PROCESSING

    harness.pass_time(60)
    assert harness.tick() == {"execution_missing": 1}
    submitter.wake(upload.task_id)

    assert harness.executions() == [f"{upload.task_id}-1"]
    assert len(harness.requests) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unsupported_format"),
        (b"%PDF-1.7\n", "unsupported_format"),
        (b"just text", "unsupported_format"),
        (jpeg(1001, 1000), "too_many_pixels"),
        (bytes(1_000_001), "upload_too_large"),
    ],
)
def test_what_can_never_be_processed_is_rejected_before_it_costs(
    harness: PipelineHarness, body: bytes, code: str
) -> None:
    upload = harness.upload(body, "x.jpg")

    harness.submitter().submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, code)
    assert harness.requests == []
    (event,) = harness.published()
    assert event["detail-type"] == "Cutout Rejected"
    assert event["detail"] == {
        "version": "1",
        "task_id": upload.task_id,
        "bucket": "uploads",
        "key": "x.jpg",
        "code": code,
        "reason": task.reason,
    }


def test_a_key_without_room_for_its_output_is_rejected(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(4, 3), "k" * 1021)

    harness.submitter().submit(upload)

    task = harness.task(upload)
    assert task.code == "key_too_long"
    assert task.reason is not None
    assert "1025 bytes" in task.reason


def test_a_source_that_was_deleted_is_rejected(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))

    harness.submitter().submit(upload)

    assert harness.task(upload).code == "source_gone"


@pytest.mark.parametrize(
    ("answer", "code", "wait"),
    [
        (refused(429), "rate_limited", 60),
        (httpx.Response(429, headers={"Retry-After": "7"}), "rate_limited", 7),
        (refused(400, "Insufficient credits. Please top up"), "insufficient_credits", 900),
        (refused(401), "unauthorized", 900),
        (httpx.ConnectError("refused"), "vendor_unreachable", 60),
        (httpx.ConnectTimeout("slow"), "vendor_unreachable", 60),
    ],
)
def test_what_was_not_accepted_waits_and_is_sent_again(
    harness: PipelineHarness, answer: httpx.Response | Exception, code: str, wait: int
) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [answer, accepted("p2")]

    harness.submitter().submit(upload)

    queued = harness.task(upload)
    assert (queued.status, queued.code) == (Status.QUEUED, code)
    assert queued.submit_after == queued.due_at == NOW + timedelta(seconds=wait)
    harness.submitter().submit(upload)
    assert len(harness.requests) == 1
    harness.pass_time(wait)
    assert harness.tick() == {code: 1}
    harness.submitter().wake(upload.task_id)
    task = harness.task(upload)
    assert (task.status, task.attempt, task.code) == (Status.PROCESSING, 2, None)
    assert task.submit_after is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("reset"),
        httpx.Response(502, html="<h1>Bad Gateway</h1>"),
        httpx.Response(500),
        httpx.Response(200, json={"code": 200, "data": None}),
    ],
)
def test_a_lost_answer_is_never_sent_again_blindly(
    harness: PipelineHarness, answer: httpx.Response | Exception
) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [answer]

    harness.submitter().submit(upload)
    harness.submitter().submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.UNCERTAIN, "answer_lost")
    assert len(harness.requests) == 1
    assert harness.executions() == []


def test_a_request_that_the_vendor_refuses_fails_with_its_words(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [refused(400, "model not found")]

    harness.submitter().submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.FAILED, "request_refused")
    assert task.reason == "the vendor refused the request (400): model not found"
    (event,) = harness.published()
    assert event["detail"]["code"] == "request_refused"


def test_a_refusal_is_written_although_it_cannot_be_published(harness: PipelineHarness) -> None:
    """Unwritten, it would be a submit that may have been accepted."""
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [refused(400, "model not found")]

    replace(harness.submitter(), closer=harness.closer("no-such-bus")).submit(upload)

    assert (harness.task(upload).status, harness.task(upload).code) == ("failed", "request_refused")


class TestSenderThatDied:
    """The function was killed between the write-ahead and the vendor's answer."""

    @pytest.fixture
    def upload(self, harness: PipelineHarness) -> Upload:
        upload = harness.upload(jpeg(40, 30))
        harness.answers = [KeyboardInterrupt()]  # nothing catches it
        with pytest.raises(KeyboardInterrupt):
            harness.submitter().submit(upload)
        assert harness.task(upload).status is Status.SUBMITTING
        return upload

    def test_is_waited_for_until_its_lease_ends(
        self, harness: PipelineHarness, upload: Upload
    ) -> None:
        harness.pass_time(100)

        harness.submitter().submit(upload)

        assert harness.tick() == {}
        assert harness.task(upload).status is Status.SUBMITTING

    def test_leaves_an_uncertain_task(self, harness: PipelineHarness, upload: Upload) -> None:
        harness.pass_time(180)

        assert harness.tick() == {"submitting_lost": 1}
        harness.submitter().wake(upload.task_id)

        assert harness.task(upload).status is Status.UNCERTAIN
        assert len(harness.requests) == 1


def test_the_second_of_two_senders_keeps_off(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(40, 30))
    late = harness.submitter()

    def first_sender(_request: object) -> None:
        late.submit(upload)

    harness.answers = [accepted()]
    first = harness.submitter()
    first.wavespeed._http.event_hooks = {"request": [first_sender]}
    first.submit(upload)

    assert len(harness.requests) == 1
    assert harness.task(upload).status is Status.PROCESSING


# ------------------------------------------------------------------ whatever fails, it is due


def test_a_claimed_task_is_due_when_its_function_must_have_ended(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg())
    submitter = harness.submitter()
    with pytest.raises(KeyboardInterrupt):
        replace(submitter, storage=Dying()).submit(upload)  # type: ignore[arg-type]

    harness.pass_time(LEASE_SECONDS - 1)
    assert harness.tick() == {}
    harness.pass_time(1)
    assert harness.tick() == {"queued_lost": 1}
    assert harness.sent == [(upload.task_id, 0)]
    assert harness.tick() == {}


class Dying:
    """What a function was killed in."""

    def __getattr__(self, _name: str) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ServiceError("S3 was away"), "service_error", "S3 was away"),
        (ValueError("secret"), "internal_error", "ValueError: see the submit function's log"),
    ],
)
def test_a_trouble_is_told_and_tried_again_ever_later(
    harness: PipelineHarness, error: Exception, code: str, reason: str
) -> None:
    upload, submitter = harness.upload(jpeg()), harness.submitter()
    broken = replace(submitter, storage=Broken(error))  # type: ignore[arg-type]
    waits = []
    broken.submit(upload)
    for _ in range(12):
        task = harness.task(upload)
        assert (task.status, task.code, task.reason) == (Status.QUEUED, code, reason)
        assert task.due_at
        waits.append((task.due_at - harness.now).total_seconds())
        harness.now = task.due_at
        assert harness.tick() == {code: 1}
        broken.wake(upload.task_id)

    assert waits[:5] == [30, 30, 30, 45, 67.5]  # half of how long it has lasted
    assert waits[-1] == 900
    assert waits == sorted(waits)
    harness.answers = [accepted()]
    submitter.wake(upload.task_id)
    assert harness.task(upload).status is Status.PROCESSING


def test_a_trouble_after_the_write_ahead_leaves_the_task_to_its_lease(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = harness.upload(jpeg())
    harness.answers = [accepted()]

    def fails(*_: Any) -> None:
        raise ServiceError("DynamoDB failed")

    monkeypatch.setattr(harness.ledger, "claim_prediction", fails)
    harness.submitter().submit(upload)

    task = harness.task(upload)
    assert task.status is Status.SUBMITTING
    assert task.due_at == task.lease_until == NOW + timedelta(seconds=LEASE_SECONDS)


def test_a_trouble_is_not_written_to_a_task_that_another_delivery_has_taken_further(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr("cutout.submit.count_wait", counted.append)
    upload, submitter = harness.upload(jpeg()), harness.submitter()
    harness.answers = [accepted()]
    times: list[datetime] = []

    def clock() -> datetime:
        times.append(NOW)
        if len(times) == 3:  # the task is read, and its trouble not written yet
            submitter.submit(upload)
        return NOW

    replace(submitter, storage=Broken(ServiceError("away")), clock=clock).submit(upload)  # type: ignore[arg-type]

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.PROCESSING, None)
    assert counted == []


@pytest.mark.parametrize("policy", ["hold", "settle"])
def test_a_sender_without_a_lease_is_not_waited_for(harness: PipelineHarness, policy: str) -> None:
    upload, submitter = harness.upload(jpeg()), harness.submitter(on_uncertain=policy)
    harness.ledger.move(harness.ledger.claim(submitter._new_task(upload)), Status.SUBMITTING, NOW)

    submitter.submit(upload)

    task = harness.task(upload)
    assert task.status is Status.UNCERTAIN
    assert task.due_at == NOW + timedelta(seconds=600)


def test_what_waits_or_is_uncertain_is_counted(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr("cutout.submit.count_wait", counted.append)
    monkeypatch.setattr("cutout.submit.count_task", counted.append)
    submitter = harness.submitter()

    for number, trouble in enumerate((refused(429), refused(500))):
        harness.answers = [trouble]
        submitter.submit(harness.upload(jpeg(), f"{number}.jpg"))
    broken = Broken(ServiceError("S3 was away"))
    replace(submitter, storage=broken).submit(harness.upload(jpeg()))  # type: ignore[arg-type]

    assert counted == ["queued", "rate_limited", "uncertain", "service_error"]


class Broken:
    """A service that always fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _name: str) -> Any:
        raise self._error


def test_what_cannot_even_be_claimed_is_left_to_the_queue(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.table, "_name", "nowhere")

    with pytest.raises(ServiceError):
        harness.submitter().submit(harness.upload(jpeg()))


def test_a_task_that_is_gone_needs_no_waking(harness: PipelineHarness) -> None:
    harness.submitter().wake("0" * 32)

    assert harness.requests == []


def test_a_write_ahead_that_was_carried_out_and_answered_with_an_error_is_ones_own(
    harness: PipelineHarness,
) -> None:
    """boto3 sends it again by itself, and the condition does not hold any more."""
    upload = harness.upload(jpeg())
    harness.answers = [accepted()]
    with twice(harness, "submitting"):
        harness.submitter().submit(upload)

    assert harness.task(upload).status is Status.PROCESSING
    assert len(harness.requests) == 1


@contextmanager
def twice(harness: PipelineHarness, status: str) -> Iterator[None]:
    """Each write of a status is carried out twice."""
    once = harness.dynamodb.update_item

    def update_item(**asked: Any) -> Any:
        if asked["ExpressionAttributeValues"].get(":status") == {"S": status}:
            once(**asked)
        return once(**asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.dynamodb, "update_item", update_item)
        yield


def test_an_upload_that_may_not_be_read_waits_and_costs_nothing(harness: PipelineHarness) -> None:
    upload, submitter = harness.upload(jpeg()), harness.submitter()
    forbidden = UploadForbidden("S3 does not let this stack read the upload (AccessDenied)")
    refused = replace(submitter, storage=Broken(forbidden))  # type: ignore[arg-type]

    refused.submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.QUEUED, "upload_forbidden")
    assert task.due_at == task.submit_after == harness.now + timedelta(minutes=15)
    assert harness.requests == []
    harness.pass_time(900)
    harness.answers = [accepted()]
    assert harness.tick() == {"upload_forbidden": 1}
    submitter.wake(upload.task_id)
    assert harness.task(upload).status is Status.PROCESSING
