"""The promise, under every order of events, crash and answer that Hypothesis can think of.

For every object there is exactly one task with one plain answer; no upload is lost; nothing is paid
twice unless the operator said so. From wherever a task came to rest, a retry leads out, and costs
nothing if the vendor has the result. The code under test is the real one, from the handlers' calls
down to the clients; see `tests/support/fakes.py` for what stands in their place.

A run in CI is short and always the same. To look further:

    CUTOUT_PROMISES=20000 pytest tests/unit/promise --timeout=0
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cutout.domain.tasks import Status
from tests.support.fakes import Run
from tests.unit.promise.harness import PromiseHarness
from tests.unit.promise.vendor import (
    ACCEPTED,
    BROKEN,
    DEAD,
    LIMITED,
    LOST_AFTER,
    LOST_BEFORE,
    MOST_UPLOADS,
    REFUSED,
    UNREACHABLE,
)

EXAMPLES = int(os.environ.get("CUTOUT_PROMISES", "0"))
KILL = st.none() | st.integers(0, 14)
PICK = st.integers(0, 9)
INTERLUDE = st.none() | st.tuples(
    st.integers(0, 12), st.sampled_from(["deliver", "call back", "step", "close", "tick"]), PICK
)
REPLY = st.sampled_from(
    [ACCEPTED, LOST_AFTER, DEAD, LOST_BEFORE, LIMITED, REFUSED, UNREACHABLE, BROKEN, ACCEPTED]
)
Interlude = tuple[int, str, int] | None


class Promise(RuleBasedStateMachine):
    """What can happen, in any order."""

    policy = ""
    reuse = False

    @initialize(
        webhook=st.booleans(),
        versioned=st.booleans(),
        keys=st.sampled_from(["a", "ab", "aa", "aab"]),
    )
    def begin(self, webhook: bool, versioned: bool, keys: str) -> None:
        self.harness = PromiseHarness(
            self.policy, webhook=webhook, versioned=versioned, reuse=self.reuse
        )
        for key in keys:
            self.harness.put(key)

    @precondition(lambda self: self.harness.queue)
    @rule(pick=PICK, reply=REPLY, kill=KILL, interlude=INTERLUDE)
    def deliver(self, pick: int, reply: str, kill: int | None, interlude: Interlude) -> None:
        harness = self.harness
        harness.vendor.reply = reply
        if not harness.visible():
            harness.now = min(message.visible_at for message in harness.queue)
        messages = harness.visible()
        harness.deliver(messages[pick % len(messages)], self._run(kill, interlude))

    @precondition(lambda self: self.harness.loops.running())
    @rule(pick=PICK, patient=st.booleans(), kill=KILL, interlude=INTERLUDE)
    def step(self, pick: int, patient: bool, kill: int | None, interlude: Interlude) -> None:
        running = self.harness.loops.running()
        execution = running[pick % len(running)]
        if patient:
            self.harness.now = max(self.harness.now, execution.until)
        self.harness.loops.step(execution, self._run(kill, interlude))

    @precondition(lambda self: self.harness.vendor.processing())
    @rule(pick=PICK, status=st.sampled_from(["completed", "completed", "failed"]))
    def vendor_ends(self, pick: int, status: str) -> None:
        known = self.harness.vendor.processing()
        known[pick % len(known)].status = status

    @precondition(lambda self: self.harness.vendor.called_back())
    @rule(pick=PICK, kill=KILL, interlude=INTERLUDE)
    def call_back(self, pick: int, kill: int | None, interlude: Interlude) -> None:
        self._call_back(pick, self._run(kill, interlude))

    @precondition(lambda self: self.harness.loops.ended)
    @rule(pick=PICK, kill=KILL, interlude=INTERLUDE)
    def close(self, pick: int, kill: int | None, interlude: Interlude) -> None:
        self._close(pick, self._run(kill, interlude))

    @rule(kill=KILL, interlude=INTERLUDE)
    def tick(self, kill: int | None, interlude: Interlude) -> None:
        self.harness.tick_once(self._run(kill, interlude))

    @rule(kill=KILL, interlude=INTERLUDE)
    def backfill(self, kill: int | None, interlude: Interlude) -> None:
        self.harness.backfill(self._run(kill, interlude))

    @rule(what=st.sampled_from(["message", "callback", "event of an execution"]), pick=PICK)
    def lose(self, what: str, pick: int) -> None:
        harness = self.harness
        if what == "message" and harness.queue:
            harness.lose(harness.queue[pick % len(harness.queue)])
        elif what == "callback" and (expected := harness.vendor.called_back()):
            harness.vendor.predictions[expected[pick % len(expected)]].callback = ""
        elif what == "event of an execution" and harness.loops.ended:
            harness.loops.ended.pop(pick % len(harness.loops.ended))

    @precondition(lambda self: self.harness.rows())
    @rule(pick=PICK, pay_again=st.booleans())
    def retry(self, pick: int, pay_again: bool) -> None:
        rows = self.harness.rows()
        self.harness.request_retry(rows[pick % len(rows)], pay_again=pay_again)

    @rule(
        what=st.sampled_from(["upload", "upload", "event again", "delete source", "abort"]),
        pick=PICK,
        seconds=st.sampled_from([0, 0, 10, 400, 1100, 90_000]),
    )
    def meanwhile(self, what: str, pick: int, seconds: int) -> None:
        harness = self.harness
        harness.pass_time(seconds)
        number = pick % len(harness.uploads)
        if what == "upload" and len(harness.uploads) < MOST_UPLOADS:
            harness.put(harness.uploads[number].key)
        elif what == "event again":
            harness.deliver_event(number)
        elif what == "delete source":
            harness.bucket.delete(harness.uploads[number])
        elif what == "abort" and (running := harness.loops.running()):
            harness.loops.end(running[pick % len(running)], "ABORTED")

    @invariant()
    def no_check_has_failed(self) -> None:
        if hasattr(self, "harness"):
            self.harness.check()

    @invariant()
    def every_task_says_why_it_is_where_it_is(self) -> None:
        for row in self.harness.rows() if hasattr(self, "harness") else []:
            if row.status in {Status.UNCERTAIN, Status.FAILED, Status.REJECTED, Status.SUPERSEDED}:
                assert row.code, row
                assert row.reason, row
            if row.status in {Status.SUBMITTING, Status.PROCESSING, Status.COMPLETED}:
                assert (row.code, row.reason) == (None, None)

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        self.harness.calm_down()
        self.harness.audit()
        self.harness.take_ways_out()

    def _run(self, kill: int | None, interlude: Interlude) -> Run:
        if interlude is None:
            return Run(kill)
        at, what, pick = interlude
        return Run(kill, at, lambda: self._meanwhile(what, pick))

    def _meanwhile(self, what: str, pick: int) -> None:
        """Another function runs while one is under way."""
        harness = self.harness
        if what == "deliver" and (messages := harness.visible()):
            harness.deliver(messages[pick % len(messages)], Run())
        elif what == "step" and (running := harness.loops.running()):
            harness.loops.step(running[pick % len(running)], Run())
        elif what == "call back":
            self._call_back(pick, Run())
        elif what == "close" and harness.loops.ended:
            self._close(pick, Run())
        elif what == "tick":
            harness.tick_once(Run())

    def _call_back(self, pick: int, run: Run) -> None:
        if expected := self.harness.vendor.called_back():
            self.harness.call_back(expected[pick % len(expected)], run)

    def _close(self, pick: int, run: Run) -> None:
        event = self.harness.loops.ended[pick % len(self.harness.loops.ended)]
        if self.harness.close(event, run) and event in self.harness.loops.ended:
            self.harness.loops.ended.remove(event)


class Held(Promise):
    policy = "hold"


class Resubmitted(Promise):
    policy = "resubmit"


class Settled(Promise):
    policy = "settle"


class Reused(Promise):
    """All uploads have the same bytes."""

    policy = "resubmit"
    reuse = True


@pytest.mark.no_cover  # it would take twice as long; single cases cover the same lines
@pytest.mark.parametrize("machine", [Held, Resubmitted, Settled, Reused])
def test_the_promise_is_kept_whatever_happens(machine: type[Promise]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or 20,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
