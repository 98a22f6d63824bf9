"""When may the next image be sent: the vendor's plan and the user's budget.

One item holds both. Slots are handed out at the plan's rate by moving `next_slot` on; the day's
budget is charged when an image is really sent, so that one that waits past midnight is the next
day's. Nothing here counts what is in flight, so nothing can leak.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

from cutout.domain.errors import ConditionFailed, OverBudget
from cutout.store.table import Item, Table

KEY = "#governor"
# A message arrives up to this much after its slot. Spaced for the plan's minute and this, no
# minute has more sends than the plan allows, at a cost of one part in thirty.
LATENESS = timedelta(seconds=2)
SLOW_FOR = timedelta(minutes=10)
_MICROSECOND = timedelta(microseconds=1)
_MILLION = 1_000_000


@dataclass(frozen=True)
class Charge:
    """What was taken out of a day's budget, in millionths of a USD."""

    day: str
    price: int


@dataclass(frozen=True)
class Governor:
    """The plan's rate and the budget in USD a day; 0 stands for no limit.

    `price` tells what one image costs with a model, in USD.
    """

    table: Table
    images_per_minute: int
    daily_budget: Decimal
    price: Callable[[str], Decimal]

    def slot(self, held: datetime | None, now: datetime) -> datetime:
        """From when on an image may be sent: the slot it holds, or else the next free one.

        A slot that was handed out before the vendor pushed back is worth nothing any more.
        """
        if not self.images_per_minute:
            return now
        item = self.table.get(KEY) or {}
        if held and _us(now) >= item.get("paused_until", 0):
            return held
        slowed = _us(now) < item.get("slow_until", 0)
        return self._next_slot(now, self._interval * (2 if slowed else 1))

    def back_off(self, now: datetime, wait: timedelta) -> None:
        """The vendor refused for the rate: no slot before the wait is over, and half as many."""
        if not self.images_per_minute:
            return
        later, slow = _us(now + wait), _us(now + SLOW_FOR)
        self.table.update(
            KEY,
            "SET paused_until = :later, slow_until = :slow",
            values={":later": later, ":slow": slow},
        )
        self._try("SET next_slot = :later", "next_slot < :later", {":later": later})

    def charge(self, model: str, now: datetime) -> Charge:
        """Take an image's price out of the day's budget. Raises `OverBudget`."""
        if not self.daily_budget:
            return Charge(_day(now), 0)
        charge, budget = Charge(_day(now), _micros(self.price(model))), _micros(self.daily_budget)
        if charge.price <= budget:
            # The first of a day begins the day; should two be first, the second just spends.
            if (
                self._spend(charge, budget)
                or self._begin_day(charge)
                or self._spend(charge, budget)
            ):
                return charge
            why = "is spent; submits resume at 00:00 UTC"
        else:
            why = f"is less than one image costs (${charge.price / _MILLION}); raise DailyBudget"
        raise OverBudget(
            f"the day's budget of ${self.daily_budget} {why}", _seconds_to_midnight(now)
        )

    def refund(self, charge: Charge) -> None:
        """Give back what was charged for an image that was not accepted."""
        if charge.price:
            values = {":day": charge.day, ":price": charge.price}
            condition = "spent_on = :day AND spent >= :price"
            self._try("SET spent = spent - :price", condition, values)

    def _spend(self, charge: Charge, budget: int) -> bool:
        values = {":price": charge.price, ":room": budget - charge.price, ":day": charge.day}
        condition = "spent_on = :day AND spent <= :room"
        return self._try("SET spent = spent + :price", condition, values) is not None

    def _begin_day(self, charge: Charge) -> bool:
        values = {":price": charge.price, ":day": charge.day}
        condition = "attribute_not_exists(spent_on) OR spent_on < :day"
        return self._try("SET spent = :price, spent_on = :day", condition, values) is not None

    @property
    def _interval(self) -> timedelta:
        minute = (timedelta(minutes=1) + LATENESS) // _MICROSECOND
        return ceil(minute / self.images_per_minute) * _MICROSECOND

    def _next_slot(self, now: datetime, interval: timedelta) -> datetime:
        """Move `next_slot` on by one, by additions that DynamoDB does without contention."""
        step = interval // _MICROSECOND
        values = {":now": _us(now), ":step": step}
        free_now = "attribute_not_exists(next_slot) OR next_slot < :now"
        # One of the two conditions holds unless another writer comes between them. It ends, for
        # that writer moved the slot into the future, where the first condition holds.
        while True:
            if item := self._try("SET next_slot = next_slot + :step", "next_slot >= :now", values):
                return _time(int(item["next_slot"]) - step)
            if self._try("SET next_slot = :now + :step", free_now, values):
                return now

    def _try(self, change: str, condition: str, values: dict[str, Any]) -> Item | None:
        try:
            return self.table.update(KEY, change, condition=condition, values=values)
        except ConditionFailed:
            return None


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
