from decimal import Decimal
from typing import Any

import httpx
import pytest

from cutout.domain.errors import Unauthorized
from tests.support.world import MODEL, World, answer, refused


def price(world: World, **data: Any) -> Decimal:
    """What the vendor's answer comes down to."""
    world.answers = [answer(**data)]
    return world.submitter(daily_budget="1").governor.price(MODEL)


def test_the_price_is_what_the_vendor_says_digit_for_digit(world: World) -> None:
    assert price(world, price=0.1) == Decimal("0.1")


@pytest.mark.parametrize(("discounted", "paid"), [(0.004, "0.004"), (0, "0"), (None, "0.01")])
def test_a_discounted_price_is_what_is_paid(
    world: World, discounted: float | None, paid: str
) -> None:
    assert price(world, price=0.01, discounted_price=discounted) == Decimal(paid)


def test_a_price_is_asked_for_once_an_hour_and_model(world: World) -> None:
    prices = world.submitter(daily_budget="1").governor.price
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

    prices = world.submitter(daily_budget="1", price_per_image="0.07").governor.price

    assert prices(MODEL) == Decimal("0.07")
    assert prices(MODEL) == Decimal("0.07")
    assert world.answers == []


def test_a_key_that_is_refused_is_no_price(world: World) -> None:
    world.answers = [refused(401)]

    with pytest.raises(Unauthorized):
        world.submitter(daily_budget="1").governor.price(MODEL)
