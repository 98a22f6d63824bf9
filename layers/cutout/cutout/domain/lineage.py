"""Where an output came from, as user metadata of its object."""

from urllib.parse import quote

from cutout.domain.tasks import Task

_MAX_METADATA_BYTES = 2048  # S3's limit for all user metadata of an object, names included


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
