import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count, pairwise
from typing import Any

import pytest

from cutout.domain.errors import OverBudget
from cutout.store.governor import KEY, Charge, Governor
from cutout.store.table import Item, Table
from tests.support.harness import NOW, TABLE, PipelineHarness

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
# What is promised of slots, whatever the code calls it.
LATENESS, OVERDUE = 2 * SECOND, 30 * SECOND
AHEAD, SLOW_FOR = 2 * MINUTE, 10 * MINUTE


def governor(table: Table, rate: int = 0, budget: str = "0") -> Governor:
    return Governor(table, rate, Decimal(budget))


def usd(price: str = "0.01") -> Callable[[], Decimal]:
    return lambda: Decimal(price)


def slot(pace: Governor, now: datetime = NOW) -> datetime:
    """The next slot for a newcomer, who need not wait for his turn."""
    found = pace.slot(None, now)
    assert found
    return found


def burst(pace: Governor, count: int, now: datetime = NOW) -> list[datetime]:
    """The slots of uploads that all come at the same time."""
    return [slot(pace, now) for _ in range(count)]


def gap(rate: int) -> timedelta:
    """Between two slots: a minute and the lateness hold no more than the plan's minute allows."""
    return timedelta(microseconds=-(-(MINUTE + LATENESS) // timedelta(microseconds=rate)))


def gaps(slots: list[datetime]) -> set[timedelta]:
    return {after - before for before, after in pairwise(slots)}


def spent(harness: PipelineHarness) -> int:
    """Millionths of a USD."""
    return int((harness.table.get(KEY) or {})["spent"])


class Interrupted(Table):
    """A table at which somebody else gets in between every two calls."""

    def __init__(self, harness: PipelineHarness) -> None:
        super().__init__(harness.dynamodb, TABLE)
        self.between: Callable[[], object] = lambda: None

    def update(self, key: str, expression: str, **how: Any) -> Item:
        self.between()
        return super().update(key, expression, **how)


# ---------------------------------------------------------------- the plan


def test_without_a_plan_nothing_waits(harness: PipelineHarness) -> None:
    pace = governor(harness.table)

    pace.back_off(NOW, MINUTE)

    assert burst(pace, 3) == [NOW] * 3
    assert harness.table.get(KEY) is None


@pytest.mark.parametrize("rate", [2, 7, 10, 60])
def test_no_minute_holds_more_than_the_plan_however_late_each_is_sent(
    harness: PipelineHarness, rate: int
) -> None:
    slots = burst(governor(harness.table, rate), rate + 2)

    # The worst: the first of a minute was late, the last is on time.
    for first in slots:
        assert sum(first <= slot < first + MINUTE + LATENESS for slot in slots) <= rate
    # Whole minutes of the clock are among these minutes.
    for late in (timedelta(), LATENESS):
        minutes = [(slot + late).replace(second=0, microsecond=0) for slot in slots]
        assert max(minutes.count(minute) for minute in minutes) <= rate


@pytest.mark.parametrize("rate", [2, 7, 10, 60, 500, 3000, 4400, 4500, 5000, 10_000])
def test_a_burst_drains_at_95_percent_of_the_plan_or_better(
    harness: PipelineHarness, rate: int
) -> None:
    slots = burst(governor(harness.table, rate), 4)

    assert gaps(slots) == {gap(rate)}
    assert MINUTE / (gap(rate) * rate) >= 0.95


def test_the_first_goes_at_once_and_idle_time_is_not_saved_up(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)

    assert slot(pace) == NOW
    later = NOW + 10 * MINUTE
    assert burst(pace, 3, later) == [later + n * gap(10) for n in range(3)]


def test_a_slot_that_is_held_is_honoured_and_takes_no_other(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    first, held = burst(pace, 2)

    assert pace.slot(held, NOW) == held
    assert pace.slot(held, held + SECOND) == held
    assert pace.slot(None, NOW) == held + (held - first)


def test_a_pace_that_changes_goes_on_from_the_slots_given(harness: PipelineHarness) -> None:
    last = burst(governor(harness.table, 10), 3)[-1]

    faster = burst(governor(harness.table, 60), 2)

    assert faster[0] > last
    assert gaps(faster) == {gap(60)}


def test_whoever_comes_in_between_gets_another_slot(harness: PipelineHarness) -> None:
    table, slots = Interrupted(harness), [NOW]
    pace, other = governor(table, 60), governor(harness.table, 60)
    table.between = lambda: slots.append(slot(other))
    slot(other)

    slots += burst(pace, 5)

    assert len(slots) > 10
    assert gaps(sorted(slots)) == {gap(60)}


def test_two_firsts_get_two_slots(harness: PipelineHarness) -> None:
    table, slots = Interrupted(harness), []
    other = governor(harness.table, 60)

    def come_first() -> None:
        table.between = lambda: None
        slots.append(slot(other))

    table.between = come_first
    slots.append(slot(governor(table, 60)))

    assert sorted(slots) == [NOW, NOW + gap(60)]


def test_after_a_refusal_the_slots_that_were_given_are_worth_nothing(
    harness: PipelineHarness,
) -> None:
    pace = governor(harness.table, 10)
    held = burst(pace, 3)

    pace.back_off(NOW, MINUTE)

    assert [pace.slot(slot, slot) for slot in held] == [None] * 3
    resume = NOW + MINUTE
    assert pace.slots(3, NOW)[0] == resume
    assert pace.slot(resume, resume) == resume


def test_in_a_pause_longer_than_slots_are_given_ahead_nobody_has_a_turn(
    harness: PipelineHarness,
) -> None:
    pace = governor(harness.table, 10)
    slot(pace)

    pace.back_off(NOW, 5 * MINUTE)

    assert pace.slots(3, NOW) == []
    later = NOW + 4 * MINUTE
    assert pace.slots(1, later) == [NOW + 5 * MINUTE]


def test_a_slot_after_the_pause_stays(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    last = burst(pace, 15)[-1]

    pace.back_off(NOW, MINUTE)

    assert pace.slot(last, last) == last
    assert pace.slot(None, NOW) == last + gap(10)


def test_after_a_refusal_the_pace_is_halved_and_recovers(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    pace.slot(None, NOW)

    pace.back_off(NOW, MINUTE)

    assert gaps(burst(pace, 3)) == {2 * gap(10)}
    slow = NOW + SLOW_FOR - SECOND
    assert gaps(burst(pace, 3, slow)) == {2 * gap(10)}
    recovered = NOW + SLOW_FOR
    assert gaps(pace.slots(3, recovered)) == {gap(10)}


# ---------------------------------------------------------------- the budget


def test_without_a_budget_nothing_is_charged(harness: PipelineHarness) -> None:
    money = governor(harness.table)

    money.refund(money.charge(usd(), NOW))

    assert harness.table.get(KEY) is None


@pytest.mark.parametrize(
    ("budget", "price", "images"),
    [
        ("0.05", "0.01", 5),
        ("0.05", "0.015", 3),
        ("0.1", "0.033333", 3),
        ("0.000003", "0.0000015", 1),
        ("0.01", "0.01", 1),
    ],
)
def test_the_budget_is_spent_to_the_last_image_and_no_further(
    harness: PipelineHarness, budget: str, price: str, images: int
) -> None:
    money = governor(harness.table, 0, budget)

    for _ in range(images):
        money.charge(usd(price), NOW)

    with pytest.raises(OverBudget):
        money.charge(usd(price), NOW)
    assert spent(harness) <= Decimal(budget) * 1_000_000


def test_over_budget_says_what_and_until_when(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.01")
    money.charge(usd(), NOW)

    with pytest.raises(OverBudget, match=r"budget of \$0\.01 is spent; .* at 00:00 UTC") as caught:
        money.charge(usd(), NOW + timedelta(hours=11, minutes=59, seconds=1.5))

    assert caught.value.wait_seconds == 0


def test_a_price_above_the_budget_is_never_charged(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.01")

    east = timezone(timedelta(hours=14))  # where it is tomorrow
    with pytest.raises(OverBudget, match=r"less than one image costs \(\$0\.02\)") as caught:
        money.charge(usd("0.02"), NOW.astimezone(east))

    assert caught.value.wait_seconds == 12 * 60 * 60
    assert harness.table.get(KEY) is None


def test_what_is_spent_is_told_in_usd_and_is_nothing_the_next_day(
    harness: PipelineHarness,
) -> None:
    money = governor(harness.table, 0, "0.05")
    assert money.spent(NOW) == 0

    money.charge(usd("0.015"), NOW)

    assert money.spent(NOW) == Decimal("0.015")
    assert money.spent(NOW + timedelta(days=1)) == 0


def test_what_costs_nothing_goes_through_a_spent_budget(harness: PipelineHarness) -> None:
    governor(harness.table, 0, "0.01").charge(usd(), NOW)

    assert governor(harness.table, 0, "0.01").charge(usd("0"), NOW).price == 0


def test_each_day_has_its_budget_and_days_begin_in_utc(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.02")
    money.charge(usd(), NOW)
    money.charge(usd(), NOW)

    east = timezone(timedelta(hours=10))
    still_today = datetime(2026, 11, 21, 9, 59, tzinfo=east)
    with pytest.raises(OverBudget):
        money.charge(usd(), still_today)
    assert money.charge(usd(), still_today + MINUTE) == Charge("2026-11-21", 10_000)
    assert spent(harness) == 10_000


def test_a_clock_that_goes_back_does_not_forget_what_is_spent(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.02")
    money.charge(usd(), NOW)

    with pytest.raises(OverBudget):
        money.charge(usd(), NOW - timedelta(days=1))

    assert spent(harness) == 10_000


def test_two_firsts_of_a_day_are_both_charged(harness: PipelineHarness) -> None:
    table = Interrupted(harness)
    other = governor(harness.table, 0, "0.05")
    calls: list[None] = []

    def begin_the_day_between_the_first_two_calls() -> None:
        calls.append(None)
        if len(calls) == 2:
            other.charge(usd(), NOW)

    table.between = begin_the_day_between_the_first_two_calls
    governor(table, 0, "0.05").charge(usd(), NOW)

    assert spent(harness) == 20_000


def test_a_refund_makes_room(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.01")
    charge = money.charge(usd(), NOW)

    money.refund(charge)

    assert money.charge(usd(), NOW) == charge


def test_a_refund_never_leaves_less_than_nothing(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.05")
    charge = money.charge(usd(), NOW)

    money.refund(charge)
    money.refund(charge)

    assert spent(harness) == 0


def test_a_refund_after_midnight_gives_the_new_day_nothing(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.01")
    yesterday = money.charge(usd(), datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC))
    money.charge(usd(), datetime(2026, 11, 21, tzinfo=UTC))

    money.refund(yesterday)

    assert spent(harness) == 10_000


@pytest.mark.parametrize("images_before", [0, 1])
def test_a_charge_that_was_carried_out_and_answered_with_an_error_counts_once(
    harness: PipelineHarness, images_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 sends it again by itself."""
    money = governor(harness.table, 0, "0.05")
    for _ in range(images_before):
        money.charge(usd(), NOW)
    repeated = carry_out_twice(harness, monkeypatch)

    charge = money.charge(usd(), NOW)
    assert spent(harness) == (images_before + 1) * 10_000

    money.refund(charge)
    assert spent(harness) == images_before * 10_000
    assert repeated.count == 2


def test_a_repeated_charge_of_the_last_of_the_budget_is_ones_own(
    harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    money = governor(harness.table, 0, "0.02")
    money.charge(usd(), NOW)
    carry_out_twice(harness, monkeypatch)

    assert money.charge(usd(), NOW).price == 10_000

    with pytest.raises(OverBudget):
        money.charge(usd(), NOW)


class Repeated:
    """Counts the writes that were carried out before they were sent again."""

    count = 0


def carry_out_twice(harness: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> Repeated:
    repeated, once = Repeated(), harness.dynamodb.update_item

    def update_item(**asked: Any) -> Any:
        with contextlib.suppress(harness.dynamodb.exceptions.ConditionalCheckFailedException):
            once(**asked)
            repeated.count += 1
        return once(**asked)

    monkeypatch.setattr(harness.dynamodb, "update_item", update_item)
    return repeated


def test_without_a_budget_nobody_asks_for_the_price(harness: PipelineHarness) -> None:
    def price() -> Decimal:
        raise AssertionError("asked")

    assert governor(harness.table).charge(price, NOW) == Charge("2026-11-20", 0)


# ---------------------------------------------------------------- turns


def test_slots_are_handed_out_two_minutes_ahead_and_no_further(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)

    given = [found for _ in range(30) if (found := pace.slot(None, NOW))]

    assert given == [NOW + n * gap(10) for n in range(len(given))]
    assert given[-1] <= NOW + AHEAD < given[-1] + gap(10)


def test_who_finds_no_slot_makes_those_wait_who_come_later(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    while pace.slot(None, NOW):
        pass

    later = NOW + MINUTE
    assert pace.slot(None, later) is None
    pace.set_backlog(later, exists=False)
    assert pace.slot(None, later)


def test_without_a_clock_a_backlog_is_forgotten(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    pace.set_backlog(NOW, exists=True)

    over = NOW + 5 * MINUTE
    assert pace.slot(None, over - SECOND) is None
    assert pace.slot(None, over) == over


def updates(harness: PipelineHarness) -> list[dict[str, Any]]:
    """The updates that DynamoDB is asked for from now on."""
    asked: list[dict[str, Any]] = []
    harness.on(
        harness.dynamodb,
        "provide-client-params.dynamodb.UpdateItem",
        lambda params, **_: asked.append(params),
    )
    return asked


def test_turns_are_the_next_slots_as_many_as_there_are(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    first = slot(pace)

    turns = pace.slots(3, NOW) + pace.slots(100, NOW)

    assert gaps([first, *turns]) == {gap(10)}
    assert turns[-1] <= NOW + AHEAD < turns[-1] + gap(10)
    assert pace.slots(1, NOW) == []


def test_when_no_slot_is_free_nothing_is_written(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    pace.slots(100, NOW)
    written = updates(harness)

    assert pace.slots(1, NOW) == []
    assert written == []


def test_the_first_turns_of_all_begin_now(harness: PipelineHarness) -> None:
    sent = updates(harness)

    assert governor(harness.table, 10).slots(2, NOW) == [NOW, NOW + gap(10)]
    # What is not there equals no value, for AWS not even NULL.
    assert [params["ConditionExpression"] for params in sent] == ["attribute_not_exists(next_slot)"]


def test_turns_go_on_from_what_a_newcomer_took_in_between(harness: PipelineHarness) -> None:
    table = Interrupted(harness)
    other, taken = governor(harness.table, 60), list[datetime]()

    def newcomer() -> None:
        if not taken:
            taken.append(slot(other))

    table.between = newcomer
    turns = governor(table, 60).slots(3, NOW)

    assert gaps(sorted(taken + turns)) == {gap(60)}


def test_without_a_plan_all_have_their_turn_now(harness: PipelineHarness) -> None:
    assert governor(harness.table).slots(3, NOW) == [NOW] * 3


def test_a_slot_that_is_overdue_is_given_up(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)
    held = slot(pace)

    assert pace.slot(held, held + OVERDUE) == held
    assert pace.slot(held, held + OVERDUE + SECOND) is None


# ---------------------------------------------------------------- the operator


@pytest.mark.parametrize("rate", [0, 10])
def test_while_it_is_paused_nobody_has_a_turn(harness: PipelineHarness, rate: int) -> None:
    pace = governor(harness.table, rate)
    held = slot(pace)

    pace.pause()

    assert (pace.slot(None, NOW), pace.slot(held, held), pace.slots(1, NOW)) == (None, None, [])
    pace.resume()
    assert pace.slot(held, held) == held
    assert pace.slots(1, NOW)


def test_another_rate_holds_at_once(harness: PipelineHarness) -> None:
    pace = governor(harness.table, 10)

    pace.set_rate(60)

    assert gaps(burst(pace, 3)) == {gap(60)}
    assert gaps(pace.slots(3, NOW)) == {gap(60)}


def test_another_budget_holds_at_once(harness: PipelineHarness) -> None:
    money = governor(harness.table, 0, "0.01")
    money.charge(usd(), NOW)

    money.set_budget(Decimal("0.02"))

    money.charge(usd(), NOW)
    with pytest.raises(OverBudget, match=r"budget of \$0\.02 is spent"):
        money.charge(usd(), NOW)


def test_nobody_is_woken_for_a_budget_that_is_spent(harness: PipelineHarness) -> None:
    money = spent_out(harness)

    assert money.slots(1, NOW) == []
    assert money.slots(1, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    "make_room",
    [lambda m: m.refund(Charge("2026-11-20", 10_000)), lambda m: m.set_budget(Decimal(1))],
    ids=["a refund", "a larger budget"],
)
def test_room_in_the_budget_wakes_them(
    harness: PipelineHarness, make_room: Callable[[Governor], None]
) -> None:
    money = spent_out(harness)

    make_room(money)

    assert money.slots(1, NOW)


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize(
    "make_room",
    [lambda m: m.refund(Charge("2026-11-20", 10_000)), lambda m: m.set_budget(Decimal(1))],
    ids=["a refund", "a larger budget"],
)
def test_room_that_is_made_while_a_charge_is_refused_wakes_them(
    harness: PipelineHarness, make_room: Callable[[Governor], None], call: int
) -> None:
    table, calls = Interrupted(harness), count()
    money, other = governor(table, 10, "0.01"), governor(harness.table, 10, "0.01")
    money.charge(usd(), NOW)

    def between() -> None:
        if next(calls) == call:
            make_room(other)

    table.between = between
    with contextlib.suppress(OverBudget):
        money.charge(usd(), NOW)

    assert next(calls) > call
    assert money.slots(1, NOW)


def test_nothing_given_back_wakes_nobody(harness: PipelineHarness) -> None:
    money = spent_out(harness)

    money.refund(Charge("2026-11-20", 0))

    assert money.slots(1, NOW) == []


def spent_out(harness: PipelineHarness) -> Governor:
    money = governor(harness.table, 10, "0.01")
    money.charge(usd(), NOW)
    with pytest.raises(OverBudget):
        money.charge(usd(), NOW)
    return money
