"""What is told of a reconciliation: the findings are in a log, their number is the execution's."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cutout.domain.messages import Finding, FindingKind
from cutout_cli import reconcile
from cutout_cli.pages import Runs
from tests.unit.cli.conftest import CloudFormation, Cutout, FakeStack
from tests.unit.cli.test_backfill import MACHINE, States

GROUP = "/aws/lambda/cutout/reconcile"


class Logs:
    """A log group that shows its lines in parts."""

    def __init__(self) -> None:
        self.shown: list[list[dict[str, Any]]] = []

    def get_paginator(self, operation: str) -> "Logs":
        assert operation == "filter_log_events"
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        assert asked["logGroupName"] == GROUP
        run = asked["filterPattern"].strip('"')
        lines = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        events = [{"message": json.dumps({"run": run, "finding": line})} for line in lines]
        other = {"message": json.dumps({"message": f"another line about {run}"})}
        return [{"events": [*events, other]}]


@pytest.fixture
def logs(
    stack: FakeStack,
    cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
) -> Logs:
    logs = Logs()

    def client(service: str) -> Any:
        return logs if service == "logs" else stack.client(service)

    found = replace(stack, client=client)
    monkeypatch.setattr("cutout_cli.stacks.find_stack", lambda *_: found)
    cloudformation.outputs["ReconcileArn"] = MACHINE
    cloudformation.resources["ReconcileLogs"] = ("AWS::Logs::LogGroup", GROUP)
    return logs


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    states = States()
    monkeypatch.setattr(Runs, "_states", states)
    monkeypatch.setattr("cutout_cli.pages._LOOK_SECONDS", 0)
    monkeypatch.setattr("cutout_cli.reconcile.time", SimpleNamespace(sleep=lambda _: None))
    return states


def ended(**counts: int) -> dict[str, Any]:
    return {"status": "SUCCEEDED", "output": json.dumps({"counts": counts})}


MISSING = {"kind": "missing", "key": "a.jpg", "task_id": "0" * 32}
UNUSABLE = {"kind": "unusable", "key": "c d.jpg", "code": "empty_cutout"}
LEFT = {"kind": "output_left", "key": "b.jpg", "output_key": "b.jpg.png"}


def test_every_finding_is_told_once_with_its_remedy(
    cutout: Cutout, states: States, logs: Logs
) -> None:
    states.script = [ended(uploads=5, missing=1, output_left=1)]
    logs.shown = [[MISSING], [MISSING, LEFT]]

    result = cutout("reconcile")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "missing: a.jpg: not in the ledger: cutout backfill --prefix a.jpg",
        "output_left: b.jpg: was deleted, and its PNG is left: aws s3 rm s3://cutouts/b.jpg.png",
    ]
    assert result.stderr == "1 missing, 1 output_left, 5 uploads\n"


def test_where_all_agree_it_succeeds_as_with_pngs_that_are_left_and_results_of_no_use(
    cutout: Cutout, states: States, logs: Logs
) -> None:
    states.script, logs.shown = [ended(uploads=5)], [[]]
    assert cutout("reconcile").exit_code == 0

    states.script = [ended(outputs=5, failed=1, output_left=1, unusable=1)]
    logs.shown = [[LEFT, UNUSABLE]]
    done = cutout("reconcile", "--json")
    left, unusable = map(json.loads, done.stdout.splitlines())
    assert (done.exit_code, left.items() >= LEFT.items()) == (0, True)
    assert unusable["what"].endswith("another try is paid: cutout retry 'c d.jpg' --pay-again")


def test_what_the_log_does_not_show_yet_is_said(cutout: Cutout, states: States, logs: Logs) -> None:
    states.script, logs.shown = [ended(uploads=5, missing=2)], [[MISSING]]

    result = cutout("reconcile")

    assert "shows only 1 of 2 yet" in result.stderr
    assert result.exit_code == 1


def test_a_prefix_leaves_out_the_vendors_history(
    stack: FakeStack, cloudformation: CloudFormation
) -> None:
    cloudformation.parameters |= {"InputPrefix": "in/", "OutputPrefix": "out/"}

    def begun(prefix: str) -> dict[str, str]:
        return {cursor.pages.value: cursor.prefix for cursor in reconcile.begin(stack, prefix)}

    assert begun("") == {"uploads": "in/", "outputs": "out/", "failed": "", "history": ""}
    assert begun("in/a/") == {"uploads": "in/a/", "outputs": "out/in/a/", "failed": "in/a/"}


@pytest.mark.parametrize("kind", FindingKind)
def test_every_kind_has_a_remedy_that_names_what_it_is_about(
    stack: FakeStack, kind: FindingKind
) -> None:
    finding = Finding(kind=kind, key="k.jpg", output_key="k.jpg.png", prediction_id="p1")

    text = reconcile.remedy(finding, stack)

    assert "k.jpg" in text or "p1" in text
