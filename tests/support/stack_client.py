"""What tests, campaigns and benchmarks do to a running local stack, and see of it."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
from boto3.dynamodb.types import TypeDeserializer
from PIL import Image

from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout_local.stack import LocalStack
from tests.support.waiting import wait_for

ENDED = {Status.COMPLETED, Status.FAILED, Status.REJECTED, Status.UNCERTAIN}
_plain = TypeDeserializer().deserialize


class StackClient:
    """The calls are an operator's; those of the vendor are its server's own for tests."""

    def __init__(self, local: LocalStack) -> None:
        self.local = local
        self.aws = local.aws
        self.env = local.environment
        self.s3 = local.aws.client("s3")
        self.sqs = local.aws.client("sqs")
        self.states = local.aws.client("stepfunctions")
        self.logs = local.aws.client("logs")
        self.dynamodb = local.aws.client("dynamodb")
        self.ledger = Ledger(Table(self.dynamodb, self.env["TASKS_TABLE"]))

    # ------------------------------------------------------------ uploads and messages

    def upload(self, body: bytes, key: str, **more: Any) -> Upload:
        bucket = self.env["INPUT_BUCKET"]
        answer = self.s3.put_object(Bucket=bucket, Key=key, Body=body, **more)
        return Upload(
            bucket=bucket,
            key=key,
            version_id=answer.get("VersionId"),
            etag=answer["ETag"].strip('"'),
            size=len(body),
        )

    def send(self, body: str, delay: int = 0) -> None:
        """Put a message into the upload queue."""
        url = self.env["UPLOAD_QUEUE_URL"]
        self.sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay)

    def take(self, url: str) -> Iterator[str]:
        """The bodies of a queue's messages, each deleted when it is taken."""
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]

    def hide_failed_messages(self, seconds: int) -> None:
        """Have a message that failed come back so soon; the template's time is too long to wait."""
        self.sqs.set_queue_attributes(
            QueueUrl=self.env["UPLOAD_QUEUE_URL"], Attributes={"VisibilityTimeout": str(seconds)}
        )

    # ------------------------------------------------------------ tasks

    def tasks(self) -> dict[str, Task]:
        """The ledger, by task id."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.env["TASKS_TABLE"], ConsistentRead=True
        )
        items = (
            {k: _plain(v) for k, v in item.items()} for page in pages for item in page["Items"]
        )
        # Those whose key begins with # are no tasks: the governor, output locks, latencies.
        found = (Task.model_validate(item) for item in items if item["task_id"][0] != "#")
        return {task.task_id: task for task in found}

    def reached(self, upload: Upload, *statuses: Status, code: str | None = None) -> Task:
        """The upload's task, once it is in one of these statuses (for this reason)."""
        return wait_for(
            lambda: self._if(
                upload, lambda task: task.status in statuses and code in {None, task.code}
            )
        )

    def ended(self, upload: Upload) -> Task:
        """The upload's task, once it goes nowhere by itself."""
        return self.reached(upload, *ENDED)

    def end_wait(self, task: Task) -> None:
        """Have the time come for which a task waits; the clock's next run wakes it."""
        self.dynamodb.update_item(
            TableName=self.env["TASKS_TABLE"],
            Key={"task_id": {"S": task.task_id}},
            UpdateExpression="SET due_at = created_at REMOVE submit_after",
        )

    def _if(self, upload: Upload, wanted: Callable[[Task], bool]) -> Task | None:
        task = self.ledger.find(upload.task_id)
        return task if task and wanted(task) else None

    # ------------------------------------------------------------ functions and executions

    def kill(self, function: str) -> None:
        """Kill the processes of a function of the template, as a crash would."""
        self.aws.kill(self.local.physical_name(function))

    def change_environment(self, function: str, changes: dict[str, str]) -> None:
        """Give a function of the template other variables."""
        functions, name = self.aws.client("lambda"), self.local.physical_name(function)
        before = functions.get_function_configuration(FunctionName=name)["Environment"]
        variables = {**before["Variables"], **changes}
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables}
        )

    def execution_arn(self, task: Task) -> str:
        machine = self.env["STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        return f"{machine}:{task.execution_name}"

    def execution(self, task: Task) -> dict[str, Any]:
        """The task's execution, once it has ended."""
        arn = self.execution_arn(task)

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            return None if found["status"] == "RUNNING" else found

        return wait_for(look)

    # ------------------------------------------------------------ outputs

    def output(self, key: str) -> bytes:
        """The file under a key of the output bucket."""
        saved = self.s3.get_object(Bucket=self.env["OUTPUT_BUCKET"], Key=key)
        body: bytes = saved["Body"].read()
        return body

    def image(self, key: str) -> Image.Image:
        return Image.open(io.BytesIO(self.output(key)))

    def output_keys(self) -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.env["OUTPUT_BUCKET"])
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    # ------------------------------------------------------------ the vendor

    def ask_for_fault(self, fault: str, key: str, **more: Any) -> None:
        """Have the vendor's side go wrong for one object."""
        self.set_vendor_faults([{"fault": fault, "match": quote(key), **more}])

    def set_vendor_faults(self, rules: Iterable[dict[str, Any]]) -> None:
        self.vendor("PUT", "/_faults", json=list(rules))

    def predictions(self) -> list[dict[str, Any]]:
        """What the vendor accepted: `id`, `image` (its URL's path), `status`, `refunded` ..."""
        accepted: list[dict[str, Any]] = self.vendor("GET", "/_billing").json()["tasks"]
        return accepted

    def billed(self, key: str) -> list[dict[str, Any]]:
        """What the vendor accepted of an object."""
        return [entry for entry in self.predictions() if entry["image"].endswith(f"/{key}")]

    def vendor(self, method: str, path: str, **more: Any) -> httpx.Response:
        key = {"Authorization": f"Bearer {self.env['WAVESPEED_API_KEY']}"}
        url = self.env["WAVESPEED_BASE_URL"] + path
        return httpx.request(method, url, headers=key, timeout=60, **more).raise_for_status()


def event_of(upload: Upload) -> str:
    """What EventBridge delivers about an upload."""
    created = {"key": upload.key, "size": upload.size, "etag": upload.etag}
    detail = {
        "bucket": {"name": upload.bucket},
        "object": created | {"version-id": upload.version_id},
    }
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})
