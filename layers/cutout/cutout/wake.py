"""Wake the tasks that are due: the clock function's work, once a minute.

Messages, events, callbacks and executions make things faster, and each of them may be lost: what
was to come of it is due in the ledger all the same, and is found here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from cutout.aws.sqs import UploadQueue
from cutout.aws.wait_loop import WaitLoop
from cutout.backstop import Backstop
from cutout.domain.errors import ServiceError, StatusChanged
from cutout.domain.tasks import EXECUTION_CHECK, Status, Task, TaskChanges
from cutout.observability import count_recovered, count_stuck, count_woken, logger
from cutout.settings import ClockSettings
from cutout.store.governor import Governor
from cutout.store.ledger import Due, Ledger

_PAGE = 100  # tasks that are given slots at once
# The loop closes its task at the deadline; its retries outlast an hour of AWS's trouble.
STUCK_AFTER = timedelta(hours=2)
_OVERDUE = "execution_overdue"
_ON_ITS_WAY = {"execution_running", _OVERDUE}
_LOST = {f"{status}_lost" for status in (Status.QUEUED, Status.SUBMITTING)}
Woken = Iterator[str]  # the reason, for each task that was woken


@dataclass(frozen=True)
class Waker:
    """Everything that waking needs; `clock` gives the time in UTC."""

    settings: ClockSettings
    ledger: Ledger
    governor: Governor
    queue: UploadQueue
    wait_loop: WaitLoop
    backstop: Backstop
    clock: Callable[[], datetime]

    def wake(self, ends: datetime) -> Counter[str]:
        """Wake what is due until a time; the rest is due the next time. Tells how many, and why.

        Executions get a third of the time at most, for the turns of the others depend on the rest.
        Raises `ServiceError` once all was tried.
        """
        now, woken, failed = self.clock(), Counter[str](), None
        for reasons, until in (
            (self._wake(Status.SUBMITTING), ends),
            (self._wake(Status.UNCERTAIN), ends),
            (self._check_executions(), now + (ends - now) / 3),
            (self._hand_out_turns(), ends),
        ):
            try:
                woken.update(self._in_time(reasons, until))
            except ServiceError as error:
                logger.exception("an AWS service failed; what it was needed for stays due")
                failed = error
        for reason, tasks in woken.items():
            count_woken(reason, tasks)
        if recovered := sum(tasks for reason, tasks in woken.items() if _was_lost(reason)):
            count_recovered(recovered)
        if stuck := woken[_OVERDUE]:
            count_stuck(stuck)
        if failed:
            raise failed
        return woken

    def _in_time(self, reasons: Woken, until: datetime) -> Woken:
        for reason in reasons:
            yield reason
            if self.clock() >= until:
                logger.warning("more tasks are due than one run can wake")
                return

    def _wake(self, status: Status) -> Woken:
        """Have the submit function look at the tasks of a status."""
        for page in self._pages(status):
            yield from self._send((due, self.clock()) for due in page)

    def _check_executions(self) -> Woken:
        """A task whose execution was lost or has ended gets a new one, or is closed."""
        for due in self.ledger.due(Status.PROCESSING, self.clock()):
            task = self._postponed(due, {"due_at": self.clock() + EXECUTION_CHECK})
            if task is None:
                continue
            status = self.backstop.check(task, self.wait_loop)
            if status == "MISSING":
                self.queue.send_due([(task.task_id, timedelta())])
            overdue = status == "RUNNING" and self._is_overdue(task)
            yield _OVERDUE if overdue else f"execution_{status.lower()}"

    def _is_overdue(self, task: Task) -> bool:
        return self.clock() >= task.deadline(self.settings.deadline_seconds) + STUCK_AFTER

    def _hand_out_turns(self) -> Woken:
        """The next slots of the plan go to those who are ready, oldest first."""
        backlog = False
        for page in self._pages(Status.QUEUED):
            slots = self.governor.slots(len(page), self.clock())
            yield from self._send(zip(page, slots, strict=False), with_slots=True)
            if backlog := len(slots) < len(page):
                break
        self.governor.set_backlog(self.clock(), exists=backlog)

    def _send(self, times: Iterable[tuple[Due, datetime]], *, with_slots: bool = False) -> Woken:
        """Send the tasks' messages, each for its time; first they become due after that."""
        lease = timedelta(seconds=self.settings.lease_seconds)
        sent, reasons = [], []
        for due, at in times:
            changes: TaskChanges = {"due_at": at + lease, **(_slot(at) if with_slots else {})}
            if self._postponed(due, changes):
                sent.append((due.task_id, at - self.clock()))
                reasons.append(due.code or f"{due.status}_lost")
        self.queue.send_due(sent)
        yield from reasons

    def _postponed(self, due: Due, changes: TaskChanges) -> Task | None:
        try:
            return self.ledger.postpone(due, **changes)
        except StatusChanged:
            return None  # somebody was faster

    def _pages(self, status: Status) -> Iterator[list[Due]]:
        due = self.ledger.due(status, self.clock())
        while page := list(islice(due, _PAGE)):
            yield page


def _was_lost(reason: str) -> bool:
    """Whether a message, a function or an execution did not do its part."""
    return reason in _LOST or (reason.startswith("execution_") and reason not in _ON_ITS_WAY)


def _slot(slot: datetime) -> TaskChanges:
    return {
        "slot_at": slot,
        "submit_after": slot,
        "code": "waits_for_slot",
        "reason": f"its turn comes at {slot:%Y-%m-%d %H:%M:%S} UTC",
    }
