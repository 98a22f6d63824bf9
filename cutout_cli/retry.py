"""Ask a stack to take tasks up again, after saying what that costs."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from cutout.domain.errors import UNUSABLE, CutoutError, PredictionNotFound
from cutout.domain.messages import RetryRequest
from cutout.domain.tasks import Status, Task
from cutout.wavespeed.contract import PredictionStatus
from cutout_cli.advice import RELOAD, advice
from cutout_cli.errors import BadStatus, NothingToRetry
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
    sends: bool = True  # else `what` says why nothing is done

    @property
    def text(self) -> str:
        task, code = self.task, f" ({self.task.code})" if self.task.code else ""
        return f"{shown(task.key)}: task {task.task_id}, {task.status}{code}, {self.what}"

    def as_json(self, *, sent: bool) -> str:
        fields = {"key", "task_id", "status", "code", "reason"}
        told = self.task.model_dump(mode="json", include=fields)
        return json.dumps(told | {"cost": self.cost, "what": self.what, "sent": sent})


def cost_of(retries: Sequence[Retry], price: Decimal) -> str:
    """What several retries cost together."""
    counts = Counter(retry.cost for retry in retries if retry.sends)
    texts = {
        Cost.NOTHING: "fetched for nothing",
        Cost.PAID: f"paid (${price})",
        Cost.UNKNOWN: "fetched if the vendor has a result, else paid",
    }
    told = [f"{counts[cost]} {text}" for cost, text in texts.items() if counts[cost]]
    left = len(retries) - counts.total()
    return ", ".join(told + ([f"{left} left as they are"] if left else []))


def named_statuses(names: Iterable[str]) -> frozenset[Status]:
    """The statuses of these names. Raises `BadStatus`."""
    try:
        return frozenset(map(Status, names))
    except ValueError as error:
        raise BadStatus(f"{error}; there are {', '.join(Status)}") from error


def chosen_tasks(
    stack: Stack, key: str | None, prefix: str, code: str | None, statuses: frozenset[Status]
) -> list[Task]:
    """The newest task of a key, or those in some statuses, with a prefix and a code.

    Raises `KeyNotFound` or `NothingToRetry`.
    """
    tasks = Tasks(stack)
    if key:
        return tasks.of_key(key)[:1]
    chosen = [task for task in tasks.find(statuses, prefix) if code in {None, task.code}]
    if not chosen:
        which = " or ".join(sorted(statuses)) + (f" with the code {code}" if code else "")
        raise NothingToRetry(f"no task is {which}; other statuses are chosen by --status")
    return sorted(chosen, key=lambda task: task.created_at)


class Retries:
    """Retries of one stack's tasks; the submit function does them."""

    def __init__(self, stack: Stack, *, pay_again: bool = False) -> None:
        self._stack = stack
        self._sqs = stack.client("sqs")
        self._vendor = stack.vendor
        self._pay_again = pay_again

    def plan(self, task: Task) -> Retry:
        """What a retry would do, as `cutout.retry` decides, or why it is not asked for."""
        match task.status:
            case Status.PROCESSING:
                return Retry(task, Cost.NOTHING, "is taken up if its execution has ended")
            case Status.COMPLETED:
                where = f"s3://{task.output_bucket}/{shown(task.output_key)}"
                return _left(task, f"it has its PNG, {where}; for another, {RELOAD}")
            case Status.SUPERSEDED:
                return _left(task, "a newer revision of the object has its PNG")
            case Status.UNCERTAIN if not self._pay_again:
                return _left(
                    task,
                    "the vendor may have accepted and billed it: look at your WaveSpeedAI history; "
                    "to send it anew all the same, add --pay-again",
                )
            case Status.REJECTED:
                return Retry(task, Cost.PAID, self._checked_again(task))
            case Status.FAILED if task.prediction_id and not self._pay_again:
                return self._plan_fetch(task, task.prediction_id)
            case Status.FAILED | Status.UNCERTAIN:
                return Retry(task, Cost.PAID, "is sent again and paid")
        return Retry(task, Cost.PAID, "is sent now; it would be paid later, too")

    def _checked_again(self, task: Task) -> str:
        passes = "is checked again and, if it passes now, sent and paid"
        return f"{passes}; else: {self._advice(task)}"

    def _advice(self, task: Task) -> str | None:
        return advice(task.code, shlex.quote(task.key), self._stack.options)

    def _is_refused_again(self, task: Task) -> bool:
        """Whether the result that was refused would be so once more."""
        now_saved = (
            task.code == "opaque_cutout" and self._stack.parameters["OpaqueCutout"] == "save"
        )
        return task.code in UNUSABLE and not now_saved

    def send(self, retry: Retry) -> None:
        """Ask for a retry. The attempt makes one request one retry, however often it comes."""
        task = retry.task
        body = RetryRequest.body(task.task_id, pay_again=self._pay_again, attempt=task.attempt)
        queue = self._stack.outputs["UploadQueueUrl"]
        self._sqs.send_message(QueueUrl=queue, MessageBody=body)

    def price(self, retries: Iterable[Retry]) -> Decimal:
        """What those cost in USD that are paid, at the template's price."""
        paid = sum(retry.cost is Cost.PAID for retry in retries if retry.sends)
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
                if status is PredictionStatus.COMPLETED and self._is_refused_again(task):
                    return _left(task, f"its result is no use: {self._advice(task)}")
                if status is PredictionStatus.COMPLETED or not status.ended:
                    return Retry(task, Cost.NOTHING, f"is fetched for nothing: it is {status}")
                return Retry(task, Cost.PAID, f"is sent again and paid: the first one {status}")
        return Retry(
            task,
            Cost.UNKNOWN,
            f"is fetched for nothing if the vendor has a result, else paid again ({known})",
        )


def _left(task: Task, why: str) -> Retry:
    return Retry(task, Cost.NOTHING, f"is left as it is: {why}", sends=False)
