"""What images cost: the vendor's price, AWS by service, and their way to the vendor.

`USES` is the one home of the numbers: docs/costs.md is compared with it, and what Step Functions
bills is what `benchmarks.requests` counts. Prices are list prices of us-east-1 in USD, without
the free tier.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import NamedTuple

from cutout.domain.errors import CutoutError
from cutout.domain.tasks import SAVED, Status, Task
from cutout_cli.stacks import Stack

MILLION = 1_000_000
FREE_GIGABYTES = 100  # that leave AWS, of an account's month
USD_A_MONTH = Decimal(13)
_MILLIONTH = Decimal("0.000001")


class Use(NamedTuple):
    """Units of a service that an image uses, each of its polls, a callback, and what not all need.

    `retry` is each attempt after the first, `conversion` that of a HEIC or AVIF.
    """

    service: str
    usd_a_million: str
    image: float = 0
    poll: float = 0
    callback: float = 0
    retry: float = 0
    conversion: float = 0


STATE_TRANSITIONS = Use("Step Functions", "25", image=2, poll=3, retry=2)
USES = (
    STATE_TRANSITIONS,
    # Requests; a retry is one submit and one of the backstop, which closed the attempt before.
    Use("Lambda", "0.20", image=1, poll=1, callback=1, retry=2, conversion=1),
    # GB-seconds of 512 MB: 2 s for a submit, 0.5 s for a poll and 1.5 s more for the last one. The
    # convert function has 2 GB, for 2 s.
    Use("Lambda", "13.33", image=1.75, poll=0.25, callback=0.15, retry=1.25, conversion=4),
    # Write units: a write has 2.5, for its index.
    Use("DynamoDB", "0.625", image=20, poll=2.5, callback=5, retry=12.5),
    Use("DynamoDB", "0.125", image=2, poll=1, callback=1, retry=5),  # read units
    Use("S3", "5", image=1, conversion=1),  # PUT
    Use("S3", "0.40", image=7, retry=4, conversion=1),  # GET and HEAD
    Use("X-Ray", "5", image=2, retry=1),  # traces, at most: one in twenty when there are many
    Use("CloudWatch Logs", "0.50", image=5, retry=3, conversion=1),  # KB
    Use("EventBridge", "1", image=2, retry=1),  # events
    Use("SQS", "0.40", image=3, retry=3),  # requests
)


class Load(NamedTuple):
    """What a stack has done, or would do; `sent_bytes` went to the vendor."""

    images: Decimal
    polls: Decimal
    callbacks: Decimal
    sent_bytes: Decimal
    retries: Decimal = Decimal(0)
    conversions: Decimal = Decimal(0)

    def times(self, factor: Decimal) -> "Load":
        return Load(*(part * factor for part in self))


# An image of 3 MB, and a model that takes four seconds.
POLLED = Load(Decimal(1), Decimal(2), Decimal(0), Decimal(3_000_000))
WITH_WEBHOOK = POLLED._replace(polls=Decimal(1), callbacks=Decimal(1))


def aws(load: Load) -> dict[str, Decimal]:
    """What each service of AWS costs in USD."""
    usd: dict[str, Decimal] = {}
    for use in USES:
        units = (
            Decimal(str(use.image)) * load.images
            + Decimal(str(use.poll)) * load.polls
            + Decimal(str(use.callback)) * load.callbacks
            + Decimal(str(use.retry)) * load.retries
            + Decimal(str(use.conversion)) * load.conversions
        )
        usd[use.service] = (
            usd.get(use.service, Decimal(0)) + units * Decimal(use.usd_a_million) / MILLION
        )
    return usd


def traffic(sent_bytes: Decimal, free_gigabytes: int = 0) -> Decimal:
    """What leaving AWS costs in USD, after what is free."""
    return Decimal("0.09") * max(Decimal(0), sent_bytes / 10**9 - free_gigabytes)


@dataclass(frozen=True)
class Bill:
    """Images and USD. `maybe_paid` are in no sum, and may be several of an image; `month` is what a
    stack costs without images.
    """

    images: int
    paid: int
    maybe_paid: int
    price: Decimal
    live_price: bool
    vendor: Decimal
    aws: dict[str, Decimal]
    traffic: Decimal
    retries: int = 0
    conversions: int = 0
    month: Decimal | None = None

    @property
    def total(self) -> Decimal:
        return self.vendor + sum(self.aws.values()) + self.traffic + (self.month or 0)

    @property
    def per_1000(self) -> Decimal | None:
        return self.total / self.images * 1000 if self.images else None

    def as_json(self) -> str:
        told = asdict(self) | {"total": self.total, "per_1000": self.per_1000}
        return json.dumps(told, default=lambda usd: str(usd.quantize(_MILLIONTH)))

    def lines(self) -> list[str]:
        source = "the vendor's word" if self.live_price else "PricePerImage"
        maybe = f"; {self.maybe_paid} more may have been" if self.maybe_paid else ""
        rows = {
            "images": f"{self.images:,}, of which {self.paid:,} are paid{maybe}",
            "retries": f"{self.retries:,}, at most" if self.retries else "",
            "conversions": f"{self.conversions:,}" if self.conversions else "",
            "vendor": f"{_usd(self.vendor)}, at ${self.price} ({source})",
            **{service: _usd(usd) for service, usd in self.aws.items()},
            "traffic": f"{_usd(self.traffic)} from AWS to the vendor",
            "month": _usd(self.month) + ", however many" if self.month else "",
            "together": _usd(self.total),
            "per 1,000": _usd(self.per_1000) if self.per_1000 else "",
        }
        return [f"{name:16}{text}" for name, text in rows.items() if text]


@dataclass
class Tally:
    """What the tasks of a ledger come to."""

    images: int = 0
    paid: int = 0
    maybe_paid: int = 0
    polls: int = 0
    callbacks: int = 0
    sent_bytes: int = 0
    retries: int = 0
    conversions: int = 0

    def add(self, task: Task) -> None:
        """Count a task. What the vendor accepted and did not complete, it may have refunded."""
        accepted = task.prediction_id is not None and not task.reused_from
        self.images += 1
        self.paid += accepted and task.status in SAVED
        self.maybe_paid += task.status is Status.UNCERTAIN or (
            accepted and task.status not in SAVED
        )
        self.maybe_paid += len(task.earlier_predictions or ())
        self.polls += task.polls
        self.callbacks += task.called_back_at is not None
        self.sent_bytes += task.size * len(task.predictions)
        self.retries += max(0, task.attempt - 1)
        self.conversions += task.converted

    def load(self) -> Load:
        counts = (self.images, self.polls, self.callbacks, self.sent_bytes)
        return Load(*map(Decimal, (*counts, self.retries, self.conversions)))


def typical(tally: Tally, *, webhook: bool) -> Load:
    """An image as those of the ledger that are paid were, or as docs/costs.md has it."""
    if tally.paid:
        return tally.load().times(1 / Decimal(tally.paid))._replace(images=Decimal(1))
    return WITH_WEBHOOK if webhook else POLLED


def spent(tally: Tally, price: Decimal, *, live_price: bool) -> Bill:
    """What the images of the ledger cost so far."""
    load = tally.load()
    return Bill(
        images=tally.images,
        paid=tally.paid,
        maybe_paid=tally.maybe_paid,
        price=price,
        live_price=live_price,
        vendor=tally.paid * price,
        aws=aws(load),
        traffic=traffic(load.sent_bytes),
        retries=tally.retries,
        conversions=tally.conversions,
    )


def estimate(images: int, image: Load, price: Decimal, *, live_price: bool) -> Bill:
    """What a month with so many images, all of them paid, would cost."""
    load = image.times(Decimal(images))
    return Bill(
        images=images,
        paid=images,
        maybe_paid=0,
        price=price,
        live_price=live_price,
        vendor=images * price,
        aws=aws(load),
        traffic=traffic(load.sent_bytes, FREE_GIGABYTES),
        retries=round(load.retries),
        conversions=round(load.conversions),
        month=USD_A_MONTH,
    )


def bill(stack: Stack, tasks: Iterable[Task], images: int | None) -> Bill:
    """What the tasks cost, or what so many images like them would."""
    tally = Tally()
    for task in tasks:
        tally.add(task)
    price, live = price_of_an_image(stack)
    if images is None:
        return spent(tally, price, live_price=live)
    image = typical(tally, webhook=stack.parameters["Webhook"] == "on")
    return estimate(images, image, price, live_price=live)


def price_of_an_image(stack: Stack) -> tuple[Decimal, bool]:
    """An image's price in USD, and whether it is the vendor's own word."""
    if stack.vendor:
        with suppress(CutoutError):
            return stack.vendor.price(stack.parameters["ModelId"]).charged, True
    return Decimal(stack.parameters["PricePerImage"]), False


def _usd(amount: Decimal) -> str:
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"
