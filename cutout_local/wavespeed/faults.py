"""Faults on request, so that users and tests can rehearse them.

Two ways to ask for them:

- For one request, the header `x-cutout-fault: <fault>[=<seconds>][, <fault> ...]`. On a submit it
  holds for the whole task, wherever the fault acts: `output-truncated` truncates every download
  of that task's output. On any other request it holds for that request.
- For the server, `PUT /_faults` with a list of rules, which replaces the list before:
  `[{"fault": "result-server-error", "times": 2, "match": "cat.jpg"}]`. A rule fires wherever its
  fault acts, until it has fired `times` times (not given: without end), each time with
  `probability` (1), on tasks whose image's URL path contains `match`. Chance comes from
  `seed`, the image's path and how often this rule saw this path before, so that the order of
  requests changes nothing. `GET /_faults` tells how often each rule has, as `fired`.

`seconds` is how long `task-slow` and those named late take (5 if not given). Where several fire
on one submit, poll or download, the first in the list below wins.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple, Self

import httpx
from pydantic import BaseModel, Field, ValidationError

from cutout_local.wavespeed.errors import BadRequest

HEADER = "x-cutout-fault"
DEFAULT_SECONDS = 5.0
MAX_SECONDS = 86_400.0


class Fault(StrEnum):
    """What can go wrong, in the order of precedence; each says what it does."""

    sentence: str

    def __new__(cls, name: str, sentence: str) -> Self:
        fault = str.__new__(cls, name)
        fault._value_ = name
        fault.sentence = sentence
        return fault

    SUBMIT_DROPPED = "submit-dropped", "the connection is reset, nothing was accepted"
    SUBMIT_RATE_LIMITED = "submit-rate-limited", "429, nothing accepted"
    SUBMIT_NO_CREDITS = "submit-no-credits", "400, nothing accepted"
    SUBMIT_SERVER_ERROR = "submit-server-error", "500, nothing accepted"
    SUBMIT_BAD_GATEWAY = "submit-bad-gateway", "502 in HTML, nothing accepted"
    SUBMIT_REDIRECTED = "submit-redirected", "302 to another host, nothing accepted"
    SUBMIT_ACCEPTED_DROPPED = "submit-accepted-dropped", "accepted, then the connection is reset"
    SUBMIT_ACCEPTED_GATEWAY_TIMEOUT = "submit-accepted-gateway-timeout", "accepted, 504 in HTML"
    SUBMIT_ACCEPTED_TIMEOUT = "submit-accepted-timeout", "accepted, 408"
    SUBMIT_ACCEPTED_AS_ANOTHER = (
        "submit-accepted-as-another",
        "accepted, the answer names another task, if one has ended",
    )
    SUBMIT_ACCEPTED_LATE = "submit-accepted-late", "accepted, answered after `seconds`"
    TASK_SLOW = "task-slow", "takes `seconds` more"
    TASK_NEVER_ENDS = "task-never-ends", "stays in processing"
    TASK_FAILS = "task-fails", "ends as failed"
    TASK_FAILS_WITH_SECRETS = (
        "task-fails-with-secrets",
        "its error quotes the image's URL and a key",
    )
    TASK_CANCELLED = "task-cancelled", "ends with the status of this name"
    TASK_TIMEOUT = "task-timeout", "ends with the status of this name"
    TASK_DELETED = "task-deleted", "ends with the status of this name"
    TASK_UNKNOWN_STATUS = "task-unknown-status", "a status nobody knows, until it has ended"
    RESULT_DROPPED = "result-dropped", "the connection is reset"
    RESULT_RATE_LIMITED = "result-rate-limited", "429"
    RESULT_SERVER_ERROR = "result-server-error", "500"
    RESULT_BAD_GATEWAY = "result-bad-gateway", "502 in HTML"
    RESULT_OF_ANOTHER = "result-of-another", "that of another task, if one has ended"
    HISTORY_LATE = "history-late", "the history lists the task only after `seconds`"
    OUTPUT_SLOW = "output-slow", "sent after `seconds`"
    OUTPUT_EXPIRED = "output-expired", "404"
    OUTPUT_TRUNCATED = "output-truncated", "the connection breaks off in the middle"
    OUTPUT_INCOMPLETE = "output-incomplete", "a whole answer that holds half the PNG"
    OUTPUT_WRONG_BYTES = "output-wrong-bytes", "no PNG at all"
    OUTPUT_NO_ALPHA = "output-no-alpha", "a PNG of the same size without transparency"
    OUTPUT_EMPTY = "output-empty", "a PNG of the same size, wholly transparent"
    OUTPUT_DAMAGED_PIXELS = (
        "output-damaged-pixels",
        "a PNG whose chunks are right and pixels are not",
    )
    OUTPUT_PRIVATE_REDIRECT = "output-private-redirect", "302 to a link-local address"
    WEBHOOK_LOST = "webhook-lost", "never sent"
    WEBHOOK_LATE = "webhook-late", "sent after `seconds`"
    WEBHOOK_TWICE = "webhook-twice", "sent again after it was delivered"
    WEBHOOK_FORGED = "webhook-forged", "one with a wrong signature that says failed comes first"
    PRICE_TOO_LOW = "price-too-low", "a thousandth of what is billed"

    @property
    def area(self) -> str:
        """Where it acts: `submit`, `task`, `result`, `history`, `output`, `webhook`, `price`."""
        return self.partition("-")[0]


def _described() -> Iterator[str]:
    for area, faults in groupby(Fault, lambda fault: fault.area):
        yield f"\nOn the {area}:\n"
        yield from (f"- `{fault}`: {fault.sentence}" for fault in faults)


DESCRIPTION = "\n".join([__doc__.rstrip(), *_described()])
"""How to ask for faults, and what each does."""


class FaultRule(BaseModel):
    """When a fault fires; see the module."""

    fault: Fault
    times: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1, ge=0, le=1, allow_inf_nan=False)
    seed: int = 0
    match: str = ""
    seconds: float = Field(default=DEFAULT_SECONDS, ge=0, le=MAX_SECONDS, allow_inf_nan=False)


class FaultReport(FaultRule):
    """A rule, and how often it has fired."""

    fired: int = 0


RequestedFaults = Mapping[Fault, float]
"""Faults asked for by a header, with their seconds."""


class Triggered(NamedTuple):
    """A fault that fires, and its seconds."""

    fault: Fault
    seconds: float


@dataclass
class _Rule:
    rule: FaultRule
    fired: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def fires(self, path: str) -> bool:
        if self.rule.match not in path or self.fired == self.rule.times:
            return False
        self.seen[path] += 1
        rng = random.Random(f"{self.rule.seed} {self.rule.fault} {path} {self.seen[path]}")  # noqa: S311
        hit = rng.random() < self.rule.probability
        self.fired += hit
        return hit


class Faults:
    """The rules of one server."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def replace(self, rules: list[FaultRule]) -> None:
        """Forget the rules before."""
        self._rules = [_Rule(rule) for rule in rules]

    def report(self) -> list[FaultReport]:
        """Every rule with its count."""
        return [FaultReport(**rule.rule.model_dump(), fired=rule.fired) for rule in self._rules]

    def fires(self, fault: Fault, image: str, asked: RequestedFaults) -> float | None:
        """The seconds of `fault` if it fires on a task with this image URL, else None."""
        if fault in asked:
            return asked[fault]
        path = image_path(image)
        for rule in self._rules:
            if rule.rule.fault is fault and rule.fires(path):
                return rule.rule.seconds
        return None

    def first(self, area: str, image: str, asked: RequestedFaults) -> Triggered | None:
        """The first fault that fires in this area: `submit`, `result` or `output`."""
        for fault in Fault:
            if fault.area == area:
                seconds = self.fires(fault, image, asked)
                if seconds is not None:
                    return Triggered(fault, seconds)
        return None


def image_path(image: str) -> str:
    """The decoded path of an image's URL, without its query, which may be a signature."""
    return httpx.URL(image).path


def parse_header(value: str) -> RequestedFaults:
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
