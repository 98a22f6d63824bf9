"""One local stack for all end-to-end tests of a worker, and a hand on it."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image

from cutout.domain.errors import TaskNotFound
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout_local.stack import BUILD, LocalStack, local_stack
from cutout_local.wavespeed.worker import LoadEngine
from tests.chaos.pictures import keep_colours
from tests.support.waiting import wait_for

HIDDEN = "5"  # seconds that a failed message stays away; the template's 1080 are too many to wait


class Stack:
    """A running stack as a test uses it."""

    def __init__(self, local: LocalStack) -> None:
        self.local = local
        self.env = local.environment
        self.s3 = local.aws.client("s3")
        self.sqs = local.aws.client("sqs")
        self.states = local.aws.client("stepfunctions")
        self.logs = local.aws.client("logs")
        self.dynamodb = local.aws.client("dynamodb")
        self.ledger = Ledger(Table(self.dynamodb, self.env["TASKS_TABLE"]))

    def upload(self, body: bytes, key: str, **more: Any) -> Upload:
        bucket = self.env["INPUT_BUCKET"]
        answer = self.s3.put_object(Bucket=bucket, Key=key, Body=body, **more)
        return Upload(
            bucket=bucket,
            key=key,
            version_id=answer["VersionId"],
            etag=answer["ETag"].strip('"'),
            size=len(body),
        )

    def reached(self, upload: Upload, *statuses: Status, code: str | None = None) -> Task:
        """The upload's task, once it is in one of these statuses (for this reason)."""
        return wait_for(
            lambda: self._if(
                upload, lambda task: task.status in statuses and code in {None, task.code}
            )
        )

    def kill(self, function: str) -> None:
        """Kill the processes of a function of the template, as a crash would."""
        self.local.aws.kill(self.local.physical_name(function))

    def execution_arn(self, task: Task) -> str:
        machine = self.env["STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        return f"{machine}:{task.execution_name}"

    def ended(self, upload: Upload) -> Task:
        """The upload's task, once it goes nowhere by itself."""
        return wait_for(lambda: self._if(upload, lambda task: task.status in ENDED))

    def output(self, key: str) -> Image.Image:
        saved = self.s3.get_object(Bucket=self.env["OUTPUT_BUCKET"], Key=key)
        return Image.open(io.BytesIO(saved["Body"].read()))

    def output_keys(self) -> set[str]:
        listed = self.s3.list_objects_v2(Bucket=self.env["OUTPUT_BUCKET"])
        return {found["Key"] for found in listed.get("Contents", [])}

    def execution(self, task: Task) -> dict[str, Any]:
        """The task's execution, once it has ended."""
        arn = self.execution_arn(task)

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            return None if found["status"] == "RUNNING" else found

        return wait_for(look)

    def ask_for_fault(self, fault: str, key: str, **more: Any) -> None:
        """Have the vendor's side go wrong for one object."""
        rules = [{"fault": fault, "match": quote(key), **more}]
        self._vendor("PUT", "/_faults", json=rules).raise_for_status()

    def billed(self, key: str) -> list[dict[str, Any]]:
        """What the vendor's books hold about an object."""
        books = self._vendor("GET", "/_books").json()
        return [task for task in books["tasks"] if task["image"].endswith(f"/{key}")]

    def _vendor(self, method: str, path: str, **more: Any) -> httpx.Response:
        key = {"Authorization": f"Bearer {self.env['WAVESPEED_API_KEY']}"}
        return httpx.request(method, self.env["WAVESPEED_BASE_URL"] + path, headers=key, **more)

    def _if(self, upload: Upload, wanted: Callable[[Task], bool]) -> Task | None:
        try:
            task = self.ledger.get(upload.task_id)
        except TaskNotFound:
            return None
        return task if wanted(task) else None


ENDED = {Status.COMPLETED, Status.FAILED, Status.REJECTED, Status.UNCERTAIN}


@contextmanager
def running(
    build: Path = BUILD,
    wait_scale: float = 1,
    load_engine: LoadEngine | None = keep_colours,
    **parameters: str,
) -> Iterator[Stack]:
    """A stack with the template's parameters, and with failed messages coming back soon.

    Its engine is a quick one, which cuts the margin off; None takes the real remover.
    """
    bounds = {
        "DeadlineSeconds": "120",
        "MaxReceives": "2",
        "MaxMegapixels": "2",
        "SubmitConcurrency": "2",  # each has a process of its own, which takes a second to start
    }
    asked = bounds | parameters
    with local_stack(
        build=build, wait_scale=wait_scale, load_engine=load_engine, parameters=asked
    ) as local:
        stack = Stack(local)
        stack.sqs.set_queue_attributes(
            QueueUrl=stack.env["UPLOAD_QUEUE_URL"], Attributes={"VisibilityTimeout": HIDDEN}
        )
        yield stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running() as stack:
        yield stack


def photo(
    width: int = 160,
    height: int = 120,
    format: str = "JPEG",  # noqa: A002 - Pillow's name
) -> bytes:
    """A red, rough ball before a smooth backdrop, as a file."""
    y, x = np.mgrid[:height, :width]
    ball = np.hypot(x - width / 2, y - height / 2) < height / 3
    noise = np.random.default_rng(3).normal(0, 25, (height, width, 1))
    backdrop = np.stack([60 + x / 8, 90 + y / 8, 150 + x / 16], axis=2)
    pixels = np.where(ball[..., None], np.array([200.0, 70.0, 40.0]) + noise, backdrop)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, format)
    return file.getvalue()


def event_of(upload: Upload) -> str:
    """What EventBridge delivers about an upload."""
    created = {"key": upload.key, "size": upload.size, "etag": upload.etag}
    detail = {
        "bucket": {"name": upload.bucket},
        "object": created | {"version-id": upload.version_id},
    }
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})
