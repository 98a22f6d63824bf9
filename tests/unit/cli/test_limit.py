"""`limit`, `pause` and `resume` change what holds, without a deployment."""

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import (
    WAITING,
    Cutout,
    FakeStack,
)


def test_rate_and_budget_change_at_once_and_show(cutout: Cutout, stack: FakeStack) -> None:
    assert cutout("limit").stdout == "images are sent, 10 a minute, for $5 a day\n"

    changed = cutout("limit", "--images-per-minute", "0", "--daily-budget", "7.5")

    assert changed.stdout == "images are sent, at any rate, for $7.5 a day\n"
    told = json.loads(cutout("status", "--json").stdout)
    assert (told["images_per_minute"], told["daily_budget"]) == (0, "7.5")


def test_a_pause_shows_until_it_ends(cutout: Cutout, upload: Any) -> None:
    upload("c.jpg", *WAITING)

    assert cutout("pause").stdout == "sending is paused, 10 a minute, for $5 a day\n"
    told = json.loads(cutout("status", "--json").stdout)
    assert (told["paused"], told["expected_finish"]) == (True, None)
    assert "go on with: cutout resume" in cutout("status").stdout

    assert cutout("resume").stdout == "images are sent, 10 a minute, for $5 a day\n"
    assert "paused" not in cutout("status").stdout


@pytest.mark.parametrize("command", ["pause", "resume", "limit"])
def test_what_holds_is_told_to_programs(cutout: Cutout, stack: FakeStack, command: str) -> None:
    told = json.loads(cutout(command, "--json").stdout)

    assert told == {
        "paused": command == "pause",
        "images_per_minute": 10,
        "daily_budget": "5",
    }


def test_a_limit_out_of_bounds_is_refused(cutout: Cutout) -> None:
    refused = cutout("limit", "--daily-budget", "-1")

    assert "greater than or equal to 0" in refused.stderr
