"""Put photos into a stack's input bucket and follow them to their PNGs."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.tasks import Confidence, OnUncertain, Status, Task
from cutout.domain.uploads import Upload, version_of
from cutout_cli.errors import CannotFollow, WaitedTooLong
from cutout_cli.photos import Photo
from cutout_cli.program import explanation
from cutout_cli.stacks import Stack
from cutout_cli.tasks import Tasks

LOOK_EVERY_LOCAL, LOOK_EVERY_AWS = 0.2, 2.0  # seconds between two looks into the ledger


@dataclass
class Job:
    """One photo on its way; `task` is None until the pipeline has taken note of the upload.

    Times are those of `time.monotonic`. `is_new` is False when the object was there already.
    `task_id` is None in a bucket without versions, where only the event tells it.
    """

    photo: Photo
    task_id: str | None
    uploaded_at: float
    is_new: bool = True
    task: Task | None = None
    finished_at: float | None = None
    saved_to: Path | None = None
    problem: str | None = None

    @property
    def status(self) -> str:
        return self.task.status.value if self.task else "uploaded"

    @property
    def confidence(self) -> Confidence | None:
        """How sure the remover was, if it said so."""
        return self.task.confidence if self.task else None

    @property
    def seconds(self) -> float:
        """From the upload until now, or until the PNG was saved."""
        return (self.finished_at or time.monotonic()) - self.uploaded_at

    @property
    def succeeded(self) -> bool:
        return self.status == Status.COMPLETED and self.problem is None


class Uploader:
    """Puts photos into the input bucket."""

    def __init__(self, stack: Stack, metadata: Mapping[str, str] | None = None) -> None:
        self._s3 = stack.client("s3")
        self._bucket = stack.input_bucket
        self._metadata = dict(metadata or {})

    def upload(self, photo: Photo) -> Job:
        """Upload a photo, unless the object is there with the same content and metadata."""
        body = photo.path.read_bytes()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        started = time.monotonic()
        there = self._there(photo, digest)
        answer = there or self._s3.put_object(
            Bucket=self._bucket,
            Key=photo.key,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=digest,
            Metadata=self._metadata,
        )
        upload = Upload(
            bucket=self._bucket,
            key=photo.key,
            version_id=answer.get("VersionId"),
            etag=answer["ETag"].strip('"'),
            size=len(body),
        )
        task_id = upload.task_id if version_of(upload.version_id) else None
        return Job(photo, task_id, started, is_new=there is None)

    def _there(self, photo: Photo, digest: str) -> Mapping[str, Any] | None:
        """The object, if an earlier upload of ours left the same under the key."""
        try:
            found: dict[str, Any] = self._s3.head_object(
                Bucket=self._bucket, Key=photo.key, ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise
        same = found.get("ChecksumSHA256") == digest and found["Metadata"] == self._metadata
        return found if same else None


class Follower:
    """Looks at jobs until they have ended, and saves their PNGs in the folder `out`, if any.

    `timeout` is for how many seconds nothing may change; 0 stands for no limit.
    """

    def __init__(
        self, stack: Stack, out: Path | None, *, timeout: float = 0, force: bool = False
    ) -> None:
        self._s3 = stack.client("s3")
        self._tasks = Tasks(stack)
        self._out = out
        self._timeout = timeout
        self._force = force
        self._every = LOOK_EVERY_LOCAL if stack.is_local else LOOK_EVERY_AWS
        self._holds = stack.parameters.get("OnUncertain") == OnUncertain.HOLD

    def follow(
        self, jobs: list[Job], pause: Callable[[float], None] = time.sleep
    ) -> Iterator[Job | None]:
        """Yield each job that has moved, and None after each look at all of them.

        Raises `WaitedTooLong`, and `CannotFollow` before the first look.
        """
        left = {_task_id(job): job for job in jobs}
        changed_at = time.monotonic()
        while left:
            found = self._tasks.many(left)
            for task_id, job in left.items():
                if self._has_moved(job, found.get(task_id)):
                    changed_at = time.monotonic()
                    yield job
            left = {task_id: job for task_id, job in left.items() if job.finished_at is None}
            yield None
            if left and self._timeout and time.monotonic() - changed_at > self._timeout:
                raise WaitedTooLong(_sentence(list(left.values()), self._timeout))
            if left:
                pause(self._every)

    def _has_moved(self, job: Job, task: Task | None) -> bool:
        before, job.task = job.task, task
        if task is None or (before and _place(before) == _place(task)):
            return False
        if task.status is Status.COMPLETED:
            self._finish(job, task)
        if task.status.ended or (task.status is Status.UNCERTAIN and self._holds):
            job.finished_at = time.monotonic()
        return True

    def _finish(self, job: Job, task: Task) -> None:
        try:
            if self._out:
                job.saved_to = self._save(task, self._out / job.photo.name)
        # The others must not suffer for one.
        except (OSError, Boto3Error, BotoCoreError, ClientError) as error:
            job.problem = explanation(error) or str(error)

    def _save(self, task: Task, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".cutout-{task.task_id}")
        self._s3.download_file(task.output_bucket, task.output_key, str(part))
        try:
            return part.replace(target if self._force else _claimed(target))
        finally:
            part.unlink(missing_ok=True)


def _claimed(target: Path) -> Path:
    """An empty file of this name, or of one like it if another came there since the start."""
    for number in count(1):
        name = target if number == 1 else target.with_stem(f"{target.stem}-{number}")
        with suppress(FileExistsError):
            name.touch(exist_ok=False)
            break
    return name


def _task_id(job: Job) -> str:
    if job.task_id is None:
        raise CannotFollow("the input bucket keeps no versions; uploads can be followed with them")
    return job.task_id


def _place(task: Task) -> tuple[Status, int, str | None]:
    """What must change for a task to have moved; a poll that found nothing is no change."""
    return task.status, task.attempt, task.reason


def _sentence(left: list[Job], timeout: float) -> str:
    first = left[0]
    why = f"{first.photo.key} is {first.status}"
    if first.task and first.task.reason:
        why += f": {first.task.reason}"
    others = f", and {len(left) - 1} more" if len(left) > 1 else ""
    return f"gave up: nothing has changed for {timeout:g} s (--timeout); {why}{others}"
