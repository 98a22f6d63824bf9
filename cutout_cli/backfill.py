"""What a backfill would send: how many, for what price, in what time."""

import json
from dataclasses import asdict, dataclass
from decimal import Decimal

from cutout_cli.costs import price_of_an_image
from cutout_cli.limits import governor
from cutout_cli.pages import Counts, Runs
from cutout_cli.stacks import Stack
from cutout_cli.text import plural

_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True)
class Estimate:
    """Money in USD; `minutes` is None if neither a rate nor a budget holds anything up."""

    objects: int
    missing: int
    price: Decimal
    live_price: bool
    cost: Decimal
    minutes: int | None

    def as_json(self, *, sent: bool) -> str:
        return json.dumps({**asdict(self), "sent": sent}, default=str)

    def line(self) -> str:
        found = f"{plural(self.objects, 'object')}, of which {self.missing} are not in the ledger"
        if not self.missing:
            return found
        source = "the vendor's price" if self.live_price else "PricePerImage"
        time = f", {_lasting(self.minutes)}" if self.minutes is not None else ""
        return f"{found}: ${self.cost} at ${self.price} ({source}){time}"


def estimate(stack: Stack, counts: Counts) -> Estimate:
    """What it would take to send what was counted as missing."""
    price, live = price_of_an_image(stack)
    missing, plan = counts.get("missing", 0), governor(stack).plan()
    times = []
    if plan.images_per_minute:
        times.append(Decimal(missing) / plan.images_per_minute)
    if plan.daily_budget:
        times.append(missing * price / plan.daily_budget * _MINUTES_A_DAY)
    return Estimate(
        objects=counts.get("objects", 0),
        missing=missing,
        price=price,
        live_price=live,
        cost=missing * price,
        minutes=int(max(times).to_integral_value("ROUND_CEILING")) if times else None,
    )


def runs(stack: Stack) -> Runs:
    """The runs of the stack's backfill."""
    return Runs(stack, stack.outputs["BackfillArn"])


def _lasting(minutes: int) -> str:
    hours, days = minutes / 60, minutes / _MINUTES_A_DAY
    if minutes < 2 * 60:
        return plural(minutes, "minute")
    return f"{hours:.1f} hours" if days < 2 else f"{days:.1f} days"
