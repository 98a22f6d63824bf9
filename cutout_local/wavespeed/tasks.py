"""The tasks that the server accepted."""

import asyncio
import base64
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from cutout.wavespeed.contract import (
    History,
    HistoryRequest,
    Links,
    Prediction,
    PredictionStatus,
    SubmitRequest,
    Timings,
)
from cutout_local.wavespeed.errors import PredictionNotFound
from cutout_local.wavespeed.faults import RequestedFaults
from cutout_local.wavespeed.worker import Outcome

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


@dataclass(eq=False)
class Task:
    """One accepted submit. `base_url` is the server's address as the submitter wrote it.

    The history has it from `listed_at` on.
    """

    __pydantic_config__: ClassVar = ConfigDict(arbitrary_types_allowed=True)  # `ended`

    id: str
    model: str
    request: SubmitRequest
    price: Decimal
    created_at: datetime
    listed_at: datetime
    base_url: str
    output: Path
    webhook: str | None = None
    asked: RequestedFaults = field(default_factory=dict)
    status: PredictionStatus = PredictionStatus.CREATED
    error: str = ""
    code: int | None = None
    outcome: Outcome | None = None
    refunded: bool = False
    hidden: bool = False
    asked_about: bool = False
    ended: Annotated[asyncio.Event, Field(exclude=True)] = field(default_factory=asyncio.Event)

    @property
    def output_urls(self) -> list[str]:
        """The output's URL once the task has completed."""
        if self.status is not PredictionStatus.COMPLETED:
            return []
        return [f"{self.base_url}/outputs/{self.id}.png"]

    async def outputs(self) -> list[str]:
        """The outputs in the form that the submit asked for."""
        if self.output_urls and self.request.enable_base64_output:
            return [await asyncio.to_thread(_base64_file, self.output)]
        return self.output_urls

    def prediction(self, outputs: list[str]) -> Prediction:
        """What the submit, the result and the webhook say of this task."""
        return Prediction(
            id=self.id,
            model=self.model,
            status=self.status,
            outputs=outputs,
            has_nsfw_contents=[False] * len(outputs),
            urls=Links(get=f"{self.base_url}/api/v3/predictions/{self.id}/result"),
            created_at=self.created_at,
            code=self.code,
            timings=Timings(inference=round(self.outcome.inference_ms) if self.outcome else 0),
        ).model_copy(update={"error": self.error})  # the model would scrub what is in it


def _base64_file(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except FileNotFoundError as error:
        raise PredictionNotFound from error


def new_id() -> str:
    """32 lower-case hexadecimal characters."""
    return uuid.uuid4().hex


class Tasks:
    """Every accepted task, oldest first; at most `limit` of them, the oldest ended ones go."""

    def __init__(self, clock: Clock, retention: timedelta, limit: int) -> None:
        self._clock = clock
        self._retention = retention
        self._limit = limit
        self._tasks: dict[str, Task] = {}

    def add(self, task: Task) -> Task | None:
        """Take a task in; return the one that goes for it, if one does."""
        self._tasks[task.id] = task
        oldest = next((task for task in self._tasks.values() if task.status.ended), None)
        if oldest is None or len(self._tasks) <= self._limit:
            return None
        return self._tasks.pop(oldest.id)

    def find(self, task_id: str) -> Task:
        """A task that can still be asked for. Raises `PredictionNotFound`."""
        task = self._tasks.get(task_id)
        if task is None or not self._visible(task):
            raise PredictionNotFound
        return task

    def another(self, task: Task) -> Task:
        """One whose end its submitter asked about, and that is not this; if there is none, this."""
        known = (t for t in self._tasks.values() if t.status.ended and t.asked_about)
        return next((other for other in known if other is not task), task)

    def all(self) -> list[Task]:
        """Every task, those too that were deleted or have expired."""
        return list(self._tasks.values())

    def history(self, request: HistoryRequest) -> History:
        """One page of the tasks that can still be asked for, newest first."""
        listed = [t for t in self._tasks.values() if self._visible(t) and self._is_listed(t)]
        found = [task for task in listed if _matches(task, request)]
        start = (request.page - 1) * request.page_size
        page = found[::-1][start : start + request.page_size]
        items = [task.prediction(task.output_urls) for task in page]
        return History(page=request.page, total=len(found), items=items)

    def _is_listed(self, task: Task) -> bool:
        return task.listed_at <= self._clock()

    def delete(self, ids: list[str]) -> list[Task]:
        """Hide tasks that have ended; return those that were there to be hidden."""
        chosen = (self._tasks[task_id] for task_id in dict.fromkeys(ids) if task_id in self._tasks)
        gone = [task for task in chosen if self._visible(task) and task.status.ended]
        for task in gone:
            task.hidden = True
        return gone

    def _visible(self, task: Task) -> bool:
        return not task.hidden and self._clock() - task.created_at < self._retention


def _matches(task: Task, request: HistoryRequest) -> bool:
    return (
        request.model in (None, task.model)
        and request.status in (None, task.status)
        and (request.created_after is None or task.created_at >= request.created_after)
        and (request.created_before is None or task.created_at <= request.created_before)
    )
