"""What a run tells the person who started it."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cutout.domain.tasks import Status, Task
from cutout_cli.pipeline import Job

LOW_CONFIDENCE = (
    "        the remover is not sure of this one, so it may be wrong; a neural network does\n"
    "        better on hard pictures: see CUTOUT_REMOVER=rembg in the README"
)


def tell_job(console: Console, job: Job) -> None:
    """One line for a photo that has ended; a second one if something is to be known."""
    name = job.photo.path.name
    if job.saved_to:
        console.print(f"[green]done[/]    {name} -> {_shown(job.saved_to)}  {job.seconds:.1f} s")
        if job.confidence == "low":
            console.print(LOW_CONFIDENCE)
    elif job.task:
        console.print(f"[red]{job.step}[/]  {name}: {job.task.reason} ({job.task.code})")


def tell_steps(console: Console, job: Job) -> None:
    """How long each step of one photo took, and what the ledger says."""
    if not job.task or not job.saved_to:
        return
    table = Table("step", "seconds", "what happened", box=None, header_style="bold")
    for step, seconds, what in _steps(job, job.task):
        table.add_row(step, f"{seconds:.2f}", what)
    console.print(table)
    console.print(
        f"ledger: task {job.task.task_id} is {job.task.status}, attempt {job.task.attempt}, "
        f"{_polls(job.task)}, prediction {job.task.prediction_id}"
    )


def _steps(job: Job, task: Task) -> list[tuple[str, float, str]]:
    at = task.entered_at
    inference = (task.inference_ms or 0) / 1000
    queued = (at[Status.SUBMITTING] - at[Status.QUEUED]).total_seconds()
    submitted = (at[Status.PROCESSING] - at[Status.SUBMITTING]).total_seconds()
    waited = (at[Status.COMPLETED] - at[Status.PROCESSING]).total_seconds() - inference
    around = job.seconds - inference - queued - submitted - waited
    return [
        ("deliver", around, "upload and event before, download after"),
        ("queue", queued, "claimed in the ledger, checked by its bytes"),
        ("submit", submitted, "sent to the WaveSpeed-compatible server"),
        ("remove", inference, "the server's own time for the background"),
        ("wait", waited, f"the server's queue, {_polls(task)}, saving the PNG"),
        ("pipeline", job.seconds - inference, "all but the remover"),
        ("total", job.seconds, "from the upload to the file"),
    ]


def _polls(task: Task) -> str:
    return "1 poll" if task.polls == 1 else f"{task.polls} polls"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
