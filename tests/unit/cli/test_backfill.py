"""What a backfill tells before and after, around executions that are played from a script."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError

from cutout_cli.errors import RunFailed
from cutout_cli.pages import MOST_PREFIXES, Runs, cursors
from tests.support.harness import PipelineHarness
from tests.unit.cli.conftest import CloudFormation, Cutout, FakeStack

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:Backfill"
RUNNING: dict[str, Any] = {"status": "RUNNING"}


def done(objects: int, missing: int, following: str | None = None) -> dict[str, Any]:
    output: dict[str, Any] = {"counts": {"objects": objects, "missing": missing}}
    output |= {"next": following} if following else {}
    return {"status": "SUCCEEDED", "output": json.dumps(output)}


class States:
    """Executions that are described as a script says, one answer after the other."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.running: list[str] = []
        self.stopped: list[str] = []
        self.script: list[dict[str, Any] | Exception] = []
        self.asked: list[str] = []

    def list_executions(self, **asked: str) -> dict[str, Any]:
        assert asked == {"stateMachineArn": MACHINE, "statusFilter": "RUNNING"}
        return {"executions": [{"name": name} for name in self.running]}

    def start_execution(self, **asked: str) -> None:
        assert asked["stateMachineArn"] == MACHINE
        given = json.loads(asked["input"])
        assert asked["name"] == f"{given['run']}-1"
        self.started.append(given)

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.asked.append(executionArn.rpartition(":")[2])
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get_execution_history(self, **_asked: Any) -> dict[str, Any]:
        output = json.dumps({"counts": {"objects": 1000, "missing": 1}, "cursors": []})
        exited = {"type": "MapStateExited", "stateExitedEventDetails": {"output": output}}
        return {"events": [{"type": "TaskScheduled"}, exited, exited]}

    def stop_execution(self, **asked: str) -> None:
        name = asked["executionArn"].rpartition(":")[2]
        self.stopped.append(name)
        self.running.remove(name)
        if name == "r-1":  # it had started the next one
            self.running.append("r-2")


@pytest.fixture
def states(
    harness: PipelineHarness,
    stack: FakeStack,
    cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
) -> States:
    states = States()
    harness.states = states
    stack.asks_vendor = False
    cloudformation.outputs["BackfillArn"] = MACHINE
    monkeypatch.setattr(Runs, "_states", states)
    monkeypatch.setattr("cutout_cli.pages._LOOK_SECONDS", 0)
    return states


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(
    cutout: Cutout, states: States
) -> None:
    states.script = [RUNNING, done(12_000, 300)]

    told = cutout("backfill", "--dry-run").stdout

    assert told == (
        "12000 objects, of which 300 are not in the ledger: "
        "$3.00 at $0.01 (PricePerImage), 14.4 hours\n"
    )
    (asked,) = states.started
    assert asked["dry_run"] is True
    assert asked["page_size"] == 1000
    assert [cursor["prefix"] for cursor in asked["cursors"]] == [""]


def test_a_rate_says_how_long_it_takes_when_there_is_no_budget(
    cutout: Cutout, states: States, cloudformation: CloudFormation
) -> None:
    cloudformation.parameters["DailyBudget"] = "0"
    states.script = [done(300, 295)]
    assert "PricePerImage), 30 minutes\n" in cutout("backfill", "--dry-run").stdout

    cutout("limit", "--images-per-minute", "0")
    states.script = [done(300, 295)]
    assert cutout("backfill", "--dry-run").stdout.endswith("(PricePerImage)\n")


def test_what_is_confirmed_is_sent_and_followed_through_all_executions(
    cutout: Cutout, states: States
) -> None:
    gone = ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
    states.script = [done(5, 2), RUNNING, done(3, 1, "r-2"), gone, RUNNING, done(5, 2)]

    (line,) = cutout("backfill", "--yes", "--json", "--prefix", "a/").stdout.splitlines()

    assert json.loads(line) == {
        "objects": 5,
        "missing": 2,
        "price": "0.01",
        "live_price": False,
        "cost": "0.02",
        "minutes": 6,
        "sent": True,
    }
    assert [asked["dry_run"] for asked in states.started] == [True, False]
    assert states.asked[-1] == "r-2"


def test_nobody_is_asked_when_nothing_is_missing(cutout: Cutout, states: States) -> None:
    states.script = [done(5, 0)]

    assert cutout("backfill").stdout == "5 objects, of which 0 are not in the ledger\n"
    assert len(states.started) == 1


def test_without_a_terminal_nothing_is_sent_unasked(cutout: Cutout, states: States) -> None:
    states.script = [done(5, 2)]

    result = cutout("backfill")

    assert result.exit_code == 1
    assert "send them? There is nobody to ask; add --yes" in result.stderr
    assert [asked["dry_run"] for asked in states.started] == [True]


def test_what_runs_already_is_followed_and_not_started_again(
    cutout: Cutout, states: States
) -> None:
    states.running, states.script = ["r-3"], [RUNNING, done(5, 2)]

    result = cutout("backfill", "--yes")

    assert "r-3 is running already; this follows it" in result.stderr
    assert result.stdout.startswith("5 objects, of which 2")
    assert states.started == []


def test_all_that_runs_is_stopped_the_next_execution_too(cutout: Cutout, states: States) -> None:
    states.running = ["r-1"]
    assert cutout("backfill", "--stop").stderr == "stopped: r-1, r-2\n"
    assert cutout("backfill", "--stop").stderr == "stopped: nothing, for nothing was running\n"


@pytest.mark.parametrize(
    ("execution", "why"),
    [
        ({"status": "ABORTED", "error": "Stopped", "cause": "by me"}, "aborted .Stopped: by me"),
        ({"status": "TIMED_OUT"}, "timed out .no cause was given"),
    ],
)
def test_a_run_that_ended_otherwise_says_why(
    cutout: Cutout, states: States, execution: dict[str, Any], why: str
) -> None:
    states.script = [execution]

    result = cutout("backfill")

    assert result.exit_code == 1
    assert "the same command goes on" in result.stderr
    states.script = [execution]
    runs = Runs(FakeStack("cutout", lambda _: states), MACHINE)
    with pytest.raises(RunFailed, match=why):
        list(runs.follow("r-1"))


def test_an_interrupted_command_says_that_the_run_goes_on(
    cutout: Cutout, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_runs: Runs, _name: str) -> Iterator[dict[str, int]]:
        yield {"objects": 1}
        raise KeyboardInterrupt

    monkeypatch.setattr(Runs, "follow", interrupted)

    result = cutout("backfill")

    assert result.exit_code == 130
    assert "goes on in the account; the same command follows it" in result.stderr


def test_prefixes_lie_under_the_stacks_own_and_none_in_another(
    stack: FakeStack, cloudformation: CloudFormation
) -> None:
    cloudformation.parameters["InputPrefix"] = "in/"

    assert [c.prefix for c in cursors(stack, [])] == ["in/"]
    asked = ["in/b", "in/a/x", "in/a/", "in/b"]
    assert [c.prefix for c in cursors(stack, asked)] == ["in/a/", "in/b"]
    with pytest.raises(typer.BadParameter, match="not under InputPrefix, 'in/'"):
        cursors(stack, ["out/"])
    with pytest.raises(typer.BadParameter, match="no more than 40"):
        cursors(stack, [f"in/{n}" for n in range(MOST_PREFIXES + 1)])


def test_the_files_of_an_inventory_are_read_by_eight_side_by_side(
    cutout: Cutout, states: States
) -> None:
    states.script = [done(5, 0)]
    url = "s3://inventories/manifest.json"

    cutout("backfill", "--manifest", url)

    (asked,) = states.started
    assert [cursor["file"] for cursor in asked["cursors"]] == list(range(8))
    assert {(cursor["manifest"], cursor["step"]) for cursor in asked["cursors"]} == {(url, 8)}
    assert cutout("backfill", "--manifest", url, "--prefix", "a/").exit_code == 2
