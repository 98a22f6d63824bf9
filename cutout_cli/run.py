"""`cutout run`: the whole stack for the time of a few photos."""

import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cutout_cli.photos import Photo, find_photos
from cutout_cli.pipeline import Job, Pipeline
from cutout_cli.report import tell_job, tell_steps
from cutout_local.stack import local_stack


def run_photos(paths: list[Path], out: Path, remover: str, parameters: Mapping[str, str]) -> bool:
    """Cut out every photo and tell how it went; whether all succeeded.

    Raises `PhotoNotFound`, `LocalAwsError` or `ServerError`.
    """
    console = Console(highlight=False)
    photos = find_photos(paths)
    started = time.monotonic()
    with local_stack(remover=remover, parameters=parameters) as stack:
        stack.wavespeed.wait_for_remover()
        console.print(f"the stack is up after {time.monotonic() - started:.1f} s")
        jobs = _send(console, Pipeline(stack), photos, out)
    if len(jobs) == 1:
        tell_steps(console, jobs[0])
    return all(job.succeeded for job in jobs)


def _send(console: Console, pipeline: Pipeline, photos: list[Photo], out: Path) -> list[Job]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("uploading", total=len(photos))
        jobs = [pipeline.upload(photo) for photo in photos]
        for job in pipeline.follow(jobs, out):
            progress.update(bar, description=_state(jobs))
            if job.finished_at is not None:
                tell_job(progress.console, job)
                progress.advance(bar)
    return jobs


def _state(jobs: list[Job]) -> str:
    """Which step how many photos are in; with one photo, just its step."""
    steps = [job.step for job in jobs if job.finished_at is None]
    if len(jobs) == 1:
        return steps[0] if steps else "done"
    return ", ".join(f"{steps.count(step)} {step}" for step in sorted(set(steps))) or "done"
