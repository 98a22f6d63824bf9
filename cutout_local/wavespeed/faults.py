"""Faults on request, so that users and tests can rehearse them.

Two ways to ask for them:

- For one request, the header `x-cutout-fault: <fault>[=<seconds>][, <fault> ...]`. On a submit it
  holds for the whole task, wherever the fault acts: `output-truncated` truncates every download
  of that task's output. On any other request it holds for that request.
- For the server, `PUT /_faults` with a list of rules, which replaces the list before:
  `[{"fault": "result-server-error", "times": 2, "match": "cat.jpg"}]`. A rule strikes wherever its
  fault acts, until it has struck `times` times (not given: without end), each time with
  `probability` (1), on tasks whose image's URL path contains `match`. The dice are thrown from
  `seed`, the image's path and how often this rule met this path before, so that the order of
  requests changes nothing. `GET /_faults` tells how often each rule has struck.

`seconds` is how long `task-slow` and those named late take (5 if not given). Where several strike
one submit, poll or download, the first in this list wins.

On the submit:

- `submit-dropped`: the connection is reset, nothing was accepted
- `submit-rate-limited`: 429, nothing accepted
- `submit-no-credits`: 400, nothing accepted
- `submit-server-error`: 500, nothing accepted
- `submit-bad-gateway`: 502 in HTML, nothing accepted
- `submit-accepted-dropped`: accepted, then the connection is reset
- `submit-accepted-gateway-timeout`: accepted, 504 in HTML
- `submit-accepted-late`: accepted, answered after `seconds`

On the task:

- `task-slow`: takes `seconds` more
- `task-never-ends`: stays in processing
- `task-fails`: ends as failed
- `task-cancelled`: ends with the status of this name
- `task-timeout`
- `task-deleted`
- `task-unknown-status`: a status nobody knows, until it has ended

On the result and its alias:

- `result-dropped`: the connection is reset
- `result-rate-limited`: 429
- `result-server-error`: 500
- `result-bad-gateway`: 502 in HTML

On the download of the output:

- `output-expired`: 404
- `output-truncated`: the connection breaks off in the middle
- `output-incomplete`: a whole answer that holds half the PNG
- `output-wrong-bytes`: no PNG at all
- `output-no-alpha`: a PNG of the same size without transparency
- `output-private-redirect`: 302 to a link-local address

On the webhook:

- `webhook-lost`: never sent
- `webhook-late`: sent after `seconds`
- `webhook-twice`: sent again after it was delivered
- `webhook-forged`: one with a wrong signature that says failed comes first
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import httpx
from pydantic import BaseModel, Field, ValidationError

from cutout_local.wavespeed.errors import BadRequest

HEADER = "x-cutout-fault"
DEFAULT_SECONDS = 5.0
MAX_SECONDS = 86_400.0


class Fault(StrEnum):
    """What can go wrong, in the order of precedence; the module says what each does."""

    SUBMIT_DROPPED = "submit-dropped"
    SUBMIT_RATE_LIMITED = "submit-rate-limited"
    SUBMIT_NO_CREDITS = "submit-no-credits"
    SUBMIT_SERVER_ERROR = "submit-server-error"
    SUBMIT_BAD_GATEWAY = "submit-bad-gateway"
    SUBMIT_ACCEPTED_DROPPED = "submit-accepted-dropped"
    SUBMIT_ACCEPTED_GATEWAY_TIMEOUT = "submit-accepted-gateway-timeout"
    SUBMIT_ACCEPTED_LATE = "submit-accepted-late"
    TASK_SLOW = "task-slow"
    TASK_NEVER_ENDS = "task-never-ends"
    TASK_FAILS = "task-fails"
    TASK_CANCELLED = "task-cancelled"
    TASK_TIMEOUT = "task-timeout"
    TASK_DELETED = "task-deleted"
    TASK_UNKNOWN_STATUS = "task-unknown-status"
    RESULT_DROPPED = "result-dropped"
    RESULT_RATE_LIMITED = "result-rate-limited"
    RESULT_SERVER_ERROR = "result-server-error"
    RESULT_BAD_GATEWAY = "result-bad-gateway"
    OUTPUT_EXPIRED = "output-expired"
    OUTPUT_TRUNCATED = "output-truncated"
    OUTPUT_INCOMPLETE = "output-incomplete"
    OUTPUT_WRONG_BYTES = "output-wrong-bytes"
    OUTPUT_NO_ALPHA = "output-no-alpha"
    OUTPUT_PRIVATE_REDIRECT = "output-private-redirect"
    WEBHOOK_LOST = "webhook-lost"
    WEBHOOK_LATE = "webhook-late"
    WEBHOOK_TWICE = "webhook-twice"
    WEBHOOK_FORGED = "webhook-forged"


class FaultRule(BaseModel):
    """When a fault strikes; see the module."""

    fault: Fault
    times: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1, ge=0, le=1, allow_inf_nan=False)
    seed: int = 0
    match: str = ""
    seconds: float = Field(default=DEFAULT_SECONDS, ge=0, le=MAX_SECONDS, allow_inf_nan=False)


class FaultReport(FaultRule):
    """A rule, and how often it has struck."""

    struck: int = 0


Asked = Mapping[Fault, float]
"""Faults asked for by a header, with their seconds."""


class Strike(NamedTuple):
    """A fault that strikes, and its seconds."""

    fault: Fault
    seconds: float


@dataclass
class _Rule:
    rule: FaultRule
    struck: int = 0
    met: Counter[str] = field(default_factory=Counter)

    def strikes(self, path: str) -> bool:
        if self.rule.match not in path or self.struck == self.rule.times:
            return False
        self.met[path] += 1
        dice = random.Random(f"{self.rule.seed} {self.rule.fault} {path} {self.met[path]}")  # noqa: S311
        hit = dice.random() < self.rule.probability
        self.struck += hit
        return hit


class Faults:
    """The rules of one server."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def replace(self, rules: list[FaultRule]) -> None:
        """Forget the rules before."""
        self._rules = [_Rule(rule) for rule in rules]

    def report(self) -> list[FaultReport]:
        """Return every rule with its count."""
        return [FaultReport(**rule.rule.model_dump(), struck=rule.struck) for rule in self._rules]

    def strike(self, fault: Fault, image: str, asked: Asked) -> float | None:
        """Return the seconds of `fault` if it strikes a task with this image URL, else None."""
        if fault in asked:
            return asked[fault]
        path = image_path(image)
        for rule in self._rules:
            if rule.rule.fault is fault and rule.strikes(path):
                return rule.rule.seconds
        return None

    def first(self, area: str, image: str, asked: Asked) -> Strike | None:
        """Return the first fault that strikes in this area: `submit`, `result` or `output`."""
        for fault in Fault:
            if fault.startswith(f"{area}-"):
                seconds = self.strike(fault, image, asked)
                if seconds is not None:
                    return Strike(fault, seconds)
        return None


def image_path(image: str) -> str:
    """Return the decoded path of an image's URL, without its query, which may be a signature."""
    return httpx.URL(image).path


def parse_header(value: str) -> Asked:
    """Read the header; raise `BadRequest` for what is no fault."""
    parts = filter(None, (part.strip() for part in value.split(",")))
    return dict(_parse_fault(part) for part in parts)


def _parse_fault(part: str) -> tuple[Fault, float]:
    name, _, seconds = part.partition("=")
    try:
        rule = FaultRule.model_validate({"fault": name, "seconds": seconds or DEFAULT_SECONDS})
    except ValidationError as error:
        raise BadRequest(f"{HEADER}: {part!r} is no fault; known: {', '.join(Fault)}") from error
    return rule.fault, rule.seconds
