"""The ground that a campaign is fought on: the local stack, shortened, and every hand on it."""

import json
import ssl
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from boto3.dynamodb.types import TypeDeserializer

from cutout.domain.messages import ObjectCreated
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout_local.stack import LOCAL_API_KEY, LocalStack, local_stack
from cutout_local.wavespeed import Settings
from tests.chaos.files import MAX_MEGABYTES, MAX_MEGAPIXELS
from tests.chaos.pictures import keep_colours, number_in
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
    "PollFunction": (10, {"LOCK_SECONDS": "12"}),
}
_VISIBILITY_SECONDS = "5"
_WAIT_SCALE = 0.5  # of what state machines wait
_TAP = "chaos-tap"
_NEW = "Object Created"

_plain = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Png:
    """An output: the number in its pixels, and the task that its metadata names."""

    number: int | None
    task_id: str


@contextmanager
def ground(deadline: int) -> Iterator["Ground"]:
    with local_stack(
        parameters={**PARAMETERS, "DeadlineSeconds": str(deadline)},
        settings=Settings(api_key=LOCAL_API_KEY, workers=1),
        load_engine=keep_colours,
        wait_scale=_WAIT_SCALE,
    ) as stack:
        yield Ground(stack)


class Ground:
    """What a campaign does to the stack, and sees of it. The calls are an operator's."""

    def __init__(self, stack: LocalStack) -> None:
        self.aws = stack.aws
        self.env = stack.environment
        self.trusted = ssl.create_default_context(cafile=str(stack.aws.certificate.ca))
        self.physical_name = stack.physical_name
        self.webhook_url = stack.outputs["WebhookUrl"]
        self.webhook_secret = stack.wavespeed.settings.webhook_secret
        self._dynamodb = stack.aws.client("dynamodb")
        self._events = stack.aws.client("events")
        self._s3 = stack.aws.client("s3")
        self._sqs = stack.aws.client("sqs")
        self._states = stack.aws.client("stepfunctions")
        self._shorten_timeouts()
        self._upload_rule = self._find_upload_rule()
        self._tap_url = self._tap_events()

    # ------------------------------------------------------------ making it ready

    def _shorten_timeouts(self) -> None:
        functions = self.aws.client("lambda")
        for logical_id, (timeout, changes) in _TIMEOUTS.items():
            name = self.physical_name(logical_id)
            before = functions.get_function_configuration(FunctionName=name)["Environment"]
            functions.update_function_configuration(
                FunctionName=name,
                Timeout=timeout,
                Environment={"Variables": before["Variables"] | changes},
            )
        self._sqs.set_queue_attributes(
            QueueUrl=self.env["UPLOAD_QUEUE_URL"],
            Attributes={"VisibilityTimeout": _VISIBILITY_SECONDS},
        )

    def _find_upload_rule(self) -> dict[str, Any]:
        rules: list[dict[str, Any]] = self._events.list_rules()["Rules"]
        return next(rule for rule in rules if _NEW in rule.get("EventPattern", ""))

    def _tap_events(self) -> str:
        """A queue of our own beside the stack's gets the same events, to deliver them again."""
        url: str = self._sqs.create_queue(QueueName=_TAP)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self._events.put_rule(Name=_TAP, EventPattern=self._upload_rule["EventPattern"])
        self._events.put_targets(Rule=_TAP, Targets=[{"Id": _TAP, "Arn": arn}])
        return url

    # ------------------------------------------------------------ doing

    def deliver_events(self, *, by_rule: bool) -> None:
        """Whether the stack's own rule delivers events; if not, the campaign has to."""
        change = self._events.enable_rule if by_rule else self._events.disable_rule
        change(Name=self._upload_rule["Name"])

    def upload(self, key: str, body: bytes, metadata: dict[str, str]) -> None:
        self._s3.put_object(Bucket=self.env["INPUT_BUCKET"], Key=key, Body=body, Metadata=metadata)

    def delete(self, upload: Upload) -> None:
        place = {"Bucket": upload.bucket, "Key": upload.key, "VersionId": upload.version_id}
        self._s3.delete_object(**place)

    def next_event(self) -> tuple[str, Upload]:
        """The body of the next event, once it comes, and what it is about."""
        body = wait_for(lambda: next(self._take(self._tap_url), None))
        return body, ObjectCreated.model_validate_json(body).upload

    def send(self, body: str, delay: int = 0) -> None:
        url = self.env["UPLOAD_QUEUE_URL"]
        self._sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay)

    def dead_letters(self) -> list[str]:
        """Take what is in the dead-letter queue."""
        return list(self._take(self.env["DEAD_LETTER_QUEUE_URL"]))

    def _take(self, url: str) -> Iterator[str]:
        while messages := self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            for message in messages:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]

    def abort(self, task: Task) -> bool:
        """Stop the task's execution, as a person may in the console; False if there is none."""
        machine = self.env["STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        try:
            self._states.stop_execution(executionArn=f"{machine}:{task.execution_name}")
        except self._states.exceptions.ExecutionDoesNotExist:
            return False
        return True

    def end_wait(self, task: Task) -> None:
        """Have the time come for which a task waits."""
        self._dynamodb.update_item(
            TableName=self.env["TASKS_TABLE"],
            Key={"task_id": {"S": task.task_id}},
            UpdateExpression="REMOVE submit_after",
        )

    def set_vendor_faults(self, rules: Iterable[dict[str, Any]]) -> None:
        self._vendor("PUT", "/_faults", json=list(rules))

    # ------------------------------------------------------------ seeing

    def tasks(self) -> dict[str, Task]:
        """The ledger, by task id."""
        items = self._items("scan", ConsistentRead=True)
        # Those whose key begins with # are no tasks: the governor, holds, latencies.
        found = (Task.model_validate(item) for item in items if item["task_id"][0] != "#")
        return {task.task_id: task for task in found}

    def open_tasks(self) -> list[Task]:
        """Those that are on their way."""
        return [
            Task.model_validate(item)
            for status in Status
            if status.open
            for item in self._items(
                "query",
                IndexName="by-open-status",
                KeyConditionExpression="open_status = :status",
                ExpressionAttributeValues={":status": {"S": status.value}},
            )
        ]

    def _items(self, operation: Any, **how: Any) -> Iterator[dict[str, Any]]:
        paginator = self._dynamodb.get_paginator(operation)
        for page in paginator.paginate(TableName=self.env["TASKS_TABLE"], **how):
            for item in page["Items"]:
                yield {name: _plain(value) for name, value in item.items()}

    def is_idle(self) -> bool:
        """Whether no message is due or in work, and no execution runs."""
        queue = self._sqs.get_queue_attributes(
            QueueUrl=self.env["UPLOAD_QUEUE_URL"], AttributeNames=["All"]
        )["Attributes"]
        waiting = int(queue["ApproximateNumberOfMessages"])
        in_work = int(queue["ApproximateNumberOfMessagesNotVisible"])
        running = self._states.list_executions(
            stateMachineArn=self.env["STATE_MACHINE_ARN"], statusFilter="RUNNING"
        )["executions"]
        return not (waiting or in_work or running)

    def pngs(self) -> dict[str, Png]:
        """What is in the output bucket, by key."""
        bucket = self.env["OUTPUT_BUCKET"]
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {key: self._png(bucket, key) for key in keys}

    def _png(self, bucket: str, key: str) -> Png:
        saved = self._s3.get_object(Bucket=bucket, Key=key)
        return Png(number_in(saved["Body"].read()), saved["Metadata"].get("cutout-task-id", ""))

    def books(self) -> list[dict[str, Any]]:
        """What the vendor accepted, each with the number in its output, if it has one."""
        tasks: list[dict[str, Any]] = self._vendor("GET", "/_books").json()["tasks"]
        return [task | {"number": self._number_of(task)} for task in tasks]

    def _number_of(self, task: dict[str, Any]) -> int | None:
        if task["status"] != "completed":
            return None
        return number_in(self._vendor("GET", f"/outputs/{task['id']}.png").content)

    def end_vendor_faults(self) -> Counter[str]:
        """How often each of them struck until now."""
        struck: Counter[str] = Counter()
        for rule in self._vendor("GET", "/_faults").json():
            struck[rule["fault"]] += rule["struck"]
        self.set_vendor_faults([])
        return struck

    def _vendor(self, method: str, path: str, **more: Any) -> httpx.Response:
        key = {"Authorization": f"Bearer {self.env['WAVESPEED_API_KEY']}"}
        url = self.env["WAVESPEED_BASE_URL"] + path
        return httpx.request(method, url, headers=key, timeout=60, **more).raise_for_status()


def retry_message(task: Task) -> str:
    """What `cutout retry` sends."""
    return json.dumps({"detail-type": "Cutout Retry", "detail": {"task_id": task.task_id}})
