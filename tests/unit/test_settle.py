"""`OnUncertain: settle`: what the vendor's history says about a submit whose answer was lost."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.errors import PredictionTaken
from cutout.domain.tasks import Status, Task
from cutout.submit import Submitter
from tests.support.harness import (
    LEASE_SECONDS,
    MODEL,
    NOW,
    WEBHOOK_URL,
    PipelineHarness,
    accepted,
    refused,
)
from tests.support.images import jpeg

LOST = httpx.ReadTimeout("slow")
GRACE = 600
# When the history must be complete.
LOOK_AT = timedelta(seconds=LEASE_SECONDS + GRACE)
LEASE = timedelta(seconds=LEASE_SECONDS)
AN_HOUR = timedelta(hours=1)


def listed(prediction_id: str, at: datetime = NOW, model: str = MODEL) -> dict[str, Any]:
    """An item of the history."""
    return {
        "id": prediction_id,
        "model": model,
        "status": "completed",
        "created_at": at.isoformat(),
    }


def history(*items: dict[str, Any]) -> httpx.Response:
    """The only page."""
    page = {"page": 1, "total": len(items), "items": items}
    return httpx.Response(200, json={"code": 200, "message": "success", "data": page})


@pytest.fixture
def submitter(harness: PipelineHarness) -> Submitter:
    return settling(harness)


def settling(harness: PipelineHarness, *, dedicated: bool = True, **settings: Any) -> Submitter:
    return harness.submitter(
        on_uncertain="settle",
        uncertain_grace_seconds=GRACE,
        key_is_dedicated=dedicated,
        **settings,
    )


def lost(harness: PipelineHarness, submitter: Submitter, key: str = "a/cat.jpg") -> Task:
    """A task whose submit's answer was lost just now."""
    upload = harness.upload(jpeg(), key)
    harness.answers = [LOST]
    submitter.submit(upload)
    task = harness.task(upload)
    assert (task.status, task.code) == (Status.UNCERTAIN, "answer_lost")
    return task


def looked_at(
    harness: PipelineHarness, submitter: Submitter, task: Task, *answers: httpx.Response
) -> Task:
    """The task after its time has come, and the clock has run."""
    assert task.due_at
    harness.now = max(harness.now, task.due_at)
    harness.answers = list(answers)
    harness.tick()
    submitter.wake(task.task_id)
    assert harness.answers == []
    return harness.ledger.get(task.task_id)


def asked(harness: PipelineHarness) -> dict[str, Any]:
    """The last question about the history."""
    request = [r for r in harness.requests if r.url.path == "/api/v3/predictions"][-1]
    body: dict[str, Any] = json.loads(request.content)
    return body


def submits(harness: PipelineHarness) -> int:
    return sum(request.url.path.endswith(MODEL) for request in harness.requests)


def test_the_history_is_looked_into_when_it_must_be_complete(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)
    assert task.due_at == NOW + LOOK_AT

    harness.now = NOW + LOOK_AT - timedelta(seconds=1)
    assert harness.tick() == {}
    submitter.wake(task.task_id)
    assert harness.ledger.get(task.task_id) == task

    looked_at(harness, submitter, task, history(), accepted("p2"))
    assert asked(harness) == {
        "page": 1,
        "page_size": 100,
        "model": MODEL,
        "created_after": "2026-11-20T11:59:55Z",
        "created_before": "2026-11-20T12:03:05Z",
    }


def test_the_grace_time_begins_when_a_dead_senders_lease_has_ended(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    upload = harness.upload(jpeg())
    harness.answers = [KeyboardInterrupt()]  # nothing catches it
    with pytest.raises(KeyboardInterrupt):
        submitter.submit(upload)
    harness.pass_time(LEASE_SECONDS + 100)

    submitter.wake(upload.task_id)

    assert harness.task(upload).due_at == harness.now + timedelta(seconds=GRACE)


def test_what_the_vendor_never_took_is_sent_again(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)

    sent = looked_at(harness, submitter, task, history(), accepted("p2"))

    assert (sent.status, sent.attempt, sent.prediction_id) == (Status.PROCESSING, 2, "p2")
    assert (sent.code, sent.reason) == (None, None)
    assert submits(harness) == 2


def test_what_other_tasks_were_told_of_is_theirs(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)
    other = harness.upload(jpeg(50, 30), "other.jpg")
    harness.answers = [accepted("p1")]
    submitter.submit(other)

    sent = looked_at(harness, submitter, task, history(listed("p1")), accepted("p2"))

    assert (sent.status, sent.prediction_id) == (Status.PROCESSING, "p2")


def test_the_only_unknown_prediction_is_taken_at_the_second_look(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)

    first = looked_at(harness, submitter, task, history(listed("p1")))
    assert (first.status, first.candidate) == (Status.UNCERTAIN, "p1")
    assert first.due_at == harness.now + LEASE
    assert first.reason == (
        "whether it was accepted is unknown; the vendor's history has what seems to be its own: p1"
    )

    settled = looked_at(harness, submitter, first, history(listed("p1")))
    assert (settled.status, settled.prediction_id) == (Status.PROCESSING, "p1")
    assert (settled.code, settled.reason) == (None, None)
    assert submits(harness) == 1
    assert harness.executions() == [settled.execution_name]
    assert harness.ledger.claimant("p1") == task.attempt_id


def test_a_rival_that_turns_up_between_the_looks_is_seen(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    """The index that finds rivals is a moment behind."""
    task, rival = lost(harness, submitter), lost(harness, submitter, "rival.jpg")
    without_rival = harness.ledger.reopen(rival, NOW)
    harness.dynamodb.delete_item(
        TableName="tasks", Key={"task_id": {"S": f"#given-up#{rival.attempt_id}"}}
    )
    first = looked_at(harness, submitter, task, history(listed("p1")))
    assert first.candidate == "p1"

    harness.ledger.move(without_rival, Status.SUBMITTING, NOW, lease_until=NOW + LEASE)
    second = looked_at(harness, submitter, first, history(listed("p1")))

    assert (second.status, second.candidate) == (Status.UNCERTAIN, None)


@pytest.mark.parametrize(
    "unknown",
    [
        [listed("p1"), listed("p2")],
        [listed("p1", NOW - timedelta(seconds=6))],
        [listed("p1", NOW + LEASE + timedelta(seconds=6))],
        [listed("p1", model="acme/other")],
        [listed("p1") | {"created_at": None}],
    ],
    ids=["two", "too early", "too late", "another model", "no time"],
)
def test_what_may_be_another_or_a_strangers_stays_uncertain(
    harness: PipelineHarness, submitter: Submitter, unknown: list[dict[str, Any]]
) -> None:
    task = lost(harness, submitter)
    for _ in range(2):
        task = looked_at(harness, submitter, task, history(*unknown))

    assert (task.status, task.candidate) == (Status.UNCERTAIN, None)
    assert task.due_at == harness.now + AN_HOUR
    assert str(task.reason).endswith(f": {', '.join(item['id'] for item in unknown)}")
    assert submits(harness) == 1


def test_of_many_candidates_the_first_are_named(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)

    task = looked_at(harness, submitter, task, history(*(listed(f"p{n}") for n in range(9))))

    assert str(task.reason).endswith(": p0, p1, p2, p3, p4 and 4 more")


def test_a_key_that_others_use_settles_only_what_was_not_taken(harness: PipelineHarness) -> None:
    submitter = settling(harness, dedicated=False)
    task = lost(harness, submitter)
    for _ in range(2):
        task = looked_at(harness, submitter, task, history(listed("p1")))
    assert (task.status, task.candidate) == (Status.UNCERTAIN, None)

    task = looked_at(harness, submitter, task, history(), accepted("p2"))
    assert task.status is Status.PROCESSING


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.UNCERTAIN])
def test_while_another_may_own_it_too_nobody_gets_it(
    harness: PipelineHarness, submitter: Submitter, status: Status
) -> None:
    first, second = lost(harness, submitter), lost(harness, submitter, "second.jpg")
    if status is Status.SUBMITTING:
        second = harness.ledger.reopen(second, NOW)
        second = harness.ledger.move(second, status, NOW, attempt=2, lease_until=NOW + LEASE)
    for _ in range(2):
        first = looked_at(harness, submitter, first, history(listed("p1")))

    assert (first.status, first.candidate) == (Status.UNCERTAIN, None)
    assert harness.ledger.claimant("p1") is None


def test_one_that_a_person_had_sent_again_may_still_own_it(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    """Its first submit's prediction is nobody's, and must not become the other's image."""
    first, second = lost(harness, submitter), lost(harness, submitter, "second.jpg")
    harness.answers = [accepted("p9")]
    harness.retrier().retry(second.task_id, pay_again=True)
    assert harness.ledger.get(second.task_id).status is Status.PROCESSING

    for _ in range(2):
        first = looked_at(harness, submitter, first, history(listed("p1"), listed("p9")))

    assert (first.status, first.candidate) == (Status.UNCERTAIN, None)


def test_a_tasks_own_earlier_submit_is_no_rival(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)
    harness.pass_time(1)
    harness.answers = [LOST]
    harness.retrier(on_uncertain="settle").retry(task.task_id, pay_again=True)
    again = harness.ledger.get(task.task_id)
    assert (again.status, again.attempt) == (Status.UNCERTAIN, 2)

    for _ in range(2):
        again = looked_at(harness, submitter, again, history(listed("p1", NOW)))
    assert (again.status, again.prediction_id) == (Status.PROCESSING, "p1")


def test_a_prediction_that_its_sender_had_claimed_is_its_own_at_once(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task, rival = lost(harness, submitter), lost(harness, submitter, "rival.jpg")
    harness.ledger.claim_prediction(task, "p1")

    task = looked_at(harness, submitter, task, history(listed("p2"), listed("p1")))

    assert (task.status, task.prediction_id) == (Status.PROCESSING, "p1")
    assert harness.ledger.get(rival.task_id).status is Status.UNCERTAIN


def test_a_claim_of_an_earlier_attempt_says_nothing_about_this_one(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)
    harness.ledger.claim_prediction(task, "p1")
    harness.answers = [LOST]
    harness.retrier(on_uncertain="settle").retry(task.task_id, pay_again=True)

    sent = looked_at(
        harness, submitter, harness.ledger.get(task.task_id), history(listed("p1")), accepted("p3")
    )

    assert (sent.attempt, sent.prediction_id) == (3, "p3")


def test_a_callback_settles_it_first(harness: PipelineHarness) -> None:
    submitter = settling(harness, webhook_url=WEBHOOK_URL)
    task = lost(harness, submitter)
    harness.ledger.record_callback(task.attempt_id, "p1", harness.now)

    settled = looked_at(harness, submitter, task)

    assert (settled.status, settled.prediction_id) == (Status.PROCESSING, "p1")


def test_what_the_history_has_forgotten_is_not_taken_for_unsent(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)
    harness.pass_time(7 * 24 * 3600)

    task = looked_at(harness, submitter, task)

    assert task.status is Status.UNCERTAIN
    assert "does not reach back" in str(task.reason)
    assert submits(harness) == 1


def test_a_history_that_is_too_long_to_look_through_is_for_a_person(
    harness: PipelineHarness, submitter: Submitter
) -> None:
    task = lost(harness, submitter)
    pages = [
        httpx.Response(
            200,
            json={
                "code": 200,
                "data": {
                    "page": number,
                    "items": [listed(f"p{number}-{n}") for n in range(100)],
                },
            },
        )
        for number in range(1, 22)
    ]

    task = looked_at(harness, submitter, task, *pages)

    assert task.status is Status.UNCERTAIN
    assert "over 2000 predictions" in str(task.reason)


@pytest.mark.parametrize("trouble", [refused(401), refused(500), refused(429)])
def test_a_vendor_that_cannot_be_asked_is_asked_later(
    harness: PipelineHarness, submitter: Submitter, trouble: httpx.Response
) -> None:
    task = lost(harness, submitter)
    times = 3 if trouble.status_code == 500 else 1

    later = looked_at(harness, submitter, task, *([trouble] * times))

    assert later.status is Status.UNCERTAIN
    assert later.reason == task.reason
    assert later.due_at
    assert timedelta(0) < later.due_at - harness.now <= timedelta(minutes=15)
    harness.pass_time(6 * 3600)
    much_later = looked_at(harness, submitter, later, *([trouble] * times))
    assert much_later.due_at == harness.now + timedelta(minutes=15)
    sent = looked_at(harness, submitter, much_later, history(), accepted("p2"))
    assert sent.status is Status.PROCESSING


def test_somebody_who_claims_it_first_keeps_it(
    harness: PipelineHarness, submitter: Submitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = lost(harness, submitter)
    task = looked_at(harness, submitter, task, history(listed("p1")))

    def taken(*_: Any) -> None:
        raise PredictionTaken("another was faster")

    monkeypatch.setattr(harness.ledger, "claim_prediction", taken)
    task = looked_at(harness, submitter, task, history(listed("p1")))

    assert (task.status, task.prediction_id) == (Status.UNCERTAIN, None)


def test_a_held_task_is_settled_once_the_policy_says_so(harness: PipelineHarness) -> None:
    task = lost(harness, harness.submitter(uncertain_grace_seconds=GRACE))
    harness.pass_time(GRACE)
    harness.tick()
    held = harness.submitter(uncertain_grace_seconds=GRACE)
    held.wake(task.task_id)

    sent = looked_at(
        harness, settling(harness), harness.ledger.get(task.task_id), history(), accepted("p2")
    )

    assert sent.status is Status.PROCESSING
