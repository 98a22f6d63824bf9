"""When may the next image be sent: the vendor's plan, the user's budget, and the operator's word.

One item holds all. Slots are handed out at the plan's rate by moving `next_slot` on, at most two
minutes ahead: so a rate or a budget that is changed holds at once, and no slots pile up. Who finds
none waits for his turn, and the clock hands out the next ones, oldest first. The day's budget is
charged when an image is really sent, so that one that waits past midnight is the next day's.
Nothing here counts what is in flight, so nothing can leak.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import uuid4

from cutout.domain.errors import ConditionFailed, OverBudget
from cutout.store.table import Item, Table

KEY = "#governor"
# A message arrives up to this much after its slot. Spaced for the plan's minute and this, no
# minute has more sends than the plan allows, at a cost of one part in thirty.
LATENESS = timedelta(seconds=2)
# One that arrives later than this finds its slot given up: late ones must not come in a crowd.
OVERDUE = timedelta(seconds=30)
AHEAD = timedelta(minutes=2)
SLOW_FOR = timedelta(minutes=10)
# Without a clock that renews it, a backlog is forgotten, and newcomers take slots again.
_BACKLOG_FOR = timedelta(minutes=5)
# Of a charge or refund: this very write was not carried out yet, as far as the last one tells.
_UNWRITTEN = "(attribute_not_exists(write_id) OR write_id <> :write_id)"
_MICROSECOND = timedelta(microseconds=1)
_MILLION = 1_000_000


@dataclass(frozen=True)
class Charge:
    """What was taken out of a day's budget, in millionths of a USD."""

    day: str
    price: int


@dataclass(frozen=True)
class Plan:
    """What holds now; 0 stands for no limit."""

    paused: bool
    images_per_minute: int
    daily_budget: Decimal


@dataclass(frozen=True)
class Governor:
    """Rate and budget (USD a day) as the template has them, until an operator changes them."""

    table: Table
    images_per_minute: int
    daily_budget: Decimal

    def plan(self) -> Plan:
        """What holds now: the item's own values, or else the template's."""
        return self._plan(self._item())

    def spent(self, now: datetime) -> Decimal:
        """What the images of this day (UTC) have cost so far, in USD."""
        item = self._item()
        return item["spent"] / _MILLION if item.get("spent_on") == _day(now) else Decimal(0)

    def pause(self) -> None:
        """Send nothing until `resume`; what is at the vendor goes on."""
        self.table.update(KEY, "SET paused = :yes", values={":yes": True})

    def resume(self) -> None:
        """Go on after a `pause`."""
        self.table.update(KEY, "SET paused = :no", values={":no": False})

    def set_rate(self, images_per_minute: int) -> None:
        """Hold another rate than the template's from now on."""
        values = {":rate": images_per_minute}
        self.table.update(KEY, "SET images_per_minute = :rate", values=values)

    def set_budget(self, daily_budget: Decimal) -> None:
        """Hold another budget (USD a day) than the template's from now on, today included."""
        values = {":budget": daily_budget}
        self.table.update(KEY, "SET daily_budget = :budget", values=values)

    def slot(self, held: datetime | None, now: datetime) -> datetime | None:
        """From when on an image may be sent: the slot it holds, or else the next free one.

        None if it has to wait for its turn: nobody may send, others were there before, no slot is
        free soon, or the one it holds is overdue or from before the vendor pushed back.
        """
        item = self._item()
        plan = self._plan(item)
        if plan.paused:
            return None
        if not plan.images_per_minute:
            return now
        if held:
            good = now <= held + OVERDUE and _us(now) >= item.get("refused_until", 0)
            return held if good else None
        if _us(now) < item.get("backlog_until", 0):
            return None
        return self._next_slot(now, _step(plan, item, now))

    def slots(self, wanted: int, now: datetime) -> list[datetime]:
        """For tasks that wait for their turn: as many of the next slots as there are, at once."""
        while True:
            item = self._item()
            plan = self._plan(item)
            if plan.paused or item.get("spent_out") == _spent_out(plan, _day(now)):
                return []
            if not plan.images_per_minute:
                return [now] * wanted
            step, seen = _step(plan, item, now), item.get("next_slot")
            first = max(int(seen or 0), _us(now))
            count = min(wanted, max(0, (_us(now + AHEAD) - first) // step + 1))
            if not count or self._take(seen, first + count * step):
                return [_time(first + number * step) for number in range(count)]

    def set_backlog(self, now: datetime, *, exists: bool) -> None:
        """Note whether tasks wait for their turn, so that newcomers queue up behind them."""
        until = _us(now + _BACKLOG_FOR) if exists else 0
        self.table.update(KEY, "SET backlog_until = :until", values={":until": until})

    def back_off(self, now: datetime, wait: timedelta) -> None:
        """The vendor refused for the rate: no slot before the wait is over, and half as many."""
        if not self.plan().images_per_minute:
            return
        later, slow = _us(now + wait), _us(now + SLOW_FOR)
        self.table.update(
            KEY,
            "SET refused_until = :later, slow_until = :slow",
            values={":later": later, ":slow": slow},
        )
        self._try("SET next_slot = :later", "next_slot < :later", {":later": later})

    def charge(self, price: Callable[[], Decimal], now: datetime) -> Charge:
        """Take an image's price in USD out of the day's budget, if there is one.

        Raises `OverBudget`, and what `price` raises.
        """
        plan = self.plan()
        daily_budget = plan.daily_budget
        if not daily_budget:
            return Charge(_day(now), 0)
        charge, budget = Charge(_day(now), _micros(price())), _micros(daily_budget)
        if charge.price <= budget:
            write_id = uuid4().hex
            # The first of a day begins the day; should two be first, the second just spends.
            # A write that was carried out and answered with an error is repeated by boto3: its
            # repetition changes nothing, and the item tells whose it was.
            if (
                self._spend(charge, budget, write_id)
                or self._begin_day(charge, write_id)
                or self._spend(charge, budget, write_id)
                or self._item().get("write_id") == write_id
            ):
                return charge
            self._wake_nobody(charge, budget, _spent_out(plan, charge.day))
            why = "is spent; submits resume at 00:00 UTC"
            raise OverBudget(f"the day's budget of ${daily_budget} {why}", 0)
        why = f"is less than one image costs (${charge.price / _MILLION}); raise DailyBudget"
        raise OverBudget(f"the day's budget of ${daily_budget} {why}", _seconds_to_midnight(now))

    def refund(self, charge: Charge) -> None:
        """Give back what was charged for an image that was not accepted."""
        if charge.price:
            values = {":price": charge.price, ":day": charge.day, ":write_id": uuid4().hex}
            condition = f"spent_on = :day AND spent >= :price AND {_UNWRITTEN}"
            change = "SET spent = spent - :price, write_id = :write_id REMOVE spent_out"
            self._try(change, condition, values)

    def _spend(self, charge: Charge, budget: int, write_id: str) -> bool:
        values = {
            ":price": charge.price,
            ":room": budget - charge.price,
            ":day": charge.day,
            ":write_id": write_id,
        }
        condition = f"spent_on = :day AND spent <= :room AND {_UNWRITTEN}"
        change = "SET spent = spent + :price, write_id = :write_id"
        return self._try(change, condition, values) is not None

    def _wake_nobody(self, charge: Charge, budget: int, spent_out: str) -> None:
        """Until another day or budget; unless some of it was given back meanwhile."""
        values = {":spent_out": spent_out, ":room": budget - charge.price, ":day": charge.day}
        condition = "spent_on = :day AND spent > :room"
        self._try("SET spent_out = :spent_out", condition, values)

    def _begin_day(self, charge: Charge, write_id: str) -> bool:
        values = {":price": charge.price, ":day": charge.day, ":write_id": write_id}
        condition = "attribute_not_exists(spent_on) OR spent_on < :day"
        change = "SET spent = :price, spent_on = :day, write_id = :write_id"
        return self._try(change, condition, values) is not None

    def _next_slot(self, now: datetime, step: int) -> datetime | None:
        """Move `next_slot` on by one, by additions that DynamoDB does without contention."""
        values = {":now": _us(now), ":step": step}
        soon, last = "next_slot BETWEEN :now AND :last", {":last": _us(now + AHEAD)}
        free_now = "attribute_not_exists(next_slot) OR next_slot < :now"
        # One of the conditions holds unless another writer comes between them. It ends, for that
        # writer moved the slot into the future, where the first or the last condition holds.
        while True:
            if item := self._try("SET next_slot = next_slot + :step", soon, values | last):
                return _time(int(item["next_slot"]) - step)
            if self._try("SET next_slot = :now + :step", free_now, values):
                return now
            until = {":until": _us(now + _BACKLOG_FOR)}
            if self._try("SET backlog_until = :until", "next_slot > :last", last | until):
                return None

    def _take(self, seen: Any, after: int) -> bool:
        if seen is None:
            condition, values = "attribute_not_exists(next_slot)", {":after": after}
        else:
            condition, values = "next_slot = :seen", {":after": after, ":seen": seen}
        return self._try("SET next_slot = :after", condition, values) is not None

    def _plan(self, item: Item) -> Plan:
        return Plan(
            paused=item.get("paused", False),
            images_per_minute=int(item.get("images_per_minute", self.images_per_minute)),
            daily_budget=item.get("daily_budget", self.daily_budget),
        )

    def _item(self) -> Item:
        return self.table.get(KEY) or {}

    def _try(self, change: str, condition: str, values: dict[str, Any]) -> Item | None:
        try:
            return self.table.update(KEY, change, condition=condition, values=values)
        except ConditionFailed:
            return None


def _step(plan: Plan, item: Item, now: datetime) -> int:
    """Microseconds from one slot to the next; twice as many while the vendor is in trouble."""
    minute = (timedelta(minutes=1) + LATENESS) // _MICROSECOND
    slowed = _us(now) < item.get("slow_until", 0)
    return ceil(minute / plan.images_per_minute) * (2 if slowed else 1)


def _spent_out(plan: Plan, day: str) -> str:
    """That a day's budget is spent; another one, wherever it was set, is not."""
    return f"{day} {_micros(plan.daily_budget)}"


def _us(time: datetime) -> int:
    return round(time.timestamp() * _MILLION)


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / _MILLION, UTC)


def _micros(usd: Decimal) -> int:
    return round(usd * _MILLION)


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()


def _seconds_to_midnight(now: datetime) -> int:
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, datetime.min.time(), UTC)
    return ceil((midnight - now).total_seconds())
