from decimal import Decimal
from typing import Any

import httpx
import pytest

from cutout.domain.errors import Unauthorized
from tests.support.harness import MODEL, PipelineHarness, answer, refused


def price(harness: PipelineHarness, **data: Any) -> Decimal:
    """What the vendor's answer comes down to."""
    harness.answers = [answer(**data)]
    return harness.submitter(daily_budget="1", price_per_image="0.001").price(MODEL)


def test_the_price_is_what_the_vendor_says_digit_for_digit(harness: PipelineHarness) -> None:
    assert price(harness, price=0.1) == Decimal("0.1")


@pytest.mark.parametrize(("discounted", "paid"), [(0.004, "0.004"), (None, "0.01")])
def test_a_discounted_price_is_what_is_paid(
    harness: PipelineHarness, discounted: float | None, paid: str
) -> None:
    assert price(harness, price=0.01, discounted_price=discounted) == Decimal(paid)


LIES: list[dict[str, Any]] = [
    {"price": -0.07},
    {"price": 0},
    {"price": 1e-9},
    {"price": True},
    {"price": None},
    {"price": "free"},
    {"price": 1e6},
    {"price": 0.01, "discounted_price": -1},
    {"price": 0.01, "discounted_price": 0},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
@pytest.mark.parametrize("price_per_image", ["0.07", "0"])
def test_what_is_no_price_leaves_the_operators(
    harness: PipelineHarness, lie: dict[str, Any], price_per_image: str
) -> None:
    harness.answers = [answer(**lie)]
    price = harness.submitter(daily_budget="1", price_per_image=price_per_image).price(MODEL)
    assert price == Decimal(price_per_image)


@pytest.mark.parametrize("number", ["NaN", "1e999", "-1e999", "Infinity"])
def test_a_price_is_finite(harness: PipelineHarness, number: str) -> None:
    harness.answers = [httpx.Response(200, text=f'{{"data": {{"price": {number}}}}}')]
    prices = harness.submitter(daily_budget="1", price_per_image="0.07").price
    assert prices(MODEL) == Decimal("0.07")


@pytest.mark.parametrize(("least", "counted"), [("0.01", "0.01"), ("0", "0.004")])
def test_the_vendors_price_counts_only_above_the_operators(
    harness: PipelineHarness, least: str, counted: str
) -> None:
    harness.answers = [answer(price=0.004)]
    prices = harness.submitter(daily_budget="1", price_per_image=least).price
    assert prices(MODEL) == Decimal(counted)


def test_a_price_is_asked_for_once_an_hour_and_model(harness: PipelineHarness) -> None:
    prices = harness.submitter(daily_budget="1").price
    harness.answers = [answer(price=0.01), answer(price=0.5), answer(price=0.02)]

    assert prices("a") == Decimal("0.01")
    assert prices("b") == Decimal("0.5")
    harness.pass_time(3599)
    assert prices("a") == Decimal("0.01")
    harness.pass_time(1)
    assert prices("a") == Decimal("0.02")


@pytest.mark.parametrize(
    "answers",
    [
        [httpx.ReadTimeout("late")] * 3,
        [refused(500)] * 3,
        [refused(404)],
        [refused(429)],
        [httpx.Response(200, text="<html>")],
        [answer(unit="image")],
    ],
)
def test_without_an_answer_the_parameter_stands_in(
    harness: PipelineHarness, answers: list[Any]
) -> None:
    harness.answers = [*answers]

    prices = harness.submitter(daily_budget="1", price_per_image="0.07").price

    assert prices(MODEL) == Decimal("0.07")
    assert prices(MODEL) == Decimal("0.07")
    assert harness.answers == []


def test_a_key_that_is_refused_is_no_price(harness: PipelineHarness) -> None:
    harness.answers = [refused(401)]

    with pytest.raises(Unauthorized):
        harness.submitter(daily_budget="1").price(MODEL)
