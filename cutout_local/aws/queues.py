"""SQS: calls and rules that MiniStack leaves out."""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ministack.core.concurrency import esm_wake
from ministack.services import sqs

from cutout_local.aws.faults import Call
from cutout_local.aws.injection import injector
from cutout_local.aws.patching import replaces

Request = dict[str, Any]
_SOURCE = "DeadLetterQueueSourceArn"
_tasks: list[dict[str, Any]] = []


@replaces("services.sqs", "_HANDLERS", "calls of queues")
def _handlers(original: dict[str, Callable[..., Any]]) -> Any:
    """Dead letters can be moved back, and a short poll asks some of the servers only.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
    MiniStack has no move tasks, and a short poll sees all. No upstream issues exist.
    """
    return {
        **original,
        "ReceiveMessage": _short_poll(original["ReceiveMessage"]),
        "StartMessageMoveTask": start_move_task,
        "ListMessageMoveTasks": list_move_tasks,
    }


def _short_poll(receive: Callable[..., Any]) -> Any:
    async def poll(request: Request, url: str) -> Any:
        queue = sqs._get_q(request.get("QueueUrl", url), "sqs:ReceiveMessage")
        default = queue["attributes"]["ReceiveMessageWaitTimeSeconds"]
        long = int(request.get("WaitTimeSeconds", default)) > 0
        if long or injector.rule_for(Call(caller="sqs", action="poll:short")) is None:
            return await receive(request, url)
        return {}

    return poll


def start_move_task(request: Request, _url: str) -> Request:
    """Moves all at once, each to the queue that it came from unless the request names one."""
    source = _queue(request["SourceArn"])
    task = {
        "TaskHandle": uuid4().hex,
        "Status": "COMPLETED",
        "SourceArn": request["SourceArn"],
        "ApproximateNumberOfMessagesToMove": len(source["messages"]),
        "ApproximateNumberOfMessagesMoved": 0,
        "StartedTimestamp": int(time.time() * 1000),
    }
    with sqs._queues_lock:
        for message in list(source["messages"]):
            origin = message.get("sys", {}).get(_SOURCE)
            if arn := request.get("DestinationArn", origin):
                _queue(arn)["messages"].append(_as_new(message))
                source["messages"].remove(message)
                task["ApproximateNumberOfMessagesMoved"] += 1
    esm_wake.set()
    _tasks.insert(0, task)
    return {"TaskHandle": task["TaskHandle"]}


def list_move_tasks(request: Request, _url: str) -> Request:
    found = [task for task in _tasks if task["SourceArn"] == request["SourceArn"]]
    return {"Results": found[: int(request.get("MaxResults", 1))]}


def _queue(arn: str) -> dict[str, Any]:
    queue: dict[str, Any] | None = sqs._queue_by_arn(arn)
    if queue is None:
        text = f"The resource that you specified for the ARN doesn't exist: {arn}"
        raise sqs._Err("ResourceNotFoundException", text, 404)
    return queue


def _as_new(message: dict[str, Any]) -> dict[str, Any]:
    now, known = time.time(), message.get("sys", {})
    return {
        **message,
        "id": str(uuid4()),
        "receipt_handle": None,
        "receive_count": 0,
        "first_receive_at": None,
        "visible_at": now,
        "sent_at": now,
        "sys": {name: value for name, value in known.items() if name != _SOURCE},
    }
