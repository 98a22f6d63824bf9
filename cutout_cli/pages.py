"""Executions that go through a bucket page by page in the account, and how far they are."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from botocore.exceptions import ClientError
from rich.progress import Progress, TextColumn

from cutout.domain.messages import Cursor, plain_cause
from cutout_cli.errors import RunFailed
from cutout_cli.report import console
from cutout_cli.stacks import Stack
from cutout_cli.terminal import tell

MOST_PREFIXES = 40  # the state of an execution has 256 KB, and a cursor up to 3
_AT_ONCE = 8  # of the files of an inventory; the machine reads no more side by side
_LOOK_SECONDS = 1.0
_EVENTS = 300  # more than a round of all prefixes has
Counts = dict[str, int]


def cursors(stack: Stack, prefixes: Sequence[str], manifest: str | None = None) -> list[Cursor]:
    """Where to begin: at each prefix, or in the first files of an inventory."""
    whole = stack.parameters.get("InputPrefix", "")
    if manifest:
        each = {"manifest": manifest, "step": _AT_ONCE, "prefix": whole}
        return [Cursor.model_validate({**each, "file": file}) for file in range(_AT_ONCE)]
    if len(prefixes) > MOST_PREFIXES:
        raise typer.BadParameter(f"no more than {MOST_PREFIXES} prefixes at once")
    if outside := [prefix for prefix in prefixes if not prefix.startswith(whole)]:
        raise typer.BadParameter(f"{outside[0]!r} is not under InputPrefix, {whole!r}")
    return [Cursor(prefix=prefix) for prefix in _apart(prefixes or [whole])]


def _apart(prefixes: Sequence[str]) -> list[str]:
    """Without those that another one has in it."""
    apart: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not apart or not prefix.startswith(apart[-1]):
            apart.append(prefix)
    return apart


@dataclass(frozen=True)
class Runs:
    """What runs of one state machine do; a run is one execution after the other."""

    stack: Stack
    machine: str

    def running(self) -> list[str]:
        """The names of the executions that run."""
        listed = self._states.list_executions(stateMachineArn=self.machine, statusFilter="RUNNING")
        return [execution["name"] for execution in listed["executions"]]

    def start(self, begin: Sequence[Cursor], page_size: int, *, dry_run: bool = False) -> str:
        """Begin a run; the name of its first execution."""
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        given = [cursor.model_dump(exclude_none=True) for cursor in begin]
        asked = {"run": run, "cursors": given, "page_size": page_size, "dry_run": dry_run}
        self._states.start_execution(
            stateMachineArn=self.machine, name=f"{run}-1", input=json.dumps(asked)
        )
        return f"{run}-1"

    def follow(self, name: str) -> Iterator[Counts]:
        """What has been counted, again and again, and at last in all.

        Raises `RunFailed`, also if somebody stopped it.
        """
        while True:
            found = self._find(name)
            if found["status"] == "RUNNING":
                yield from self._counted(name)
                time.sleep(_LOOK_SECONDS)
            elif found["status"] == "SUCCEEDED":
                output = json.loads(found["output"])
                yield output["counts"]
                if "next" not in output:
                    return
                name = output["next"]
            else:
                raise RunFailed(_why(found))

    def stop(self) -> list[str]:
        """End all that run, between two pages; the names of their executions."""
        stopped: list[str] = []
        while running := self.running():
            for name in running:
                self._stop(name)
            stopped += running
        return list(dict.fromkeys(stopped))

    def _stop(self, name: str) -> None:
        try:
            self._states.stop_execution(
                executionArn=self._arn(name), error="Stopped", cause="by cutout backfill --stop"
            )
        except ClientError:
            if name in self.running():  # else it ended in this moment, and another may go on
                raise

    def _find(self, name: str) -> dict[str, Any]:
        """An execution; the next one of a run may take a moment to be seen."""
        for _ in range(10):
            try:
                return dict(self._states.describe_execution(executionArn=self._arn(name)))
            except ClientError as error:
                if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                    raise
                time.sleep(_LOOK_SECONDS)
        raise RunFailed(f"there is no execution {name}")

    def _counted(self, name: str) -> Iterator[Counts]:
        """What the last round of an execution says, if there was one."""
        history = self._states.get_execution_history(
            executionArn=self._arn(name), reverseOrder=True, maxResults=_EVENTS
        )
        for event in history["events"]:
            if event["type"] == "MapStateExited":
                yield json.loads(event["stateExitedEventDetails"]["output"])["counts"]
                return

    def _arn(self, name: str) -> str:
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"

    @property
    def _states(self) -> Any:
        return self.stack.client("stepfunctions")


def followed(runs: Runs, name: str) -> Counts:
    """What a run counts in all; on a terminal, how far it is."""
    counts: Counts = {}
    column = TextColumn("{task.description}", markup=False)
    shows = console(stderr=True)
    with Progress(column, console=shows, transient=True, disable=not shows.is_terminal) as progress:
        shown_counts = progress.add_task(f"{name} runs")
        try:
            for counts in runs.follow(name):
                text = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
                progress.update(shown_counts, description=text)
        except KeyboardInterrupt:
            tell(f"{name} goes on in the account; the same command follows it")
            raise
    return counts


def _why(execution: dict[str, Any]) -> str:
    ended = execution["status"].lower().replace("_", " ")
    told = [execution.get("error"), plain_cause(execution.get("cause") or "")]
    why = ": ".join(part for part in told if part) or "no cause was given"
    return f"it {ended} ({why}); the same command goes on"
