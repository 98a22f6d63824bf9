"""Uploads and tasks for tests that care about one or two of their fields."""

from datetime import UTC, datetime
from typing import Any

from cutout.domain.tasks import Task, new_task
from cutout.domain.uploads import Upload

INPUT = "images-in"
OUTPUT = "images-out"
MODEL = "wavespeed-ai/image-background-remover"
NOON = datetime(2026, 9, 14, 12, tzinfo=UTC)


def make_upload(**fields: Any) -> Upload:
    """A versioned upload."""
    upload = {"bucket": INPUT, "key": "a/cat.jpg", "version_id": "v1", "etag": "e1", "size": 1000}
    return Upload.model_validate(upload | fields)


def make_task(upload: Upload | None = None, **fields: Any) -> Task:
    """A task that has just been queued."""
    upload = upload or make_upload()
    task = new_task(upload, OUTPUT, f"{upload.key}.png", MODEL, NOON, retention_days=30)
    return task.model_copy(update=fields)
