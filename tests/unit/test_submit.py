import json
from datetime import timedelta

import httpx
import pytest

from cutout.domain.errors import ServiceError
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from tests.support.images import jpeg
from tests.support.world import NOW, World, accepted, refused


def test_an_upload_is_sent_once_and_its_wait_loop_started(world: World) -> None:
    upload = world.upload(jpeg(40, 30), "a/cat.jpg")
    world.answers = [accepted("p1")]

    assert world.submitter().submit(upload) is None

    task = world.task(upload)
    assert (task.status, task.prediction_id, task.attempt) == (Status.PROCESSING, "p1", 1)
    assert task.output_key == "a/cat.jpg.png"
    assert world.executions() == [f"{upload.task_id}-1"]


def test_the_vendor_gets_the_model_the_key_and_a_url_of_the_very_version(world: World) -> None:
    upload = world.upload(jpeg(40, 30))
    world.answers = [accepted()]

    world.submitter().submit(upload)

    (request,) = world.requests
    assert request.url.path == "/api/v3/wavespeed-ai/image-background-remover"
    assert request.headers["Authorization"] == "Bearer the-key"
    image = httpx.URL(json.loads(request.content)["image"])
    assert image.params["versionId"] == upload.version_id
    assert image.params["X-Amz-Expires"] == "60"


def test_the_same_event_twice_is_one_task_one_post_one_execution(world: World) -> None:
    upload = world.upload(jpeg(40, 30))
    world.answers = [accepted()]

    assert world.submitter().submit(upload) is None
    assert world.submitter().submit(upload) is None

    assert len(world.requests) == 1
    assert len(world.executions()) == 1


def test_a_new_version_of_an_object_is_a_new_task(world: World) -> None:
    first, second = world.upload(jpeg(40, 30)), world.upload(jpeg(50, 30))
    world.answers = [accepted("p1"), accepted("p2")]

    world.submitter().submit(first)
    world.submitter().submit(second)

    assert world.task(first).prediction_id == "p1"
    assert world.task(second).prediction_id == "p2"


def test_a_lost_execution_is_started_by_the_message_that_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = world.upload(jpeg(40, 30))
    world.answers = [accepted()]
    submitter = world.submitter()
    with monkeypatch.context() as broken:
        broken.setattr(submitter.wait_loop, "_arn", "arn:aws:states:us-east-1:1:stateMachine:no")
        with pytest.raises(ServiceError):
            submitter.submit(upload)
    assert world.task(upload).status is Status.PROCESSING

    assert submitter.submit(upload) is None

    assert world.executions() == [f"{upload.task_id}-1"]
    assert len(world.requests) == 1


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
    world: World, body: bytes, code: str
) -> None:
    upload = world.upload(body, "x.jpg")

    assert world.submitter().submit(upload) is None

    task = world.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, code)
    assert world.requests == []
    (event,) = world.published()
    assert event["detail-type"] == "Cutout Failed"
    assert event["detail"] == {
        "task_id": upload.task_id,
        "bucket": "uploads",
        "key": "x.jpg",
        "code": code,
        "reason": task.reason,
    }


def test_a_key_without_room_for_its_output_is_rejected(world: World) -> None:
    upload = world.upload(jpeg(4, 3), "k" * 1021)

    world.submitter().submit(upload)

    task = world.task(upload)
    assert task.code == "key_too_long"
    assert task.reason is not None
    assert "1025 bytes" in task.reason


def test_a_source_that_was_deleted_is_rejected(world: World) -> None:
    upload = world.upload(jpeg(40, 30))
    world.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))

    world.submitter().submit(upload)

    assert world.task(upload).code == "source_gone"


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
    world: World, answer: httpx.Response | Exception, code: str, wait: int
) -> None:
    upload = world.upload(jpeg(40, 30))
    world.answers = [answer, accepted("p2")]

    assert world.submitter().submit(upload) == timedelta(seconds=wait)

    queued = world.task(upload)
    assert (queued.status, queued.code) == (Status.QUEUED, code)
    assert queued.submit_after == NOW + timedelta(seconds=wait)
    assert world.submitter().submit(upload) == timedelta(seconds=wait)
    assert len(world.requests) == 1
    world.pass_time(wait)
    assert world.submitter().submit(upload) is None
    task = world.task(upload)
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
    world: World, answer: httpx.Response | Exception
) -> None:
    upload = world.upload(jpeg(40, 30))
    world.answers = [answer]

    assert world.submitter().submit(upload) is None
    assert world.submitter().submit(upload) is None

    task = world.task(upload)
    assert (task.status, task.code) == (Status.UNCERTAIN, "answer_lost")
    assert len(world.requests) == 1
    assert world.executions() == []


def test_a_request_that_the_vendor_refuses_fails_with_its_words(world: World) -> None:
    upload = world.upload(jpeg(40, 30))
    world.answers = [refused(400, "model not found")]

    assert world.submitter().submit(upload) is None

    task = world.task(upload)
    assert (task.status, task.code) == (Status.FAILED, "request_refused")
    assert task.reason == "the vendor refused the request (400): model not found"
    (event,) = world.published()
    assert event["detail"]["code"] == "request_refused"


class TestSenderThatDied:
    """The function was killed between the write-ahead and the vendor's answer."""

    @pytest.fixture
    def upload(self, world: World) -> Upload:
        upload = world.upload(jpeg(40, 30))
        world.answers = [KeyboardInterrupt()]  # nothing catches it
        with pytest.raises(KeyboardInterrupt):
            world.submitter().submit(upload)
        assert world.task(upload).status is Status.SUBMITTING
        return upload

    def test_is_waited_for_until_its_lease_ends(self, world: World, upload: Upload) -> None:
        world.pass_time(100)

        assert world.submitter().submit(upload) == timedelta(seconds=80)
        assert world.task(upload).status is Status.SUBMITTING

    def test_leaves_an_uncertain_task(self, world: World, upload: Upload) -> None:
        world.pass_time(180)

        assert world.submitter().submit(upload) is None
        assert world.task(upload).status is Status.UNCERTAIN
        assert len(world.requests) == 1


def test_the_second_of_two_senders_keeps_off(world: World) -> None:
    upload = world.upload(jpeg(40, 30))
    late = world.submitter()
    waits: list[timedelta | None] = []

    def first_sender(_request: object) -> None:
        waits.append(late.submit(upload))

    world.answers = [accepted()]
    first = world.submitter()
    first.wavespeed._http.event_hooks = {"request": [first_sender]}
    first.submit(upload)

    assert waits == [timedelta(seconds=180)]
    assert len(world.requests) == 1
    assert world.task(upload).status is Status.PROCESSING
