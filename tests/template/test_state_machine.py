"""The state machine's file as a graph, and its words against the code's."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from cfnlint import lint
from cfnlint.config import ManualArgs

from cutout import poll
from cutout.domain import errors
from cutout.domain.messages import Closed, Execution, ExecutionEnded, WaitLoopState
from cutout.domain.schedule import next_wait
from cutout.domain.tasks import Status
from tests.support.template import STATE_MACHINE, state_machine, template

FROM_AWS = ("States.", "Lambda.", "Runtime.", "Sandbox.")


def following(state: dict[str, Any]) -> Iterator[str]:
    for part in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (part[word] for word in ("Next", "Default") if word in part)


def test_every_state_is_reached_and_every_way_leads_to_a_state() -> None:
    states, reached, ahead = state_machine()["States"], set(), {state_machine()["StartAt"]}
    while ahead:
        assert ahead <= set(states)
        reached |= ahead
        ahead = {name for state in ahead for name in following(states[state])} - reached

    assert reached == set(states)


def test_the_machine_is_bounded() -> None:
    assert state_machine()["TimeoutSeconds"] <= 86400


@pytest.mark.parametrize("name", state_machine()["States"])
def test_every_state_says_what_it_is_for(name: str) -> None:
    assert len(state_machine()["States"][name]["Comment"]) > 20


@pytest.mark.parametrize(
    "name", [n for n, s in state_machine()["States"].items() if s["Type"] == "Task"]
)
def test_every_task_is_retried_or_replaced_for_named_errors_only(name: str) -> None:
    state = state_machine()["States"][name]
    named = [e for retry in state.get("Retry", []) for e in retry["ErrorEquals"]]

    assert named or state["Catch"][-1]["Next"] == "Wait"
    assert "States.ALL" not in named
    for error in named:
        assert error.startswith(FROM_AWS) or issubclass(getattr(errors, error), errors.CutoutError)


def test_every_error_of_a_poll_is_final_or_retried_or_never_leaves_the_function() -> None:
    retried = {
        e for retry in state_machine()["States"]["Poll"]["Retry"] for e in retry["ErrorEquals"]
    }
    ours = {name for name in retried if hasattr(errors, name)}
    final = {error.__name__ for error in errors.Failed.__subclasses__()}

    assert ours == {"ServiceError", "StatusChanged"}
    assert not final & retried
    assert not {error.__name__ for error in poll._PASSING} & retried


@pytest.mark.parametrize("error", ["Lambda.TooManyRequestsException", "ServiceError"])
def test_throttling_and_outages_of_aws_are_outlasted_for_an_hour(error: str) -> None:
    retriers = state_machine()["States"]["Poll"]["Retry"]
    (retrier,) = [retry for retry in retriers if error in retry["ErrorEquals"]]
    growth, longest = retrier["BackoffRate"], retrier["MaxDelaySeconds"]
    delays = [
        min(retrier["IntervalSeconds"] * growth**number, longest)
        for number in range(retrier["MaxAttempts"])
    ]

    assert retrier["JitterStrategy"] == "FULL"  # anything from 0 to the delay: half of it
    assert sum(delays) / 2 > 3600


@pytest.mark.parametrize(
    ("state", "function"), [("Poll", "PollFunction"), ("Close", "BackstopFunction")]
)
def test_a_task_outlives_its_function(state: str, function: str) -> None:
    timeout = template()["Resources"][function]["Properties"]["Timeout"]

    assert state_machine()["States"][state]["TimeoutSeconds"] > timeout


def test_the_deadline_comes_before_the_engines_own_bound() -> None:
    assert (
        template()["Parameters"]["DeadlineSeconds"]["MaxValue"] < state_machine()["TimeoutSeconds"]
    )


def polls_until(deadline: int, latency: int) -> int:
    """How often a task is polled that never ends, under a model that lately took so long."""
    age = polls = 0
    while age < deadline:
        age += next_wait(timedelta(seconds=age), polls, [latency])
        polls += 1
    return polls


def test_the_longest_deadline_fits_into_the_history_of_an_execution() -> None:
    """Step Functions ends an execution at 25,000 events; a poll has nine, a retry of it three.

    https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    """
    deadline = template()["Parameters"]["DeadlineSeconds"]["MaxValue"]
    most = max(polls_until(deadline, latency) for latency in range(100, deadline, 500))
    retries = sum(retry["MaxAttempts"] for retry in state_machine()["States"]["Poll"]["Retry"])

    assert 9 * most + 3 * retries < 25_000


def test_the_machine_reads_only_what_it_is_given() -> None:
    text = STATE_MACHINE.read_text()
    read = set(re.findall(r"\$states\.input\.(\w+)", text))

    assert read == set(WaitLoopState.model_fields) | set(Closed.model_fields)


def test_the_machine_asks_to_be_closed_as_its_event_would() -> None:
    payload = state_machine()["States"]["Close"]["Arguments"]["Payload"]
    execution = ExecutionEnded.model_validate(payload).detail

    assert set(payload["detail"]) == set(Execution.model_fields)
    assert execution.status == "FAILED"


def test_every_status_has_its_answer() -> None:
    choices = state_machine()["States"]["What now?"]["Choices"]
    named = {name for choice in choices for name in re.findall(r'"(\w+)"', choice["Condition"])}

    assert named == {Status.COMPLETED, Status.SUPERSEDED, Status.PROCESSING, Status.QUEUED}


@pytest.mark.parametrize(
    ("way", "transitions"),
    [
        (["What now?", "Wait for callback", "Poll", "What now?", "Completed"], 5),
        (["What now?", "Wait", "Poll", "What now?", "Wait", "Poll", "What now?", "Completed"], 8),
    ],
    ids=["with the webhook", "with two polls"],
)
def test_a_way_costs_as_many_transitions_as_it_enters_states(
    way: list[str], transitions: int
) -> None:
    states = state_machine()["States"]

    assert len(way) == transitions
    assert way[0] == state_machine()["StartAt"]
    assert all(after in following(states[before]) for before, after in pairwise(way))


def test_every_substitution_is_filled_in_by_the_template() -> None:
    given = template()["Resources"]["WaitLoop"]["Properties"]["DefinitionSubstitutions"]
    used = re.findall(r"\$\{(\w+)\}", STATE_MACHINE.read_text())

    assert set(used) == set(given)


def complaints(definition: dict[str, Any]) -> list[str]:
    """What cfn-lint's schema of the Amazon States Language says of a definition."""
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"Definition": definition, "RoleArn": "arn:aws:iam::123456789012:role/any"},
    }
    matches = lint(json.dumps({"Resources": {"Machine": machine}}), config=ManualArgs())
    return [match.message for match in matches if match.rule.id == "E3601"]


def test_the_machine_is_in_the_amazon_states_language() -> None:
    definition = json.loads(re.sub(r"\$\{Partition\}", "aws", json.dumps(state_machine())))
    # JSONata may give it, which the schema does not know yet.
    definition["States"]["Wait for callback"]["TimeoutSeconds"] = 60
    assert complaints(definition) == []

    del definition["States"]["Poll"]["Resource"]
    assert complaints(definition)
