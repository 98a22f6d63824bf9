"""The pipeline between an AWS of plain objects and a vendor that keeps books."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from boto3.dynamodb.types import TypeDeserializer

from cutout.aws.listing import Listing
from cutout.backfill import Backfill, Missing
from cutout.domain.errors import CutoutError
from cutout.domain.messages import (
    Cursor,
    ExecutionEnded,
    ObjectCreated,
    PageRequest,
    RetryRequest,
    upload_message,
)
from cutout.domain.tasks import REOPENABLE, WATCHED, Status, Task
from cutout.domain.uploads import Upload
from cutout.settings import BackfillSettings
from cutout.wavespeed.contract import sign_webhook
from cutout_cli.retry import Cost, Retries, Retry
from cutout_cli.stacks import Stack
from functions.submit.app import handle_message
from tests.support.fakes import S3, SQS, DynamoDB, Events, Functions, Killed, Run, States
from tests.support.harness import CONVERTED, MODEL, TABLE, Pipeline
from tests.support.images import jpeg
from tests.unit.promise.vendor import (
    ACCEPTED,
    CALLBACKS_AT,
    NOT_BILLED,
    NOTHING_ACCEPTED,
    OUTPUTS,
    PRICE,
    REFUSED,
    SECRET,
    Posted,
    Vendor,
)
from tests.unit.promise.wait_loops import WaitLoops

Check = Callable[..., Any]
_plain = TypeDeserializer().deserialize
VISIBILITY = timedelta(seconds=1080)
GRACE = timedelta(seconds=600)
LONGEST_CHAIN = 3
IMAGES_A_DAY = 3
IMAGE = jpeg()
BUCKETS: dict[str, Any] = {
    "tasks_table": TABLE,
    "upload_queue_url": "queue",
    "input_bucket": "uploads",
    "input_prefix": "",
    "output_bucket": "cutouts",
    "output_prefix": "",
    "output_naming": "append",
}


@dataclass
class RetryWanted:
    """A person asked to retry one attempt; it allows one more submit."""

    task_id: str
    attempt: int
    pay_again: bool
    used: bool = False


@dataclass
class Waiting:
    """A message in the queue: the n-th of a chain, each sent while the one before was in hand."""

    body: str
    visible_at: datetime
    place: int = 1


class PromiseHarness(Pipeline):
    """Objects, their events, and all functions.

    Whatever is written is checked as it is written: the transitions, the order of the revisions,
    and every submit against those before it.
    """

    def __init__(
        self,
        policy: str,
        *,
        webhook: bool,
        grace: timedelta = GRACE,
        reuse: bool = False,
        versioned: bool = True,
        image: bytes = IMAGE,
    ) -> None:
        self.policy = policy
        self.grace = grace
        self.reuse = reuse
        self.versioned = versioned
        self.image = image
        self.functions = Functions()
        self.broken: list[AssertionError] = []
        dynamodb = DynamoDB(self.functions, self._noting(self._moved))
        self.bucket = S3(self.functions, self._clock, self._noting(self._saved))
        events, states = Events(self.functions), States(self.functions)
        clients: dict[str, Any] = {"s3": self.bucket, "dynamodb": dynamodb, "states": states}
        clients |= {"events": events, "sqs": SQS(self.functions, self._noting(self._send_on))}
        super().__init__(**clients, queue_url="queue", machine="arn:stateMachine:machine")
        self.vendor = Vendor(self.functions, self._clock, self._noting(self._sent), self._number_of)
        self.on_the_bus: list[dict[str, Any]] = events.published
        plan = {"images_per_minute": 2, "daily_budget": str(PRICE * IMAGES_A_DAY)}
        settings = plan | {
            "on_uncertain": policy,
            "uncertain_grace_seconds": grace.seconds,
            "key_is_dedicated": True,
            "webhook_url": CALLBACKS_AT if webhook else "",
            "reuse_results": reuse,
        }
        self._submitter, self._retrier = self.submitter(**settings), self.retrier(**settings)
        self._receiver = self.webhook_receiver()
        self._backstop = self.backstop()
        self._waker = self.waker(**plan)
        missing = Missing(BackfillSettings(**BUCKETS), self.storage, self.ledger)
        self._backfill = Backfill(Listing(self.s3, "uploads"), missing, self.upload_queue)
        poll = self.poller(reuse_results=reuse, erase_at_vendor=True).poll
        self.loops = WaitLoops(states, dynamodb, self.functions, self._clock, poll, self.close)
        self.uploads: list[Upload] = []
        self.put_at: list[datetime] = []
        self.queue: list[Waiting] = []
        self.place = 0  # in its chain, of the message in hand; the clock has none in hand
        self.requests: list[RetryWanted] = []
        self.numbers: dict[str, int] = {}  # of the uploads, by the ids that a task may have
        self.missed: set[int] = set()
        self.handling: list[tuple[str, bool]] = []
        self.uncertain: dict[tuple[str, int], datetime] = {}
        self.saved: set[int] = set()
        self.in_bucket: dict[str, int] = {}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        return self.vendor.answer(request)

    # ------------------------------------------------------------ the bucket and its queue

    def put(self, key: str) -> None:
        """A new revision of an object, and its event."""
        number = len(self.uploads)
        upload = Upload(
            bucket="uploads",
            key=key,
            version_id=f"v{number}" if self.versioned else None,
            sequencer=f"{number + 1:018X}",
            etag=f"e{number}",
            size=len(self.image),
        )
        self.bucket.upload(upload, self.image)
        self.uploads.append(upload)
        self.put_at.append(self.now)
        for known_as in (upload, upload.model_copy(update={"sequencer": None})):
            self.numbers[known_as.task_id] = number
        self.deliver_event(number)

    def deliver_event(self, number: int) -> None:
        upload = self.uploads[number]
        created = {
            "key": upload.key,
            "size": upload.size,
            "etag": upload.etag,
            "version-id": upload.version_id,
            "sequencer": upload.sequencer,
        }
        detail = {"bucket": {"name": upload.bucket}, "object": created}
        event = {"time": self.put_at[number].isoformat(), "detail": detail}
        self._send(json.dumps(event), delay=0)

    def request_retry(self, task: Task, *, pay_again: bool) -> None:
        request = RetryWanted(task.task_id, task.attempt, pay_again)
        self.requests.append(request)
        body = RetryRequest.body(request.task_id, attempt=request.attempt, pay_again=pay_again)
        for _ in range(2):  # the queue delivers at least once
            self._send(body, delay=0)

    def visible(self) -> list[Waiting]:
        return [message for message in self.queue if message.visible_at <= self.now]

    def deliver(self, message: Waiting, run: Run) -> None:
        """One run of the submit function, and what the queue makes of it."""
        self.queue.remove(message)
        again = Waiting(message.body, self.now + VISIBILITY, message.place)
        try:
            with self.functions.running(run), self._in_hand(message.place):
                self._handle(message.body)
        except (Killed, CutoutError):
            self.queue.append(again)

    def lose(self, message: Waiting) -> None:
        """Nobody gets a message; an upload that nobody was told of is left to a backfill."""
        self.queue.remove(message)
        content = upload_message(message.body)
        if isinstance(content, ObjectCreated):
            self.missed.add(self.numbers[content.upload.task_id])

    def backfill(self, run: Run) -> None:
        """One run of the backfill function, which has the whole bucket on a page."""
        try:
            with self.functions.running(run), self._in_hand(0):
                self._backfill.page(PageRequest(cursor=Cursor(), page_size=1000))
        except (Killed, CutoutError):
            return

    def tick_once(self, run: Run) -> None:
        """One run of the clock function."""
        try:
            with self.functions.running(run), self._in_hand(0):
                self._waker.wake(self.now + timedelta(seconds=50))
        except (Killed, CutoutError):
            return

    def _handle(self, body: str) -> None:
        message = upload_message(body)
        about: Any = message.upload if isinstance(message, ObjectCreated) else message.detail
        self.handling.append((about.task_id, isinstance(message, RetryRequest)))
        try:
            handle_message(body, self._submitter, self._retrier)
        finally:
            self.handling.pop()

    def _send(self, body: str, delay: int, place: int = 1) -> None:
        self.queue.append(Waiting(body, self.now + timedelta(seconds=delay), place))

    def _send_on(self, body: str, delay: int) -> None:
        """What a function sends; Lambda stops a chain of 16, ours have three at most."""
        self._send(body, delay, self.place + 1)
        assert self.place < LONGEST_CHAIN, f"a chain of {self.place + 1} messages"

    @contextmanager
    def _in_hand(self, place: int) -> Iterator[None]:
        before, self.place = self.place, place
        try:
            yield
        finally:
            self.place = before

    # ------------------------------------------------------------ the vendor

    def _sent(self, number: int, outcome: str) -> Posted:
        task = self.ledger.get(self.handling[-1][0])
        assert task.status is Status.SUBMITTING, "sent without being written ahead"
        assert number == self.numbers[task.task_id] or not self.versioned, "another's image sent"
        posted = Posted(task.task_id, task.attempt, outcome, self.now)
        self._check_payment(posted)
        return posted

    def _check_payment(self, posted: Posted) -> None:
        earlier = [post for post in self.vendor.posts if post.task_id == posted.task_id]
        assert posted.attempt not in {post.attempt for post in earlier}, "one attempt, two submits"
        today = [
            post
            for post in self.vendor.posts
            if post.at.date() == self.now.date() and post.outcome not in NOT_BILLED
        ]
        assert len(today) < IMAGES_A_DAY, "over the day's budget"
        if self.reuse:
            noted = self._submitter.reuse.contents.payer(self.ledger.get(posted.task_id), MODEL)
            assert noted == (posted.task_id, posted.attempt), "paid beside an equal upload"
        if not earlier or earlier[-1].outcome in NOTHING_ACCEPTED:
            return
        last = earlier[-1]
        since = self.uncertain.get((last.task_id, last.attempt))
        if self.policy == "resubmit" and since and self.now - since >= self.grace:
            return
        if self.policy == "settle" and since and not last.prediction_id:
            return
        request = next((w for w in self.requests if self._allows(w, last)), None)
        assert request, f"sent again after {last}, and nobody asked for it"
        request.used = True

    def _allows(self, request: RetryWanted, last: Posted) -> bool:
        known_to_be_over = last.outcome == REFUSED or (
            last.prediction_id in self.vendor.predictions
            and self.vendor.predictions[last.prediction_id].status == "failed"
        )
        return (
            not request.used
            and request.task_id == last.task_id
            and request.attempt >= last.attempt
            and (request.pay_again or known_to_be_over)
        )

    def call_back(self, prediction_id: str, run: Run) -> None:
        """A signed callback; the vendor sends it again unless it was taken."""
        known = self.vendor.predictions[prediction_id]
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
                self._receiver.receive(f"/{known.callback}", headers, body)
            known.told = True
        except (Killed, CutoutError):
            return

    def close(self, event: dict[str, Any], run: Run) -> bool:
        """One run of the backstop; whether it came to its end."""
        try:
            with self.functions.running(run):
                self._backstop.close(ExecutionEnded.model_validate(event).detail)
        except (Killed, CutoutError):
            return False
        return True

    # ------------------------------------------------------------ what is checked at each write

    def _noting(self, check: Check) -> Check:
        """The submit function takes every error for one that may pass, those of a check, too."""

        def checked(*what: Any) -> Any:
            try:
                return check(*what)
            except AssertionError as error:
                self.broken.append(error)
                raise

        return checked

    def check(self) -> None:
        """Raise what a check has found so far."""
        if self.broken:
            raise self.broken[0]

    def _moved(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        if "status" not in after:
            return
        task = Task.model_validate({name: _plain(value) for name, value in after.items()})
        if task.status in WATCHED:
            assert task.due_at, "nobody would look at it"
            assert after["open_status"]["S"] == task.status
        left = Status(before["status"]["S"]) if before else None
        if left and left.ended and task.status is not left:
            assert (task.task_id, True) in self.handling, f"{left} was left for {task.status}"
            assert left in REOPENABLE
        if task.status is Status.UNCERTAIN and left is not Status.UNCERTAIN:
            self.uncertain[task.task_id, task.attempt] = self.now
        if task.status is Status.COMPLETED:
            number = self.numbers[task.task_id]
            assert number in self.saved, "completed without its PNG"
            assert self.in_bucket[task.output_key] >= number

    def _saved(self, key: str, body: bytes, metadata: dict[str, str]) -> None:
        """All uploads have the same bytes, so that with `reuse` they may have each other's PNG."""
        number = self.numbers[metadata["cutout-task-id"]]
        assert self.reuse or body == OUTPUTS[number], "another's image"
        assert key == f"{self.uploads[number].key}.png", "an image under another's key"
        assert number >= self.in_bucket.get(key, -1), "an older revision replaced a newer one"
        self.in_bucket[key] = number
        self.saved.add(number)

    def _number_of(self, image: httpx.URL) -> int:
        """Whose image the vendor reads; a converted copy must be there."""
        key = image.path.removeprefix("/")
        if not image.host.startswith(CONVERTED):
            version = image.query.decode() or None
            found = [
                n for n, u in enumerate(self.uploads) if (u.key, u.version_id) == (key, version)
            ]
            return found[-1]  # without versions, the last one
        assert (CONVERTED, key, None) in self.bucket.versions, "no copy for the vendor to read"
        return self.numbers[key.removeprefix("converted/")]

    def rows(self) -> list[Task]:
        """The tasks of all uploads, of which each has one, unless it was missed.

        The others' events must still be on their way.
        """
        rows: list[Task] = []
        for number in range(len(self.uploads)):
            found = [self.ledger.find(name) for name, n in self.numbers.items() if n == number]
            tasks = list(filter(None, found))
            assert len(tasks) <= 1, "two tasks for one object"
            assert tasks or number in self.missed or self._is_announced(number), "lost"
            rows += tasks
        return rows

    def _is_announced(self, number: int) -> bool:
        contents = [upload_message(message.body) for message in self.queue]
        created = [content.upload for content in contents if isinstance(content, ObjectCreated)]
        return any(self.numbers[upload.task_id] == number for upload in created)

    # ------------------------------------------------------------ after the storm

    def calm_down(self) -> None:
        """Everything works and everything arrives, until nothing is left to do."""
        self.vendor.reply = ACCEPTED
        if self.missed:
            self.backfill(Run())
        for _ in range(2000):
            self._calm_round()
            self.check()
            if self._is_at_rest():
                return
            self.now = self._next_time()
        raise AssertionError("it never comes to rest")

    def _is_at_rest(self) -> bool:
        busy = self.queue or self.loops.running() or self.loops.ended
        return not busy and all(self._is_over(row) for row in self.rows())

    def _next_time(self) -> datetime:
        """When something may happen next; what waits for a new day's budget is due all the time."""
        if self.loops.running():
            return self.now + timedelta(seconds=30)
        times = [message.visible_at for message in self.queue]
        times += [row.due_at for row in self.rows() if row.due_at and not self._is_over(row)]
        return min((at for at in times if at > self.now), default=self.now + timedelta(hours=1))

    def _is_over(self, row: Task) -> bool:
        if row.status is not Status.UNCERTAIN:
            return row.status.ended
        return self.policy == "hold" or (self.policy == "settle" and self._is_for_a_person(row))

    def _is_for_a_person(self, row: Task) -> bool:
        """Whether the vendor's history has been looked into, and has more than one answer."""
        _, looked_at, candidates = str(row.reason).partition("what may be its own: ")
        if not looked_at:
            return "does not reach back" in str(row.reason)
        assert all(name in self.vendor.predictions for name in candidates.split(", "))
        return True

    def _calm_round(self) -> None:
        self.vendor.end_all()
        for prediction_id, known in list(self.vendor.predictions.items()):
            if known.callback and not known.told:
                self.call_back(prediction_id, Run())
        self.tick_once(Run())
        for message in self.visible():
            self.deliver(message, Run())
        for execution in self.loops.running():
            self.loops.step(execution, Run())
        self.loops.ended = [event for event in self.loops.ended if not self.close(event, Run())]

    def audit(self) -> None:
        """The promise, once nothing is left to do."""
        events = ((event["task_id"], event.get("code")) for event in self.on_the_bus)
        told = set(events)
        for row in self.rows():
            assert self._is_over(row), row
            # A refusal is written first: better an event is lost than a task uncertain.
            if row.code not in {"request_refused", "superseded"} and row.status.ended:
                assert (row.task_id, row.code) in told, row
        known = {self.numbers[row.task_id] for row in self.rows()}
        for number, upload in enumerate(self.uploads):
            # What was replaced or deleted before anybody was told of it is nobody's upload.
            is_left = number in self.missed and not self.bucket.is_current(upload)
            assert number in known or is_left, "lost"

    # ------------------------------------------------------------ the ways out

    def take_ways_out(self) -> None:
        """An operator does what `cutout retry` says about each task that has no PNG."""
        for row in self.rows():
            if row.status in {Status.COMPLETED, Status.SUPERSEDED}:
                assert not self._plan(row).sends
            else:
                self._take_way_out(row)

    def _take_way_out(self, row: Task) -> None:
        plan = self._plan(row)
        if row.status is Status.UNCERTAIN and not plan.sends:
            assert "--pay-again" in plan.what
            plan = self._plan(row, pay_again=True)
        assert plan.sends, row
        known = self.vendor.predictions.get(row.prediction_id or "")
        has_result = known is not None and known.status == "completed"
        posts, there = len(self.vendor.posts), self.bucket.has(row.upload)
        self.request_retry(row, pay_again=row.status is Status.UNCERTAIN)
        self.calm_down()
        after = self.ledger.get(row.task_id)
        if has_result and row.status is Status.FAILED:
            assert (plan.cost, len(self.vendor.posts)) == (Cost.NOTHING, posts)
        if has_result or there:
            assert after.status in {Status.COMPLETED, Status.SUPERSEDED}, after
        else:
            assert (after.status, after.code) == (Status.REJECTED, "source_gone")
            assert "upload the image again" in self._plan(after).what

    def _plan(self, row: Task, *, pay_again: bool = False) -> Retry:
        stack = Stack("cutout", lambda _service: None, is_local=True)
        vars(stack)["vendor"] = self._wavespeed()
        return Retries(stack, pay_again=pay_again).plan(row)
