"""Carries out a plan: everything at once, then wait until everything has settled."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from tests.chaos import forged_callbacks
from tests.chaos.aws_faults import AwsFaults
from tests.chaos.files import Expected
from tests.chaos.plan import Plan, Planned
from tests.chaos.stack import CampaignStack, retry_message

_LONG_WAIT = timedelta(seconds=20)
_QUIET_SECONDS = 4  # longer than a callback is late
_STUCK_SECONDS = 60  # much longer than anything that is hidden may stay so
_LONG_QUEUE = 20  # messages
_DELAYS = [0, 0, 0, 1, 4]  # seconds


@dataclass
class Campaign:
    """One run. `uploads` are those of the plan by number, as the bucket announced them."""

    plan: Plan
    stack: CampaignStack
    aws_faults: AwsFaults
    uploads: dict[int, Upload] = field(default_factory=dict)
    poisoned: list[str] = field(default_factory=list)  # bodies found in the dead-letter queue
    stuck: set[str] = field(default_factory=set)  # task ids, open when all was well again
    forged: Counter[str] = field(default_factory=Counter)
    reconciled: list[dict[str, int] | None] = field(default_factory=list)  # counts of two runs
    within_budget: int = 0  # images that the vendor accepted until the budget was raised
    counts: Counter[str] = field(default_factory=Counter)
    _bodies: dict[str, str] = field(default_factory=dict)  # of events, by task id
    _to_abort: set[int] = field(default_factory=set)  # by number
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"campaign {self.plan.seed}")  # noqa: S311

    def run(self, seconds: float) -> None:
        """Upload while everything fails; settle; then, when nothing fails any more, see what is
        stuck, retry what was aborted, deliver every event again, settle once more, and reconcile.

        Gives up waiting when `seconds` are over; what is open then is for the audit to find.
        """
        began = time.monotonic()
        until = began + seconds
        self.stack.set_vendor_faults(rule.model_dump() for rule in self.plan.rules)
        self.aws_faults.start(self.stack.aws, self.stack.local.physical_name)
        self._send_early()
        for place, wave in enumerate(self.plan.waves):
            self._rotate_key(place)
            self._raise_budget(place)
            self._send_wave(place, wave)
            self._backfill()
            self.counts["messages lost"] += self.stack.lose_messages()
            self._tend_until(began + (place + 1) * self.plan.seconds / len(self.plan.waves), until)
        self.counts["seconds until all was uploaded"] = round(time.monotonic() - began)
        meanwhile = self.stack.start_reconciliation()
        self._settle(until)
        self.counts["seconds until all had settled"] = round(time.monotonic() - began)
        self.aws_faults.stop(self.stack.aws)
        self._settle(until)
        self.stuck = {task.task_id for task in self.stack.open_tasks()}
        self._rescue()
        self._deliver(list(self._bodies.values()))
        self._settle(until, _QUIET_SECONDS)
        afterwards = self.stack.start_reconciliation()
        self._settle(until)
        self.reconciled = [self.stack.reconciled(run) for run in (meanwhile, afterwards)]

    def _rotate_key(self, place: int) -> None:
        """The vendor takes a new key; the secret gets it a wave later."""
        if place == self.plan.rotation:
            self.stack.rotate_key()
        elif place - 1 == self.plan.rotation:
            self.stack.store_key()

    def _raise_budget(self, place: int) -> None:
        if place == self.plan.budget_raised:
            self.within_budget = len(self.stack.predictions())
            self.stack.raise_budget()

    def _tend_until(self, moment: float, until: float) -> None:
        """Let the stack keep up: leases are short here, and a long queue would outlast them."""
        while time.monotonic() < until and (
            time.monotonic() < moment or self.stack.queue_length() > _LONG_QUEUE
        ):
            self._tend()
            time.sleep(1)  # between two looks

    def _tend(self) -> list[Task]:
        """What an operator does, and what time would do; the tasks that are open."""
        self._redrive()
        tasks = self.stack.open_tasks()
        self._abort(tasks)
        self._end_waits(tasks)
        return tasks

    def _send_early(self) -> None:
        """Before EventBridge listens, so that only a backfill finds them."""
        self.stack.deliver_events(by_rule=False)
        for planned in self.plan.early:
            self._upload(planned)

    def _send_wave(self, place: int, wave: tuple[Planned, ...]) -> None:
        in_any_order = place % 2 == 1
        self.stack.deliver_events(by_rule=not in_any_order)
        told = [planned for planned in wave if planned not in self.plan.early]
        bodies = {planned.number: self._upload(planned) for planned in told}
        times = {planned.number: planned.copies + in_any_order for planned in told}
        again = [bodies[number] for number in bodies for _ in range(times[number])]
        poison = list(self.plan.poison[place :: len(self.plan.waves)])
        self._deliver(again + poison)
        for _ in range(place, self.plan.forgeries, len(self.plan.waves)):
            self._send_forged()
        self._abort(self.stack.open_tasks())

    def _upload(self, planned: Planned) -> str:
        self.stack.upload(planned.body, planned.key, Metadata=dict(planned.file.metadata))
        body, upload = self.stack.next_event()
        self.uploads[planned.number] = upload
        self._bodies[upload.task_id] = body
        if planned.expected is Expected.DELETED:
            self.stack.delete(upload)
        if planned.aborted:
            self._to_abort.add(planned.number)
        return body

    def _deliver(self, bodies: list[str]) -> None:
        self._rng.shuffle(bodies)
        for body in bodies:
            self.stack.send(body, self._rng.choice(_DELAYS))
        self.counts["messages sent beside the rule's"] += len(bodies)

    def _send_forged(self) -> None:
        if forged := forged_callbacks.send_forged(self.stack, self._rng):
            self.forged[forged] += 1

    def _settle(self, until: float, quiet_seconds: float = 0) -> None:
        """Wait until nothing is open, or for good reason never will be anything else."""
        since = time.monotonic()
        while time.monotonic() < until:
            tasks = self._tend()
            self._backfill()
            if not self.stack.is_idle():
                since = time.monotonic()
            quiet = time.monotonic() - since
            if quiet > _STUCK_SECONDS or (quiet > quiet_seconds and self._is_settled(tasks)):
                return
            time.sleep(1)  # between two looks

    def _is_settled(self, tasks: list[Task]) -> bool:
        return not (tasks or self.stack.is_reconciling() or self._unknown())

    def _backfill(self) -> None:
        """What an operator does about uploads that no task has; as often as it fails."""
        if self._unknown() and self.stack.start_backfill():
            self.counts["backfills"] += 1

    def _unknown(self) -> list[int]:
        """The uploads, by number, that no task has.

        Of one without a version, a backfill may have been faster than its event: the task's id is
        then another.
        """
        known = self.stack.tasks()
        for number, upload in self.uploads.items():
            listed = upload.model_copy(update={"sequencer": None})
            if upload.task_id not in known and listed.task_id in known:
                self.uploads[number] = listed
        return [n for n, upload in self.uploads.items() if upload.task_id not in known]

    def _abort(self, tasks: list[Task]) -> None:
        numbers = {self.uploads[number].task_id: number for number in self._to_abort}
        for task in tasks:
            planned = task.task_id in numbers and task.status is Status.PROCESSING
            if planned and self.stack.abort(task):
                self.counts["executions aborted"] += 1
                self._to_abort.discard(numbers[task.task_id])

    def _redrive(self) -> None:
        """What an operator does about the alarm: send back what is good, keep what is not."""
        for body in self.stack.dead_letters():
            if body in self.plan.poison:
                self.poisoned.append(body)
            else:
                self.stack.send(body)
                self.counts["dead letters redriven"] += 1

    def _end_waits(self, tasks: list[Task]) -> None:
        """Nobody waits here a quarter of an hour for credits, or ten minutes for an execution."""
        now = datetime.now(UTC)
        for task in tasks:
            waits = task.due_at and task.due_at > now + _LONG_WAIT
            if waits and task.entered_at[task.status] < now - _LONG_WAIT:
                self.stack.end_wait(task)
                self.counts["waits cut short"] += 1

    def _rescue(self) -> None:
        """`cutout retry` for what an aborted execution has left: the vendor has it, paid."""
        for task in self.stack.tasks().values():
            if task.code == "execution_ended":
                self.stack.send(retry_message(task))
                self.counts["tasks retried"] += 1
