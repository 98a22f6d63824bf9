"""The promise, under every order of events, crash and answer that Hypothesis can think of.

For every object there is exactly one task with one plain answer; no upload is lost; nothing is paid
twice unless the operator said so. The code under test is the real one, from the handlers' calls
down to the clients; see `tests/support/fakes.py` for what stands in their place.

A run in CI is short and always the same. To look further:

    CUTOUT_PROMISES=20000 pytest tests/unit/promise/test_promise.py --timeout=0
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
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

from cutout.aws.s3 import Storage
from cutout.aws.sqs import UploadQueue
from cutout.domain.errors import CutoutError
from cutout.domain.messages import ExecutionEnded, RetryRequest, upload_message
from cutout.domain.tasks import REOPENINGS, Status, Task
from cutout.domain.uploads import Upload
from cutout.retry import Retrier
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.wavespeed.contract import sign_webhook
from functions.submit.app import handle_message
from tests.support.fakes import (
    S3,
    SQS,
    DynamoDB,
    Errors,
    Events,
    Execution,
    Functions,
    Killed,
    Run,
    States,
)
from tests.support.images import jpeg, png
from tests.support.world import BASE_URL, NOW, TABLE, World, accepted, answer, download, refused

EXAMPLES = int(os.environ.get("CUTOUT_PROMISES", "0"))
SECRET = "whsec_0123456789abcdef"
CALLBACKS_AT = "https://webhook.test/"
VISIBILITY = timedelta(seconds=1080)
GRACE = timedelta(seconds=600)
PRICE, PICTURES_A_DAY = 0.01, 3
MOST_UPLOADS = 5
PHOTO = jpeg()
PICTURES = [png(4 + number, 3) for number in range(MOST_UPLOADS)]
ASL = yaml.safe_load(
    (Path(__file__).parents[3] / "statemachine" / "wait_loop.asl.yaml").read_text(encoding="utf-8")
)["States"]

ACCEPTED, LOST_AFTER, LOST_BEFORE, REFUSED = "accepted", "lost after", "lost before", "refused"
LIMITED, UNREACHABLE, BROKEN, DEAD = "limited", "unreachable", "broken", "dead"
NOTHING_ACCEPTED = {LIMITED, UNREACHABLE}
NOT_BILLED = NOTHING_ACCEPTED | {REFUSED}


@dataclass
class Posted:
    """One submit in the vendor's books."""

    task_id: str
    attempt: int
    outcome: str
    at: datetime
    prediction_id: str = ""


@dataclass
class AtVendor:
    """A picture that the vendor has accepted."""

    number: int
    callback: str
    status: str = "processing"
    told: bool = False


@dataclass
class Wish:
    """A person's wish to retry one attempt; it allows one more submit."""

    task_id: str
    attempt: int
    pay_again: bool
    used: bool = False


@dataclass
class Waiting:
    """A message in the queue."""

    body: str
    visible_at: datetime


class Stage(World):
    """The pipeline between an AWS of plain objects and a vendor that keeps books.

    Whatever is written is checked as it is written: the transitions, the order of the revisions,
    and every submit against those before it.
    """

    def __init__(self, policy: str, *, webhook: bool) -> None:
        self.policy = policy
        self.now = NOW
        self.functions = Functions()
        dynamodb: Any = DynamoDB(self.functions, self._moved)
        s3: Any = S3(self.functions, self._saved)
        events: Any = Events(self.functions)
        sqs: Any = SQS(self.functions, self._send)
        self.dynamodb, self.s3, self.events = dynamodb, s3, events
        self.objects: dict[tuple[str, str, str | None], bytes] = s3.versions
        self.on_the_bus: list[dict[str, Any]] = events.announced
        states: Any = States(self.functions)
        self.states, self.loops = states, states.executions
        self.requeue = UploadQueue(sqs, "queue").requeue
        self.machine = "machine"
        self.table = Table(dynamodb, TABLE)
        self.ledger = Ledger(self.table)
        self.storage = Storage(s3)
        self.submit = self.submitter(
            on_uncertain=policy,
            uncertain_grace_seconds=GRACE.seconds,
            webhook_url=CALLBACKS_AT if webhook else "",
            images_per_minute=10,
            daily_budget=str(PRICE * PICTURES_A_DAY),
        )
        clock, submit = self._clock, self.submit
        self.retries = Retrier(submit, self.ledger, submit.wavespeed, clock)
        self.polls = self.poller()
        self.receiver = self.webhook_receiver()
        self.closes = self.backstop()
        self.uploads: list[Upload] = []
        self.queue: list[Waiting] = []
        self.ended: list[dict[str, Any]] = []
        self.posts: list[Posted] = []
        self.at_vendor: dict[str, AtVendor] = {}
        self.wishes: list[Wish] = []
        self.retrying: list[str | None] = []
        self.uncertain: dict[tuple[str, int], datetime] = {}
        self.saved: set[int] = set()
        self.reply = ACCEPTED

    # ------------------------------------------------------------ the bucket and its queue

    def put(self, key: str) -> None:
        """A new revision of an object, and its event."""
        number = len(self.uploads)
        version, sequencer = f"v{number}", f"{number + 1:018X}"
        self.objects["uploads", key, version] = PHOTO
        self.uploads.append(
            Upload(
                bucket="uploads",
                key=key,
                version_id=version,
                sequencer=sequencer,
                etag="e",
                size=len(PHOTO),
            )
        )
        self.announce(number)

    def announce(self, number: int) -> None:
        upload = self.uploads[number]
        created = {
            "key": upload.key,
            "size": upload.size,
            "etag": upload.etag,
            "version-id": upload.version_id,
            "sequencer": upload.sequencer,
        }
        event = {"detail": {"bucket": {"name": upload.bucket}, "object": created}}
        self._send(json.dumps(event), delay=0)

    def wish(self, task: Task, *, pay_again: bool) -> None:
        wish = Wish(task.task_id, task.attempt, pay_again)
        self.wishes.append(wish)
        body = RetryRequest.body(wish.task_id, attempt=wish.attempt, pay_again=pay_again)
        for _ in range(2):  # the queue delivers at least once
            self._send(body, delay=0)

    def visible(self) -> list[Waiting]:
        return [message for message in self.queue if message.visible_at <= self.now]

    def deliver(self, message: Waiting, run: Run) -> None:
        """One run of the submit function, and what the queue makes of it."""
        self.queue.remove(message)
        again = Waiting(message.body, self.now + VISIBILITY)
        try:
            with self.functions.running(run):
                wait = self._handle(message.body)
                if wait is not None:
                    self.requeue(message.body, wait)
        except (Killed, CutoutError):
            self.queue.append(again)

    def _handle(self, body: str) -> timedelta | None:
        message = upload_message(body)
        reopened = message.detail.task_id if isinstance(message, RetryRequest) else None
        self.retrying.append(reopened)
        try:
            return handle_message(body, self.submit, self.retries)
        finally:
            self.retrying.pop()

    def _send(self, body: str, delay: int) -> None:
        self.queue.append(Waiting(body, self.now + timedelta(seconds=delay)))

    # ------------------------------------------------------------ the vendor

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.functions.spend()
        path = request.url.path
        if path.endswith("/model/price"):
            return answer(price=PRICE)
        if path.endswith("/webhook/secret"):
            return answer(secret=SECRET)
        if path.startswith("/out/"):
            return download(PICTURES[int(path.removeprefix("/out/"))])
        if path.endswith("/result"):
            return self._result(path.split("/")[-2])
        return self._submitted(request)

    def _result(self, prediction_id: str) -> httpx.Response:
        known = self.at_vendor[prediction_id]
        done = known.status == "completed"
        outputs = [f"{BASE_URL}/out/{known.number}"] if done else []
        return answer(
            id=prediction_id,
            status=known.status,
            outputs=outputs,
            timings={"inference": 2000 if done else 0},
        )

    def _submitted(self, request: httpx.Request) -> httpx.Response:
        image = httpx.URL(json.loads(request.content)["image"])
        number = int(image.query.decode().removeprefix("v"))
        task = self.task(self.uploads[number])
        assert task.status is Status.SUBMITTING, "sent without being written ahead"
        posted = Posted(task.task_id, task.attempt, self.reply, self.now)
        self._check_payment(posted)
        self.posts.append(posted)
        if posted.outcome in {ACCEPTED, LOST_AFTER, DEAD}:
            posted.prediction_id = f"p{len(self.posts)}"
            callback = request.url.params.get("webhook", "").removeprefix(CALLBACKS_AT)
            self.at_vendor[posted.prediction_id] = AtVendor(number, callback)
        return self._replied(posted)

    def _replied(self, posted: Posted) -> httpx.Response:
        match posted.outcome:
            case "lost after" | "lost before":
                raise httpx.ReadTimeout("no answer")
            case "unreachable":
                raise httpx.ConnectError("no route")
            case "limited":
                return refused(429)
            case "refused":
                return refused(400, "this image is invalid")
            case "broken":
                return refused(500)
            case "dead":
                self.functions.die()
        return accepted(posted.prediction_id)

    def _check_payment(self, posted: Posted) -> None:
        earlier = [post for post in self.posts if post.task_id == posted.task_id]
        assert posted.attempt not in {post.attempt for post in earlier}, "one attempt, two submits"
        today = [
            post
            for post in self.posts
            if post.at.date() == self.now.date() and post.outcome not in NOT_BILLED
        ]
        assert len(today) < PICTURES_A_DAY, "over the day's budget"
        if not earlier or earlier[-1].outcome in NOTHING_ACCEPTED:
            return
        last = earlier[-1]
        since = self.uncertain.get((last.task_id, last.attempt))
        if self.policy == "resubmit" and since and self.now - since >= GRACE:
            return
        wish = next((w for w in self.wishes if self._allows(w, last)), None)
        assert wish, f"sent again after {last}, and nobody asked for it"
        wish.used = True

    def _allows(self, wish: Wish, last: Posted) -> bool:
        known_to_be_over = last.outcome == REFUSED or (
            last.prediction_id in self.at_vendor
            and self.at_vendor[last.prediction_id].status == "failed"
        )
        return (
            not wish.used
            and wish.task_id == last.task_id
            and wish.attempt >= last.attempt
            and (wish.pay_again or known_to_be_over)
        )

    def call_back(self, prediction_id: str, run: Run) -> None:
        """A signed callback; the vendor sends it again unless it was taken."""
        known = self.at_vendor[prediction_id]
        body = json.dumps({"id": prediction_id, "status": known.status}).encode()
        timestamp = int(self.now.timestamp())
        headers = {
            "webhook-id": "m",
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_webhook(SECRET, "m", timestamp, body),
        }
        known.told = False
        try:
            with self.functions.running(run):
                self.receiver.receive(f"/{known.callback}", headers, body)
            known.told = True
        except (Killed, CutoutError):
            return

    # ------------------------------------------------------------ Step Functions

    def running(self) -> list[Execution]:
        return [e for e in self.loops.values() if e.status == "RUNNING"]

    def step(self, execution: Execution, run: Run) -> None:
        """Take the wait loop one state further, if its time has come."""
        if execution.state == "What now?":
            self._decide(execution)
        elif self.now < execution.until:
            return
        elif execution.state == "Wait":
            execution.state, execution.token = "Poll", None
        elif execution.state == "Poll":
            self._poll(execution, run)
        else:
            self._close(execution, run)

    def _decide(self, execution: Execution) -> None:
        now = execution.input
        if now["status"] == "processing":
            execution.until = self.now + timedelta(seconds=now["wait_seconds"])
            execution.state = "Wait"
            if now["await_callback"]:
                self._leave_token(execution)
        elif now["status"] in {"completed", "superseded"}:
            execution.status = "SUCCEEDED"
        else:
            self._fail(execution, "TaskEndedElsewhere", f"the task is {now['status']}")

    def _leave_token(self, execution: Execution) -> None:
        execution.token = f"token-{len(self.loops)}-{self.now.timestamp()}"
        names = {"$states.context.Task.Token": execution.token}
        try:
            self._update("Wait for callback", execution.input["task_id"], names)
        except Errors.ConditionalCheckFailedException:
            execution.state, execution.token = "Poll", None

    def _poll(self, execution: Execution, run: Run) -> None:
        try:
            with self.functions.running(run):
                result = self.polls.poll(execution.input["task_id"])
        except Killed:
            self._failed(execution, "Runtime.ExitError", "killed")
            return
        except CutoutError as error:
            self._failed(execution, type(error).__name__, str(error))
            return
        if execution.state != "Poll":
            return  # another try was faster, and nobody waits for this answer
        execution.failures.clear()
        execution.input, execution.state = result.model_dump(mode="json"), "What now?"

    def _failed(self, execution: Execution, error: str, cause: str) -> None:
        if execution.state == "Poll" and not self._is_retried(execution, error):
            self._fail(execution, error, cause)

    def _fail(self, execution: Execution, error: str, cause: str) -> None:
        execution.state, execution.until = "Close", self.now
        execution.error, execution.cause = error, cause
        execution.failures.clear()

    def _is_retried(self, execution: Execution, error: str) -> bool:
        """Whether the state's own Retry takes the error, and if so, until when it waits."""
        for retrier in ASL[execution.state]["Retry"]:
            if error in retrier["ErrorEquals"]:
                failed = execution.failures.get(error, 0)
                execution.failures[error] = failed + 1
                longest = retrier.get("MaxDelaySeconds", 60)
                execution.until = self.now + timedelta(seconds=min(2 * 2**failed, longest))
                return bool(failed < retrier["MaxAttempts"])
        return False

    def _close(self, execution: Execution, run: Run) -> None:
        asked = {"name": execution.name, "error": execution.error, "cause": execution.cause}
        closed = self.close({"detail": {"status": "FAILED", **asked}}, run)
        if execution.status != "RUNNING":
            return
        # An error of Lambda's own is a States.TaskFailed, too.
        if closed or not self._is_retried(execution, "States.TaskFailed"):
            self.end(execution, "FAILED")

    def end(self, execution: Execution, status: str) -> None:
        execution.status = status
        detail = {"name": execution.name, "status": status}
        if status == "FAILED":
            detail |= {"error": execution.error, "cause": execution.cause}
        self.ended.append({"detail": detail})

    def _update(self, state: str, task_id: str, known: dict[str, str]) -> None:
        """The state's own DynamoDB integration, its JSONata names replaced."""
        asked = ASL[state]["Arguments"]
        values = {
            name: {"S": known.get(value["S"].strip("{}% "), value["S"])}
            for name, value in asked["ExpressionAttributeValues"].items()
        }
        self.dynamodb.update_item(
            TableName=TABLE,
            Key={"task_id": {"S": task_id}},
            UpdateExpression=asked["UpdateExpression"],
            ConditionExpression=asked["ConditionExpression"],
            ExpressionAttributeNames=asked["ExpressionAttributeNames"],
            ExpressionAttributeValues=values,
        )

    def close(self, event: dict[str, Any], run: Run) -> bool:
        """One run of the backstop; whether it came to its end."""
        try:
            with self.functions.running(run):
                self.closes.close(ExecutionEnded.model_validate(event).detail)
        except (Killed, CutoutError):
            return False
        return True

    # ------------------------------------------------------------ what is checked at each write

    def _moved(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        if "status" not in after:
            return
        task = Task.model_validate({n: next(iter(v.values())) for n, v in _flat(after).items()})
        left = Status(before["status"]["S"]) if before else None
        if left and left.ended and task.status is not left:
            assert task.task_id in self.retrying, f"{left} was left for {task.status}"
            assert task.status in REOPENINGS[left]
        if task.status is Status.UNCERTAIN and left is not Status.UNCERTAIN:
            self.uncertain[task.task_id, task.attempt] = self.now
        if task.status is Status.COMPLETED:
            number = self.number(task)
            assert number in self.saved, "completed without its PNG"
            assert self._in_bucket(task.output_key) >= number

    def _saved(self, key: str, body: bytes) -> None:
        number = PICTURES.index(body)
        assert key == f"{self.uploads[number].key}.png", "a picture under another's key"
        assert number >= self._in_bucket(key), "an older revision replaced a newer one"
        self.saved.add(number)

    def _in_bucket(self, key: str) -> int:
        body = self.objects.get(("cutouts", key, None))
        return PICTURES.index(body) if body else -1

    def number(self, task: Task) -> int:
        return [upload.task_id for upload in self.uploads].index(task.task_id)

    def rows(self) -> list[Task]:
        """The tasks of all uploads that have one; the others' events must still be on their way."""
        rows = []
        for upload in self.uploads:
            if self.table.get(upload.task_id):
                rows.append(self.task(upload))
            else:
                assert any(str(upload.sequencer) in message.body for message in self.queue), "lost"
        return rows

    # ------------------------------------------------------------ after the storm

    def calm_down(self) -> None:
        """Everything works and everything arrives, until nothing is left to do."""
        self.reply = ACCEPTED
        for _ in range(2000):
            self._calm_round()
            if not (self.queue or self.running() or self.ended):
                return
            self.now += timedelta(seconds=30 if self.running() else 900)
        raise AssertionError("it never comes to rest")

    def _calm_round(self) -> None:
        for known in self.at_vendor.values():
            if known.status == "processing":
                known.status = "completed"
        for prediction_id, known in list(self.at_vendor.items()):
            if known.callback and not known.told:
                self.call_back(prediction_id, Run())
        for message in self.visible():
            self.deliver(message, Run())
        for execution in self.running():
            self.step(execution, Run())
        self.ended = [event for event in self.ended if not self.close(event, Run())]


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its one map, `entered_at`, in plain form."""
    entered = {name: time["S"] for name, time in item["entered_at"]["M"].items()}
    return item | {"entered_at": {"M": entered}}


KILL = st.none() | st.integers(0, 14)
PICK = st.integers(0, 9)
INTERLUDE = st.none() | st.tuples(
    st.integers(0, 12), st.sampled_from(["deliver", "call back", "step", "close"]), PICK
)
REPLY = st.sampled_from(
    [ACCEPTED, LOST_AFTER, DEAD, LOST_BEFORE, LIMITED, REFUSED, UNREACHABLE, BROKEN, ACCEPTED]
)
Interlude = tuple[int, str, int] | None


class Promise(RuleBasedStateMachine):
    """What can happen, in any order."""

    policy = ""

    @initialize(webhook=st.booleans(), keys=st.sampled_from(["a", "ab", "aa", "aab"]))
    def begin(self, webhook: bool, keys: str) -> None:
        self.stage = Stage(self.policy, webhook=webhook)
        for key in keys:
            self.stage.put(key)

    @precondition(lambda self: self.stage.queue)
    @rule(pick=PICK, reply=REPLY, kill=KILL, interlude=INTERLUDE)
    def deliver(self, pick: int, reply: str, kill: int | None, interlude: Interlude) -> None:
        stage = self.stage
        stage.reply = reply
        if not stage.visible():
            stage.now = min(message.visible_at for message in stage.queue)
        messages = stage.visible()
        stage.deliver(messages[pick % len(messages)], self._run(kill, interlude))

    @precondition(lambda self: self.stage.running())
    @rule(pick=PICK, patient=st.booleans(), kill=KILL, interlude=INTERLUDE)
    def step(self, pick: int, patient: bool, kill: int | None, interlude: Interlude) -> None:
        running = self.stage.running()
        execution = running[pick % len(running)]
        if patient:
            self.stage.now = max(self.stage.now, execution.until)
        self.stage.step(execution, self._run(kill, interlude))

    @precondition(lambda self: any(k.status == "processing" for k in self.stage.at_vendor.values()))
    @rule(pick=PICK, status=st.sampled_from(["completed", "completed", "failed"]))
    def vendor_ends(self, pick: int, status: str) -> None:
        known = [k for k in self.stage.at_vendor.values() if k.status == "processing"]
        known[pick % len(known)].status = status

    @precondition(lambda self: any(known.callback for known in self.stage.at_vendor.values()))
    @rule(pick=PICK, kill=KILL, interlude=INTERLUDE)
    def call_back(self, pick: int, kill: int | None, interlude: Interlude) -> None:
        self._call_back(pick, self._run(kill, interlude))

    @precondition(lambda self: self.stage.ended)
    @rule(pick=PICK, kill=KILL, interlude=INTERLUDE)
    def close(self, pick: int, kill: int | None, interlude: Interlude) -> None:
        self._close(pick, self._run(kill, interlude))

    @precondition(lambda self: any(row.status in REOPENINGS for row in self.stage.rows()))
    @rule(pick=PICK, pay_again=st.booleans())
    def retry(self, pick: int, pay_again: bool) -> None:
        rows = [row for row in self.stage.rows() if row.status in REOPENINGS]
        self.stage.wish(rows[pick % len(rows)], pay_again=pay_again)

    @rule(
        what=st.sampled_from(["upload", "upload", "event again", "delete source", "abort"]),
        pick=PICK,
        seconds=st.sampled_from([0, 0, 10, 400, 1100, 90_000]),
    )
    def meanwhile(self, what: str, pick: int, seconds: int) -> None:
        stage = self.stage
        stage.pass_time(seconds)
        number = pick % len(stage.uploads)
        if what == "upload" and len(stage.uploads) < MOST_UPLOADS:
            stage.put(stage.uploads[number].key)
        elif what == "event again":
            stage.announce(number)
        elif what == "delete source":
            upload = stage.uploads[number]
            stage.objects.pop((upload.bucket, upload.key, upload.version_id), None)
        elif what == "abort" and (running := stage.running()):
            stage.end(running[pick % len(running)], "ABORTED")

    @invariant()
    def every_task_says_why_it_is_where_it_is(self) -> None:
        for row in self.stage.rows() if hasattr(self, "stage") else []:
            if row.status in {Status.UNCERTAIN, Status.FAILED, Status.REJECTED, Status.SUPERSEDED}:
                assert row.code, row
                assert row.reason, row
            if row.status in {Status.SUBMITTING, Status.PROCESSING, Status.COMPLETED}:
                assert (row.code, row.reason) == (None, None)

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        self.stage.calm_down()
        held = {Status.UNCERTAIN} if self.policy == "hold" else set()
        bus = self.stage.on_the_bus
        told = {(event["task_id"], event.get("code", "completed")) for event in bus}
        for row in self.stage.rows():
            assert row.status.ended or row.status in held, row
            # A refusal is written first: better an event is lost than a task uncertain.
            if row.code not in {"request_refused", "superseded"} and row.status.ended:
                assert (row.task_id, row.code or "completed") in told
        assert len(self.stage.rows()) == len(self.stage.uploads)

    def _run(self, kill: int | None, interlude: Interlude) -> Run:
        if interlude is None:
            return Run(kill)
        at, what, pick = interlude
        return Run(kill, at, lambda: self._meanwhile(what, pick))

    def _meanwhile(self, what: str, pick: int) -> None:
        """Another function runs while one is under way."""
        stage = self.stage
        if what == "deliver" and (messages := stage.visible()):
            stage.deliver(messages[pick % len(messages)], Run())
        elif what == "step" and (running := stage.running()):
            stage.step(running[pick % len(running)], Run())
        elif what == "call back" and stage.at_vendor:
            self._call_back(pick, Run())
        elif what == "close" and stage.ended:
            self._close(pick, Run())

    def _call_back(self, pick: int, run: Run) -> None:
        prediction_id = list(self.stage.at_vendor)[pick % len(self.stage.at_vendor)]
        if self.stage.at_vendor[prediction_id].callback:
            self.stage.call_back(prediction_id, run)

    def _close(self, pick: int, run: Run) -> None:
        event = self.stage.ended[pick % len(self.stage.ended)]
        if self.stage.close(event, run) and event in self.stage.ended:
            self.stage.ended.remove(event)


@pytest.mark.parametrize("policy", ["hold", "resubmit"])
def test_the_promise_is_kept_whatever_happens(policy: str) -> None:
    machine: type[Promise] = type("Promise", (Promise,), {"policy": policy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or 40,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
