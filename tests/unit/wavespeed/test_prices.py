from decimal import Decimal
from typing import Any

import httpx
import pytest

from cutout.domain.errors import Unauthorized
from tests.support.world import MODEL, World, answer, refused


def price(world: World, **data: Any) -> Decimal:
    """What the vendor's answer comes down to."""
    world.answers = [answer(**data)]
    return world.submitter(daily_budget="1", price_per_image="0.001").price(MODEL)


def test_the_price_is_what_the_vendor_says_digit_for_digit(world: World) -> None:
    assert price(world, price=0.1) == Decimal("0.1")


@pytest.mark.parametrize(("discounted", "paid"), [(0.004, "0.004"), (None, "0.01")])
def test_a_discounted_price_is_what_is_paid(
    world: World, discounted: float | None, paid: str
) -> None:
    assert price(world, price=0.01, discounted_price=discounted) == Decimal(paid)


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
    world: World, lie: dict[str, Any], price_per_image: str
) -> None:
    world.answers = [answer(**lie)]
    price = world.submitter(daily_budget="1", price_per_image=price_per_image).price(MODEL)
    assert price == Decimal(price_per_image)


@pytest.mark.parametrize("number", ["NaN", "1e999", "-1e999", "Infinity"])
def test_a_price_is_finite(world: World, number: str) -> None:
    world.answers = [httpx.Response(200, text=f'{{"data": {{"price": {number}}}}}')]
    prices = world.submitter(daily_budget="1", price_per_image="0.07").price
    assert prices(MODEL) == Decimal("0.07")


@pytest.mark.parametrize(("least", "counted"), [("0.01", "0.01"), ("0", "0.004")])
def test_the_vendors_price_counts_only_above_the_operators(
    world: World, least: str, counted: str
) -> None:
    world.answers = [answer(price=0.004)]
    prices = world.submitter(daily_budget="1", price_per_image=least).price
    assert prices(MODEL) == Decimal(counted)


def test_a_price_is_asked_for_once_an_hour_and_model(world: World) -> None:
    prices = world.submitter(daily_budget="1").price
    world.answers = [answer(price=0.01), answer(price=0.5), answer(price=0.02)]

    assert prices("a") == Decimal("0.01")
    assert prices("b") == Decimal("0.5")
    world.pass_time(3599)
    assert prices("a") == Decimal("0.01")
    world.pass_time(1)
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
def test_without_an_answer_the_parameter_stands_in(world: World, answers: list[Any]) -> None:
    world.answers = answers

    prices = world.submitter(daily_budget="1", price_per_image="0.07").price

    assert prices(MODEL) == Decimal("0.07")
    assert prices(MODEL) == Decimal("0.07")
    assert world.answers == []


def test_a_key_that_is_refused_is_no_price(world: World) -> None:
    world.answers = [refused(401)]

    with pytest.raises(Unauthorized):
        world.submitter(daily_budget="1").price(MODEL)
