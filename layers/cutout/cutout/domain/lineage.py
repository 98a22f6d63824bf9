"""Where an output came from, as user metadata of its object."""

from datetime import datetime
from typing import NamedTuple, Self
from urllib.parse import quote, unquote

from cutout.domain.tasks import Task
from cutout.domain.uploads import Upload

_MAX_METADATA_BYTES = 2048  # S3's limit for all user metadata of an object, names included


class SavedPng(NamedTuple):
    """Whose an output is, as far as its metadata say, and when it was saved."""

    task_id: str | None
    source_key: str | None
    saved_at: datetime

    @classmethod
    def of(cls, metadata: dict[str, str], saved_at: datetime) -> Self:
        source = metadata.get("cutout-source-key")
        return cls(metadata.get("cutout-task-id"), source and unquote(source), saved_at)

    def is_of(self, upload: Upload, made_at: datetime) -> bool:
        """Whether it was made from an upload that came at a time.

        Without a version, what was made from the key since then is.
        """
        if self.task_id == upload.task_id:
            return True
        same_key = self.source_key in {None, upload.key} and self.task_id is not None
        return upload.unversioned_id is not None and same_key and self.saved_at >= made_at


def lineage(task: Task) -> dict[str, str]:
    """Where the PNG came from, the most useful first; values are percent-encoded for headers."""
    entries = {
        "cutout-task-id": task.task_id,
        "cutout-reused-from": task.reused_from,
        "cutout-prediction-id": task.prediction_id,
        "cutout-model": task.model,
        "cutout-confidence": task.confidence,
        "cutout-source-bucket": task.bucket,
        "cutout-source-version": task.version_id,
        "cutout-source-key": task.key,
    }
    return {name: quote(value) for name, value in entries.items() if value}


def with_lineage(metadata: dict[str, str], lineage: dict[str, str]) -> dict[str, str]:
    """The user's metadata, and as much of the lineage as S3's limit leaves room for."""
    fitting = dict(metadata)
    for name, value in lineage.items():
        size = sum(len(k) + len(v) for k, v in (fitting | {name: value}).items())
        if size <= _MAX_METADATA_BYTES:
            fitting[name] = value
    return fitting
