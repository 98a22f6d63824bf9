"""`cutout doctor`: look at everything that a stack needs, and say of each what it means."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from cutout_cli.program import explanation
from cutout_cli.stacks import Stack

_DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}


class State(StrEnum):
    """What a check came to; `UNKNOWN` could not be looked at, or was not wanted."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One check's result: what was found and what it means, and how to mend it."""

    check: str
    state: State
    text: str
    remedy: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def lines(self) -> list[str]:
        told = f"{self.state:8} {self.check}: {self.text}"
        return [told, *([f"{'':8} -> {self.remedy}"] if self.remedy else [])]


Check = Callable[[Stack], Iterator[Finding]]


class Trial(NamedTuple):
    """A check that spends or disturbs; `wanted` asks first, None if there is nobody to ask."""

    name: str
    check: Check
    wanted: Callable[[], bool | None]


def examine(
    stack: Stack, checks: Mapping[str, Check], trials: Sequence[Trial] = ()
) -> Iterator[Finding]:
    """Run the checks by their names, then the trials that are wanted."""
    for name, check in checks.items():
        yield from _run(stack, name, check)
    for trial in trials:
        wanted = trial.wanted()
        if wanted:
            yield from _run(stack, trial.name, trial.check)
        elif wanted is None:
            told = f"not tried: there is nobody to ask; add --{trial.name} or --yes"
            yield Finding(trial.name, State.UNKNOWN, told)


def _run(stack: Stack, name: str, check: Check) -> Iterator[Finding]:
    """One that AWS refuses or does not know keeps none of the others."""
    try:
        yield from check(stack)
    except (ClientError, BotoCoreError) as error:
        yield _not_seen(name, error)


def _not_seen(check: str, error: ClientError | BotoCoreError) -> Finding:
    why = explanation(error)
    response = error.response if isinstance(error, ClientError) else {}
    if response.get("Error", {}).get("Code") in _DENIED:
        remedy = "ask for that action; docs/cli.md has the whole policy"
        return Finding(check, State.UNKNOWN, f"you may not look: {why}", remedy)
    return Finding(check, State.UNKNOWN, f"not known here: {why}")
