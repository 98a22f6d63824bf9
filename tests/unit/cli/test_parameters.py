"""Parameters are refused as CloudFormation refuses them."""

from typing import Any

import pytest

from cutout_cli.errors import BadParameters
from cutout_cli.parameters import checked
from tests.support.template import template
from tests.unit.cli.conftest import Cutout

DECLARED: dict[str, Any] = template()["Parameters"]


@pytest.mark.parametrize("name", DECLARED)
def test_every_default_is_allowed(name: str) -> None:
    default = str(DECLARED[name]["Default"])

    assert checked([f"{name}={default}"]) == {name: default}


@pytest.mark.parametrize(
    ("argument", "mistake"),
    [
        ("webhook=on", "the template has no parameter webhook; did you mean Webhook?"),
        ("ImagePerMinute=3", "the template has no parameter ImagePerMinute; did you mean Images"),
        ("Foo=1", "the template has no parameter Foo; template.yaml lists them"),
        ("Webhook=true", "Webhook=true: must be one of on, off"),
        ("SyncMode=on", "SyncMode=on: must be one of true, false"),
        ("OutputNaming=foo", "OutputNaming=foo: must be one of append, replace"),
        ("LogLevel=debug", "LogLevel=debug: must be one of DEBUG, INFO, WARNING, ERROR"),
        ("LogRetentionDays=2", "LogRetentionDays=2: must be one of 1, 3, 5"),
        ("ImagesPerMinute=-1", "ImagesPerMinute=-1: must be at least 0"),
        ("ImagesPerMinute=10001", "ImagesPerMinute=10001: must be at most 10000"),
        ("ImagesPerMinute=abc", "ImagesPerMinute=abc: must be a number"),
        ("DailyBudget=", "DailyBudget=: must be a number"),
        ("ModelId=x y", "ModelId=x y: must be a model id, such as"),
        ("WaveSpeedBaseUrl=https://a/b", "WaveSpeedBaseUrl=https://a/b: must be an"),
        (f"InputPrefix={'x' * 513}", "must have at most 512 characters"),
        ("Webhook", "'Webhook' is not NAME=VALUE"),
    ],
)
def test_a_mistake_is_named(argument: str, mistake: str) -> None:
    with pytest.raises(BadParameters) as refused:
        checked([argument])

    assert mistake in str(refused.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(BadParameters, match=r"Foo; .*; SyncMode=on: "):
        checked(["Foo=1", "SyncMode=on"])


@pytest.mark.parametrize("value", ["0.02", "5", ".5", "1000000"])
def test_numbers_may_have_a_point(value: str) -> None:
    assert checked([f"DailyBudget={value}"]) == {"DailyBudget": value}


@pytest.mark.parametrize("command", ["run", "up"])
def test_nothing_starts_with_a_bad_parameter(
    cutout: Cutout, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutout_local.stack.local_stack", None)  # a call would be an error

    done = cutout(command, "-p", "SyncMode=on")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "cutout: SyncMode=on: must be one of true, false\n"
