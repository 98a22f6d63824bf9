"""`cutout doctor` around an AWS in memory, well and with one thing after the other amiss."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from typer.testing import Result

from cutout.domain.messages import VendorAnswer, VendorQuestion
from cutout.domain.tasks import Status
from cutout_cli.checks import CHECKS, functions_at_once, transitions_a_second
from cutout_cli.doctor import State, examine
from cutout_cli.trials import tiny_image
from tests.support.harness import PipelineHarness
from tests.support.template import template
from tests.unit.cli.conftest import CloudFormation, Cutout, FakeStack, Fates

Doctor = Callable[..., Result]
QUIET = ("--no-image", "--no-alarm")
WELL = {
    "SubmitConcurrency": "5",
    "LowBalance": "0",
    "InputKmsKeyArn": "",
    "OutputKmsKeyArn": "",
    "SecretKmsKeyArn": "",
    "UncertainGraceSeconds": "600",
}


class Lambda:
    """The clock function's answers, and the account's concurrency."""

    def __init__(self) -> None:
        self.says = VendorAnswer(balance="12.5", price="0.01")
        self.error = ""
        self.limit = 1000
        self.asked: list[VendorQuestion] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "the-clock"
        self.asked.append(VendorQuestion.model_validate_json(Payload))
        if self.error:
            body = json.dumps({"errorMessage": self.error}).encode()
            return {"FunctionError": "Unhandled", "Payload": BytesIO(body)}
        listed = bool(self.asked[-1].detail.prediction_id)
        return {"Payload": BytesIO(self._answer(listed=listed))}

    def _answer(self, *, listed: bool) -> bytes:
        said = self.says.model_copy(update={"listed": listed and self.says.listed})
        return said.model_dump_json().encode()

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": self.limit}}


@dataclass
class Quotas:
    """The pages of Service Quotas, or its refusal."""

    found: dict[str, float]
    refusal: str = ""

    def get_paginator(self, operation: str) -> "Quotas":
        assert operation == "list_service_quotas"
        return self

    def paginate(self, **_asked: str) -> Iterator[dict[str, Any]]:
        if self.refusal:
            refused: Any = {
                "Error": {"Code": self.refusal, "Message": "u may not: servicequotas:List"}
            }
            raise ClientError(refused, "ListServiceQuotas")
        yield {"Quotas": [{"QuotaName": n, "Value": v} for n, v in self.found.items()]}


ALARM = "cutout-UncertainTasksAlarm-1"
RATE = "StateTransition throttle token refill rate per second"


@dataclass
class Account:
    """Everything that a check looks at."""

    harness: PipelineHarness
    session: Any
    cloudformation: CloudFormation
    lambdas: Lambda = field(default_factory=Lambda)
    quotas: Quotas = field(default_factory=lambda: Quotas({RATE: 500, "Executions": 9}))
    made: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.made:
            own = {"lambda": self.lambdas, "service-quotas": self.quotas}
            own |= {"cloudformation": self.cloudformation, "harness": self.harness}
            self.made[service] = own.get(service) or self.session.client(service)
            if service == "events":
                self.rule("UploadRule", "uploads", "uploads")
                self.rule("ClockFunctionEveryMinute", "", "clock")
            if service == "cloudwatch":
                self.alarm(ALARM, self.topic("ops@example.com"))
        return self.made[service]

    @property
    def parameters(self) -> dict[str, str]:
        return self.cloudformation.parameters

    def notify(self, **configuration: Any) -> None:
        """What S3 says; moto keeps EventBridge's part to itself."""
        self.client("s3").get_bucket_notification_configuration = lambda **_: configuration

    def rule(self, name: str, bucket: str, target: str) -> None:
        events, arn = self.client("events"), f"arn:aws:sqs:eu-central-1:123456789012:{target}"
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "one", "Arn": arn}])

    def alarm(self, name: str, *topics: str) -> None:
        self.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="Cutout",
            MetricName="TasksUncertain",
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=list(topics),
        )

    def topic(self, endpoint: str | None) -> str:
        sns = self.client("sns")
        arn: str = sns.create_topic(Name="alarms")["TopicArn"]
        if endpoint:
            sns.subscribe(TopicArn=arn, Protocol="email", Endpoint=endpoint)
        return arn

    def key(self, *, policy: Any = None) -> str:
        kms = self.client("kms")
        made = kms.create_key()["KeyMetadata"]
        if policy:
            kms.put_key_policy(KeyId=made["KeyId"], PolicyName="default", Policy=json.dumps(policy))
        return str(made["Arn"])


@pytest.fixture
def account(
    harness: PipelineHarness,
    aws: boto3.Session,
    cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
) -> Account:
    """One that is well."""
    account = Account(harness, aws, cloudformation)
    account.made = {"s3": harness.s3, "dynamodb": harness.dynamodb}
    cloudformation.parameters |= WELL
    cloudformation.resources["ClockFunction"] = ("AWS::Lambda::Function", "the-clock")
    for bucket in ("uploads", "cutouts"):
        account.made["s3"].put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration=encrypted("AES256")
        )
    account.notify(EventBridgeConfiguration={})
    for name in ("UploadRule", "ClockFunctionEveryMinute"):
        cloudformation.resources[name] = ("AWS::Events::Rule", name)
    cloudformation.resources[ALARM] = ("AWS::CloudWatch::Alarm", ALARM)
    return account


@pytest.fixture
def stack(account: Account, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    stack = FakeStack("cutout", account.client, is_local=True, options=" --stack cutout")
    monkeypatch.setattr("cutout_cli.stacks.find_stack", lambda *_: stack)
    return stack


@pytest.fixture
def doctor(cutout: Cutout, stack: FakeStack) -> Doctor:
    return lambda *options: cutout("doctor", *options)


def encrypted(algorithm: str, key: str | None = None) -> Any:
    default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}


def findings(result: Result) -> list[dict[str, str]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_stack_that_is_well_is_told_so(doctor: Doctor, account: Account) -> None:
    result = doctor(*QUIET, "--json")

    found = findings(result)
    assert {one["check"]: one["state"] for one in found} == {
        "account": "ok",
        "deployment": "ok",
        "key": "ok",
        "price": "ok",
        "balance": "ok",
        "events": "ok",
        "rule": "ok",
        "bucket policy": "ok",
        "encryption": "ok",
        "concurrency": "ok",
        "state transitions": "ok",
        "alarms": "ok",
        "listeners": "ok",
    }
    assert all(set(one) == {"check", "state", "text", "remedy"} for one in found)
    assert result.exit_code == 0


def test_people_get_a_line_and_how_to_mend_it(doctor: Doctor, account: Account) -> None:
    account.notify()

    lines = doctor(*QUIET).stdout.splitlines()

    at = lines.index(
        "failed   events: uploads sends no events to EventBridge: uploads are not seen"
    )
    assert "-> cutout watch-bucket uploads --stack cutout;" in lines[at + 1]


def deny(account: Account) -> None:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Sid": "Vpc"}
    plain = denied | {"Sid": "Tls", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    policy = {"Version": "2012-10-17", "Statement": [plain, denied]}
    account.client("s3").put_bucket_policy(Bucket="uploads", Policy=json.dumps(policy))


def another_key(account: Account) -> None:
    account.client("s3").put_bucket_encryption(
        Bucket="uploads", ServerSideEncryptionConfiguration=encrypted("aws:kms", account.key())
    )


def suspend(account: Account) -> None:
    account.client("s3").put_bucket_versioning(
        Bucket="uploads", VersioningConfiguration={"Status": "Suspended"}
    )


def disabled_key(account: Account) -> None:
    account.parameters["InputKmsKeyArn"] = key = account.key()
    account.client("kms").disable_key(KeyId=key.rpartition("/")[2])


def strict_key(account: Account) -> None:
    admin = {"AWS": "arn:aws:iam::123456789012:role/admin"}
    statement = {"Effect": "Allow", "Principal": admin, "Action": "kms:*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    account.parameters["OutputKmsKeyArn"] = account.key(policy=policy)


def ring(account: Account) -> None:
    account.client("cloudwatch").set_alarm_state(
        AlarmName=ALARM, StateValue="ALARM", StateReason="x"
    )


def unsubscribe(account: Account) -> None:
    account.client("cloudwatch")
    sns = account.client("sns")
    (one,) = sns.list_subscriptions()["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


def pending(account: Account) -> None:
    """As SNS lists who was asked and has not answered; moto confirms at once."""
    asked = {"SubscriptionArn": "PendingConfirmation", "Protocol": "email", "Endpoint": "me@x.org"}
    sns = account.client("sns")
    sns.get_paginator = lambda _: type(  # a page of our own
        "Pages", (), {"paginate": lambda *_, **__: [{"Subscriptions": [asked]}]}
    )()


def says(**answer: Any) -> Callable[[Account], None]:
    def set_answer(account: Account) -> None:
        account.lambdas.says = VendorAnswer.model_validate(
            {"balance": 12.5, "price": 0.01} | answer
        )

    return set_answer


def has(**parameters: str) -> Callable[[Account], None]:
    return lambda account: account.parameters.update(parameters)


def lambdas(name: str, value: Any) -> Callable[[Account], None]:
    return lambda account: setattr(account.lambdas, name, value)


def nameless(account: Account) -> None:
    account.quotas.found.pop(RATE)


REFUSED = {"balance": None, "price": None, "code": "unauthorized", "reason": "put a valid key"}
AMISS: dict[str, tuple[Callable[[Account], None], str, State, str]] = {
    "failed update": (
        lambda account: setattr(account.cloudformation, "status", "UPDATE_ROLLBACK_COMPLETE"),
        *("deployment", State.WARNING, "its last change failed"),
    ),
    "refused key": (says(**REFUSED), "key", State.FAILED, "put a valid key"),
    "clock fails": (lambdas("error", "timed out"), "key", State.FAILED, "failed: timed out"),
    "no price": (says(price=None, reason="no model"), "price", State.WARNING, "no price of"),
    "dear": (says(price=0.02), "price", State.WARNING, "more than PricePerImage ($0.01)"),
    "broke": (says(balance=0.009), "balance", State.FAILED, "0 images: uploads wait"),
    "poor": (has(LowBalance="20"), "balance", State.WARNING, "below LowBalance"),
    "no events": (lambda account: account.notify(), "events", State.FAILED, "no events"),
    "disabled rule": (
        lambda account: account.client("events").disable_rule(Name="UploadRule"),
        *("rule", State.FAILED, "UploadRule is disabled"),
    ),
    "rule without target": (
        lambda account: account.client("events").remove_targets(Rule="UploadRule", Ids=["one"]),
        *("rule", State.FAILED, "UploadRule does not lead to uploads"),
    ),
    "clock without target": (
        lambda account: account.client("events").remove_targets(
            Rule="ClockFunctionEveryMinute", Ids=["one"]
        ),
        *("rule", State.FAILED, "ClockFunctionEveryMinute does not lead to its function"),
    ),
    "rule of another bucket": (
        lambda account: account.rule("UploadRule", "uploads-of-others", "uploads"),
        *("rule", State.FAILED, "UploadRule does not name uploads"),
    ),
    "policy": (deny, "bucket policy", State.WARNING, "more than plain HTTP (Vpc)"),
    "another key": (another_key, "encryption", State.FAILED, "InputKmsKeyArn does not name"),
    "no versions": (suspend, "versions", State.WARNING, "keeps no versions"),
    "disabled key": (disabled_key, "key in KMS", State.FAILED, "InputKmsKeyArn is Disabled"),
    "strict key": (strict_key, "key in KMS", State.WARNING, "OutputKmsKeyArn does not leave it"),
    "few functions": (lambdas("limit", 5), "concurrency", State.WARNING, "5 functions at once"),
    "few transitions": (
        has(ImagesPerMinute="10000"),
        *("state transitions", State.WARNING, "500 a second; the parameters can need 1334"),
    ),
    "nameless quotas": (nameless, "state transitions", State.UNKNOWN, "lists no rate"),
    "no permission": (
        lambda account: setattr(account.quotas, "refusal", "AccessDeniedException"),
        *("state transitions", State.UNKNOWN, "you may not look: ListServiceQuotas: u may not"),
    ),
    "no such service": (
        lambda account: setattr(account.quotas, "refusal", "400"),
        *("state transitions", State.UNKNOWN, "not known here: ListServiceQuotas"),
    ),
    "in alarm": (ring, "alarms", State.WARNING, "in alarm: cutout-UncertainTasksAlarm-1"),
    "no topic": (
        lambda account: account.alarm(ALARM),
        *("alarms", State.WARNING, "in the console only"),
    ),
    "muted": (
        lambda account: account.client("cloudwatch").disable_alarm_actions(AlarmNames=[ALARM]),
        *("alarms", State.WARNING, "tell nobody: cutout-UncertainTasksAlarm-1"),
    ),
    "no subscriber": (unsubscribe, "listeners", State.FAILED, "nobody has confirmed"),
    "unconfirmed": (pending, "listeners", State.FAILED, "nobody has confirmed"),
}


CHECKED_BY = {
    "price": "key",
    "balance": "key",
    "rule": "events",
    "bucket policy": "buckets",
    "encryption": "buckets",
    "versions": "buckets",
    "key in KMS": "keys in KMS",
    "listeners": "alarms",
}


@pytest.mark.parametrize("name", AMISS)
def test_what_is_amiss_is_found(name: str, account: Account, stack: FakeStack) -> None:
    break_it, check, state, text = AMISS[name]
    break_it(account)
    group = CHECKED_BY.get(check, check)

    found = list(examine(stack, {group: CHECKS[group]}))

    (worst,) = (one for one in found if one.state is not State.OK)
    assert (worst.check, worst.state) == (check, state)
    assert text in worst.text
    assert worst.remedy or state is State.UNKNOWN


def test_what_failed_is_in_the_exit_code_and_what_is_not_known_keeps_nothing_from_being_looked_at(
    doctor: Doctor, account: Account
) -> None:
    account.quotas.refusal = "400"
    account.lambdas.limit = 1
    assert doctor(*QUIET).exit_code == 0

    account.notify()
    result = doctor(*QUIET, "--json")

    assert [one["check"] for one in findings(result) if one["state"] != "ok"] == [
        "events",
        "concurrency",
        "state transitions",
    ]
    assert findings(result)[-1]["check"] == "listeners"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("reply", "state", "text"),
    [
        (401, State.OK, "can be reached"),
        (403, State.FAILED, "answers 403 where 401 is due"),
        (
            httpx.ConnectTimeout("slow"),
            State.FAILED,
            "cannot be reached from here (ConnectTimeout)",
        ),
    ],
)
def test_the_webhook_is_asked_without_a_signature(
    doctor: Doctor,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    reply: Any,
    state: State,
    text: str,
) -> None:
    account.parameters["Webhook"] = "on"
    account.cloudformation.outputs["WebhookUrl"] = "https://webhook.test/"

    def post(url: str, **_: Any) -> httpx.Response:
        assert url == "https://webhook.test/doctor"
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply)

    monkeypatch.setattr(httpx, "post", post)

    (found,) = [one for one in findings(doctor(*QUIET, "--json")) if one["check"] == "webhook"]
    assert (found["state"], text in found["text"]) == (state, True)


def test_nothing_is_tried_when_there_is_nobody_to_ask(doctor: Doctor, account: Account) -> None:
    found = findings(doctor("--json"))

    assert {one["check"]: one["state"] for one in found[-2:]} == {
        "image": "unknown",
        "alarm": "unknown",
    }
    assert "add --image or --yes" in found[-2]["text"]
    assert account.harness.s3.list_objects_v2(Bucket="uploads")["KeyCount"] == 0


def tried(doctor: Doctor, *options: str) -> dict[str, dict[str, str]]:
    result = doctor("--json", "--no-alarm", "--image", *options)
    return {one["check"]: one for one in findings(result)}


def test_an_image_is_sent_and_looked_for_in_the_history(
    doctor: Doctor, account: Account, fates: Fates
) -> None:
    account.lambdas.says = account.lambdas.says.model_copy(update={"listed": True})
    account.parameters["InputPrefix"] = "in/"

    found = tried(doctor)

    assert found["image"]["state"] == "ok"
    assert found["image"]["text"].startswith("in/cutout-doctor.jpg.png was there ")
    assert found["history"]["state"] == "ok"
    (task,) = account.harness.ledger.of_object("uploads", "in/cutout-doctor.jpg")
    question = account.lambdas.asked[-1].detail
    assert question.prediction_id == task.prediction_id
    assert question.since
    assert question.since < task.entered_at[Status.SUBMITTING]


def test_a_history_that_lists_nothing_is_told(
    doctor: Doctor, account: Account, fates: Fates
) -> None:
    """Long after the submit, which the memory's clock has been at yesterday."""
    account.lambdas.says = account.lambdas.says.model_copy(update={"listed": False})
    account.parameters["OnUncertain"] = "settle"

    found = tried(doctor)

    assert found["history"]["state"] == "warning"
    assert "raise UncertainGraceSeconds" in found["history"]["remedy"]


def test_a_history_that_an_image_was_deleted_from_is_no_worry(
    doctor: Doctor, account: Account, fates: Fates
) -> None:
    account.lambdas.says = account.lambdas.says.model_copy(update={"listed": False})
    account.parameters["EraseAtVendor"] = "true"

    found = tried(doctor)["history"]

    assert found["state"] == "ok"
    assert "EraseAtVendor" in found["text"]


def test_an_image_that_fails_says_where_to_look(
    doctor: Doctor, account: Account, fates: Fates
) -> None:
    fates.by_key["cutout-doctor.jpg"] = (Status.FAILED, "bad_output", "no PNG")

    found = tried(doctor)["image"]

    assert (found["state"], found["text"]) == ("failed", "cutout-doctor.jpg is failed: no PNG")
    assert found["remedy"] == "cutout explain cutout-doctor.jpg --stack cutout"


def test_an_image_that_waits_is_no_failure(doctor: Doctor, account: Account, fates: Fates) -> None:
    fates.by_key["cutout-doctor.jpg"] = (Status.QUEUED, "over_budget", "the budget is spent")

    found = tried(doctor, "--timeout", "1")["image"]

    assert (found["state"], found["text"]) == (
        "warning",
        "cutout-doctor.jpg is queued: the budget is spent",
    )


def test_an_image_that_is_not_seen_is_a_failure(doctor: Doctor, account: Account) -> None:
    found = tried(doctor, "--timeout", "1")["image"]

    assert found["state"] == "failed"
    assert "was not seen within 1 s" in found["text"]
    assert "five minutes" in found["remedy"]


def test_no_two_images_are_equal() -> None:
    """With ReuseResults, the second would be a copy and show nothing."""
    assert tiny_image() != tiny_image()


@pytest.mark.parametrize(("answer", "state"), [(True, "ok"), (False, "failed"), (None, "unknown")])
def test_an_alarm_is_set_and_a_person_asked_whether_its_message_came(
    doctor: Doctor,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    answer: bool | None,
    state: str,
) -> None:
    questions: list[str] = []

    def asked(question: str) -> bool | None:
        questions.append(question)
        return answer

    monkeypatch.setattr("cutout_cli.commands.doctor.asked", asked)

    result = doctor("--no-image", "--alarm", "--json")

    name = ALARM
    found = findings(result)[-1]
    assert (found["check"], found["state"]) == ("test alarm", state)
    assert questions == [f"{name} was set, as a test; has its message come?"]
    (alarm,) = account.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"
    assert "nothing is wrong" in alarm["StateReason"]


def test_no_alarm_is_set_that_would_tell_nobody(doctor: Doctor, account: Account) -> None:
    account.alarm(ALARM)

    found = findings(doctor("--no-image", "--yes", "--json"))[-1]

    assert (found["check"], found["state"]) == ("test alarm", "unknown")
    (alarm,) = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarm["StateValue"] != "ALARM"


def test_a_new_account_has_room_for_the_templates_own_parameters() -> None:
    defaults = {name: str(p["Default"]) for name, p in template()["Parameters"].items()}

    assert functions_at_once(defaults) <= 10
    assert transitions_a_second(defaults) < 2
    # Without a plan, as many as the submit function can send.
    assert functions_at_once(defaults | {"ImagesPerMinute": "0"}) == 5 + 7 + 2
    assert transitions_a_second(defaults | {"ImagesPerMinute": "600", "Webhook": "on"}) == 50
