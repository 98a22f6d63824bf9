import contextlib
import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.errors import (
    ForgedCallback,
    PredictionTaken,
    ServiceError,
    StatusChanged,
    VendorUnavailable,
)
from cutout.domain.messages import callback_url
from cutout.domain.tasks import AttemptId, Status, Task
from cutout.webhook import WebhookReceiver
from tests.support.factories import make_task
from tests.support.harness import (
    MODEL,
    NOW,
    TABLE,
    WEBHOOK_SECRET,
    WEBHOOK_URL,
    PipelineHarness,
    accepted,
    callback,
    refused,
    secret_is,
    signed,
)
from tests.support.images import jpeg
from tests.support.template import state_machine

BODY = callback()
TOKEN = "0123456789abcdef0123456789abcdef"
SUBMITTED: dict[str, Any] = {
    "attempt": 1,
    "callback_expected": True,
    "callback_token": TOKEN,
    "prediction_id": "p1",
}


@pytest.fixture
def receiver(harness: PipelineHarness) -> WebhookReceiver:
    harness.answers = [secret_is(WEBHOOK_SECRET)]
    return harness.webhook_receiver()


@pytest.fixture
def task(harness: PipelineHarness) -> Task:
    """A task that the vendor is processing."""
    return task_that_is(harness, Status.PROCESSING)


def task_that_is(harness: PipelineHarness, status: Status, **fields: Any) -> Task:
    entered = {Status.QUEUED: NOW, Status.SUBMITTING: NOW, status: NOW}
    return harness.ledger.claim(
        make_task(status=status, entered_at=entered, **(SUBMITTED | fields))
    )


def path_of(task: Task) -> str:
    return f"/{task.execution_name}-{task.callback_token}"


def call_back(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task, body: bytes = BODY
) -> None:
    receiver.receive(path_of(task), signed(body, harness.now), body)


def leave_token(harness: PipelineHarness, task: Task, token: str) -> None:
    """What the state machine's own file does before it waits. Raises as DynamoDB does."""
    state = state_machine()["States"]["Wait for callback"]
    arguments = json.dumps(state["Arguments"])
    for expression, value in {
        "${TasksTable}": TABLE,
        "{% $states.input.task_id %}": task.task_id,
        "{% $states.context.Task.Token %}": token,
    }.items():
        assert expression in arguments
        arguments = arguments.replace(expression, value)
    harness.dynamodb.update_item(**json.loads(arguments))


# ------------------------------------------------------------------ what is signed


def hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104, by the book, for keys of up to 64 bytes."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    return hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).hexdigest()


def test_the_golden_signature_is_believed(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    body = b'{"id":"p1","status":"completed","outputs":["https://x/\xc3\xbc.png"]}'
    signature = hmac_sha256(b"0123456789abcdef", b"msg_1.1795176000." + body)
    # printf msg_1.1795176000.BODY | openssl dgst -sha256 -hmac 0123456789abcdef
    assert signature == "911737291e92b75f413ec23969ec312b76225ace6dee0bde9eb5b217ae3335d1"
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1795176000",
        "webhook-signature": f"v3,{signature}",
    }

    receiver.receive(path_of(task), headers, body)

    assert harness.ledger.get(task.task_id).called_back_at == NOW


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_callback_may_be_five_minutes_off(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task, seconds: int
) -> None:
    headers = signed(BODY, NOW + timedelta(seconds=seconds))

    receiver.receive(path_of(task), headers, BODY)

    assert harness.ledger.get(task.task_id).called_back_at == NOW


def without(name: str) -> dict[str, str]:
    return {other: value for other, value in signed(BODY).items() if other != name}


def signature_is(value: str) -> dict[str, str]:
    return signed(BODY) | {"webhook-signature": value}


GOOD = signed(BODY)["webhook-signature"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        without("webhook-signature"),
        without("webhook-id"),
        signature_is(""),
        signature_is("v3,"),
        signature_is(GOOD.removeprefix("v3,")),
        signature_is(GOOD.replace("v3,", "v1,")),
        signature_is("v3," + GOOD.removeprefix("v3,").upper()),
        signature_is(GOOD[:-1]),
        signature_is(GOOD + "0"),
        signature_is("v3," + "0" * 64),
        signature_is("v3,ü"),
        signed(BODY) | {"webhook-id": "msg_2"},
        signed(BODY) | {"webhook-timestamp": f"{NOW.timestamp() + 1:.0f}"},
        signed(callback("p2")),
        signed(BODY + b" "),
        signed(BODY, secret="whsec_"),
        signed(BODY, secret="whsec_fedcba9876543210"),
        signed(BODY, secret=f"whsec_{WEBHOOK_SECRET}"),
    ],
)
def test_what_the_vendor_did_not_sign_is_not_believed(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task, headers: dict[str, str]
) -> None:
    with pytest.raises(ForgedCallback):
        receiver.receive(path_of(task), headers, BODY)

    assert harness.ledger.get(task.task_id) == task
    assert (harness.woken, harness.executions()) == ([], [])


@pytest.mark.parametrize(
    "headers",
    [
        signed(BODY, NOW - timedelta(seconds=301)),
        signed(BODY, NOW + timedelta(seconds=301)),
        signed(BODY, NOW - timedelta(days=365)),
        without("webhook-timestamp"),
        *[
            signed(BODY) | {"webhook-timestamp": odd}
            for odd in ("", "-1", "1e9", "1795176000.0", " 1795176000", "now", "²")
        ],
        signed(BODY) | {"webhook-timestamp": "9" * 10},
        signed(BODY) | {"webhook-timestamp": "9" * 10_000},
    ],
)
def test_a_stale_callback_is_refused_before_anybody_is_asked(
    harness: PipelineHarness, task: Task, headers: dict[str, str]
) -> None:
    with pytest.raises(ForgedCallback):
        harness.webhook_receiver().receive(path_of(task), headers, BODY)

    assert harness.requests == []
    assert harness.ledger.get(task.task_id) == task


# ------------------------------------------------------------------ the secret


def believed(harness: PipelineHarness, receiver: WebhookReceiver, task: Task, secret: str) -> bool:
    """Whether a callback that was signed just now with a secret is taken."""
    try:
        receiver.receive(path_of(task), signed(BODY, harness.now, secret), BODY)
    except ForgedCallback:
        return False
    return True


def test_the_secret_is_fetched_once(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    for _ in range(5):
        call_back(harness, receiver, task)
        harness.pass_time(1000)

    (request,) = harness.requests
    assert request.url.path == "/api/v3/webhook/secret"


def test_a_rotated_secret_is_picked_up_after_a_minute(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    new = "whsec_new-and-better"
    assert believed(harness, receiver, task, WEBHOOK_SECRET)
    harness.answers = [secret_is(new)]
    harness.pass_time(59)
    assert not believed(harness, receiver, task, new)
    assert len(harness.requests) == 1
    harness.pass_time(1)
    assert believed(harness, receiver, task, new)
    assert not believed(harness, receiver, task, WEBHOOK_SECRET)
    assert len(harness.requests) == 2


def test_forged_callbacks_do_not_hammer_the_vendor(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    harness.answers = [secret_is() for _ in range(3)]
    for _ in range(180):
        assert not believed(harness, receiver, task, "whsec_of-an-attacker")
        harness.pass_time(1)

    assert len(harness.requests) == 3
    assert harness.ledger.get(task.task_id) == task


def test_a_vendor_that_does_not_tell_its_secret_is_not_hammered_either(
    harness: PipelineHarness, task: Task
) -> None:
    receiver = harness.webhook_receiver()
    harness.answers = [httpx.Response(503)] * 3  # the client asks three times
    for _ in range(60):
        with pytest.raises(VendorUnavailable):
            call_back(harness, receiver, task)
        # Nor does an unknown secret mean an empty one.
        headers = signed(BODY, harness.now, "whsec_")
        with pytest.raises(VendorUnavailable):
            receiver.receive(path_of(task), headers, BODY)
        harness.pass_time(1)
    assert len(harness.requests) == 3
    assert harness.ledger.get(task.task_id) == task

    harness.answers = [secret_is()]
    call_back(harness, receiver, task)
    assert harness.ledger.get(task.task_id).called_back_at == harness.now


def test_a_secret_outlives_a_bad_moment_of_the_vendor(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    call_back(harness, receiver, task)
    harness.pass_time(60)
    harness.answers = [httpx.Response(503)] * 3
    forged = signed(BODY, harness.now, "whsec_of-an-attacker")
    with pytest.raises(VendorUnavailable):
        receiver.receive(path_of(task), forged, BODY)

    call_back(harness, receiver, task)

    assert harness.ledger.get(task.task_id).called_back_at == harness.now


# ------------------------------------------------------------------ what a callback does


def test_a_waiting_execution_is_woken(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    leave_token(harness, task, "token-1")

    call_back(harness, receiver, task)

    assert harness.woken == ["token-1"]
    assert harness.ledger.get(task.task_id).called_back_at == NOW
    assert harness.executions() == []


def test_a_callback_before_the_token_keeps_the_machine_from_waiting(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    call_back(harness, receiver, task)

    with pytest.raises(harness.dynamodb.exceptions.ConditionalCheckFailedException):
        leave_token(harness, task, "too-late")
    assert harness.woken == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "something-new"])
def test_a_callback_wakes_whatever_it_says(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task, status: str
) -> None:
    leave_token(harness, task, "token-1")

    call_back(harness, receiver, task, callback("p1", status))

    assert harness.woken == ["token-1"]
    assert harness.ledger.get(task.task_id).status is Status.PROCESSING


def test_a_task_without_an_execution_gets_one_that_polls_at_once(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    call_back(harness, receiver, task)

    assert harness.executions() == [task.execution_name]
    assert harness.first_input(task) == {
        "task_id": task.task_id,
        "status": "processing",
        "wait_seconds": 0,
        "await_callback": False,
    }


def test_an_uncertain_task_turns_out_to_have_been_accepted(
    harness: PipelineHarness, receiver: WebhookReceiver
) -> None:
    task = task_that_is(
        harness, Status.UNCERTAIN, prediction_id=None, code="answer_lost", reason="it was lost"
    )

    call_back(harness, receiver, task, callback("p7"))

    settled = harness.ledger.get(task.task_id)
    assert (settled.status, settled.prediction_id) == (Status.PROCESSING, "p7")
    assert (settled.code, settled.reason) == (None, None)
    assert harness.executions() == [task.execution_name]


def test_a_task_that_is_still_being_sent_is_left_to_its_sender(
    harness: PipelineHarness, receiver: WebhookReceiver
) -> None:
    task = task_that_is(harness, Status.SUBMITTING, prediction_id=None)

    call_back(harness, receiver, task, callback("p7"))

    noted = harness.ledger.get(task.task_id)
    assert (noted.status, noted.called_back_at) == (Status.SUBMITTING, NOW)
    assert noted.prediction_id == "p7"
    assert (harness.woken, harness.executions()) == ([], [])


def test_the_same_callback_twice_does_no_harm(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    call_back(harness, receiver, task)
    once = harness.ledger.get(task.task_id)
    call_back(harness, receiver, task)

    assert harness.ledger.get(task.task_id) == once
    assert harness.executions() == [task.execution_name]


def test_an_uncertain_task_is_settled_once(
    harness: PipelineHarness, receiver: WebhookReceiver
) -> None:
    task = task_that_is(harness, Status.UNCERTAIN, prediction_id=None)
    call_back(harness, receiver, task)
    call_back(harness, receiver, task)

    assert harness.ledger.get(task.task_id).status is Status.PROCESSING
    assert harness.executions() == [task.execution_name]


# ------------------------------------------------------------------ what does nothing


@pytest.mark.parametrize(
    "fields",
    [
        {"attempt": 2},
        {"prediction_id": "p2"},
        {"status": Status.QUEUED, "prediction_id": None},
        *[
            {"status": status}
            for status in (
                Status.COMPLETED,
                Status.FAILED,
                Status.REJECTED,
                Status.SUPERSEDED,
            )
        ],
    ],
    ids=lambda fields: "-".join(str(value) for value in fields.values()),
)
def test_a_callback_about_something_that_is_over_changes_nothing(
    harness: PipelineHarness, receiver: WebhookReceiver, fields: dict[str, Any]
) -> None:
    task = task_that_is(harness, **({"status": Status.PROCESSING, "task_token": "t"} | fields))

    receiver.receive(f"/{task.task_id}-1-{TOKEN}", signed(BODY), BODY)

    assert harness.ledger.get(task.task_id) == task
    assert (harness.woken, harness.executions()) == ([], [])


# ------------------------------------------------------------------ what the vendor was not told


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "/",
        "/{id}",
        "/{id}-",
        "/{id}-1",
        "/{id}-1-",
        "/{id}-1-None",
        "/{id}-1-" + TOKEN[::-1],
        "/{id}-1-" + TOKEN[:-1],
        "/{id}-1-" + TOKEN.upper(),
        "/{id}-1-" + TOKEN + "/",
        "/{id}-1-" + TOKEN + "\n",
        "/{id}-1-ü",
        "/x/{id}-1-" + TOKEN,
        "{id}-1-" + TOKEN,
        "/#governor-1-" + TOKEN,
        "/" + "0" * 32 + "-1-" + TOKEN,
    ],
)
def test_a_path_that_the_vendor_was_not_told_is_refused_before_anybody_else_is_asked(
    harness: PipelineHarness, task: Task, wrong: str
) -> None:
    with pytest.raises(ForgedCallback):
        harness.webhook_receiver().receive(wrong.format(id=task.task_id), signed(BODY), BODY)

    assert harness.requests == []
    assert harness.ledger.get(task.task_id) == task
    assert harness.dynamodb.scan(TableName=TABLE)["Count"] == 1
    assert harness.executions() == []


@pytest.mark.parametrize("guess", ["", "None", "null"])
def test_a_task_that_expects_no_callback_takes_none(
    harness: PipelineHarness, receiver: WebhookReceiver, guess: str
) -> None:
    task = task_that_is(harness, Status.UNCERTAIN, callback_token=None, prediction_id=None)
    with pytest.raises(ForgedCallback):
        receiver.receive(f"/{task.execution_name}-{guess}", signed(BODY), BODY)

    assert harness.ledger.get(task.task_id) == task


def test_a_real_callback_is_worth_nothing_at_another_tasks_path(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    """What a vendor's mix-up, or somebody who has the account's webhook secret, could try."""
    harness.ledger.claim_prediction(task, "p1")
    other = task_that_is(
        harness, Status.UNCERTAIN, task_id="f" * 32, callback_token=TOKEN[::-1], prediction_id=None
    )
    for path in (f"/{other.execution_name}-{TOKEN}", path_of(other)):
        with contextlib.suppress(ForgedCallback):
            receiver.receive(path, signed(BODY), BODY)

    assert harness.ledger.get(other.task_id) == other
    assert harness.executions() == []
    call_back(harness, receiver, other, callback("p2"))
    assert harness.ledger.get(other.task_id).prediction_id == "p2"


def test_a_prediction_that_a_callback_brings_is_its_tasks_for_ever(
    harness: PipelineHarness, receiver: WebhookReceiver
) -> None:
    first = task_that_is(harness, Status.UNCERTAIN, prediction_id=None)
    second = task_that_is(harness, Status.UNCERTAIN, task_id="f" * 32, prediction_id=None)

    call_back(harness, receiver, first, callback("p7"))
    call_back(harness, receiver, second, callback("p7"))

    assert harness.ledger.get(first.task_id).prediction_id == "p7"
    assert harness.ledger.get(second.task_id) == second


def test_a_callback_about_another_prediction_takes_it_from_nobody(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    other = task_that_is(harness, Status.SUBMITTING, task_id="f" * 32, prediction_id=None)

    call_back(harness, receiver, task, callback("p2"))

    harness.ledger.claim_prediction(other, "p2")


def test_a_callback_is_good_for_one_attempt(
    harness: PipelineHarness, receiver: WebhookReceiver
) -> None:
    upload = harness.upload(jpeg())
    submitter = harness.submitter(webhook_url=WEBHOOK_URL)
    harness.answers = [refused(429), accepted("p2"), secret_is()]
    submitter.submit(upload)
    before = path_of(harness.task(upload))
    harness.pass_time(60)
    submitter.submit(upload)

    after = harness.task(upload)
    assert before != path_of(after)
    with pytest.raises(ForgedCallback):
        receiver.receive(before, signed(callback("p2"), harness.now), callback("p2"))
    call_back(harness, receiver, after, callback("p2"))
    assert harness.task(upload).called_back_at == harness.now


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id": "p1"}',
        b'{"status": "completed"}',
        b'{"code": 200, "data": {"id": "p1", "status": "completed"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"<html>",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_signed_body_that_is_no_prediction_is_left_alone(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task, body: bytes
) -> None:
    call_back(harness, receiver, task, body)

    assert harness.ledger.get(task.task_id) == task
    assert harness.executions() == []


def test_a_task_that_is_sent_again_meanwhile_is_left_to_its_sender(
    harness: PipelineHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_that_is(harness, Status.UNCERTAIN, prediction_id=None)
    record = harness.ledger.record_callback

    def overtaken(attempt: AttemptId, prediction_id: str, now: datetime) -> Task:
        recorded = record(attempt, prediction_id, now)
        harness.ledger.move(recorded, Status.QUEUED, now)
        return recorded

    monkeypatch.setattr(harness.ledger, "record_callback", overtaken)

    call_back(harness, receiver, task)

    assert harness.ledger.get(task.task_id).status is Status.QUEUED
    assert harness.executions() == []


# ------------------------------------------------------------------ trouble


def test_a_callback_that_could_not_be_used_is_good_when_it_comes_again(
    harness: PipelineHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_that_is(harness, Status.UNCERTAIN, prediction_id=None)
    with monkeypatch.context() as broken:
        broken.setattr(receiver.wait_loop, "_arn", "arn:aws:states:us-east-1:1:stateMachine:no")
        with pytest.raises(ServiceError):
            call_back(harness, receiver, task)
    assert harness.ledger.get(task.task_id).status is Status.PROCESSING

    call_back(harness, receiver, task)

    assert harness.executions() == [task.execution_name]


def test_a_ledger_that_does_not_answer_is_trouble_of_the_service(
    harness: PipelineHarness, receiver: WebhookReceiver, task: Task
) -> None:
    harness.dynamodb.delete_table(TableName=TABLE)

    with pytest.raises(ServiceError):
        call_back(harness, receiver, task)


# ------------------------------------------------------------------ the ledger's side


def test_only_the_first_prediction_of_an_attempt_is_noted(harness: PipelineHarness) -> None:
    task = task_that_is(harness, Status.SUBMITTING, prediction_id=None)
    harness.ledger.record_callback(AttemptId(task.task_id, 1), "p1", NOW)

    with pytest.raises(StatusChanged):
        harness.ledger.record_callback(AttemptId(task.task_id, 1), "p2", NOW)

    assert harness.ledger.get(task.task_id).prediction_id == "p1"


def test_a_token_is_left_only_for_a_task_at_work(harness: PipelineHarness) -> None:
    task = task_that_is(harness, Status.COMPLETED)

    with pytest.raises(harness.dynamodb.exceptions.ConditionalCheckFailedException):
        leave_token(harness, task, "token")


@pytest.mark.parametrize("base", ["https://webhook.test", "https://webhook.test/"])
def test_all_that_a_callback_needs_is_in_the_path(base: str) -> None:
    task = make_task(attempt=3, callback_token=TOKEN)
    assert callback_url(base, task) == f"https://webhook.test/{task.task_id}-3-{TOKEN}"
    assert MODEL not in callback_url(base, task)


def test_a_prediction_belongs_to_one_task(harness: PipelineHarness) -> None:
    mine, others = make_task(), make_task(task_id="f" * 32)
    harness.ledger.claim_prediction(mine, "p1")
    harness.ledger.claim_prediction(mine, "p1")
    with pytest.raises(PredictionTaken):
        harness.ledger.claim_prediction(others, "p1")
