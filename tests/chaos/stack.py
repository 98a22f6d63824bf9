"""The local stack that a campaign runs on, with short timeouts, and what a campaign does to it."""

import json
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cutout.domain.messages import ObjectCreated
from cutout.domain.tasks import Task
from cutout.domain.uploads import Upload
from cutout_local.stack import LocalStack, local_stack
from cutout_local.wavespeed import Settings
from tests.chaos.files import MAX_MEGABYTES, MAX_MEGAPIXELS
from tests.chaos.numbered_images import keep_colours, number_in
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for

PARAMETERS = {
    "Webhook": "on",
    "WebhookFallbackSeconds": "4",
    "OnUncertain": "hold",
    "MaxReceives": "3",
    "MaxMegapixels": str(MAX_MEGAPIXELS),
    "MaxUploadMegabytes": str(MAX_MEGABYTES),
}
# The template's constants are 180 and 210, 300 and 330 s. These stand in the same order, and what
# a killed function leaves behind is cleared up within a campaign's time.
_TIMEOUTS = {
    "SubmitFunction": (10, {"LEASE_SECONDS": "12"}),
    "ClockFunction": (20, {"LEASE_SECONDS": "12"}),
    "PollFunction": (10, {"LOCK_SECONDS": "12"}),
}
_VISIBILITY_SECONDS = 5
_WAIT_SCALE = 0.5  # of what state machines wait
_SCHEDULE_SCALE = 1 / 12  # of the minute between two runs of the clock
_TAP = "chaos-tap"
_NEW = "Object Created"


@dataclass(frozen=True)
class Png:
    """An output: the number in its pixels, and the task that its metadata names."""

    number: int | None
    task_id: str


@contextmanager
def campaign_stack(deadline: int) -> Iterator["CampaignStack"]:
    with local_stack(
        parameters={**PARAMETERS, "DeadlineSeconds": str(deadline)},
        settings=Settings(workers=1),
        load_engine=keep_colours,
        wait_scale=_WAIT_SCALE,
        schedule_scale=_SCHEDULE_SCALE,
    ) as local:
        yield CampaignStack(local)


class CampaignStack(StackClient):
    """What a campaign does to the stack, and sees of it, beyond what tests do."""

    def __init__(self, local: LocalStack) -> None:
        super().__init__(local)
        self.trusted = ssl.create_default_context(cafile=str(local.aws.certificate.ca))
        self.webhook_url = local.outputs["WebhookUrl"]
        self.webhook_secret = local.wavespeed.settings.webhook_secret
        self._events = local.aws.client("events")
        self._shorten_timeouts()
        self._upload_rule = self._find_upload_rule()
        self._tap_url = self._tap_events()

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

    def _find_upload_rule(self) -> dict[str, Any]:
        rules: list[dict[str, Any]] = self._events.list_rules()["Rules"]
        return next(rule for rule in rules if _NEW in rule.get("EventPattern", ""))

    def _tap_events(self) -> str:
        """A queue of our own beside the stack's gets the same events, to deliver them again."""
        url: str = self.sqs.create_queue(QueueName=_TAP)["QueueUrl"]
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
        self._events.put_rule(Name=_TAP, EventPattern=self._upload_rule["EventPattern"])
        self._events.put_targets(Rule=_TAP, Targets=[{"Id": _TAP, "Arn": arn}])
        return url

    # ------------------------------------------------------------ doing

    def deliver_events(self, *, by_rule: bool) -> None:
        """Whether the stack's own rule delivers events; if not, the campaign has to."""
        change = self._events.enable_rule if by_rule else self._events.disable_rule
        change(Name=self._upload_rule["Name"])

    def delete(self, upload: Upload) -> None:
        place = {"Bucket": upload.bucket, "Key": upload.key, "VersionId": upload.version_id}
        self.s3.delete_object(**place)

    def next_event(self) -> tuple[str, Upload]:
        """The body of the next event, once it comes, and what it is about."""
        body = wait_for(lambda: next(self.take(self._tap_url), None))
        return body, ObjectCreated.model_validate_json(body).upload

    def dead_letters(self) -> list[str]:
        """Take what is in the dead-letter queue."""
        return list(self.take(self.env["DEAD_LETTER_QUEUE_URL"]))

    def abort(self, task: Task) -> bool:
        """Stop the task's execution, as a person may in the console; False if there is none."""
        try:
            self.states.stop_execution(executionArn=self.execution_arn(task))
        except self.states.exceptions.ExecutionDoesNotExist:
            return False
        return True

    # ------------------------------------------------------------ seeing

    def open_tasks(self) -> list[Task]:
        """Those that are on their way."""
        return [task for task in self.tasks().values() if task.status.open]

    def is_idle(self) -> bool:
        """Whether no message is due or in work, and no execution runs."""
        queue = self.sqs.get_queue_attributes(
            QueueUrl=self.env["UPLOAD_QUEUE_URL"], AttributeNames=["All"]
        )["Attributes"]
        waiting = int(queue["ApproximateNumberOfMessages"])
        in_work = int(queue["ApproximateNumberOfMessagesNotVisible"])
        running = self.states.list_executions(
            stateMachineArn=self.env["STATE_MACHINE_ARN"], statusFilter="RUNNING"
        )["executions"]
        return not (waiting or in_work or running)

    def pngs(self) -> dict[str, Png]:
        """What is in the output bucket, by key."""
        return {key: self._png(key) for key in self.output_keys()}

    def _png(self, key: str) -> Png:
        saved = self.s3.get_object(Bucket=self.env["OUTPUT_BUCKET"], Key=key)
        return Png(number_in(saved["Body"].read()), saved["Metadata"].get("cutout-task-id", ""))

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


def retry_message(task: Task) -> str:
    """What `cutout retry` sends."""
    return json.dumps({"detail-type": "Cutout Retry", "detail": {"task_id": task.task_id}})
