"""The ways in which a result can come: at once, as base64, by callback, or after a lost answer."""

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from cutout.domain.errors import ForgedCallback
from cutout.domain.tasks import Status, Task, TaskChanges
from cutout.domain.uploads import Upload
from cutout.submit import Submitter
from cutout.webhook import WebhookReceiver
from tests.support.harness import (
    MODEL,
    NOW,
    WEBHOOK_URL,
    PipelineHarness,
    accepted,
    answer,
    callback,
    refused,
    secret_is,
    signed,
)
from tests.support.images import jpeg

LOST = httpx.ReadTimeout("slow")


@pytest.fixture
def upload(harness: PipelineHarness) -> Upload:
    return harness.upload(jpeg())


def submitted(harness: PipelineHarness, upload: Upload, **settings: Any) -> Task:
    """The task after it was submitted."""
    harness.submitter(**settings).submit(upload)
    return harness.task(upload)


def posts(harness: PipelineHarness) -> list[httpx.Request]:
    """What was asked for and has to be paid."""
    return [request for request in harness.requests if request.method == "POST"]


def body_of(request: httpx.Request) -> dict[str, Any]:
    """What a submit asks for beside the image."""
    body: dict[str, Any] = json.loads(request.content)
    assert body.pop("image").startswith("https://")
    return body


# ------------------------------------------------------------------ sync


@pytest.mark.parametrize("webhook", ["", WEBHOOK_URL])
@pytest.mark.parametrize("status", ["completed", "failed", "timeout"])
def test_a_result_that_is_there_already_is_polled_at_once(
    harness: PipelineHarness, upload: Upload, status: str, webhook: str
) -> None:
    harness.answers = [answer(id="p1", status=status, outputs=["https://x"])]

    task = submitted(harness, upload, sync_mode=True, webhook_url=webhook)

    assert body_of(posts(harness)[0]) == {"enable_sync_mode": True}
    assert (task.status, task.prediction_id) == (Status.PROCESSING, "p1")
    assert harness.first_input(task) == {
        "task_id": task.task_id,
        "status": "processing",
        "wait_seconds": 0,
        "await_callback": False,
    }


def test_a_sync_wait_that_ran_out_goes_on_polling(harness: PipelineHarness, upload: Upload) -> None:
    error = "Sync mode timed out after 90 seconds. The prediction is still processing."
    harness.answers = [answer(id="p1", status="processing", code=5004, error=error)]

    task = submitted(harness, upload, sync_mode=True)

    assert (task.status, task.prediction_id, task.code) == (Status.PROCESSING, "p1", None)
    assert harness.first_input(task)["wait_seconds"] > 0


def test_a_gateway_that_gave_up_on_a_sync_submit_leaves_it_uncertain(
    harness: PipelineHarness, upload: Upload
) -> None:
    harness.answers = [httpx.Response(504, html="<h1>504 Gateway Time-out</h1>")]

    task = submitted(harness, upload, sync_mode=True)

    assert (task.status, task.code) == (Status.UNCERTAIN, "answer_lost")
    assert harness.executions() == []


# ------------------------------------------------------------------ the webhook


def test_the_vendor_is_told_to_call_back_about_this_very_attempt(
    harness: PipelineHarness, upload: Upload
) -> None:
    harness.answers = [refused(429), accepted()]
    submitter = harness.submitter(webhook_url=WEBHOOK_URL)

    submitter.submit(upload)
    harness.pass_time(60)
    submitter.submit(upload)

    asked = [parse_qs(request.url.query.decode()) for request in posts(harness)]
    attempts = [ask["webhook"][0].rpartition("-") for ask in asked]
    assert [url for url, _, _ in attempts] == [
        f"https://webhook.test/{upload.task_id}-{attempt}" for attempt in (1, 2)
    ]
    tokens = {token for _, _, token in attempts}
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)
    assert len(tokens) == 2


def test_with_the_webhook_on_the_timer_is_only_the_fallback(
    harness: PipelineHarness, upload: Upload
) -> None:
    harness.answers = [accepted()]

    task = submitted(harness, upload, webhook_url=WEBHOOK_URL, webhook_fallback_seconds=45)

    assert task.callback_expected
    assert harness.first_input(task) == {
        "task_id": task.task_id,
        "status": "processing",
        "wait_seconds": 45,
        "await_callback": True,
    }


def test_with_the_webhook_off_none_is_asked_for(harness: PipelineHarness, upload: Upload) -> None:
    harness.answers = [accepted()]

    task = submitted(harness, upload)

    assert posts(harness)[0].url.query == b""
    assert not task.callback_expected
    assert task.callback_token is None
    assert harness.first_input(task)["await_callback"] is False


@pytest.mark.parametrize("by_the_object", [True, False])
def test_base64_output_goes_without_a_webhook(
    harness: PipelineHarness, by_the_object: bool
) -> None:
    override = {"cutout_base64": "true"} if by_the_object else {}
    upload = harness.upload(jpeg(), **override)
    harness.answers = [accepted()]

    task = submitted(harness, upload, webhook_url=WEBHOOK_URL, base64_output=not by_the_object)

    (request,) = posts(harness)
    assert request.url.query == b""
    assert body_of(request) == {"enable_base64_output": True}
    assert not task.callback_expected
    first = harness.first_input(task)
    assert first["await_callback"] is False
    assert first["wait_seconds"] < 60


def test_a_lost_execution_still_waits_for_the_callback(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = harness.submitter(webhook_url=WEBHOOK_URL)
    harness.answers = [accepted()]
    with monkeypatch.context() as broken:
        broken.setattr(submitter.wait_loop, "_arn", "arn:aws:states:us-east-1:1:stateMachine:no")
        submitter.submit(upload)

    submitter.wake(upload.task_id)

    first = harness.first_input(harness.task(upload))
    assert (first["wait_seconds"], first["await_callback"]) == (60, True)


# ------------------------------------------------------------------ what the object asks for


def test_the_overrides_of_the_object_reach_the_vendor_and_the_ledger(
    harness: PipelineHarness,
) -> None:
    upload = harness.upload(
        jpeg(), cutout_model="acme/other", cutout_sync="true", cutout_base64="true", title="Cat"
    )
    harness.answers = [accepted()]

    task = submitted(harness, upload, allowed_models="acme/third,acme/other")

    (request,) = posts(harness)
    assert request.url.path == "/api/v3/acme/other"
    assert body_of(request) == {"enable_sync_mode": True, "enable_base64_output": True}
    assert task.model == "acme/other"


def test_an_object_can_do_without_what_the_stack_does(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg(), cutout_sync="false", cutout_base64="false")
    harness.answers = [accepted()]

    submitted(harness, upload, sync_mode=True, base64_output=True)

    assert body_of(posts(harness)[0]) == {}


def test_the_overrides_are_those_of_the_very_version(harness: PipelineHarness) -> None:
    first = harness.upload(jpeg(), cutout_sync="true")
    harness.upload(jpeg(9, 9), cutout_sync="perhaps")
    harness.answers = [accepted()]

    assert submitted(harness, first).status is Status.PROCESSING
    assert body_of(posts(harness)[0]) == {"enable_sync_mode": True}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"cutout_model": "acme/other"}, f"the stack allows {MODEL}"),
        ({"cutout_sync": "perhaps"}, "cutout-sync is 'perhaps'; it can be true or false"),
        ({"cutout_base64": "1"}, "cutout-base64 is '1'; it can be true or false"),
    ],
)
def test_an_override_that_is_not_allowed_is_rejected_before_it_costs(
    harness: PipelineHarness, metadata: dict[str, str], reason: str
) -> None:
    upload = harness.upload(jpeg(), **metadata)

    task = submitted(harness, upload)

    assert (task.status, task.code, task.attempt) == (Status.REJECTED, "bad_override", 0)
    assert task.reason is not None
    assert task.reason.endswith(reason)
    assert harness.requests == []
    (event,) = harness.published()
    assert event["detail"]["code"] == "bad_override"


# ------------------------------------------------------------------ a lost answer


def test_held_is_held_until_a_person_decides(harness: PipelineHarness, upload: Upload) -> None:
    harness.answers = [LOST]
    submitter = harness.submitter(on_uncertain="hold", uncertain_grace_seconds=10)
    for _ in range(3):
        submitter.submit(upload)
        harness.pass_time(86_400)

    task = harness.task(upload)
    assert task.status is Status.UNCERTAIN
    assert task.due_at == NOW + timedelta(days=2, hours=1)  # the policy may have changed by then
    assert len(posts(harness)) == 1


class TestResubmit:
    @pytest.fixture
    def submitter(self, harness: PipelineHarness) -> Submitter:
        return harness.submitter(
            on_uncertain="resubmit", uncertain_grace_seconds=600, webhook_url=WEBHOOK_URL
        )

    @pytest.fixture
    def lost(self, harness: PipelineHarness, upload: Upload, submitter: Submitter) -> Task:
        """A task whose submit's answer was lost just now."""
        harness.answers = [LOST]
        submitter.submit(upload)
        task = harness.task(upload)
        assert task.due_at == NOW + timedelta(seconds=600)
        return task

    def test_waits_for_the_grace_time(
        self, harness: PipelineHarness, upload: Upload, submitter: Submitter, lost: Task
    ) -> None:
        harness.pass_time(599)

        assert harness.tick() == {}
        submitter.wake(upload.task_id)

        assert harness.task(upload) == lost
        assert len(posts(harness)) == 1

    @pytest.mark.usefixtures("lost")
    def test_sends_it_once_more_after_it(
        self, harness: PipelineHarness, upload: Upload, submitter: Submitter
    ) -> None:
        harness.pass_time(600)
        harness.answers = [accepted("p2")]

        assert harness.tick() == {"answer_lost": 1}
        submitter.wake(upload.task_id)
        submitter.wake(upload.task_id)

        task = harness.task(upload)
        assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 2, "p2")
        assert (task.code, task.reason) == (None, None)
        assert len(posts(harness)) == 2
        assert harness.executions() == [f"{upload.task_id}-2"]

    @pytest.mark.usefixtures("lost")
    def test_begins_a_new_grace_time_when_it_is_lost_again(
        self, harness: PipelineHarness, upload: Upload, submitter: Submitter
    ) -> None:
        harness.pass_time(700)
        harness.answers = [LOST]

        submitter.submit(upload)

        task = harness.task(upload)
        assert (task.attempt, task.due_at) == (2, harness.now + timedelta(seconds=600))

    def test_is_not_needed_after_a_callback(
        self, harness: PipelineHarness, upload: Upload, submitter: Submitter, lost: Task
    ) -> None:
        harness.pass_time(10)
        harness.answers = [secret_is()]
        call_back(harness, harness.webhook_receiver(), lost)
        harness.pass_time(600)

        submitter.submit(upload)

        task = harness.task(upload)
        assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 1, "p1")
        assert len(posts(harness)) == 1
        assert harness.executions() == [f"{upload.task_id}-1"]

    def test_goes_its_own_way_once_it_was_sent(
        self, harness: PipelineHarness, upload: Upload, submitter: Submitter, lost: Task
    ) -> None:
        harness.pass_time(600)
        harness.answers = [accepted("p2"), secret_is()]
        submitter.submit(upload)
        sent = harness.task(upload)

        with pytest.raises(ForgedCallback):
            call_back(harness, harness.webhook_receiver(), lost)

        assert harness.task(upload) == sent

    @pytest.mark.usefixtures("lost")
    def test_looks_at_the_object_again(
        self, harness: PipelineHarness, upload: Upload, submitter: Submitter
    ) -> None:
        harness.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))
        harness.pass_time(600)

        submitter.submit(upload)

        assert harness.task(upload).code == "source_gone"
        assert len(posts(harness)) == 1


# ------------------------------------------------------------------ a callback overtakes the answer


def call_back(harness: PipelineHarness, receiver: WebhookReceiver, task: Task) -> None:
    body = callback("p1")
    path = f"/{task.execution_name}-{task.callback_token}"
    receiver.receive(path, signed(body, harness.now), body)


@pytest.mark.parametrize(
    "end", [LOST, httpx.Response(502), httpx.Response(200, html="?"), accepted("p1")]
)
def test_a_callback_during_the_submit_settles_it(
    harness: PipelineHarness, upload: Upload, end: httpx.Response | httpx.HTTPError
) -> None:
    receiver = harness.webhook_receiver()

    def called_back_meanwhile(_request: httpx.Request) -> httpx.Response | httpx.HTTPError:
        call_back(harness, receiver, harness.task(upload))
        return end

    harness.answers = [called_back_meanwhile, secret_is()]

    task = submitted(harness, upload, webhook_url=WEBHOOK_URL)

    assert (task.status, task.attempt, task.prediction_id) == (Status.PROCESSING, 1, "p1")
    assert (task.called_back_at, task.code, task.reason) == (NOW, None, None)
    assert len(posts(harness)) == 1
    assert harness.executions() == [task.execution_name]
    first = harness.first_input(task)
    assert (first["wait_seconds"], first["await_callback"]) == (0, False)


def test_what_an_earlier_attempt_left_is_forgotten(
    harness: PipelineHarness, upload: Upload
) -> None:
    submitter, receiver = harness.submitter(webhook_url=WEBHOOK_URL), harness.webhook_receiver()

    def called_back_and_refused(_request: httpx.Request) -> httpx.Response:
        call_back(harness, receiver, harness.task(upload))
        return refused(429)

    harness.answers = [called_back_and_refused, secret_is(), accepted("p2")]
    submitter.submit(upload)
    queued = harness.task(upload)
    assert (queued.status, queued.prediction_id, queued.called_back_at) == ("queued", None, None)
    harness.pass_time(60)
    submitter.submit(upload)

    task = harness.task(upload)
    assert (task.attempt, task.prediction_id, task.called_back_at) == (2, "p2", None)
    assert harness.first_input(task)["await_callback"] is True


def test_whatever_an_earlier_attempt_wrote_is_gone_while_the_next_is_sent(
    harness: PipelineHarness, upload: Upload
) -> None:
    left: TaskChanges = {
        "prediction_id": "p0",
        "candidate": "p0",
        "called_back_at": NOW,
        "task_token": "token",
        "reused_from": "another",
        "slot_at": NOW,
        "submit_after": NOW,
        "code": "rate_limited",
        "reason": "too fast",
    }
    submitter = harness.submitter()
    harness.answers = [refused(429), KeyboardInterrupt()]
    submitter.submit(upload)
    harness.ledger.update(harness.task(upload), **left)
    harness.answers = [answer(id="p0", status="failed"), KeyboardInterrupt()]

    with pytest.raises(KeyboardInterrupt):
        submitter.submit(upload)

    task = harness.task(upload)
    assert task.status is Status.SUBMITTING
    assert {name: getattr(task, name) for name in left} == dict.fromkeys(left)


@pytest.mark.parametrize("policy", ["hold", "resubmit"])
def test_a_prediction_that_is_another_tasks_leaves_a_submit_uncertain(
    harness: PipelineHarness, upload: Upload, policy: str
) -> None:
    other = harness.upload(jpeg(50, 30), "other.jpg")
    harness.answers = [accepted("p1"), accepted("p1")]
    submitter = harness.submitter(on_uncertain=policy)

    submitter.submit(upload)
    submitter.submit(other)

    assert (harness.task(upload).status, harness.task(upload).prediction_id) == ("processing", "p1")
    refused = harness.task(other)
    assert (refused.status, refused.code) == (Status.UNCERTAIN, "prediction_taken")
    assert refused.prediction_id is None
    assert harness.executions() == [harness.task(upload).execution_name]


def test_a_callback_tells_what_a_sender_that_died_could_not(
    harness: PipelineHarness, upload: Upload
) -> None:
    harness.answers = [KeyboardInterrupt()]  # nothing catches it
    with pytest.raises(KeyboardInterrupt):
        submitted(harness, upload, webhook_url=WEBHOOK_URL)
    harness.answers = [secret_is()]
    call_back(harness, harness.webhook_receiver(), harness.task(upload))
    harness.pass_time(180)

    task = submitted(harness, upload, webhook_url=WEBHOOK_URL)

    assert (task.status, task.prediction_id) == (Status.PROCESSING, "p1")
    assert len(posts(harness)) == 1
    assert harness.executions() == [task.execution_name]


@pytest.mark.parametrize("end", [accepted(), refused(429), refused(400), LOST])
def test_between_the_answer_and_its_place_in_the_ledger_nothing_can_fail(
    harness: PipelineHarness, upload: Upload, end: httpx.Response | httpx.HTTPError
) -> None:
    calls: list[Any] = []
    harness.on(
        harness.dynamodb,
        "provide-client-params.dynamodb",
        lambda params, model, **_: calls.append((model.name, params.get("Key"))),
    )

    def answered(_request: httpx.Request) -> httpx.Response | httpx.HTTPError:
        calls.clear()
        return end

    harness.answers = [answer(price=0.01), answered]
    submitted(harness, upload, images_per_minute=10, daily_budget=1)

    # A prediction is claimed first, else the task might get another one's image.
    written = [call for call in calls if "#prediction#" not in str(call)]
    assert written[0] == ("UpdateItem", {"task_id": {"S": upload.task_id}})
    assert calls.index(written[0]) <= 1
