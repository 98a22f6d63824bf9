"""A poll function that plays the script it finds in the task's id: `step.step.step-name`.

A step is a status to answer, an error to raise, a way to die, or `awaiting`: processing, with a
callback to come or else another look in a second.
"""

import os
from typing import Any

import boto3

from cutout.domain import errors
from cutout.store.ledger import Ledger
from cutout.store.table import Table


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    task_id = event["task_id"]
    steps = task_id.split("-")[0].split(".")
    # The position is kept outside of the process, for some steps kill it.
    table = Table(boto3.client("dynamodb"), os.environ["TASKS_TABLE"])
    polls = Ledger(table).count_poll(task_id).polls
    step = steps[min(polls, len(steps)) - 1]
    if step == "hang":
        while True:
            pass
    if step == "crash":
        os._exit(1)
    if step[0].isupper():
        raise getattr(errors, step)(f'it said "{step}"')
    place = {"bucket": "in", "key": 'a "b"\n\\c.jpg', "output_bucket": "out", "output_key": "k.png"}
    awaiting = step == "awaiting"
    return {
        "task_id": task_id,
        "status": "processing" if awaiting else step,
        "wait_seconds": 1 if awaiting else 0,
        "await_callback": awaiting,
        **place,
    }
