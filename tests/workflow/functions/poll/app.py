"""A poll function that plays the script it finds in the task's id: `step.step.step-name`."""

import os
from typing import Any

import boto3

from cutout import errors
from cutout.ledger import Ledger


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    task_id = event["task_id"]
    steps = task_id.split("-")[0].split(".")
    # The position is kept outside of the process, for some steps kill it.
    polls = Ledger(boto3.client("dynamodb"), os.environ["TASKS_TABLE"]).count_poll(task_id).polls
    step = steps[min(polls, len(steps)) - 1]
    if step == "hang":
        while True:
            pass
    if step == "crash":
        os._exit(1)
    if step[0].isupper():
        raise getattr(errors, step)(f'it said "{step}"')
    place = {"bucket": "in", "key": 'a "b"\n\\c.jpg', "output_bucket": "out", "output_key": "k.png"}
    return {"task_id": task_id, "status": step, "wait_seconds": 0, **place}
