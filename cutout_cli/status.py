"""Where tasks are: one line a task, or all of them in one summary."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cutout.domain.tasks import Status, Task
from cutout_cli.errors import BadTime
from cutout_cli.limits import governor
from cutout_cli.stacks import Stack
from cutout_cli.text import plural, shown, when

OPEN = frozenset(status for status in Status if status.open or status is Status.UNCERTAIN)
_RATE_OVER = timedelta(minutes=5)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_FIELDS = {
    *("task_id", "key", "version_id", "status", "code", "reason", "created_at", "entered_at"),
    *("attempt", "polls", "prediction_id", "model", "submit_after", "inference_ms"),
    *("confidence", "reused_from"),
    *("output_bucket", "output_key"),
}


def time_of(text: str, now: datetime) -> datetime:
    """A time as ISO 8601 (UTC if it says nothing else), or as an age: 30m, 2h, 7d.

    Raises `BadTime`.
    """
    if age := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadTime(f"{text!r} is no time; write 30m, 2h, 7d, or 2026-01-31T12:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def wanted(*, failed: bool, only_open: bool) -> frozenset[Status]:
    """The statuses that the options choose; all of them if they choose none."""
    chosen = (OPEN if only_open else frozenset()) | ({Status.FAILED} if failed else frozenset())
    return frozenset(chosen or Status)


def line(task: Task) -> str:
    """One task: status, since when, key, and why."""
    since = task.entered_at.get(task.status, task.created_at)
    why = f": {task.reason} ({task.code})" if task.reason else ""
    if task.reused_from:
        why = f": a copy of the PNG of task {task.reused_from}"
    return f"{task.status:10} {when(since)}  {shown(task.key)}{why}"


def as_json(task: Task) -> str:
    """The same for programs; `docs/cli.md` says what the fields mean."""
    return task.model_dump_json(include=_FIELDS)


@dataclass(frozen=True)
class Summary:
    """All tasks at one time. Money in USD; a limit of 0 is none."""

    by_status: Mapping[str, int]
    open: int
    oldest_open: datetime | None
    completed_per_minute: float
    expected_finish: datetime | None
    images_per_minute: int
    spent_today: Decimal
    daily_budget: Decimal
    paused: bool

    def as_json(self) -> str:
        times = {"oldest_open": self.oldest_open, "expected_finish": self.expected_finish}
        told = {name: time and time.isoformat() for name, time in times.items()}
        return json.dumps(asdict(self) | told, default=str)

    def lines(self) -> list[str]:
        statuses = ", ".join(f"{count} {status}" for status, count in self.by_status.items())
        waiting = plural(self.open, "task")
        if self.oldest_open:
            waiting += f", the oldest of {when(self.oldest_open)}"
        rate = f"{self.completed_per_minute:.1f} completed a minute"
        if self.images_per_minute:
            rate += f", at most {self.images_per_minute} submitted"
        if self.paused:
            rate += "; sending is paused, go on with: cutout resume"
        finish = when(self.expected_finish) if self.expected_finish else "-"
        budget = f" of ${self.daily_budget}" if self.daily_budget else ", no budget is set"
        return [
            f"tasks     {statuses or 'none'}",
            f"open      {waiting}",
            f"rate      {rate}",
            f"finish    {finish}",
            f"today     ${self.spent_today}{budget}",
        ]


def summary(stack: Stack, tasks: Iterable[Task], now: datetime) -> Summary:
    """What the tasks come to; the limits are those that hold now."""
    counts: Counter[str] = Counter()
    oldest: datetime | None = None
    recent = sent = 0
    for task in tasks:
        counts[task.status.value] += 1
        if task.status.open:
            oldest = min(oldest or task.created_at, task.created_at)
        completed = task.entered_at.get(Status.COMPLETED)
        recent += bool(completed and completed >= now - _RATE_OVER)
        accepted = task.entered_at.get(Status.PROCESSING)
        sent += bool(accepted and accepted.date() == now.date() and not task.reused_from)
    still = sum(counts[status] for status in Status if status.open)
    limits = governor(stack)
    plan, price = limits.plan(), Decimal(stack.parameters["PricePerImage"])
    rate = recent / (_RATE_OVER / timedelta(minutes=1))
    speed = 0 if plan.paused else rate or plan.images_per_minute
    return Summary(
        by_status=dict(counts.most_common()),
        open=still,
        oldest_open=oldest,
        completed_per_minute=rate,
        expected_finish=now + timedelta(minutes=still / speed) if still and speed else None,
        images_per_minute=plan.images_per_minute,
        # Without a budget, nobody counts what is spent.
        spent_today=limits.spent(now) if plan.daily_budget else sent * price,
        daily_budget=plan.daily_budget,
        paused=plan.paused,
    )
