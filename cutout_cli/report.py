"""What is told about photos: a line each on standard output, all else on standard error."""

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cutout.domain.tasks import Status, Task
from cutout_cli.text import plural, shown
from cutout_cli.uploads import Job

COLOURS = {Status.COMPLETED: "green", Status.FAILED: "red", Status.REJECTED: "red"}


def console(*, stderr: bool = False) -> Console:
    """One that takes all text for text, and folds no line of a pipe."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def line(job: Job) -> Text:
    """What became of a photo, or what it waits for."""
    name = shown(job.photo.path)
    if job.succeeded and job.task:
        target = shown(job.saved_to) if job.saved_to else job.task.output_key
        return Text.assemble(("done", "green"), f"      {name} -> {target}  {_how(job, job.task)}")
    status = Text(f"{job.status:9} ", style="red" if job.finished_at else "yellow")
    return status + Text(f"{name}{_why(job)}")


def as_json(job: Job) -> str:
    """The same for programs; `docs/cli.md` says what the fields mean."""
    task = job.task
    return json.dumps(
        {
            "photo": str(job.photo.path),
            "key": job.photo.key,
            "task_id": job.task_id,
            "status": job.status,
            "code": task and task.code,
            "reason": job.problem or (task and task.reason),
            "output_key": task.output_key if task and job.succeeded else None,
            "saved_to": str(job.saved_to) if job.saved_to else None,
            "seconds": round(job.seconds, 3),
            "inference_seconds": _inference(task),
            "confidence": job.confidence,
        }
    )


def summary(jobs: Sequence[Job], seconds: float) -> str:
    """How many ended how, in how long, and which to look at."""
    counts = Counter("done" if job.succeeded else _ending(job) for job in jobs)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    unsure = [shown(job.photo.path) for job in jobs if job.confidence == "low"]
    text = f"{plural(len(jobs), 'photo')}: {told}; {seconds:.1f} s"
    if unsure:
        text += f"\nconfidence is low, so look at: {', '.join(unsure)}"
    return text


def steps(job: Job) -> Table | None:
    """How long each step of one photo took."""
    if not job.task or not job.succeeded or not job.is_new or job.task.reused_from:
        return None
    table = Table("step", "seconds", "what happened", box=None, header_style="bold")
    for step, seconds, what in _steps(job, job.task):
        table.add_row(step, f"{seconds:.2f}", what)
    return table


def ledger_line(task: Task) -> str:
    """What the ledger says about a task that has ended."""
    return (
        f"ledger: task {task.task_id} is {task.status}, attempt {task.attempt}, "
        f"{plural(task.polls, 'poll')}, prediction {task.prediction_id}"
    )


def _ending(job: Job) -> str:
    if job.problem:
        return "not saved"
    return job.status if job.finished_at else f"still {job.status}"


def _how(job: Job, task: Task) -> str:
    if not job.is_new:
        return "was there already"
    if task.reused_from:
        return f"{job.seconds:.1f} s, a copy of the PNG of an equal photo"
    inference = _inference(task)
    own = f" (remover {inference:.1f} s)" if inference else ""
    sure = f", confidence {job.confidence}" if job.confidence else ""
    return f"{job.seconds:.1f} s{own}{sure}"


def _why(job: Job) -> str:
    if job.problem:
        return f": not saved: {job.problem}"
    if job.task and job.task.reason:
        return f": {job.task.reason} ({job.task.code})"
    return ""


def _inference(task: Task | None) -> float | None:
    return task.inference_ms / 1000 if task and task.inference_ms else None


def _steps(job: Job, task: Task) -> list[tuple[str, float, str]]:
    at = task.entered_at
    inference = _inference(task) or 0
    queued = (at[Status.SUBMITTING] - at[Status.QUEUED]).total_seconds()
    submitted = (at[Status.PROCESSING] - at[Status.SUBMITTING]).total_seconds()
    waited = (at[Status.COMPLETED] - at[Status.PROCESSING]).total_seconds()
    around = job.seconds - queued - submitted - waited
    if waited > inference:
        waited -= inference
    else:  # in sync mode the submit waits for the remover, and no longer than the vendor does
        in_submit = min(inference, submitted)
        submitted -= in_submit
        waited -= inference - in_submit
    return [
        ("deliver", around, "upload and event before, download after"),
        ("queue", queued, "claimed in the ledger, checked by its bytes"),
        ("submit", submitted, "sent to the WaveSpeed-compatible server"),
        ("remove", inference, "the server's own time for the background"),
        ("wait", waited, f"the server's queue, {plural(task.polls, 'poll')}, saving the PNG"),
        ("pipeline", job.seconds - inference, "all but the remover"),
        ("total", job.seconds, "from the upload to the file"),
    ]
