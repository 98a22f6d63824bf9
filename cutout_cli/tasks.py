"""Reads a stack's tasks, many at a time, without changing any."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from typing import Any

from cutout.domain.tasks import WATCHED, AttemptId, Status, Task
from cutout.store.ledger import Ledger
from cutout.store.table import Table, plain
from cutout_cli.errors import KeyNotFound
from cutout_cli.stacks import Stack
from cutout_cli.text import shown

_INDEX, _INDEX_KEY = "by-status", "open_status"


def looks(every: float) -> Iterator[int]:
    """Counts looks at a table, at least so many seconds apart, for ever.

    A large table takes long to read, and reading it costs money: most of the time goes without.
    """
    for look in count():
        started = time.monotonic()
        yield look
        time.sleep(max(every, 10 * (time.monotonic() - started)))


class Tasks:
    """The ledger of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._client = stack.client("dynamodb")
        self._s3 = stack.client("s3")
        self._table = stack.tasks_table
        self._bucket = stack.input_bucket
        self._items = Table(self._client, stack.tasks_table)
        self._ledger = Ledger(self._items)

    def get(self, task_id: str) -> Task:
        """One task. Raises `TaskNotFound`."""
        return self._ledger.get(task_id)

    def revisions(self, key: str) -> list[Task]:
        """The tasks of an object's revisions, newest first."""
        return self._ledger.of_object(self._bucket, key)

    def of_key(self, key: str) -> list[Task]:
        """The tasks of the revisions of an object, named by key or s3:// URL, newest first.

        Raises `KeyNotFound`, which names the nearest keys of the bucket.
        """
        key = key.removeprefix(f"s3://{self._bucket}/")
        tasks = self.revisions(key)
        if not tasks:
            raise KeyNotFound(f"the ledger has no upload of {key!r}; {self._near(key)}")
        return tasks

    def _near(self, key: str) -> str:
        folder = key.rpartition("/")[0]
        listed = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=folder)
        keys = [found["Key"] for found in listed.get("Contents", [])]
        if key in keys:
            return (
                "the bucket has it: its event has not come yet, it is not under InputPrefix, or "
                "the bucket sends no events to EventBridge (see: cutout watch-bucket --help)"
            )
        near = get_close_matches(key, keys)
        return f"near it are: {', '.join(map(shown, near))}" if near else "nor has the bucket"

    def named(self, name: str, prediction_id: str | None = None) -> list[Task]:
        """The newest task of a key, the task of an id, or those of a prediction.

        Raises `KeyNotFound` or `TaskNotFound`.
        """
        if prediction_id:
            if not (tasks := self.of_prediction(prediction_id)):
                raise KeyNotFound(f"no task of the ledger has prediction {prediction_id}")
            return tasks
        if AttemptId.parse(f"{name}-0"):
            return [self.get(name)]
        return self.of_key(name)[:1]

    def of_prediction(self, prediction_id: str) -> list[Task]:
        """The tasks that the vendor has under an id; the whole table is read for it."""
        return list(self._scan({"prediction_id": prediction_id}))

    def many(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Those of the tasks that are there, by their ids; strongly consistent."""
        tasks = map(Task.model_validate, self._items.get_many(task_ids))
        return {task.task_id: task for task in tasks}

    def find(
        self,
        statuses: frozenset[Status] = frozenset(Status),
        prefix: str = "",
        since: datetime | None = None,
    ) -> Iterator[Task]:
        """The tasks in some statuses, whose key has a prefix, created since a time; in no order.

        What an operator may have to look at is found by an index; for the others the whole table
        is read, which costs a read unit for every 8 KB of it.
        """
        tasks = self._watched(statuses) if statuses <= WATCHED else self._scan({})
        for task in tasks:
            if (
                task.status in statuses
                and task.key.startswith(prefix)
                and (since is None or task.created_at >= since)
            ):
                yield task

    def _watched(self, statuses: frozenset[Status]) -> Iterator[Task]:
        pages = self._client.get_paginator("query")
        for status in statuses:
            for page in pages.paginate(
                TableName=self._table,
                IndexName=_INDEX,
                KeyConditionExpression="#status = :status",
                ExpressionAttributeNames={"#status": _INDEX_KEY},
                ExpressionAttributeValues={":status": {"S": status.value}},
            ):
                # The index is a moment behind and need not hold whole tasks.
                yield from self.many(item["task_id"]["S"] for item in page["Items"]).values()

    def _scan(self, equal: Mapping[str, str]) -> Iterator[Task]:
        # The governor, the locks and the latencies are in the table, too: they have no status.
        names = {"#status": "status"} | {f"#{name}": name for name in equal}
        conditions = ["attribute_exists(#status)", *(f"#{name} = :{name}" for name in equal)]
        asked: Any = {
            "TableName": self._table,
            "FilterExpression": " AND ".join(conditions),
            "ExpressionAttributeNames": names,
        }
        if equal:
            asked["ExpressionAttributeValues"] = {f":{n}": {"S": v} for n, v in equal.items()}
        for page in self._client.get_paginator("scan").paginate(**asked):
            yield from map(_task, page["Items"])


def _task(item: Mapping[str, Any]) -> Task:
    return Task.model_validate(plain(item))
