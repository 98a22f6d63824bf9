"""What the vendor says reaches the ledger, logs, executions and events; what it must not say does
not, for it is kept out where an answer is parsed."""

import json
import logging
from typing import Any

import httpx
import pytest

from cutout.domain.errors import CutoutError
from cutout.domain.messages import Execution
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from tests.support.harness import PipelineHarness, accepted, answer, refused
from tests.support.images import jpeg

QUERY = "X-Amz-Security-Token=CANARY&X-Amz-Signature=CANARY"
HOSTILE = {
    "presigned URL": f"cannot download https://uploads.s3.amazonaws.com/a/cat.jpg?{QUERY}",
    "key": "unknown key the-key; headers: Authorization: Bearer the-key",
    "signing secret": "signed with whsec_CANARY",
    "control characters": "two\r\nlines \x1b[2J\x00",
    "long": "too dark " * 100_000,
}


@pytest.fixture
def upload(harness: PipelineHarness) -> Upload:
    return harness.upload(jpeg(40, 30))


def check(
    harness: PipelineHarness, upload: Upload, caplog: pytest.LogCaptureFixture, *more: object
) -> None:
    """Nothing but the vendor's plain words may be anywhere."""
    task = harness.task(upload)
    assert task.status is Status.FAILED
    assert task.reason
    (event,) = harness.published()
    logged = [vars(record) for record in caplog.records]
    places: dict[str, Any] = {"row": task, "event": event, "log": logged, "more": more}
    for place, shown in places.items():
        assert "CANARY" not in repr(shown), place
        assert "the-key" not in repr(shown), place
        assert len(repr(shown)) < 20_000, place
    for text in (task.reason, event["detail"]["reason"], *more):
        assert str(text).isprintable()
        assert len(str(text)) < 700


@pytest.mark.parametrize(
    ("form", "text"),
    [
        *(("message", text) for text in HOSTILE.values()),
        *((form, HOSTILE["key"]) for form in ("error", "error object")),
    ],
)
def test_a_refusal_tells_no_secret(
    harness: PipelineHarness, upload: Upload, caplog: pytest.LogCaptureFixture, text: str, form: str
) -> None:
    caplog.set_level(logging.INFO)
    bodies: dict[str, Any] = {
        "message": {"message": text},
        "error": {"error": text},
        "error object": {"error": {"message": text}},
    }
    harness.answers = [httpx.Response(400, json={"code": 400, **bodies[form]})]

    harness.submitter().submit(upload)

    check(harness, upload, caplog)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        *(("text", text) for text in HOSTILE.values()),
        *((form, HOSTILE["key"]) for form in ("message", "error", "list", "other")),
    ],
)
def test_a_failed_prediction_tells_no_secret(
    harness: PipelineHarness, upload: Upload, caplog: pytest.LogCaptureFixture, text: str, form: str
) -> None:
    caplog.set_level(logging.INFO)
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    forms: dict[str, Any] = {
        "text": text,
        "message": {"message": text},
        "error": {"error": text},
        "list": [text],
        "other": {"detail": text},
    }
    harness.answers = [answer(id="p1", status="failed", error=forms[form])]

    with pytest.raises(CutoutError) as caught:
        harness.poller().poll(upload.task_id)
    cause = str(caught.value)
    name = harness.task(upload).execution_name
    execution = Execution(
        name=name,
        status="FAILED",
        error=type(caught.value).__name__,
        cause=json.dumps({"errorMessage": cause}),
    )
    closed = harness.backstop().close(execution)

    check(harness, upload, caplog, cause, closed.reason)


@pytest.mark.parametrize("status", [200, 302, 401, 404, 409, 429, 500])
def test_no_answer_at_all_gets_a_secret_into_an_error_or_its_causes(
    harness: PipelineHarness, upload: Upload, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO)
    text = " ".join(HOSTILE.values())
    oddities = {"id": text, "status": [text], "outputs": {text: text}, "timings": text}
    location = "https://elsewhere.test/x?CANARY#the-key"
    answers = [
        httpx.Response(
            status,
            json={"code": status, "message": text, "data": oddities},
            headers={"Location": location},
        ),
        httpx.Response(status, text=text, headers={"Location": location}),
    ]
    for reply in answers:
        harness.answers = [reply]
        with pytest.raises(CutoutError) as caught:
            harness.poller().wavespeed.result("p1")
        shown = chained(caught.value)
        harness.answers = [reply, accepted("p1")]
        harness.submitter().submit(upload)
        shown += repr([harness.task(upload), *(vars(record) for record in caplog.records)])
        assert "CANARY" not in shown
        assert "the-key" not in shown


def chained(error: BaseException | None) -> str:
    """What a log shows of an error: itself and its causes."""
    return f"{error!r} {chained(error.__cause__ or error.__context__)}" if error else ""


def test_a_refused_key_waits_and_says_so_in_words_of_ours(
    harness: PipelineHarness, upload: Upload
) -> None:
    harness.answers = [refused(401, HOSTILE["key"])]

    harness.submitter().submit(upload)

    reason = harness.task(upload).reason
    assert reason == "the vendor refused the API key (401); put a valid key into the secret"
