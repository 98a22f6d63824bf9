"""Compares the bucket, the ledger and the vendor's predictions with what was uploaded."""

from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout_local.wavespeed.faults import Fault
from tests.chaos.files import Expected
from tests.chaos.plan import Plan, Planned
from tests.chaos.stack import Png

LOST, BILLED_TWICE, WRONG_IMAGE = "lost", "billed twice", "wrong image"
STUCK, PAID_FAILED, LEAKED = "stuck", "paid and failed by a passing trouble", "secret leaked"
COPY_LEFT = "copy for the vendor left behind"
UNACCOUNTED, UNEXPLAINED = "billed unknown to the ledger", "ended without a cause in the plan"

_FAILURES = {  # what a fault of the vendor makes of a task
    Fault.TASK_NEVER_ENDS: "timed_out",
    Fault.TASK_FAILS: "prediction_failed",
    Fault.TASK_FAILS_WITH_SECRETS: "prediction_failed",
    Fault.TASK_CANCELLED: "prediction_failed",
    Fault.TASK_TIMEOUT: "prediction_failed",
    Fault.TASK_DELETED: "prediction_failed",
    Fault.OUTPUT_EXPIRED: "output_gone",
    Fault.OUTPUT_INCOMPLETE: "bad_output",
    Fault.OUTPUT_WRONG_BYTES: "bad_output",
    Fault.OUTPUT_NO_ALPHA: "bad_output",
    Fault.OUTPUT_EMPTY: "empty_cutout",
    Fault.OUTPUT_DAMAGED_PIXELS: "bad_output",
    Fault.OUTPUT_PRIVATE_REDIRECT: "output_blocked",
}


@dataclass(frozen=True)
class Evidence:
    """What is there once a campaign has settled.

    `uploads` by number, `tasks` by task id, `pngs` by output key. `predictions` as the vendor tells
    them, each entry with the `number` in its output, if it has one. `stuck` are the ids of tasks
    that were still open when nothing failed any more; `leaks` are where secrets were found;
    `copies` are the ids of tasks whose converted copy is still there, with nobody saying why.
    """

    plan: Plan
    uploads: dict[int, Upload]
    tasks: dict[str, Task]
    pngs: dict[str, Png]
    predictions: list[dict[str, Any]]
    stuck: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)
    copies: set[str] = field(default_factory=set)

    def task(self, planned: Planned) -> Task | None:
        upload = self.uploads.get(planned.number)
        return self.tasks.get(upload.task_id) if upload else None


@dataclass(frozen=True)
class Finding:
    """Something that must not be, about an upload or about none."""

    what: str
    more: str = ""
    planned: Planned | None = None
    task: Task | None = None

    def __str__(self) -> str:
        words = [self.what.upper(), self.more]
        if self.planned:
            faults = ",".join(self.planned.faults)
            words += [f"#{self.planned.number} {self.planned.kind!r} {self.planned.key!r}", faults]
        if self.task:
            task = self.task
            words += [f"task={task.task_id} attempt={task.attempt} prediction={task.prediction_id}"]
            words += [f"status={task.status} code={task.code} reason={task.reason!r}"]
            words += [" ".join(f"{s}@{t:%H:%M:%S.%f}" for s, t in task.entered_at.items())]
        return " | ".join(word for word in words if word)


@dataclass
class Audit:
    """Looks at the evidence when it is made. `held_bills` are of tasks that are uncertain."""

    evidence: Evidence
    findings: list[Finding] = field(default_factory=list)
    settled_bills: int = 0
    held_bills: int = 0

    def __post_init__(self) -> None:
        self._revisions: dict[str, list[Planned]] = defaultdict(list)
        for planned in self.evidence.plan.uploads:
            self._revisions[planned.key].append(planned)
        for planned in self.evidence.plan.uploads:
            self._check_end(planned)
        for revisions in self._revisions.values():
            self._check_image(revisions)
        self._check_for_strays()
        self._check_bills()
        for leak in self.evidence.leaks:
            self._find(LEAKED, None, leak)

    def count(self, what: str) -> int:
        return sum(finding.what == what for finding in self.findings)

    @property
    def billed(self) -> list[dict[str, Any]]:
        return [entry for entry in self.evidence.predictions if not entry["refunded"]]

    def _find(self, what: str, planned: Planned | None, more: str = "") -> None:
        task = self.evidence.task(planned) if planned else None
        self.findings.append(Finding(what, more, planned, task))

    # ------------------------------------------------------------ every upload has one plain end

    def _check_end(self, planned: Planned) -> None:
        task = self.evidence.task(planned)
        if task and task.task_id in self.evidence.stuck:
            self._find(STUCK, planned)
        if task is None:
            self._find(LOST, planned, "no row")
        elif task.status.open:
            self._find(LOST, planned, "still open")
        elif task.status is Status.COMPLETED and task.output_key not in self.evidence.pngs:
            self._find(LOST, planned, "completed without a PNG")
        elif task.status is Status.COMPLETED and task.task_id in self.evidence.copies:
            self._find(COPY_LEFT, planned)
        elif not self._is_explained(planned, task):
            self._find(PAID_FAILED if self._is_paid(task) else UNEXPLAINED, planned)

    def _is_paid(self, task: Task) -> bool:
        """Whether the vendor has a result that the task failed without."""
        return task.status is Status.FAILED and any(
            entry["id"] == task.prediction_id and entry["status"] == "completed"
            for entry in self.billed
        )

    def _is_explained(self, planned: Planned, task: Task) -> bool:
        """Whether the file, its faults or another revision can have led to this end."""
        match task.status:
            case Status.REJECTED:
                may_go = planned.expected is Expected.DELETED or self._is_replaced(planned)
                gone = may_go and task.code == "source_gone"
                return planned.expected is Expected.REJECTED or gone
            case Status.COMPLETED:
                return planned.expected in (Expected.COMPLETED, Expected.DELETED)
            case Status.SUPERSEDED:
                saved = any(self._was_saved(other) for other in self._newer(planned))
                return saved or self._is_replaced(planned)
            case Status.FAILED:
                return task.code in _failures_of(planned)
            case _:  # uncertain: any function may have been killed
                return planned.expected is not Expected.REJECTED

    def _newer(self, planned: Planned) -> list[Planned]:
        return [other for other in self._revisions[planned.key] if other.number > planned.number]

    def _is_replaced(self, planned: Planned) -> bool:
        """Whether a newer revision has taken its place, whose bytes the vendor may have got."""
        return not self.evidence.plan.versioned and bool(self._newer(planned))

    def _was_saved(self, planned: Planned) -> bool:
        task = self.evidence.task(planned)
        return task is not None and task.status in (Status.COMPLETED, Status.FAILED)

    # ------------------------------------------------------------ the right image under each key

    def _check_image(self, revisions: list[Planned]) -> None:
        tasks = {p.number: task for p in revisions if (task := self.evidence.task(p))}
        done = [n for n, task in tasks.items() if task.status is Status.COMPLETED]
        png = self.evidence.pngs.get(f"{revisions[0].key}.png")
        if png is None:
            return
        # A task whose execution was aborted may have saved its image first.
        allowed = {n for n in tasks if n >= max(done, default=0) and (n in done or not done)}
        newest = revisions[-1] if not done else next(p for p in revisions if p.number == max(done))
        if png.number not in allowed:
            self._find(WRONG_IMAGE, newest, f"shows upload {png.number}")
        elif png.task_id != tasks[png.number].task_id:
            self._find(WRONG_IMAGE, newest, f"says it is of task {png.task_id}")

    def _check_for_strays(self) -> None:
        known = {f"{key}.png" for key in self._revisions}
        for key in self.evidence.pngs.keys() - known:
            self._find(WRONG_IMAGE, None, f"nothing was uploaded for {key!r}")

    # ------------------------------------------------------------ what was paid

    def _check_bills(self) -> None:
        by_prediction = {
            task.prediction_id: planned
            for planned in self.evidence.plan.uploads
            if (task := self.evidence.task(planned)) and task.prediction_id
        }
        bills: Counter[Planned] = Counter()
        for entry in self.billed:
            known = by_prediction.get(entry["id"])
            planned = known or self._about(entry, bills)
            if planned is None:
                self._find(UNACCOUNTED, None, str(entry))
                continue
            bills[planned] += 1
            self._check_bill(entry, planned, known=known is not None)
        for planned, times in bills.items():
            if times > 1:
                self._find(BILLED_TWICE, planned, f"{times} times")

    def _check_bill(self, entry: dict[str, Any], planned: Planned, *, known: bool) -> None:
        numbers = {None, planned.number}
        if self._is_replaced(planned):
            numbers.update(other.number for other in self._newer(planned))
        if entry["number"] not in numbers:
            self._find(WRONG_IMAGE, planned, f"prediction {entry['id']} is of {entry['number']}")
        task = self.evidence.task(planned)
        if known:
            self.settled_bills += 1
        elif task and task.status is Status.UNCERTAIN:
            self.held_bills += 1
        else:
            self._find(UNACCOUNTED, planned, f"prediction {entry['id']}")

    def _about(self, entry: dict[str, Any], bills: Container[Planned]) -> Planned | None:
        """Which upload a bill is about: by its output, else by its key."""
        for planned in self.evidence.plan.uploads:
            if planned.number == entry["number"]:
                return next((p for p in self._held_before(planned) if p not in bills), planned)
        for key, revisions in self._revisions.items():
            if entry["image"].endswith(f"/{key}") and len(revisions) == 1:
                return revisions[0]
        return None

    def _held_before(self, planned: Planned) -> list[Planned]:
        """Uncertain revisions whose place this one took, so that their bill may show this one."""
        tasks = ((other, self.evidence.task(other)) for other in self._revisions[planned.key])
        held = [other for other, task in tasks if task and task.status is Status.UNCERTAIN]
        return [p for p in held if p.number < planned.number and self._is_replaced(p)]


def _failures_of(planned: Planned) -> set[str]:
    codes = {_FAILURES[fault] for fault in planned.faults if fault in _FAILURES}
    if planned.expected in (Expected.UNREADABLE, Expected.DELETED):
        codes.add("prediction_failed")
    if planned.aborted:
        codes.add("execution_ended")
    return codes
