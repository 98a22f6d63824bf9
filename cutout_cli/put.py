"""`cutout put`: photos into a stack that is there already."""

import json
from collections.abc import Sequence
from pathlib import Path

from cutout_cli import report
from cutout_cli.deliver import Delivery, DeliveryOptions
from cutout_cli.errors import BadMetadata
from cutout_cli.photos import find_photos, listed
from cutout_cli.run import check_files
from cutout_cli.stacks import Stack
from cutout_cli.text import plural, shown
from cutout_cli.uploads import Job


def put_photos(
    stack: Stack, paths: Sequence[Path], prefix: str, options: DeliveryOptions, *, wait: bool
) -> bool:
    """Upload photos and, if asked to, follow them; whether all that was asked for succeeded."""
    found = find_photos(paths, prefix)
    check_files(found, options)
    told = report.console(stderr=True)
    if found.skipped:
        told.print(f"skipped, for they are not named as images: {listed(found.skipped)}")
    delivery = Delivery(stack, options)
    jobs = delivery.upload(found.photos)
    if wait:
        return delivery.follow(jobs)
    for job in jobs:
        print(_json(job) if options.as_json else _line(job))
    new = sum(job.is_new for job in jobs)
    told.print(f"{plural(new, 'upload')}, {len(jobs) - new} were there already")
    return True


def pairs(arguments: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as S3 takes them. Raises `BadMetadata`."""
    metadata = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not (name and equals and argument.isascii()):
            raise BadMetadata(f"{argument!r} is not NAME=VALUE in ASCII, as S3's metadata is")
        metadata[name.lower()] = value
    return metadata


def _line(job: Job) -> str:
    what = "uploaded" if job.is_new else "there already"
    return f"{shown(job.photo.path)} -> {shown(job.photo.key)}  {what}"


def _json(job: Job) -> str:
    told = {"photo": str(job.photo.path), "key": job.photo.key, "task_id": job.task_id}
    return json.dumps(told | {"uploaded": job.is_new})
