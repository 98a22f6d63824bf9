"""Upload photos and follow them to their PNGs, telling what happens on the way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cutout_cli import report, sheet
from cutout_cli.errors import WaitedTooLong
from cutout_cli.logs import FunctionLogs
from cutout_cli.photos import Photo
from cutout_cli.stacks import Stack
from cutout_cli.uploads import Follower, Job, Uploader

TIMEOUT = 300.0  # seconds without any change; the remover takes some 25 for its hardest photo
QUIET = 15.0  # seconds without any change after which the functions' logs are looked at
_AT_ONCE = 8  # uploads


@dataclass(frozen=True)
class DeliveryOptions:
    """Where PNGs are saved (None: nowhere), and how results are told.

    `timeout` is for how many seconds nothing may change; 0 stands for no limit.
    """

    out: Path | None
    force: bool = False
    timeout: float = TIMEOUT
    as_json: bool = False
    sheet: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Delivery:
    """Photos on their way through one stack; results go to standard output, one line each."""

    def __init__(self, stack: Stack, options: DeliveryOptions) -> None:
        self._stack = stack
        self._options = options
        self._results = report.console()
        # On a terminal, the bar must know of each line that is printed above it.
        told = report.console(stderr=True)
        self._told = self._results if self._results.is_terminal else told

    def upload(self, photos: Sequence[Photo]) -> list[Job]:
        """Upload several at a time; the jobs are in the order of the photos."""
        uploader = Uploader(self._stack, self._options.metadata)
        with self._bar(len(photos)) as show, ThreadPoolExecutor(_AT_ONCE) as pool:
            uploads = [pool.submit(uploader.upload, photo) for photo in photos]
            try:
                for done, upload in enumerate(as_completed(uploads), 1):
                    upload.result()
                    show("uploading", done)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [upload.result() for upload in uploads]

    def follow(self, jobs: list[Job]) -> bool:
        """Tell what becomes of each photo, and save the PNGs; whether all succeeded.

        Raises `WaitedTooLong`, when all that is known has been told.
        """
        options = self._options
        started = time.monotonic()
        errors = NewErrors(self._stack, self._told)
        follower = Follower(self._stack, options.out, timeout=options.timeout, force=options.force)
        try:
            self._tell_all(follower, jobs, errors)
        except WaitedTooLong:
            errors.tell()
            raise
        finally:
            self._told.print(report.summary(jobs, time.monotonic() - started))
            if options.sheet and any(job.saved_to for job in jobs):
                sheet.draw(jobs, options.sheet)
                self._told.print(f"contact sheet: {options.sheet}")
        return all(job.succeeded for job in jobs)

    def _tell_all(self, follower: Follower, jobs: list[Job], errors: "NewErrors") -> None:
        ended = 0
        with self._bar(len(jobs)) as show:
            for job in follower.follow(jobs):
                errors.tell_if_quiet(moved=job is not None)
                if job and job.finished_at is not None:
                    ended += 1
                    self._tell_result(job)
                elif job and job.task and job.task.reason:
                    self._told.print(report.line(job))
                show(_states(jobs), ended)

    def _tell_result(self, job: Job) -> None:
        self._results.print(report.as_json(job) if self._options.as_json else report.line(job))

    @contextmanager
    def _bar(self, total: int) -> Iterator[Callable[[str, int], None]]:
        """A progress bar on a terminal, and nothing in a pipe."""
        columns = (TextColumn("{task.description}", markup=False), BarColumn())
        told = self._told
        with Progress(
            *columns,
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=told,
            transient=True,
            redirect_stdout=False,
            disable=not told.is_terminal,
        ) as progress:
            bar = progress.add_task("", total=total)
            yield lambda text, done: progress.update(bar, description=text, completed=done)


class NewErrors:
    """The errors in the functions' logs: why nothing moves, if a function crashes at its start."""

    def __init__(self, stack: Stack, told: Console) -> None:
        self._stack = stack
        self._told = told
        self._begin = datetime.now(UTC)
        self._quiet_since = time.monotonic()
        self._known: set[str] = set()

    def tell_if_quiet(self, *, moved: bool) -> None:
        """Look into the logs each time that nothing has moved for a while."""
        now = time.monotonic()
        if not moved and now - self._quiet_since < QUIET:
            return
        if not moved:
            self.tell()
        self._quiet_since = now

    def tell(self) -> None:
        """Print the errors that are not known yet."""
        try:
            lines = FunctionLogs(self._stack).errors(self._begin)
        except ClientError:
            return  # not everybody who may upload may read logs
        for text in dict.fromkeys(f"log of {line.function}: {line.text}" for line in lines):
            if text not in self._known:
                self._told.print(text)
                self._known.add(text)


def _states(jobs: list[Job]) -> str:
    """In which state how many photos are; with one photo, just its state."""
    states = [job.status for job in jobs if job.finished_at is None]
    if len(jobs) == 1:
        return states[0] if states else "done"
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "done"
