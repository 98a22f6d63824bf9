"""The state machine's file as a graph, and its words against the code's."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from cutout.aws import events
from cutout.domain import errors
from cutout.domain.messages import CutoutFailed, PollResult

ROOT = Path(__file__).parents[2]
FROM_AWS = ("States.", "Lambda.", "Runtime.", "Sandbox.")


@cache
def machine() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "statemachine" / "wait_loop.asl.yaml").read_text())
    return parsed


def following(state: dict[str, Any]) -> Iterator[str]:
    for part in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (part[word] for word in ("Next", "Default") if word in part)


def test_every_state_is_reached_and_every_way_leads_to_a_state() -> None:
    states, reached, ahead = machine()["States"], set(), {machine()["StartAt"]}
    while ahead:
        assert ahead <= set(states)
        reached |= ahead
        ahead = {name for state in ahead for name in following(states[state])} - reached

    assert reached == set(states)


def test_the_machine_is_bounded() -> None:
    assert machine()["TimeoutSeconds"] <= 86400


@pytest.mark.parametrize("name", machine()["States"])
def test_every_state_says_what_it_is_for(name: str) -> None:
    assert len(machine()["States"][name]["Comment"]) > 20


@pytest.mark.parametrize("name", [n for n, s in machine()["States"].items() if s["Type"] == "Task"])
def test_every_task_is_retried_or_replaced_for_named_errors_only(name: str) -> None:
    state = machine()["States"][name]
    named = [e for retry in state.get("Retry", []) for e in retry["ErrorEquals"]]

    assert named or state["Catch"][-1]["Next"] == "Wait"
    assert "States.ALL" not in named
    for error in named:
        assert error.startswith(FROM_AWS) or issubclass(getattr(errors, error), errors.CutoutError)


def test_every_error_of_a_poll_is_either_final_or_retried() -> None:
    retried = {e for retry in machine()["States"]["Poll"]["Retry"] for e in retry["ErrorEquals"]}
    passing = {
        "VendorUnavailable",
        "OutputUnavailable",
        "RateLimited",
        "Unauthorized",
        "ApiKeyUnavailable",
        "ServiceError",
        "StatusChanged",
        "OutputBusy",
    }

    assert passing <= retried
    final = {error.__name__ for error in errors.Failed.__subclasses__()} - {"PredictionNotFound"}
    assert not final & retried


def test_the_poll_task_outlives_the_function() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    function = template["Resources"]["PollFunction"]["Properties"]

    assert machine()["States"]["Poll"]["TimeoutSeconds"] > function["Timeout"]


def test_the_deadline_comes_before_the_engines_own_bound() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())

    assert template["Parameters"]["DeadlineSeconds"]["MaxValue"] < machine()["TimeoutSeconds"]


def test_the_machine_reads_only_what_a_poll_returns() -> None:
    announce = machine()["States"]["Announce completion"]["Arguments"]["Entries"][0]["Detail"]

    assert set(announce) | {"status", "wait_seconds", "await_callback"} == set(
        PollResult.model_fields
    )


def test_the_machine_announces_under_the_name_that_the_code_uses() -> None:
    states = machine()["States"]
    for name in ("Announce completion", "Announce failure"):
        assert states[name]["Arguments"]["Entries"][0]["Source"] == events.SOURCE
    entry = states["Announce failure"]["Arguments"]["Entries"][0]
    assert entry["DetailType"] == CutoutFailed.detail_type


def test_every_substitution_is_filled_in_by_the_template() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    given = template["Resources"]["WaitLoop"]["Properties"]["DefinitionSubstitutions"]
    used = re.findall(r"\$\{(\w+)\}", (ROOT / "statemachine" / "wait_loop.asl.yaml").read_text())

    assert set(used) == set(given)
