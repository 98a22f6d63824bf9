"""Submitting under the plan and the budget."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.governor import KEY, LATENESS
from cutout.submit import Submitter
from tests.support.images import jpeg
from tests.support.world import NOW, World, accepted, answer, refused

GAP = (timedelta(minutes=1) + LATENESS) / 2
LOST = httpx.ReadTimeout("no answer")
PRICE = answer(price=0.01)


def paced(world: World, **settings: Any) -> Submitter:
    """Two images a minute."""
    return world.submitter(**{"images_per_minute": 2} | settings)


def ahead(world: World, submitter: Submitter) -> None:
    """Another upload, which takes the slot that is free now."""
    world.answers.append(accepted("first"))
    submitter.submit(world.upload(jpeg(50, 30), "first.jpg"))
    world.requests.clear()


def turn(world: World, upload: Upload) -> datetime | None:
    """When the upload may be sent."""
    return world.task(upload).submit_after


def posts(world: World) -> int:
    return sum("model/price" not in request.url.path for request in world.requests)


def spent(world: World) -> int:
    """Millionths of a USD."""
    return int((world.table.get(KEY) or {})["spent"])


def test_a_slot_in_the_future_is_on_the_task_with_a_plain_reason(world: World) -> None:
    submitter = paced(world)
    ahead(world, submitter)
    upload = world.upload(jpeg())

    submitter.submit(upload)

    task = world.task(upload)
    assert task.status is Status.QUEUED
    assert task.submit_after == task.slot_at == NOW + GAP
    assert task.code == "waits_for_slot"
    told = f"{NOW + GAP:%Y-%m-%d %H:%M:%S}"
    assert task.reason == f"its turn comes at {told} UTC"
    assert world.sent == [(upload.task_id, GAP.total_seconds())]
    assert world.requests == []


def test_it_is_sent_when_its_slot_has_come_and_not_before(world: World) -> None:
    submitter = paced(world)
    ahead(world, submitter)
    upload = world.upload(jpeg())
    submitter.submit(upload)

    world.pass_time(GAP.total_seconds() - 2)
    submitter.submit(upload)
    assert world.requests == []

    world.pass_time(2)
    world.answers = [accepted("p1")]
    submitter.submit(upload)
    task = world.task(upload)
    assert (task.status, task.slot_at, task.submit_after) == (Status.PROCESSING, None, None)
    assert (task.code, task.reason) == (None, None)


def test_waiting_messages_do_not_move_the_queue_on(world: World) -> None:
    submitter = paced(world)
    ahead(world, submitter)
    upload, later = world.upload(jpeg(), "a.jpg"), world.upload(jpeg(), "b.jpg")

    for _ in range(3):
        submitter.submit(upload)
    submitter.submit(later)

    assert turn(world, upload) == NOW + GAP
    assert turn(world, later) == NOW + 2 * GAP
    assert [task_id for task_id, _ in world.sent] == [upload.task_id, later.task_id]


def test_what_can_never_be_sent_does_not_wait_for_a_slot(world: World) -> None:
    submitter = paced(world)
    ahead(world, submitter)
    upload, later = world.upload(b"%PDF-1.7\n", "a.pdf"), world.upload(jpeg())

    submitter.submit(upload)
    assert world.task(upload).code == "unsupported_format"
    submitter.submit(later)
    assert turn(world, later) == NOW + GAP


def test_a_source_that_is_deleted_while_it_waits_is_rejected(world: World) -> None:
    submitter = paced(world)
    ahead(world, submitter)
    upload = world.upload(jpeg())
    submitter.submit(upload)
    world.s3.delete_object(Bucket="uploads", Key=upload.key, VersionId=str(upload.version_id))
    world.pass_time(GAP.total_seconds())

    submitter.submit(upload)

    task = world.task(upload)
    assert (task.status, task.code) == (Status.REJECTED, "source_gone")
    assert world.requests == []
    (event,) = world.published()
    assert event["detail"]["code"] == "source_gone"


def test_over_budget_waits_for_the_next_day_and_says_so(world: World) -> None:
    submitter = world.submitter(daily_budget="0.01")
    world.answers = [PRICE]
    ahead(world, submitter)
    upload = world.upload(jpeg())

    submitter.submit(upload)

    task = world.task(upload)
    assert (task.status, task.code, task.attempt) == (Status.QUEUED, "over_budget", 0)
    assert task.submit_after == task.due_at == datetime(2026, 11, 21, tzinfo=UTC)
    assert task.reason == "the day's budget of $0.01 is spent; submits resume at 00:00 UTC"
    assert world.requests == []

    world.pass_time(12 * 60 * 60)
    world.answers = [answer(price=0.01), accepted("p1")]
    submitter.submit(upload)
    assert world.task(upload).status is Status.PROCESSING


def test_a_key_that_is_refused_when_the_price_is_asked_for_is_told(world: World) -> None:
    upload = world.upload(jpeg())
    world.answers = [refused(401)]

    world.submitter(daily_budget="1").submit(upload)

    task = world.task(upload)
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
    world: World, reply: httpx.Response | httpx.HTTPError, charged: int
) -> None:
    world.answers = [answer(price=0.01), reply]

    world.submitter(daily_budget="1").submit(world.upload(jpeg()))

    assert spent(world) == charged


def test_who_is_overtaken_after_the_charge_gives_it_back(world: World) -> None:
    upload = world.upload(jpeg())

    def overtaken(_request: httpx.Request) -> httpx.Response:
        world.answers = [answer(price=0.01), accepted("p1")]
        world.submitter(daily_budget="1").submit(upload)
        return answer(price=0.01)

    world.answers = [overtaken]
    world.submitter(daily_budget="1").submit(upload)

    assert world.task(upload).prediction_id == "p1"
    assert posts(world) == 1
    assert spent(world) == 10_000


def test_what_is_refused_after_midnight_gives_the_new_day_nothing(world: World) -> None:
    world.now = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    other = world.upload(jpeg(), "other.jpg")

    def a_second_later(_request: httpx.Request) -> httpx.Response:
        world.pass_time(2)
        world.answers = [answer(price=0.01), accepted("p1")]
        world.submitter(daily_budget="1").submit(other)
        return refused(429)

    world.answers = [answer(price=0.01), a_second_later]
    world.submitter(daily_budget="1").submit(world.upload(jpeg()))

    assert (world.table.get(KEY) or {})["spent_on"] == "2026-11-21"
    assert spent(world) == 10_000


def test_a_slot_after_midnight_is_charged_on_its_own_day(world: World) -> None:
    world.now = datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC)
    submitter = paced(world, daily_budget="0.01")
    world.answers = [answer(price=0.01)]
    ahead(world, submitter)
    upload = world.upload(jpeg())
    submitter.submit(upload)
    assert turn(world, upload) == world.now + GAP  # not the budget: that is tomorrow's

    world.pass_time(GAP.total_seconds())
    world.answers = [accepted("p1")]
    submitter.submit(upload)

    assert (world.table.get(KEY) or {})["spent_on"] == "2026-11-21"
    assert spent(world) == 10_000


def waiting(world: World, submitter: Submitter, key: str) -> Task:
    upload = world.upload(jpeg(), key)
    submitter.submit(upload)
    return world.task(upload)


def test_a_refusal_for_the_rate_makes_those_wait_longer_who_have_a_slot(world: World) -> None:
    submitter = paced(world)
    world.answers = [accepted("p1")]
    submitter.submit(world.upload(jpeg(), "a.jpg"))
    refused_one, next_one = (waiting(world, submitter, key) for key in ("b.jpg", "c.jpg"))

    world.now = slot_of(refused_one)
    world.answers = [httpx.Response(429, json={"code": 429}, headers={"Retry-After": "120"})]
    submitter.submit(refused_one.upload)
    task = world.task(refused_one.upload)
    assert (task.status, task.code, task.slot_at) == (Status.QUEUED, "rate_limited", None)
    resume = world.now + timedelta(seconds=120)
    assert task.due_at == resume

    world.now = slot_of(next_one)
    submitter.submit(next_one.upload)
    waits = world.task(next_one.upload)
    assert (waits.code, waits.slot_at) == ("waits_for_turn", None)
    assert world.tick(images_per_minute=2) == {"waits_for_turn": 1}
    assert slot_of(world.task(next_one.upload)) == resume
    world.now = resume
    assert world.tick(images_per_minute=2) == {"rate_limited": 1}
    assert slot_of(world.task(refused_one.upload)) == resume + 2 * GAP


def slot_of(task: Task) -> datetime:
    assert task.slot_at
    return task.slot_at


def drain(world: World, submitter: Submitter, rate: int, count: int) -> list[datetime]:
    """When each of a burst of uploads was sent, by messages that come when they should."""
    for number in range(count):
        submitter.submit(world.upload(jpeg(), f"{number}.jpg"))
    sent = [world.now] * len(world.requests)
    messages: list[tuple[datetime, str]] = []
    ticks = NOW
    while len(sent) < count:
        messages += [(world.now + timedelta(seconds=delay), name) for name, delay in world.sent]
        world.sent.clear()
        messages.sort()
        at, task_id = messages.pop(0) if messages else (ticks, "")
        if ticks <= at:
            messages += [(at, task_id)] if task_id else []
            world.now, ticks = ticks, ticks + timedelta(minutes=1)
            world.tick(images_per_minute=rate)
            continue
        world.now = at
        before = len(world.requests)
        submitter.wake(task_id)
        sent += [world.now] * (len(world.requests) - before)
    return sent


def test_a_burst_drains_at_the_pace_of_the_plan_without_a_refusal(world: World) -> None:
    world.answers = [accepted(f"p{number}") for number in range(45)]

    sent = drain(world, world.submitter(images_per_minute=10), 10, 45)

    assert len(sent) == 45
    for first in sent:
        assert sum(first <= at < first + timedelta(minutes=1) for at in sent) <= 10
    pace = (len(sent) - 1) / ((sent[-1] - sent[0]) / timedelta(minutes=1))
    assert pace >= 0.95 * 10
