"""A hundred thousand tasks that wait: what they cost, and how they drain.

    python -m benchmarks.clock [--tasks 100000] [--rate 3000] [--minutes 3]

The tasks are made in the ledger directly, on a DynamoDB in memory; the clock's code is real.
Wanted: no message before they are due, then the plan's pace, and a run that ends within its minute.
A call takes no time here: on AWS, each task that is woken takes one write of some milliseconds.
"""

import argparse
import io
import os
import sys
import time
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from contextlib import redirect_stdout
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from cutout.domain.tasks import Status, new_task
from cutout.domain.uploads import Upload
from cutout.store.governor import LATENESS
from tests.support.fakes import SQS, DynamoDB, Events, Functions, Item, States
from tests.support.harness import MODEL, NOW, Pipeline

MINUTE = timedelta(minutes=1)
LEAST_SHARE = 0.95
PAGE = 5000  # keys and codes in 1 MB, about


class Indexed(DynamoDB):
    """With an index that is as quick as DynamoDB's, whatever it holds."""

    def __init__(self, functions: Functions) -> None:
        super().__init__(functions, self._changed_item)
        self._due: dict[str, list[tuple[str, ...]]] = defaultdict(list)

    def query(self, **asked: Any) -> Item:
        status, until = (asked["ExpressionAttributeValues"][n]["S"] for n in (":key", ":until"))
        due, start = self._due[status], asked.get("ExclusiveStartKey")
        first = bisect_right(due, start) if start else 0
        keys = due[first : min(first + PAGE, bisect_right(due, (until, "~")))]
        page: Item = {"Items": [_key(*key) for key in keys]}
        return page | ({"LastEvaluatedKey": keys[-1]} if len(keys) == PAGE else {})

    def _changed_item(self, before: Item, after: Item) -> None:
        if "open_status" in before:
            due = self._due[before["open_status"]["S"]]
            del due[bisect_left(due, _index_key(before))]
        if "open_status" in after:
            insort(self._due[after["open_status"]["S"]], _index_key(after))


def _index_key(item: Item) -> tuple[str, ...]:
    return item["due_at"]["S"], item["task_id"]["S"], item.get("code", {}).get("S", "")


def _key(due_at: str, task_id: str, code: str) -> Item:
    item = {"task_id": {"S": task_id}, "due_at": {"S": due_at}}
    return item | ({"code": {"S": code}} if code else {})


class Waiting(Pipeline):
    """A ledger of tasks that wait, and the clock."""

    def __init__(self) -> None:
        functions, self.sent = Functions(), list[int]()
        clients: dict[str, Any] = {
            "s3": None,
            "dynamodb": Indexed(functions),
            "states": States(functions),
            "events": Events(functions),
            "sqs": SQS(functions, lambda _body, delay: self.sent.append(delay)),
        }
        super().__init__(**clients, queue_url="queue", machine="arn:stateMachine:machine")

    def add(self, number: int) -> None:
        """A task that waits for its turn from a quarter of an hour on."""
        upload = Upload(bucket="in", key=f"{number}.jpg", etag=str(number), size=1)
        due_at = NOW + 15 * MINUTE + timedelta(microseconds=number)
        task = new_task(upload, "out", "x.png", MODEL, NOW, 30, due_at)
        self.ledger.claim(task.model_copy(update={"code": "waits_for_turn"}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clock", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=3000, help="images a minute")
    parser.add_argument("--minutes", type=int, default=3, help="how long to watch them drain")
    options = parser.parse_args()
    os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "Cutout"
    harness = Waiting()
    for number in range(options.tasks):
        harness.add(number)
    table = Printed("minute", "messages", "of the plan", "seconds of the clock", box=None)
    early = sum(run(harness, options.rate)[0] for _ in range(14))
    table.add_row("1 to 14", str(early), "", "")
    harness.now += MINUTE  # a minute late, as a clock may be: two minutes' slots are free
    runs = [run(harness, options.rate) for _ in range(options.minutes)]
    for minute, (messages, seconds) in enumerate(runs, start=16):
        table.add_row(
            str(minute), str(messages), f"{messages / options.rate:.0%}", f"{seconds:.1f}"
        )
    Console().print(table)
    left = sum(1 for _ in harness.ledger.due(Status.QUEUED, harness.now))
    print(f"{left} of {options.tasks} wait for their turn")
    sys.exit(not is_as_wanted(early, runs, options.rate))


def run(harness: Waiting, rate: int) -> tuple[int, float]:
    """One run of the clock: how many messages it sent, and how long it took; a minute passes."""
    harness.sent.clear()
    started = time.process_time()
    with redirect_stdout(io.StringIO()):  # there go the metrics
        harness.tick(images_per_minute=rate)
    harness.now += MINUTE
    return len(harness.sent), time.process_time() - started


def is_as_wanted(early: int, runs: list[tuple[int, float]], rate: int) -> bool:
    plan = rate * MINUTE / (MINUTE + LATENESS)
    later = [messages for messages, _ in runs[1:]]
    at_pace = all(LEAST_SHARE * plan <= messages <= plan + 1 for messages in later)
    return early == 0 and at_pace and max(seconds for _, seconds in runs) < 50


if __name__ == "__main__":
    main()
