"""No state is a dead end: for each there is a command that moves it on, or says why nothing can.

Every status, with every code that a task can have in it, is reached here by the functions' own
code. Then all is well again, and an operator does what `cutout retry` says. If the vendor has the
result, that costs nothing. The same is asked of what chance comes to, in `tests/unit/promise`.
"""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from cutout.domain import errors
from cutout.domain.errors import UNUSABLE
from cutout.domain.messages import Cursor, ExecutionEnded, FindingKind, Pages
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout_cli.advice import ADVICE
from cutout_cli.reconcile import remedy
from functions.submit.app import handle_message
from tests.support.harness import BASE_URL, PipelineHarness, accepted, answer, download, refused
from tests.support.images import encode, jpeg, noise, png
from tests.support.template import ROOT
from tests.unit.cli.conftest import Cutout, FakeStack
from tests.unit.test_reconcile import make_reconciler

OUTPUT = f"{BASE_URL}/out.png"
EMPTY = encode(noise(8, 6, "RGBA").point(lambda _value: 0), "PNG")
OPAQUE = encode(noise(8, 6, "RGB").convert("RGBA"), "PNG")
DONE = answer(id="p1", status="completed", outputs=[OUTPUT])
UNREACHABLE = httpx.ConnectError("no route")


@dataclass(frozen=True)
class State:
    """A status with a code, and how a task gets there."""

    status: Status
    code: str | None
    reach: Callable[[PipelineHarness], Upload]
    at_vendor: bool = False  # whether the vendor has a result that is good
    pay_again: bool = False  # whether the way out has to be told that it may pay again
    upload_again: bool = False  # whether the way out is another file


def submitted(
    *replies: Any, image: bytes = jpeg(40, 30), **settings: Any
) -> Callable[[PipelineHarness], Upload]:
    """Sent to the vendor, who answers so."""

    def reach(harness: PipelineHarness) -> Upload:
        upload = harness.upload(image)
        harness.answers = list(replies)
        harness.submitter(**settings).submit(upload)
        return upload

    return reach


def polled(
    *replies: Any, late: bool = False, **settings: Any
) -> Callable[[PipelineHarness], Upload]:
    """Accepted as p1, polled once with these replies, and closed as the wait loop does it."""

    def reach(harness: PipelineHarness) -> Upload:
        upload = submitted(accepted("p1"))(harness)
        harness.pass_time(1000 if late else 0)
        harness.answers = list(replies)
        poller = harness.poller(**settings)
        try:
            poller.poll(upload.task_id)
        except errors.CutoutError as error:
            closed(harness, upload, type(error).__name__, str(error))
        return upload

    return reach


def closed(
    harness: PipelineHarness, upload: Upload, error: str, cause: str, status: str = "FAILED"
) -> None:
    name = harness.task(upload).execution_name
    detail = {"name": name, "status": status, "error": error, "cause": cause}
    harness.backstop().close(ExecutionEnded.model_validate({"detail": detail}).detail)


def ended(error: str, status: str = "FAILED") -> Callable[[PipelineHarness], Upload]:
    """The execution ended in a way that the poll function has no part in."""

    def reach(harness: PipelineHarness) -> Upload:
        upload = submitted(accepted("p1"))(harness)
        closed(harness, upload, error, "no more is known", status)
        return upload

    return reach


def without_prediction(harness: PipelineHarness) -> Upload:
    upload = submitted(accepted("p1"))(harness)
    harness.ledger.update(harness.task(upload), prediction_id=None)
    closed(harness, upload, "PredictionMissing", "the ledger holds no prediction")
    return upload


def anothers_prediction(harness: PipelineHarness) -> Upload:
    submitted(accepted("p1"), image=jpeg(20, 30))(harness)
    upload = harness.upload(jpeg(40, 30), "b/dog.jpg")
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    return upload


def gone(harness: PipelineHarness) -> Upload:
    upload = harness.upload(jpeg(40, 30))
    harness.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=upload.version_id)
    harness.submitter().submit(upload)
    return upload


def bad_override(harness: PipelineHarness) -> Upload:
    upload = harness.upload(jpeg(40, 30), cutout_model="no/such-model")
    harness.submitter().submit(upload)
    return upload


def long_key(harness: PipelineHarness) -> Upload:
    upload = harness.upload(jpeg(40, 30), "k" * 1021)
    harness.submitter().submit(upload)
    return upload


def broken_sender(harness: PipelineHarness) -> Upload:
    """The function was killed after the write ahead."""
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        harness.submitter().submit(upload)
    return upload


def without_secret(harness: PipelineHarness) -> Upload:
    upload = harness.upload(jpeg(40, 30))
    submitter = harness.submitter()

    def no_key(*_: Any) -> None:
        raise errors.ApiKeyUnavailable("the secret key cannot be read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(submitter.wavespeed), "submit", no_key)
        submitter.submit(upload)
    return upload


def unread(error: Exception) -> Callable[[PipelineHarness], Upload]:
    """The upload could not be looked at."""

    def reach(harness: PipelineHarness) -> Upload:
        upload = harness.upload(jpeg(40, 30))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(harness.storage), "open", failing(error))
            harness.submitter().submit(upload)
        return upload

    return reach


def unconverted(minutes: int) -> Callable[[PipelineHarness], Upload]:
    """A phone's photo whose conversion is interrupted, for so long."""

    def reach(harness: PipelineHarness) -> Upload:
        upload = harness.upload(encode(noise(8, 6), "AVIF"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cutout.convert.upright", failing(MemoryError()))
            harness.submitter().submit(upload)
            harness.pass_time(60 * minutes)
            harness.submitter().wake(upload.task_id)
        return upload

    return reach


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


def paced(*replies: Any, **settings: Any) -> Callable[[PipelineHarness], Upload]:
    """Behind another upload that took the only slot, or while sending is paused."""

    def reach(harness: PipelineHarness) -> Upload:
        submitter = harness.submitter(**settings)
        if paused := settings.pop("paused", False):
            submitter.governor.pause()
        else:
            harness.answers = [accepted("p0")]
            submitter.submit(harness.upload(jpeg(20, 30), "b/first.jpg"))
        upload = harness.upload(jpeg(40, 30))
        harness.submitter(**settings).submit(upload)
        if paused:
            submitter.governor.resume()
        return upload

    return reach


QUEUED, FAILED, REJECTED = Status.QUEUED, Status.FAILED, Status.REJECTED
STATES = [
    State(QUEUED, "rate_limited", submitted(refused(429))),
    State(QUEUED, "insufficient_credits", submitted(refused(402, "insufficient credits"))),
    State(QUEUED, "unauthorized", submitted(refused(401))),
    State(QUEUED, "vendor_unreachable", submitted(UNREACHABLE)),
    State(QUEUED, "vendor_redirects", submitted(httpx.Response(301))),
    State(QUEUED, "api_key_unavailable", without_secret),
    State(QUEUED, "over_budget", submitted(answer(price=0.01), daily_budget="0.001")),
    State(QUEUED, "waits_for_slot", paced(images_per_minute=10)),
    State(QUEUED, "waits_for_turn", paced(images_per_minute=10, paused=True)),
    State(QUEUED, "upload_forbidden", unread(errors.UploadForbidden("no right to read it"))),
    State(QUEUED, "conversion_interrupted", unconverted(1)),
    State(QUEUED, "service_error", unread(errors.ServiceError("S3 is down"))),
    State(QUEUED, "internal_error", unread(KeyError("a defect"))),
    State(Status.SUBMITTING, None, broken_sender, pay_again=True),
    State(
        Status.UNCERTAIN, "answer_lost", submitted(httpx.ReadTimeout("no answer")), pay_again=True
    ),
    State(Status.UNCERTAIN, "prediction_taken", anothers_prediction, pay_again=True),
    State(Status.PROCESSING, None, submitted(accepted("p1")), at_vendor=True),
    State(FAILED, "request_refused", submitted(refused(400, "no such model"))),
    State(FAILED, "prediction_failed", polled(answer(id="p1", status="failed"))),
    State(FAILED, "prediction_not_found", polled(refused(404, "Not found"), late=True)),
    State(FAILED, "prediction_missing", without_prediction),
    State(FAILED, "output_gone", polled(DONE, httpx.Response(404)), at_vendor=True),
    State(
        FAILED,
        "output_blocked",
        polled(answer(id="p1", status="completed", outputs=["http://elsewhere.test/x"])),
        at_vendor=True,
    ),
    State(FAILED, "bad_output", polled(DONE, lambda _: download(jpeg())), at_vendor=True),
    State(FAILED, "empty_cutout", polled(DONE, lambda _: download(EMPTY)), pay_again=True),
    State(
        FAILED,
        "opaque_cutout",
        polled(DONE, lambda _: download(OPAQUE), opaque_cutout="fail"),
        at_vendor=True,
    ),
    State(
        FAILED,
        "timed_out",
        polled(answer(id="p1", status="processing"), late=True),
        at_vendor=True,
    ),
    State(FAILED, "service_error", ended("ServiceError"), at_vendor=True),
    State(FAILED, "runtime.exit_error", ended("Runtime.ExitError"), at_vendor=True),
    State(FAILED, "task_ended_elsewhere", ended("TaskEndedElsewhere"), at_vendor=True),
    State(FAILED, "execution_ended", ended("", "ABORTED"), at_vendor=True),
    State(REJECTED, "unsupported_format", submitted(image=b"a text, no image"), upload_again=True),
    State(
        REJECTED, "upload_too_large", submitted(image=jpeg() + bytes(2_000_000)), upload_again=True
    ),
    State(REJECTED, "too_few_pixels", submitted(image=jpeg(1, 1)), upload_again=True),
    State(REJECTED, "too_many_pixels", submitted(image=jpeg(1200, 1000)), upload_again=True),
    State(REJECTED, "key_too_long", long_key, upload_again=True),
    State(REJECTED, "bad_override", bad_override, upload_again=True),
    State(REJECTED, "source_gone", gone, upload_again=True),
    State(REJECTED, "conversion_failed", unconverted(10)),
]
FINAL = {Status.COMPLETED, Status.SUPERSEDED}


def posts(harness: PipelineHarness) -> int:
    return sum("/predictions/" not in request.url.path for request in paid(harness))


def paid(harness: PipelineHarness) -> list[httpx.Request]:
    return [request for request in harness.requests if request.method == "POST"]


class Healed:
    """The vendor as it should be, who has the result of the first submit, or has not."""

    def __init__(self, *, has_first: bool, output: bytes, first: bytes | None = None) -> None:
        self.has_first = has_first
        self.outputs = {"p1": first or output, "p9": output}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "POST":
            return accepted("p9")
        if path.endswith("/result"):
            name = path.split("/")[-2]
            known = name == "p9" or self.has_first
            output = f"{BASE_URL}/{name}.png"
            return answer(id=name, status="completed", outputs=[output]) if known else refused(404)
        if path.endswith("/price"):
            return answer(price=0.01)
        return download(self.outputs[path.strip("/").removesuffix(".png")])


class AllAnswers(list[Any]):
    """As many answers as it takes, all from one function."""

    def __init__(self, reply: Callable[[httpx.Request], httpx.Response]) -> None:
        super().__init__([reply])
        self._reply = reply

    def pop(self, *_: Any) -> Any:
        return self._reply


def settle(harness: PipelineHarness, stack: FakeStack, upload: Upload, **settings: Any) -> Task:
    """Let the messages be handled, and the wait loop poll."""
    url = stack.outputs["UploadQueueUrl"]
    submitter, retrier = harness.submitter(), harness.retrier()
    for message in harness.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]:
        handle_message(message["Body"], submitter, retrier)
    if harness.task(upload).status is Status.PROCESSING:
        harness.poller(**settings).poll(upload.task_id)
    return harness.task(upload)


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.status}-{state.code}")
def test_a_command_leads_out_of_every_state(
    harness: PipelineHarness, stack: FakeStack, cutout: Cutout, state: State
) -> None:
    upload = state.reach(harness)
    before = harness.task(upload)
    assert (before.status, before.code) == (state.status, state.code)
    sent = posts(harness)
    harness.pass_time(400)  # longer than a lease
    harness.answers = AllAnswers(Healed(has_first=state.at_vendor, output=png(40, 30)))

    if state.status is Status.SUBMITTING:
        harness.submitter().wake(upload.task_id)  # the clock's work: it is uncertain
    told = cutout("retry", upload.key)
    if state.pay_again and before.status is not FAILED:
        assert told.exit_code == 1
        assert "to send it anew all the same, add --pay-again" in told.stderr
    if state.pay_again:
        told = cutout("retry", upload.key, "--pay-again")
    assert told.exit_code == 0, told.stderr
    after = settle(harness, stack, upload)

    if state.upload_again:
        assert (after.status, posts(harness)) == (REJECTED, sent)
        assert "upload" in told.stdout.split("; else: ")[1]
        return
    assert after.status is Status.COMPLETED
    assert (posts(harness) == sent) == state.at_vendor


@pytest.mark.parametrize(
    "state", [s for s in STATES if s.status is FAILED], ids=lambda state: state.code
)
def test_the_remedy_for_a_result_that_was_not_fetched_leads_to_the_png(
    harness: PipelineHarness, stack: FakeStack, cutout: Cutout, state: State
) -> None:
    """What was refused for its pixels is refused again; everything else is well by now."""
    upload = state.reach(harness)
    sent, first = (
        posts(harness),
        {"empty_cutout": EMPTY, "opaque_cutout": OPAQUE}.get(str(state.code)),
    )
    has_first = state.at_vendor or first is not None
    harness.answers = AllAnswers(Healed(has_first=has_first, output=png(40, 30), first=first))
    stack.parameters["OpaqueCutout"] = "fail"
    cursor = Cursor(pages=Pages.FAILED)

    _, findings, _ = make_reconciler(harness)._failed(cursor, 10)

    if not has_first:
        assert findings == []
        return
    kind = FindingKind.UNUSABLE if state.code in UNUSABLE else FindingKind.NOT_FETCHED
    assert [finding.kind for finding in findings] == [kind]
    (command, *_) = re.findall(
        r"cutout (retry [^ ;]+(?: --pay-again)?)", remedy(findings[0], stack)
    )
    assert cutout(*shlex.split(command)).exit_code == 0
    assert settle(harness, stack, upload, opaque_cutout="fail").status is Status.COMPLETED
    assert posts(harness) - sent == ("--pay-again" in command) == (kind is FindingKind.UNUSABLE)


def test_a_result_that_would_be_refused_again_is_left_as_long_as_it_would_be(
    harness: PipelineHarness, stack: FakeStack, cutout: Cutout
) -> None:
    (state,) = (state for state in STATES if state.code == "opaque_cutout")
    upload = state.reach(harness)
    harness.answers = AllAnswers(Healed(has_first=True, output=png(40, 30)))

    stack.parameters["OpaqueCutout"] = "fail"
    left = cutout("retry", upload.key)
    assert left.exit_code == 1
    assert "its result is no use: look at the image" in left.stderr
    assert f"cutout retry {upload.key} --pay-again" in left.stderr

    stack.parameters["OpaqueCutout"] = "save"
    assert "is fetched for nothing" in cutout("retry", upload.key).stdout


@pytest.mark.parametrize("status", sorted(FINAL))
def test_of_what_is_done_a_command_says_why_nothing_is_left_to_do(
    harness: PipelineHarness, stack: FakeStack, cutout: Cutout, status: Status
) -> None:
    upload = submitted(accepted("p1"))(harness)
    harness.ledger.move(harness.task(upload), status, harness.now)

    told = cutout("retry", upload.key)

    assert told.exit_code == 1
    assert "has its PNG" in told.stderr


def test_every_status_and_every_code_is_here() -> None:
    kinds = (errors.Rejected, errors.NotNow, errors.AnswerLost, errors.Failed)
    ours = {kind for parent in kinds for kind in parent.__subclasses__()} | {errors.AnswerLost}
    expected = {
        errors.code_of(kind.__name__) for kind in ours if kind.__module__ == errors.__name__
    }
    reached = {state.code for state in STATES}

    assert expected - reached == set()
    assert {state.status for state in STATES} | FINAL == set(Status)


def test_every_state_has_its_advice_and_its_line_in_the_docs() -> None:
    """A failed task's code may be the state machine's own, which have one advice."""
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    codes = {state.code: state.status for state in STATES if state.code}

    unadvised = {code for code, status in codes.items() if code not in ADVICE}
    assert {codes[code] for code in unadvised} <= {FAILED}
    assert {code for code in codes if f"`{code}`" not in operations} == {"runtime.exit_error"}


def test_many_are_led_out_at_once_and_what_is_left_says_why(
    harness: PipelineHarness, stack: FakeStack, cutout: Cutout
) -> None:
    first = submitted(httpx.ReadTimeout("no answer"))(harness)
    second = polled(DONE, httpx.Response(404))(harness)
    harness.answers = AllAnswers(Healed(has_first=True, output=png(40, 30)))
    all_of_them = ("retry", "--status", "uncertain", "--status", "failed", "--json")

    lines = [json.loads(line) for line in cutout(*all_of_them, "--dry-run").stdout.splitlines()]

    assert {line["task_id"]: line["sent"] for line in lines} == {
        first.task_id: False,
        second.task_id: False,
    }
    assert cutout(*all_of_them, "--yes").exit_code == 0
    assert settle(harness, stack, second).status is Status.COMPLETED
    assert harness.task(first).status is Status.UNCERTAIN
