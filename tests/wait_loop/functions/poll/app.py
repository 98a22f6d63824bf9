"""A poll function that plays the script it finds in its task's model: `step.step.step`.

A step is a status to answer, an error to raise, a way to die, or `awaiting`: processing, with a
callback to come or else another look in a second.
"""

import os
from typing import Any

import boto3

from cutout.domain import errors
from cutout.domain.messages import WaitLoopState
from cutout.domain.tasks import Status
from cutout.store.ledger import Ledger
from cutout.store.table import Table


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    # The position is kept outside of the process, for some steps kill it.
    task = Ledger(Table(boto3.client("dynamodb"), os.environ["TASKS_TABLE"])).count_poll(
        event["task_id"]
    )
    steps = task.model.split(".")
    step = steps[min(task.polls, len(steps)) - 1]
    if step == "hang":
        while True:
            pass
    if step == "crash":
        os._exit(1)
    if step == "mixed":
        raise TypeError("unexpected keyword argument")  # what a layer of another version says
    if step[0].isupper():
        raise getattr(errors, step)(f'it said "{step}"')
    return answer(task.task_id, step).model_dump(mode="json")


def answer(task_id: str, step: str) -> WaitLoopState:
    if step == "awaiting":
        return WaitLoopState(
            task_id=task_id, status=Status.PROCESSING, wait_seconds=1, await_callback=True
        )
    return WaitLoopState(task_id=task_id, status=Status(step))
