"""Which calls fail, and the report of those that were made; `injection` carries it out."""

import json
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase

CONTROL = "/_cutout/"
ROOT = "root"
"""The caller of what is done from outside, which no rule touches."""


@dataclass(frozen=True)
class Call:
    """A signed request, or one by a URL that was signed before.

    `caller`: the physical name of the function or state machine whose role signed it, or `root`.
    `action`: as in an IAM policy, e.g. `s3:GetObjectVersion`.

    EventBridge's deliveries are among them, of the caller `eventbridge`, with the event's source
    for an action, e.g. `deliver:aws.states`; a schedule's is `deliver:aws.events`.
    """

    caller: str
    action: str
    presigned: bool = False


@dataclass(frozen=True)
class Rule:
    """What becomes of calls of `caller` whose action is among `actions` (shell patterns).

    They fail with the service's `error` and HTTP `status`. By chance, at `rate`, a row of 1 to
    `most` failures begins, for an SDK hides a single one; or it is exactly the `nth` call.
    `carried_out`: the call has its effect all the same, which a 5xx of AWS leaves open.
    `kill`: the caller's processes are killed. `delay`: seconds before the answer. `pause`: the
    caller's processes are stopped (SIGSTOP) for so many seconds, and the call is served meanwhile.
    `begins` and `ends`: seconds after the rules were set, between which this one holds.

    A short poll of a queue that is struck, `poll:short` of the caller `sqs`, sees no message. A
    delivery is lost; if `carried_out`, it only comes late.
    """

    actions: list[str]
    error: str = "InternalFailure"
    status: int = 500
    caller: str = "*"
    rate: float = 1
    most: int = 1
    nth: int | None = None
    carried_out: bool = False
    kill: bool = False
    delay: float = 0
    pause: float = 0
    begins: float = 0
    ends: float | None = None

    def holds(self, seconds: float) -> bool:
        """Whether it is the rule's time."""
        return self.begins <= seconds and (self.ends is None or seconds < self.ends)

    def matches(self, call: Call) -> bool:
        named = any(fnmatchcase(call.action, pattern) for pattern in self.actions)
        return named and fnmatchcase(call.caller, self.caller)


@dataclass(frozen=True)
class Report:
    """How often each call was made, and each rule (by its place) fired."""

    calls: list[tuple[Call, int]] = field(default_factory=list)
    fired: dict[int, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: bytes) -> "Report":
        found = json.loads(text)
        calls = [(Call(**call), times) for call, times in found["calls"]]
        return cls(calls, {int(place): times for place, times in found["fired"].items()})

    def to_json(self) -> str:
        return json.dumps(asdict(self))
