"""The state machine's file as a graph, and its words against the code's."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cutout import poll
from cutout.domain import errors
from cutout.domain.messages import (
    Closed,
    Cursor,
    Execution,
    ExecutionEnded,
    PageRequest,
    Pages,
    WaitLoopState,
)
from cutout.domain.schedule import next_wait
from cutout.domain.tasks import Status
from cutout_cli.pages import MOST_PREFIXES
from tests.support.template import (
    PAGES,
    ROOT,
    STATE_MACHINE,
    resources,
    state_machine,
    template,
)

FROM_PYTHON = {"AttributeError", "TypeError", "ValidationError"}
FROM_AWS = ("States.", "Lambda.", "Runtime.", "Sandbox.")


def following(state: dict[str, Any]) -> Iterator[str]:
    for part in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (part[word] for word in ("Next", "Default") if word in part)


@pytest.mark.parametrize("path", [STATE_MACHINE, PAGES])
def test_every_state_is_reached_and_every_way_leads_to_a_state(path: Path) -> None:
    states, reached, ahead = state_machine(path)["States"], set(), {state_machine(path)["StartAt"]}
    while ahead:
        assert ahead <= set(states)
        reached |= ahead
        ahead = {name for state in ahead for name in following(states[state])} - reached

    assert reached == set(states)


@pytest.mark.parametrize("path", [STATE_MACHINE, PAGES])
def test_a_machine_is_bounded_and_says_what_its_states_are_for(path: Path) -> None:
    assert state_machine(path)["TimeoutSeconds"] <= 86400
    for name, state in state_machine(path)["States"].items():
        assert len(state["Comment"]) > 20, name


@pytest.mark.parametrize(
    "name", [n for n, s in state_machine()["States"].items() if s["Type"] == "Task"]
)
def test_every_task_is_retried_or_replaced_for_named_errors_only(name: str) -> None:
    state = state_machine()["States"][name]
    named = [e for retry in state.get("Retry", []) for e in retry["ErrorEquals"]]

    assert named or state["Catch"][-1]["Next"] == "Wait"
    assert "States.ALL" not in named
    for error in set(named) - FROM_PYTHON:
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


@pytest.mark.parametrize("machine", resources("AWS::Serverless::StateMachine"))
def test_every_substitution_is_filled_in_by_the_template(machine: str) -> None:
    properties = resources("AWS::Serverless::StateMachine")[machine]
    used = re.findall(r"\$\{(\w+)\}", (ROOT / properties["DefinitionUri"]).read_text())

    assert set(used) == set(properties["DefinitionSubstitutions"])


def complaints(definition: dict[str, Any]) -> list[str]:
    """What cfn-lint's schema of the Amazon States Language says of a definition."""
    from cfnlint import lint  # here, for each worker collects this file, and one runs it
    from cfnlint.config import ManualArgs

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


# ------------------------------------------------------------------ the pages of a bucket


def page() -> dict[str, Any]:
    """The state that reads a page."""
    pages = state_machine(PAGES)["States"]["Pages"]
    state: dict[str, Any] = pages["ItemProcessor"]["States"]["Page"]
    return state


def test_the_pages_of_an_execution_fit_into_its_history() -> None:
    """A round has six events and seven for each of its pages; a retry three more."""
    begin = state_machine(PAGES)["States"]["Begin"]["Output"]
    (pages,) = map(int, re.findall(r'"pages_per_execution": (\d+)', begin))
    (retrier,) = page()["Retry"]

    assert (6 + 7) * (pages + MOST_PREFIXES) + 3 * retrier["MaxAttempts"] * MOST_PREFIXES < 25_000


def test_the_state_of_an_execution_stays_below_its_bound() -> None:
    """256 KB; a key has up to 1,024 bytes, and JSON needs up to six for one of them.

    Control characters are rare in keys; other ones need two at most.
    """
    longest = Cursor(prefix="k" * 1024, after_key='"' * 1024, after_version="v" * 1024)

    assert MOST_PREFIXES * len(longest.model_dump_json()) < 256 * 1024


def test_the_machine_of_the_pages_asks_for_a_page_as_its_functions_read_it() -> None:
    selected = state_machine(PAGES)["States"]["Pages"]["ItemSelector"]

    assert set(selected) == set(PageRequest.model_fields)


def test_the_schedule_starts_the_machine_with_pages_that_there_are() -> None:
    (target,) = resources("AWS::Events::Rule")["ReconcileRule"]["Targets"]
    given = json.loads(target["Input"]["Fn::Sub"].replace("${InputPrefix}", "in/"))

    cursors = [Cursor.model_validate(cursor) for cursor in given["cursors"]]
    assert [cursor.pages for cursor in cursors] == [Pages.UPLOADS, Pages.FAILED, Pages.HISTORY]
    assert cursors[0].prefix == "in/"


def test_a_page_outlives_its_function_and_is_tried_again_for_passing_troubles_only() -> None:
    (retrier,) = page()["Retry"]
    ours = {name for name in retrier["ErrorEquals"] if "." not in name}

    functions = resources("AWS::Serverless::Function")
    for function in ("BackfillFunction", "ReconcileFunction"):
        assert page()["TimeoutSeconds"] > functions[function]["Timeout"]
    assert ours == {"ServiceError", "VendorUnavailable", "RateLimited"}
    assert all(name.startswith(FROM_AWS) for name in set(retrier["ErrorEquals"]) - ours)


def test_the_machine_of_the_pages_is_in_the_amazon_states_language() -> None:
    definition = json.loads(re.sub(r"\$\{Partition\}", "aws", json.dumps(state_machine(PAGES))))
    assert complaints(definition) == []

    del definition["States"]["Pages"]["ItemProcessor"]["States"]["Page"]["Resource"]
    assert complaints(definition)
