"""The local stack that a campaign runs on, with short timeouts, and what a campaign does to it."""

import json
import ssl
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from cutout.aws.events import SOURCE
from cutout.domain.messages import ObjectCreated, TaskDue, upload_message
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.governor import Governor
from cutout.store.table import Table
from cutout_local.stack import API_KEY_SECRET, LocalStack, local_stack
from cutout_local.wavespeed.runner import CANARY
from cutout_local.wavespeed.settings import MODELS, Settings
from tests.chaos.files import MAX_MEGABYTES, MAX_MEGAPIXELS
from tests.chaos.numbered_images import keep_colours, number_in
from tests.chaos.plan import Plan
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for

PARAMETERS = {
    "Webhook": "on",
    "WebhookFallbackSeconds": "4",
    # Longer than an outage, a wave with the old key and all of a task's bad answers together.
    "DeadlineSeconds": "240",
    "MaxMegapixels": str(MAX_MEGAPIXELS),
    "MaxUploadMegabytes": str(MAX_MEGABYTES),
}
HOLD = {"OnUncertain": "hold"}
SETTLE = {"OnUncertain": "settle", "UncertainGraceSeconds": "15", "KeyIsDedicated": "true"}
# The template's constants are 180 and 210, 300 and 330 s. These stand in the same order, and what
# a killed function leaves behind is cleared up within a campaign's time.
_TIMEOUTS = {
    "SubmitFunction": (15, {"LEASE_SECONDS": "18"}),
    "ClockFunction": (25, {"LEASE_SECONDS": "18"}),
    "PollFunction": (15, {"LOCK_SECONDS": "18"}),
    "BackfillFunction": (25, {}),
    "ReconcileFunction": (25, {}),
}
# A message that fails waits 10 s, then 30 s, 90 s ... Once is enough here: the next receive makes
# it a dead letter, which the campaign sends back.
_VISIBILITY_SECONDS, _RECEIVES = 5, 1
_WAIT_SCALE = 0.25  # of what state machines wait
_SCHEDULE_SCALE = 1 / 12  # of the minute between two runs of the clock
_SOON = timedelta(minutes=2)
_PAGES = {"page_size": 10}  # of a backfill or a reconciliation; few, so that there are some pages
_TAP = "chaos-tap"
_NEW = "Object Created"


@dataclass(frozen=True)
class Png:
    """An output: the number in its pixels, and the task that its metadata names."""

    number: int | None
    task_id: str


def is_open(task: Task, now: datetime, *, settles: bool) -> bool:
    """Whether it is on its way, or uncertain and settled soon; held ones wait for a person."""
    if settles and task.status is Status.UNCERTAIN and task.due_at:
        return task.due_at < now + _SOON
    return task.status.open


@contextmanager
def campaign_stack(plan: Plan) -> Iterator["CampaignStack"]:
    """The stack that a plan is for."""
    budget = {"DailyBudget": str(plan.budget * MODELS[0].price)}
    policy = SETTLE if plan.settles else HOLD
    with local_stack(
        parameters=PARAMETERS | budget | policy,
        settings=Settings(workers=1),
        load_engine=keep_colours,
        wait_scale=_WAIT_SCALE,
        schedule_scale=_SCHEDULE_SCALE,
    ) as local:
        stack = CampaignStack(local, settles=plan.settles)
        if not plan.versioned:
            stack.suspend_versions()
        yield stack


class CampaignStack(StackClient):
    """What a campaign does to the stack, and sees of it, beyond what tests do."""

    def __init__(self, local: LocalStack, *, settles: bool) -> None:
        super().__init__(local)
        self._settles = settles
        self.trusted = ssl.create_default_context(cafile=str(local.aws.certificate.ca))
        self.webhook_url = local.outputs["WebhookUrl"]
        self.webhook_secret = local.wavespeed.settings.webhook_secret
        self.secrets = [CANARY, self.webhook_secret, self.env["WAVESPEED_API_KEY"]]
        self._events = local.aws.client("events")
        self._shorten_timeouts()
        self._upload_rule = self._find_upload_rule()
        self._tap_url = self._tap(_TAP, self._upload_rule["EventPattern"])
        self._published_url = self._tap("chaos-published", json.dumps({"source": [SOURCE]}))

    # ------------------------------------------------------------ making it ready

    def _shorten_timeouts(self) -> None:
        functions = self.aws.client("lambda")
        for logical_id, (timeout, changes) in _TIMEOUTS.items():
            name = self.local.physical_name(logical_id)
            before = functions.get_function_configuration(FunctionName=name)["Environment"]
            functions.update_function_configuration(
                FunctionName=name,
                Timeout=timeout,
                Environment={"Variables": before["Variables"] | changes},
            )
        self.hide_failed_messages(_VISIBILITY_SECONDS)
        self._bury_failed_messages(_RECEIVES)

    def _bury_failed_messages(self, receives: int) -> None:
        queue = {"QueueUrl": self.env["UPLOAD_QUEUE_URL"]}
        found = self.sqs.get_queue_attributes(**queue, AttributeNames=["RedrivePolicy"])
        policy = json.loads(found["Attributes"]["RedrivePolicy"]) | {"maxReceiveCount": receives}
        self.sqs.set_queue_attributes(**queue, Attributes={"RedrivePolicy": json.dumps(policy)})

    def _find_upload_rule(self) -> dict[str, Any]:
        rules: list[dict[str, Any]] = self._events.list_rules()["Rules"]
        return next(rule for rule in rules if _NEW in rule.get("EventPattern", ""))

    def _tap(self, name: str, pattern: str) -> str:
        """A queue of our own beside the stack's that gets the events of a pattern."""
        url: str = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self._events.put_rule(Name=name, EventPattern=pattern)
        self._events.put_targets(Rule=name, Targets=[{"Id": name, "Arn": arn}])
        return url

    def suspend_versions(self) -> None:
        """Have a new revision take the place of the one before."""
        suspended = {"Status": "Suspended"}
        bucket = self.env["INPUT_BUCKET"]
        self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=suspended)

    # ------------------------------------------------------------ doing

    def deliver_events(self, *, by_rule: bool) -> None:
        """Whether the stack's own rule delivers events; if not, the campaign has to."""
        change = self._events.enable_rule if by_rule else self._events.disable_rule
        change(Name=self._upload_rule["Name"])

    def delete(self, upload: Upload) -> None:
        version = {"VersionId": upload.version_id} if upload.version_id else {}
        self.s3.delete_object(Bucket=upload.bucket, Key=upload.key, **version)

    def next_event(self) -> tuple[str, Upload]:
        """The body of the next event, once it comes, and what it is about."""
        body = wait_for(lambda: next(self.take(self._tap_url), None))
        return body, ObjectCreated.model_validate_json(body).upload

    def dead_letters(self) -> list[str]:
        """Take what is in the dead-letter queue."""
        return list(self.take(self.env["DEAD_LETTER_QUEUE_URL"]))

    def published_events(self) -> list[str]:
        """Take what the stack has published."""
        return list(self.take(self._published_url))

    def lose_messages(self) -> int:
        """Take those messages out of the upload queue that the ledger can do without; how many."""
        known, url, lost = self.tasks(), self.env["UPLOAD_QUEUE_URL"], 0
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        for message in found.get("Messages", []):
            if _is_dispensable(message["Body"], known):
                with suppress(self.sqs.exceptions.ReceiptHandleIsInvalid):  # Lambda was faster
                    self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    lost += 1
        return lost

    def rotate_key(self) -> None:
        """The vendor takes another key from now on; the secret still holds the old one."""
        key = f"{self.env['WAVESPEED_API_KEY']}-rotated"
        self.vendor("PUT", "/_key", json={"api_key": key})
        self.env["WAVESPEED_API_KEY"] = key
        self.secrets.append(key)

    def store_key(self) -> None:
        """Put the key that the vendor takes into the secret."""
        secrets = self.aws.client("secretsmanager")
        secrets.put_secret_value(
            SecretId=API_KEY_SECRET, SecretString=self.env["WAVESPEED_API_KEY"]
        )

    def raise_budget(self) -> None:
        """As `cutout limit` does."""
        table = Table(self.dynamodb, self.env["TASKS_TABLE"])
        Governor(table, images_per_minute=0, daily_budget=Decimal(0)).set_budget(Decimal(1000))

    def start_backfill(self) -> bool:
        """As `cutout backfill` does; False if one is going on."""
        machine = self.local.outputs["BackfillArn"]
        if self._runs(machine):
            return False
        self.states.start_execution(stateMachineArn=machine, input=json.dumps(_PAGES))
        return True

    def start_reconciliation(self) -> str:
        """Compare buckets and ledger, as `cutout reconcile` does; the execution's ARN."""
        cursors = [{}, {"pages": "outputs"}, {"pages": "failed"}]
        started = self.states.start_execution(
            stateMachineArn=self.local.outputs["ReconcileArn"],
            input=json.dumps({"cursors": cursors, **_PAGES}),
        )
        return str(started["executionArn"])

    def reconciled(self, execution: str) -> dict[str, int] | None:
        """What a reconciliation has counted; None if it did not succeed."""
        ended = self.states.describe_execution(executionArn=execution)
        counts: dict[str, int] | None = json.loads(ended.get("output", "{}")).get("counts")
        return counts

    def abort(self, task: Task) -> bool:
        """Stop the task's execution, as a person may in the console; False if there is none."""
        try:
            self.states.stop_execution(executionArn=self.execution_arn(task))
        except self.states.exceptions.ExecutionDoesNotExist:
            return False
        return True

    # ------------------------------------------------------------ seeing

    def open_tasks(self) -> list[Task]:
        now = datetime.now(UTC)
        return [task for task in self.tasks().values() if is_open(task, now, settles=self._settles)]

    def queue_length(self) -> int:
        """How many messages of the upload queue are due or in work."""
        found = self.sqs.get_queue_attributes(
            QueueUrl=self.env["UPLOAD_QUEUE_URL"], AttributeNames=["All"]
        )["Attributes"]
        due, in_work = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
        return int(found[due]) + int(found[in_work])

    def is_idle(self) -> bool:
        """Whether no message is due or in work, and no execution runs."""
        machines = ("StateMachineArn", "BackfillArn", "ReconcileArn")
        return not (self.queue_length() or any(self._runs(self.local.outputs[m]) for m in machines))

    def is_reconciling(self) -> bool:
        return self._runs(self.local.outputs["ReconcileArn"])

    def _runs(self, machine: str) -> bool:
        found = self.states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")
        return bool(found["executions"])

    def pngs(self) -> dict[str, Png]:
        """What is in the output bucket, by key."""
        return {key: self._png(key) for key in self.output_keys()}

    def _png(self, key: str) -> Png:
        saved = self.s3.get_object(Bucket=self.env["OUTPUT_BUCKET"], Key=key)
        return Png(number_in(saved["Body"].read()), saved["Metadata"].get("cutout-task-id", ""))

    def copies(self) -> set[str]:
        """The tasks whose upload's converted copy is there."""
        bucket = self.local.physical_name("ConvertedBucket")
        found = self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {copy["Key"].rpartition("/")[2] for copy in found}

    def numbered_predictions(self) -> list[dict[str, Any]]:
        """What the vendor accepted, each with the number in its output, if it has one."""
        return [entry | {"number": self._number_of(entry)} for entry in self.predictions()]

    def _number_of(self, entry: dict[str, Any]) -> int | None:
        if entry["status"] != "completed":
            return None
        return number_in(self.vendor("GET", f"/outputs/{entry['id']}.png").content)

    def end_vendor_faults(self) -> Counter[str]:
        """How often each of them fired until now."""
        fired: Counter[str] = Counter()
        for rule in self.vendor("GET", "/_faults").json():
            fired[rule["fault"]] += rule["fired"]
        self.set_vendor_faults([])
        return fired


def _is_dispensable(body: str, known: Container[str]) -> bool:
    """Whether a message is about a task in the ledger, and no person's request."""
    try:
        message = upload_message(body)
    except ValidationError:
        return False
    if isinstance(message, ObjectCreated):
        return message.upload.task_id in known
    return isinstance(message, TaskDue)


def retry_message(task: Task) -> str:
    """What `cutout retry` sends."""
    return json.dumps({"detail-type": "Cutout Retry", "detail": {"task_id": task.task_id}})
