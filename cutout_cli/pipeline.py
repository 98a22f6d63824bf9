"""Send photos through a running local stack and follow them to their end."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from cutout.domain.errors import TaskNotFound
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.wavespeed.client import WaveSpeed
from cutout_cli.photos import Photo
from cutout_local.stack import LocalStack

LOOK_EVERY = 0.2  # seconds between two looks into the ledger


@dataclass
class Job:
    """One photo on its way; `task` is None until the pipeline has taken note of the upload."""

    photo: Photo
    task_id: str
    uploaded_at: float
    task: Task | None = None
    finished_at: float | None = None
    saved_to: Path | None = None
    confidence: str | None = None

    @property
    def step(self) -> str:
        return self.task.status.value if self.task else "uploaded"

    @property
    def succeeded(self) -> bool:
        return self.saved_to is not None

    @property
    def seconds(self) -> float:
        """From the upload until now, or until the cut-out was saved."""
        return (self.finished_at or time.monotonic()) - self.uploaded_at


class Pipeline:
    """The buckets and the ledger of a running local stack."""

    def __init__(self, stack: LocalStack) -> None:
        self._env = stack.environment
        self._s3 = stack.aws.client("s3")
        self._ledger = Ledger(Table(stack.aws.client("dynamodb"), self._env["TASKS_TABLE"]))
        self._wavespeed = WaveSpeed(
            self._env["WAVESPEED_BASE_URL"],
            api_key=lambda: self._env["WAVESPEED_API_KEY"],
        )

    def upload(self, photo: Photo) -> Job:
        """Put a photo into the input bucket."""
        started = time.monotonic()
        bucket = self._env["INPUT_BUCKET"]
        with photo.path.open("rb") as body:
            answer = self._s3.put_object(Bucket=bucket, Key=photo.key, Body=body)
        upload = Upload(
            bucket=bucket,
            key=photo.key,
            version_id=answer["VersionId"],
            etag=answer["ETag"].strip('"'),
            size=photo.path.stat().st_size,
        )
        return Job(photo, upload.task_id, started)

    def follow(self, jobs: list[Job], out: Path) -> Iterator[Job]:
        """Yield jobs whenever one has been looked at, until all have ended; saves the PNGs."""
        open_jobs = list(jobs)
        while open_jobs:
            for job in open_jobs:
                self._look(job, out)
                yield job
            open_jobs = [job for job in open_jobs if job.finished_at is None]
            if open_jobs:
                time.sleep(LOOK_EVERY)

    def _look(self, job: Job, out: Path) -> None:
        try:
            job.task = self._ledger.get(job.task_id)
        except TaskNotFound:
            return
        if job.task.status is Status.COMPLETED:
            self._save(job, job.task, out)
        if not job.task.status.open:  # an uncertain one goes nowhere in a short-lived stack
            job.finished_at = time.monotonic()

    def _save(self, job: Job, task: Task, out: Path) -> None:
        target = out / job.photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        self._s3.download_file(task.output_bucket, task.output_key, str(target))
        job.saved_to = target
        job.confidence = self._confidence(task)

    def _confidence(self, task: Task) -> str | None:
        """How sure the local remover was: it says so where its output is downloaded."""
        outputs = self._wavespeed.result(str(task.prediction_id)).outputs
        level: str | None = httpx.head(outputs[0]).headers.get("x-cutout-confidence-level")
        return level
