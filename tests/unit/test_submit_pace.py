"""Submitting under the plan and the budget."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.governor import KEY, LATENESS, Governor
from cutout.submit import Submitter
from tests.support.harness import LEASE_SECONDS, NOW, PipelineHarness, accepted, answer, refused
from tests.support.images import jpeg

GAP = (timedelta(minutes=1) + LATENESS) / 2
LOST = httpx.ReadTimeout("no answer")
PRICE = answer(price=0.01)


def paced(harness: PipelineHarness, **settings: Any) -> Submitter:
    """Two images a minute."""
    return harness.submitter(**{"images_per_minute": 2} | settings)


def ahead(harness: PipelineHarness, submitter: Submitter) -> None:
    """Another upload, which takes the slot that is free now."""
    harness.answers.append(accepted("first"))
    submitter.submit(harness.upload(jpeg(50, 30), "first.jpg"))
    harness.requests.clear()


def turn(harness: PipelineHarness, upload: Upload) -> datetime | None:
    """When the upload may be sent."""
    return harness.task(upload).submit_after


def posts(harness: PipelineHarness) -> int:
    return sum("model/price" not in request.url.path for request in harness.requests)


def spent(harness: PipelineHarness) -> int:
    """Millionths of a USD."""
    return int((harness.table.get(KEY) or {})["spent"])


def test_a_slot_in_the_future_is_on_the_task_with_a_plain_reason(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    ahead(harness, submitter)
    upload = harness.upload(jpeg())

    submitter.submit(upload)

    task = harness.task(upload)
    assert task.status is Status.QUEUED
    assert task.submit_after == task.slot_at == NOW + GAP
    assert task.due_at == NOW + GAP + timedelta(seconds=LEASE_SECONDS)
    assert task.code == "waits_for_slot"
    told = f"{NOW + GAP:%Y-%m-%d %H:%M:%S}"
    assert task.reason == f"its turn comes at {told} UTC"
    assert harness.sent == [(upload.task_id, GAP.total_seconds())]
    assert harness.requests == []


def test_it_is_sent_when_its_slot_has_come_and_not_before(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    ahead(harness, submitter)
    upload = harness.upload(jpeg())
    submitter.submit(upload)

    harness.pass_time(GAP.total_seconds() - 2)
    submitter.submit(upload)
    assert harness.requests == []

    harness.pass_time(1)  # by the clock of another machine, the time has come
    harness.answers = [accepted("p1")]
    submitter.submit(upload)
    task = harness.task(upload)
    assert (task.status, task.slot_at, task.submit_after) == (Status.PROCESSING, None, None)
    assert (task.code, task.reason) == (None, None)


def test_a_slot_is_written_down_before_its_message_is_sent(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    ahead(harness, submitter)
    upload = harness.upload(jpeg())

    with pytest.raises(KeyboardInterrupt):
        replace(submitter, queue=Dying()).submit(upload)  # type: ignore[arg-type]

    assert harness.task(upload).slot_at == NOW + GAP


class Dying:
    """What a function was killed in."""

    def __getattr__(self, _name: str) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("paused", "why"), [(True, "sending is paused"), (False, "2 images a minute")]
)
def test_who_waits_for_his_turn_is_told_why_and_is_written_once(
    harness: PipelineHarness, *, paused: bool, why: str
) -> None:
    submitter, upload = paced(harness), harness.upload(jpeg())
    if paused:
        submitter.governor.pause()
    else:
        submitter.governor.set_backlog(NOW, exists=True)

    submitter.submit(upload)

    task = harness.task(upload)
    assert (task.code, task.due_at) == ("waits_for_turn", NOW)
    assert task.reason == f"others were there before ({why})"
    submitter.submit(upload)
    assert harness.task(upload) == task
    assert harness.requests == []


def test_waiting_messages_do_not_move_the_queue_on(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    ahead(harness, submitter)
    upload, later = harness.upload(jpeg(), "a.jpg"), harness.upload(jpeg(), "b.jpg")

    for _ in range(3):
        submitter.submit(upload)
    submitter.submit(later)

    assert turn(harness, upload) == NOW + GAP
    assert turn(harness, later) == NOW + 2 * GAP
    assert [task_id for task_id, _ in harness.sent] == [upload.task_id, later.task_id]


def test_what_can_never_be_sent_does_not_wait_for_a_slot(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    ahead(harness, submitter)
    upload, later = harness.upload(b"%PDF-1.7\n", "a.pdf"), harness.upload(jpeg())

    submitter.submit(upload)
    assert harness.task(upload).code == "unsupported_format"
    submitter.submit(later)
    assert turn(harness, later) == NOW + GAP


def test_a_source_that_is_deleted_while_it_waits_is_rejected(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    ahead(harness, submitter)
    upload = harness.upload(jpeg())
    submitter.submit(upload)
    harness.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))
    harness.pass_time(GAP.total_seconds())

    submitter.submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, "source_gone")
    assert harness.requests == []
    (event,) = harness.published()
    assert event["detail"]["code"] == "source_gone"


def test_over_budget_waits_for_the_next_day_and_says_so(harness: PipelineHarness) -> None:
    submitter = harness.submitter(daily_budget="0.01")
    harness.answers = [PRICE]
    ahead(harness, submitter)
    upload = harness.upload(jpeg())

    submitter.submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code, task.attempt) == (Status.QUEUED, "over_budget", 0)
    assert (task.submit_after, task.due_at) == (None, NOW)
    assert task.reason == "the day's budget of $0.01 is spent; submits resume at 00:00 UTC"
    assert harness.requests == []
    assert harness.tick(daily_budget="0.01") == {}
    harness.now = datetime(2026, 11, 21, tzinfo=UTC)
    assert harness.tick(daily_budget="0.01")["over_budget"] == 1
    harness.answers = [answer(price=0.01), accepted("p1")]
    submitter.submit(upload)
    assert harness.task(upload).status is Status.PROCESSING


def test_what_waits_for_a_larger_budget_is_sent_once_there_is_one(
    harness: PipelineHarness,
) -> None:
    submitter = harness.submitter(daily_budget="0.01")
    harness.answers = [PRICE]
    ahead(harness, submitter)
    upload = harness.upload(jpeg())
    submitter.submit(upload)

    Governor(harness.table, 0, Decimal("0.01")).set_budget(Decimal("0.02"))

    assert harness.tick(daily_budget="0.01") == {"over_budget": 1}
    harness.answers = [accepted("p2")]
    submitter.wake(upload.task_id)
    assert harness.task(upload).status is Status.PROCESSING


@pytest.mark.parametrize("budget", ["0.02", "0"])
def test_a_budget_that_is_deployed_wakes_them_as_well(
    harness: PipelineHarness, budget: str
) -> None:
    submitter = harness.submitter(daily_budget="0.01")
    harness.answers = [PRICE]
    ahead(harness, submitter)
    submitter.submit(harness.upload(jpeg()))

    assert harness.tick(daily_budget="0.010") == {}
    assert harness.tick(daily_budget=budget) == {"over_budget": 1}


def test_a_budget_that_is_too_small_for_one_image_wakes_nobody_today(
    harness: PipelineHarness,
) -> None:
    submitter = harness.submitter(daily_budget="0.001")
    upload = harness.upload(jpeg())
    harness.answers = [PRICE]
    submitter.submit(upload)

    assert harness.task(upload).submit_after == datetime(2026, 11, 21, tzinfo=UTC)
    assert harness.tick() == {}


def test_a_key_that_is_refused_when_the_price_is_asked_for_is_told(
    harness: PipelineHarness,
) -> None:
    upload = harness.upload(jpeg())
    harness.answers = [refused(401)]

    harness.submitter(daily_budget="1").submit(upload)

    task = harness.task(upload)
    assert (task.status, task.code) == (Status.QUEUED, "unauthorized")
    assert task.due_at == NOW + timedelta(seconds=900)


@pytest.mark.parametrize(
    ("reply", "charged"),
    [
        (accepted("p1"), 10_000),
        (LOST, 10_000),
        (refused(500), 10_000),
        (refused(429), 0),
        (refused(401), 0),
        (refused(400, "insufficient credits"), 0),
        (refused(400, "no such model"), 0),
        (httpx.ConnectError("no route"), 0),
    ],
)
def test_the_budget_is_charged_for_what_was_or_may_have_been_accepted(
    harness: PipelineHarness, reply: httpx.Response | httpx.HTTPError, charged: int
) -> None:
    harness.answers = [answer(price=0.01), reply]

    harness.submitter(daily_budget="1").submit(harness.upload(jpeg()))

    assert spent(harness) == charged


def test_who_is_overtaken_after_the_charge_gives_it_back(harness: PipelineHarness) -> None:
    upload = harness.upload(jpeg())

    def overtaken(_request: httpx.Request) -> httpx.Response:
        harness.answers = [answer(price=0.01), accepted("p1")]
        harness.submitter(daily_budget="1").submit(upload)
        return answer(price=0.01)

    harness.answers = [overtaken]
    harness.submitter(daily_budget="1").submit(upload)

    assert harness.task(upload).prediction_id == "p1"
    assert posts(harness) == 1
    assert spent(harness) == 10_000


def test_what_is_refused_after_midnight_gives_the_new_day_nothing(harness: PipelineHarness) -> None:
    harness.now = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    other = harness.upload(jpeg(), "other.jpg")

    def a_second_later(_request: httpx.Request) -> httpx.Response:
        harness.pass_time(2)
        harness.answers = [answer(price=0.01), accepted("p1")]
        harness.submitter(daily_budget="1").submit(other)
        return refused(429)

    harness.answers = [answer(price=0.01), a_second_later]
    harness.submitter(daily_budget="1").submit(harness.upload(jpeg()))

    assert (harness.table.get(KEY) or {})["spent_on"] == "2026-11-21"
    assert spent(harness) == 10_000


def test_a_slot_after_midnight_is_charged_on_its_own_day(harness: PipelineHarness) -> None:
    harness.now = datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC)
    submitter = paced(harness, daily_budget="0.01")
    harness.answers = [answer(price=0.01)]
    ahead(harness, submitter)
    upload = harness.upload(jpeg())
    submitter.submit(upload)
    assert turn(harness, upload) == harness.now + GAP  # not the budget: that is tomorrow's

    harness.pass_time(GAP.total_seconds())
    harness.answers = [accepted("p1")]
    submitter.submit(upload)

    assert (harness.table.get(KEY) or {})["spent_on"] == "2026-11-21"
    assert spent(harness) == 10_000


def waiting(harness: PipelineHarness, submitter: Submitter, key: str) -> Task:
    upload = harness.upload(jpeg(), key)
    submitter.submit(upload)
    return harness.task(upload)


def test_a_refusal_for_the_rate_makes_those_wait_longer_who_have_a_slot(
    harness: PipelineHarness,
) -> None:
    submitter = paced(harness)
    harness.answers = [accepted("p1")]
    submitter.submit(harness.upload(jpeg(), "a.jpg"))
    refused_one, next_one = (waiting(harness, submitter, key) for key in ("b.jpg", "c.jpg"))

    harness.now = slot_of(refused_one)
    harness.answers = [httpx.Response(429, json={"code": 429}, headers={"Retry-After": "120"})]
    submitter.submit(refused_one.upload)
    task = harness.task(refused_one.upload)
    assert (task.status, task.code, task.slot_at) == (Status.QUEUED, "rate_limited", None)
    resume = harness.now + timedelta(seconds=120)
    assert task.due_at == resume

    harness.now = slot_of(next_one)
    submitter.submit(next_one.upload)
    waits = harness.task(next_one.upload)
    assert (waits.code, waits.slot_at) == ("waits_for_turn", None)
    assert harness.tick(images_per_minute=2) == {"waits_for_turn": 1}
    assert slot_of(harness.task(next_one.upload)) == resume
    harness.now = resume
    assert harness.tick(images_per_minute=2) == {"rate_limited": 1}
    assert slot_of(harness.task(refused_one.upload)) == resume + 2 * GAP


def test_a_refusal_that_is_not_for_the_rate_slows_nobody_down(harness: PipelineHarness) -> None:
    submitter = paced(harness)
    harness.answers = [refused(401)]

    submitter.submit(harness.upload(jpeg(), "a.jpg"))

    later = waiting(harness, submitter, "b.jpg")
    assert slot_of(later) == NOW + GAP
    assert slot_of(waiting(harness, submitter, "c.jpg")) == NOW + 2 * GAP


def slot_of(task: Task) -> datetime:
    assert task.slot_at
    return task.slot_at


def drain(harness: PipelineHarness, submitter: Submitter, rate: int, count: int) -> list[datetime]:
    """When each of a burst of uploads was sent, by messages that come when they should."""
    for number in range(count):
        submitter.submit(harness.upload(jpeg(), f"{number}.jpg"))
    sent = [harness.now] * len(harness.requests)
    messages: list[tuple[datetime, str]] = []
    ticks = NOW
    while len(sent) < count:
        messages += [(harness.now + timedelta(seconds=delay), name) for name, delay in harness.sent]
        harness.sent.clear()
        messages.sort()
        at, task_id = messages.pop(0) if messages else (ticks, "")
        if ticks <= at:
            messages += [(at, task_id)] if task_id else []
            harness.now, ticks = ticks, ticks + timedelta(minutes=1)
            harness.tick(images_per_minute=rate)
            continue
        harness.now = at
        before = len(harness.requests)
        submitter.wake(task_id)
        sent += [harness.now] * (len(harness.requests) - before)
    return sent


def test_a_burst_drains_at_the_pace_of_the_plan_without_a_refusal(harness: PipelineHarness) -> None:
    harness.answers = [accepted(f"p{number}") for number in range(25)]

    sent = drain(harness, harness.submitter(images_per_minute=10), 10, 25)

    assert len(sent) == 25
    for first in sent:
        assert sum(first <= at < first + timedelta(minutes=1) for at in sent) <= 10
    pace = (len(sent) - 1) / ((sent[-1] - sent[0]) / timedelta(minutes=1))
    assert pace >= 0.95 * 10
