"""What goes wrong on the side of AWS: calls that fail, functions that are killed at a call."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

from cutout_local.aws import AwsFaults, Call, Fault, FaultRule, LocalAws

_CHANGES = frozenset({"PutItem", "UpdateItem"})

# Most rows are shorter than the five attempts of the functions' SDK, some are longer.
AWS_RULES = (
    FaultRule("dynamodb", Fault("ThrottlingException", 400), 0.01, most=7),
    FaultRule("dynamodb", Fault("ProvisionedThroughputExceededException", 400), 0.01, most=7),
    FaultRule("dynamodb", Fault("InternalServerError", 500, carried_out=True), 0.01, _CHANGES),
    FaultRule("s3", Fault("SlowDown", 503), 0.02, most=7),
    FaultRule("s3", Fault("InternalError", 500), 0.02, most=2),
    FaultRule("s3", Fault("InternalError", 500, carried_out=True), 0.03, frozenset({"PutObject"})),
    FaultRule("states", Fault("ThrottlingException", 400), 0.03, most=7),
    FaultRule("states", Fault("InternalFailure", 500, carried_out=True), 0.03),
    FaultRule("sqs", Fault("RequestThrottled", 400), 0.02, most=3),
    FaultRule("sqs", Fault("InternalFailure", 500, carried_out=True), 0.02),
    FaultRule("events", Fault("InternalException", 500), 0.03, most=7),
    FaultRule("secretsmanager", Fault("InternalServiceError", 500), 0.1, most=3),
    FaultRule("lambda", Fault("TooManyRequestsException", 429), 0.02, most=2),
)

# Where functions are killed, and roughly how often such a call is made for an upload. GetObject is
# also the vendor's fetch by the URL it was lent, while the answer to the submit is under way.
CALLS_PER_UPLOAD = {
    ("SubmitFunction", "dynamodb", "PutItem"): 2.0,
    ("SubmitFunction", "dynamodb", "UpdateItem"): 1.5,
    ("SubmitFunction", "s3", "GetObject"): 1.5,
    ("SubmitFunction", "states", "StartExecution"): 0.8,
    ("PollFunction", "dynamodb", "UpdateItem"): 4.0,
    ("PollFunction", "s3", "PutObject"): 0.6,
    ("WebhookFunction", "dynamodb", "UpdateItem"): 0.6,
    ("WebhookFunction", "states", "SendTaskSuccess"): 0.3,
    ("BackstopFunction", "dynamodb", "GetItem"): 0.15,
}


@dataclass(frozen=True)
class Kill:
    """Kill a function's processes at its n-th call of an operation, before or after its effect."""

    function: str
    service: str
    operation: str
    nth: int
    carried_out: bool

    @property
    def at(self) -> tuple[str, str, str, int]:
        return self.function, self.service, self.operation, self.nth


@dataclass
class Troubles:
    """An `OnCall`: fails calls by the dice and kills by the plan, until it is told to stop.

    `aws` is the stack to kill in, once there is one.
    """

    faults: AwsFaults
    kills: tuple[Kill, ...]
    aws: LocalAws | None = None
    killed: list[Kill] = field(default_factory=list)
    _met: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, call: Call) -> Fault | None:
        if self.aws is None:
            return None
        if kill := self._due(call):
            self.aws.kill(kill.function)
            lost = Fault("InternalFailure", 500, carried_out=kill.carried_out)
            return None if call.presigned else lost  # the vendor's call does not die with ours
        return self.faults(call)

    def stop(self) -> None:
        self.aws = None

    def _due(self, call: Call) -> Kill | None:
        met = (call.caller, call.service, call.operation)
        with self._lock:
            self._met[met] += 1
            due = next((kill for kill in self.kills if kill.at == (*met, self._met[met])), None)
            if due:
                self.killed.append(due)
            return due
