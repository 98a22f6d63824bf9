"""What goes wrong on the side of AWS: calls that fail, functions that are killed at a call."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cutout_local.aws.faults import Rule
from cutout_local.aws.stack import LocalAws

# Most rows are shorter than the five attempts of the functions' SDK, some are longer.
AWS_RULES = (
    Rule(actions=["dynamodb:*"], error="ThrottlingException", status=400, rate=0.01, most=7),
    Rule(
        actions=["dynamodb:*"],
        error="ProvisionedThroughputExceededException",
        status=400,
        rate=0.01,
        most=7,
    ),
    Rule(
        actions=["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:TransactWriteItems"],
        error="InternalServerError",
        rate=0.01,
        carried_out=True,
    ),
    Rule(actions=["s3:*"], error="SlowDown", status=503, rate=0.02, most=7),
    Rule(actions=["s3:*"], error="InternalError", rate=0.02, most=2),
    Rule(actions=["s3:PutObject"], error="InternalError", rate=0.03, carried_out=True),
    Rule(actions=["states:*"], error="ThrottlingException", status=400, rate=0.03, most=7),
    Rule(actions=["states:*"], error="InternalFailure", rate=0.03, carried_out=True),
    Rule(actions=["sqs:*"], error="RequestThrottled", status=400, rate=0.02, most=3),
    Rule(actions=["sqs:*"], error="InternalFailure", rate=0.02, carried_out=True),
    Rule(actions=["events:*"], error="InternalException", rate=0.03, most=7),
    Rule(actions=["secretsmanager:*"], error="InternalServiceError", rate=0.1, most=3),
    Rule(actions=["lambda:*"], error="TooManyRequestsException", status=429, rate=0.02, most=2),
)

# What AWS does not promise: status changes of executions, ticks of schedules, and that a short poll
# sees every message.
LOST_DELIVERIES = (
    Rule(actions=["deliver:aws.states"], error="lost status changes", rate=0.3),
    Rule(actions=["deliver:aws.events"], error="lost schedule ticks", rate=0.2),
    Rule(actions=["poll:short"], error="short polls that saw nothing", rate=0.3),
)
# An answer that is slower than the functions' timeouts, and processes that stop and go on.
SLOW_CALLS = (
    Rule(actions=["*"], error="slow answers", rate=0.0005, carried_out=True, delay=20),
    Rule(actions=["dynamodb:*", "s3:*"], error="stopped processes", rate=0.0005, pause=10),
)
# Services that are away as a whole, in turn, for longer than an SDK or a queue retries.
SERVICES = {
    "dynamodb": ("InternalServerError", 500),
    "s3": ("ServiceUnavailable", 503),
    "secretsmanager": ("InternalServiceError", 500),
    "sqs": ("ServiceUnavailable", 503),
    "states": ("InternalFailure", 500),
    "events": ("InternalException", 500),
    "lambda": ("ServiceException", 500),
}
OUTAGE, APART = 15.0, 18.0  # seconds


def outage(service: str, place: int) -> Rule:
    """The rule by which a service is away, as the n-th of a campaign."""
    error, status = SERVICES[service]
    begins = 2 + place * APART
    actions = [f"{service}:*"]
    return Rule(actions=actions, error=error, status=status, begins=begins, ends=begins + OUTAGE)


# Where functions are killed, and roughly how often such a call is made for an upload.
# GetObject(Version) of the submit function is also the vendor's fetch by the URL it was lent, while
# the answer to the submit is under way.
CALLS_PER_UPLOAD = {
    ("SubmitFunction", "dynamodb:PutItem"): 2.0,
    ("SubmitFunction", "dynamodb:UpdateItem"): 1.5,
    ("SubmitFunction", "s3:GetObject*"): 1.5,
    ("SubmitFunction", "states:StartExecution"): 0.8,
    ("PollFunction", "dynamodb:UpdateItem"): 4.0,
    ("PollFunction", "s3:PutObject"): 0.6,
    ("WebhookFunction", "dynamodb:UpdateItem"): 0.6,
    ("WebhookFunction", "states:SendTaskSuccess"): 0.3,
    ("BackstopFunction", "dynamodb:GetItem"): 0.15,
    ("ClockFunction", "dynamodb:UpdateItem"): 1.0,
    ("ClockFunction", "sqs:SendMessage"): 0.3,
    ("ConvertFunction", "s3:GetObject*"): 0.02,
    ("ConvertFunction", "s3:PutObject"): 0.01,
    ("BackfillFunction", "s3:ListBucketVersions"): 0.2,
    ("BackfillFunction", "sqs:SendMessage"): 0.1,
    ("ReconcileFunction", "dynamodb:BatchGetItem"): 0.2,
}


@dataclass(frozen=True)
class Kill:
    """Kill a function's processes at its n-th call of an action, before or after its effect."""

    function: str
    action: str
    nth: int
    carried_out: bool

    def rule(self, physical_name: str) -> Rule:
        return Rule(
            actions=[self.action],
            caller=physical_name,
            nth=self.nth,
            carried_out=self.carried_out,
            kill=True,
        )


@dataclass
class AwsFaults:
    """Which calls AWS fails in a campaign, and how often it did."""

    seed: int
    kills: tuple[Kill, ...]
    outages: tuple[str, ...] = ()
    killed: list[Kill] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)

    def start(self, aws: LocalAws, physical_name: Callable[[str], str]) -> None:
        names = {function: physical_name(function) for function, _ in CALLS_PER_UPLOAD}
        kills = [kill.rule(names[kill.function]) for kill in self.kills]
        aws.set_faults([*kills, *self._rules], self.seed)

    @property
    def _rules(self) -> list[Rule]:
        outages = [outage(service, place) for place, service in enumerate(self.outages)]
        return [*outages, *LOST_DELIVERIES, *SLOW_CALLS, *AWS_RULES]

    def stop(self, aws: LocalAws) -> None:
        """Nothing fails from now on."""
        for place, times in aws.report().fired.items():
            if place < len(self.kills):
                self.killed.append(self.kills[place])
            else:
                rule = self._rules[place - len(self.kills)]
                away = " while away" if rule.ends else ""
                self.fired[f"{rule.actions[0].split(':')[0]} {rule.error}{away}"] += times
        aws.set_faults([])
