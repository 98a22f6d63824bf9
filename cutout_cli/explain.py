"""The story of one task: from the ledger, its executions, and the vendor."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cutout.domain.errors import CutoutError
from cutout.domain.messages import plain_cause
from cutout.domain.tasks import OnUncertain, Status, Task
from cutout_cli.advice import advice
from cutout_cli.stacks import Stack
from cutout_cli.text import plural, shown, when

_BAD_ENDS = {"ExecutionFailed": "failed", "ExecutionTimedOut": "timed out"}
_BAD_ENDS["ExecutionAborted"] = "was stopped"
_WHEN_DUE = {
    OnUncertain.HOLD: "it waits for a callback or for a person; OnUncertain is hold",
    OnUncertain.SETTLE: "the vendor's history is looked into at {}, unless a callback comes before",
    OnUncertain.RESUBMIT: "it is sent again at {}, unless a callback comes before",
}
_FAILURES = {"TaskFailed", "TaskTimedOut", "LambdaFunctionFailed", "LambdaFunctionTimedOut"}


@dataclass(frozen=True)
class Step:
    """Something that happened to a task."""

    at: datetime
    text: str


@dataclass(frozen=True)
class Story:
    """What happened, in order of time; then how it stands, what it cost and what to do."""

    task: Task
    steps: list[Step]
    now: list[str]

    def lines(self) -> list[str]:
        head = f"{shown(self.task.key)}: task {self.task.task_id} is {self.task.status}"
        return [head, *(f"  {when(step.at)}  {step.text}" for step in self.steps), *self.now]

    def as_json(self) -> str:
        steps = [{"at": step.at.isoformat(), "text": step.text} for step in self.steps]
        head = {"task_id": self.task.task_id, "key": self.task.key, "status": self.task.status}
        return json.dumps(head | {"code": self.task.code, "steps": steps, "now": self.now})


def story(stack: Stack, task: Task) -> Story:
    """Everything that is known about a task."""
    steps = [*_from_ledger(task), *_from_executions(stack, task)]
    now = [*_state(stack, task), _cost(stack, task), *_vendor(stack, task)]
    if todo := advice(task.code, shlex.quote(task.key), stack.options):
        now.append(f"what to do: {todo}")
    return Story(task, sorted(steps, key=lambda step: step.at), now)


def _from_ledger(task: Task) -> Iterator[Step]:
    version = f", version {task.version_id}" if task.version_id else ""
    yield Step(task.created_at, f"the upload was taken note of: {task.size} bytes{version}")
    for status, at in task.entered_at.items():
        if status is not Status.QUEUED or at > task.created_at:
            yield Step(at, _entered(task, status))
    if task.called_back_at:
        yield Step(task.called_back_at, "the vendor called back")
    if task.erased_at:
        yield Step(task.erased_at, "its results were deleted at the vendor")


def _entered(task: Task, status: Status) -> str:
    why = f": {task.reason} ({task.code})" if status is task.status and task.reason else ""
    texts = {
        Status.QUEUED: "queued again",
        Status.SUBMITTING: f"sent to the vendor{', converted' if task.converted else ''}, "
        f"attempt {task.attempt}, model {task.model}",
        Status.UNCERTAIN: "whether the vendor accepted it became unknown",
        Status.PROCESSING: f"to be a copy of the PNG of task {task.reused_from}, an equal upload"
        if task.reused_from
        else f"accepted by the vendor as prediction {task.prediction_id}",
        Status.COMPLETED: f"the PNG was saved as s3://{task.output_bucket}/{task.output_key}",
    }
    return texts.get(status, status.value) + why


def _from_executions(stack: Stack, task: Task) -> Iterator[Step]:
    """What went wrong in the wait loops, one execution an attempt."""
    arn = stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    pages = stack.client("stepfunctions").get_paginator("get_execution_history")
    for attempt in range(1, task.attempt + 1):
        name = f"{task.task_id}-{attempt}"
        try:
            for page in pages.paginate(executionArn=f"{arn}:{name}"):
                yield from _steps(attempt, page["events"])
        except stack.client("stepfunctions").exceptions.ExecutionDoesNotExist:
            continue  # not every attempt was accepted, and Step Functions forgets after 90 days


def _steps(attempt: int, events: list[dict[str, Any]]) -> Iterator[Step]:
    for event in events:
        kind = event["type"]
        details: dict[str, Any] = next(
            (value for name, value in event.items() if name.endswith("EventDetails")), {}
        )
        cause = plain_cause(details.get("cause", ""))
        why = f"{details.get('error', 'no error was given')}: {cause}"
        if kind == "ExecutionStarted":
            yield Step(event["timestamp"], f"wait loop {attempt} started")
        elif kind in _FAILURES:
            yield Step(event["timestamp"], f"wait loop {attempt}: a call failed: {why}")
        elif kind in _BAD_ENDS:
            yield Step(event["timestamp"], f"wait loop {attempt} {_BAD_ENDS[kind]}: {why}")
        elif kind == "ExecutionSucceeded":
            yield Step(event["timestamp"], f"wait loop {attempt} ended well")


def _state(stack: Stack, task: Task) -> Iterator[str]:
    if task.status.open and task.reason:
        until = f", until {when(task.submit_after)}" if task.submit_after else ""
        yield f"it waits{until}: {task.reason} ({task.code})"
    if task.status is Status.UNCERTAIN and task.due_at:
        policy = OnUncertain(stack.parameters["OnUncertain"])
        yield _WHEN_DUE[policy].format(when(task.due_at))
    if task.polls and not task.reused_from:
        yield f"the vendor was asked {plural(task.polls, 'time')}"
    if task.inference_ms:
        yield f"the vendor needed {task.inference_ms / 1000:.1f} s"
    if task.confidence:
        yield f"the remover's confidence is {task.confidence}"


def _cost(stack: Stack, task: Task) -> str:
    if task.reused_from:
        return "nothing is paid: an upload with the same content was, and this is a copy of its PNG"
    if not task.attempt:
        return "nothing was paid: it was never sent"
    price = f"${stack.parameters['PricePerImage']}"
    if task.status is Status.UNCERTAIN:
        return f"it may have been paid: {price}"
    if not task.predictions:
        return "nothing was paid: the vendor accepted nothing"
    return f"sent {plural(task.attempt, 'time')}; an image that the vendor completes costs {price}"


def _vendor(stack: Stack, task: Task) -> Iterator[str]:
    if task.prediction_id is None or task.erased_at:
        return
    if stack.vendor is None:
        yield "the vendor was not asked: WAVESPEED_API_KEY is not set"
        return
    try:
        prediction = stack.vendor.result(task.prediction_id)
    except CutoutError as error:
        yield f"the vendor now: {error}"
    else:
        error_text = f": {prediction.error}" if prediction.error else ""
        yield f"the vendor now: prediction {task.prediction_id} is {prediction.status}{error_text}"
