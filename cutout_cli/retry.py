"""Ask a stack to take tasks up again, after saying what that costs."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from cutout.domain.errors import CutoutError, PredictionNotFound
from cutout.domain.messages import RetryRequest
from cutout.domain.tasks import REOPENABLE, Status, Task
from cutout.wavespeed.contract import PredictionStatus
from cutout_cli.errors import NothingToRetry
from cutout_cli.stacks import Stack
from cutout_cli.tasks import Tasks
from cutout_cli.text import shown


class Cost(StrEnum):
    """What a retry costs, as far as that is known before."""

    NOTHING = "nothing"
    PAID = "paid"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Retry:
    """What a retry of a task would do."""

    task: Task
    cost: Cost
    what: str

    @property
    def text(self) -> str:
        task = self.task
        return f"{shown(task.key)}: task {task.task_id}, {task.status} ({task.code}), {self.what}"

    def as_json(self, *, sent: bool) -> str:
        fields = {"key", "task_id", "status", "code", "reason"}
        told = self.task.model_dump(mode="json", include=fields)
        return json.dumps(told | {"cost": self.cost, "what": self.what, "sent": sent})


def cost_of(retries: Sequence[Retry], price: Decimal) -> str:
    """What several retries cost together."""
    counts = Counter(retry.cost for retry in retries)
    texts = {
        Cost.NOTHING: "fetched for nothing",
        Cost.PAID: f"paid (${price})",
        Cost.UNKNOWN: "fetched if the vendor has a result, else paid",
    }
    return ", ".join(f"{counts[cost]} {text}" for cost, text in texts.items() if counts[cost])


def chosen_tasks(stack: Stack, key: str | None, prefix: str, code: str | None) -> list[Task]:
    """The newest task of a key, or the failed tasks with a prefix and a code.

    Raises `KeyNotFound` or `NothingToRetry`.
    """
    tasks = Tasks(stack)
    if key:
        return tasks.of_key(key)[:1]
    failed = tasks.find(frozenset({Status.FAILED}), prefix)
    chosen = [task for task in failed if code in {None, task.code}]
    if not chosen:
        raise NothingToRetry("no task is failed" + (f" with the code {code}" if code else ""))
    return sorted(chosen, key=lambda task: task.created_at)


class Retries:
    """Retries of one stack's tasks; the submit function does them."""

    def __init__(self, stack: Stack, *, pay_again: bool = False) -> None:
        self._stack = stack
        self._sqs = stack.client("sqs")
        self._vendor = stack.vendor
        self._pay_again = pay_again

    def plan(self, task: Task) -> Retry:
        """What a retry would do, as `cutout.retry` decides. Raises `NothingToRetry`."""
        if task.status is Status.PROCESSING:
            return Retry(task, Cost.NOTHING, "is taken up if its execution has ended")
        if task.status.open:
            return Retry(task, Cost.PAID, "is sent now; it would be paid later, too")
        if task.status not in REOPENABLE:
            raise NothingToRetry(
                f"{task.key}: task {task.task_id} is {task.status}; there is nothing to retry"
            )
        if task.status is Status.UNCERTAIN and not self._pay_again:
            raise NothingToRetry(
                f"{task.key}: task {task.task_id} is uncertain: the vendor may have accepted and "
                "billed it. Look at your WaveSpeedAI history; to send it anew all the same, add "
                "--pay-again"
            )
        if task.status is Status.FAILED and task.prediction_id and not self._pay_again:
            return self._plan_fetch(task, task.prediction_id)
        if task.status is Status.REJECTED:
            return Retry(task, Cost.PAID, "is checked again and, if it passes now, sent and paid")
        return Retry(task, Cost.PAID, "is sent again and paid")

    def send(self, retry: Retry) -> None:
        """Ask for a retry. The attempt makes one request one retry, however often it comes."""
        task = retry.task
        body = RetryRequest.body(task.task_id, pay_again=self._pay_again, attempt=task.attempt)
        queue = self._stack.outputs["UploadQueueUrl"]
        self._sqs.send_message(QueueUrl=queue, MessageBody=body)

    def price(self, retries: Iterable[Retry]) -> Decimal:
        """What those cost in USD that are paid, at the template's price."""
        paid = sum(retry.cost is Cost.PAID for retry in retries)
        return paid * Decimal(self._stack.parameters["PricePerImage"])

    def _plan_fetch(self, task: Task, prediction_id: str) -> Retry:
        if self._vendor is None:
            known = "the vendor is not asked, for WAVESPEED_API_KEY is not set"
        else:
            try:
                status = self._vendor.result(prediction_id).status
            except PredictionNotFound:
                return Retry(task, Cost.PAID, "is sent again and paid: the vendor has no result")
            except CutoutError as error:
                known = str(error)
            else:
                if status is PredictionStatus.COMPLETED or not status.ended:
                    return Retry(task, Cost.NOTHING, f"is fetched for nothing: it is {status}")
                return Retry(task, Cost.PAID, f"is sent again and paid: the first one {status}")
        return Retry(
            task,
            Cost.UNKNOWN,
            f"is fetched for nothing if the vendor has a result, else paid again ({known})",
        )
