"""Count the calls to AWS and the state transitions of an image, which docs/costs.md is made of.

    python -m benchmarks.requests

Without the webhook and with it, with one attempt more, and of uploads that are converted, on stacks
with nothing else to do. What Lambda calls for its own part, such as receiving messages, is not
counted here. While ten functions at once are too few for the photos, the local vendor logs
callbacks that were "not taken (429, ...)"; these photos are polled later, at the same cost. Step
Functions bills a transition for each state that is entered; the histories of the executions tell of
them.
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html
"""

import io
import sys
from collections import Counter
from typing import NamedTuple

import numpy as np
from PIL import Image

from cutout.domain.messages import RetryRequest
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout_cli.costs import STATE_TRANSITIONS
from cutout_local.stack import local_stack
from tests.chaos.numbered_images import keep_colours
from tests.support.stack_client import StackClient

UPLOADS = 20
SLOW = "7.jpg"  # two of them, that more than one poll is seen
CALLERS = ("SubmitFunction", "PollFunction", "WaitLoop", "BackstopFunction", "ConvertFunction")
LIMIT = 40  # calls an image


class Counted(NamedTuple):
    """Calls by what they are, of all uploads; polls and transitions of each."""

    calls: Counter[str]
    polls: list[int]
    transitions: list[int]


def photo(number: int, media: str) -> bytes:
    """A bright square on a dark ground; each number has its own."""
    pixels = np.full((200, 300, 3), number, np.uint8)
    pixels[50:150, 100:200] = 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, media)
    return file.getvalue()


def count(webhook: str = "off", *, media: str = "JPEG", retried: bool = False) -> Counted:
    """Send the photos through a stack of their own, and once more those that failed."""
    parameters = {"ImagesPerMinute": "0", "Webhook": webhook}
    # An engine that is quick, so that a busy machine makes few polls more.
    with local_stack(parameters=parameters, load_engine=keep_colours) as stack:
        client = StackClient(stack)
        stack.wavespeed.wait_for_remover()
        client.ask_for_fault("task-slow", SLOW, seconds=15)
        if retried:
            client.set_vendor_faults([{"fault": "task-fails", "times": UPLOADS}])
        uploads = [
            client.upload(photo(number, media), f"{number}.jpg") for number in range(UPLOADS)
        ]
        tasks = [client.ended(upload) for upload in uploads]
        if retried:
            tasks = [sent_again(client, upload) for upload in uploads]
        assert all(task.status is Status.COMPLETED for task in tasks)
        transitions = [entered_states(client, task) for task in tasks]
        callers = {stack.physical_name(name).split(":")[-1] for name in CALLERS}
        calls = Counter[str]()
        for call, times in client.aws.report().calls:
            if call.caller in callers:
                calls[call.action] += times
    return Counted(calls, [task.polls for task in tasks], transitions)


def sent_again(client: StackClient, upload: Upload) -> Task:
    """The upload's task after a retry."""
    task = client.ledger.get(upload.task_id)
    assert task.status is Status.FAILED
    client.send(RetryRequest.body(task.task_id, pay_again=False, attempt=task.attempt))
    return client.reached(upload, Status.COMPLETED)


def entered_states(client: StackClient, task: Task) -> int:
    """What the executions of all of the task's attempts are billed for, once they have ended."""
    entered = 0
    for attempt in range(1, task.attempt + 1):
        once = task.model_copy(update={"attempt": attempt})
        client.execution(once)
        pages = client.states.get_paginator("get_execution_history")
        found = pages.paginate(executionArn=client.execution_arn(once))
        kinds = [event["type"] for page in found for event in page["events"]]
        entered += sum(kind.endswith("StateEntered") for kind in kinds)
    return entered


def show(counted: Counted, attempts: int = 1) -> bool:
    """Print it; whether it is within the limits."""
    for action, times in sorted(counted.calls.items()):
        print(f"  {action:32} {times / UPLOADS:6.2f}")
    total = counted.calls.total() / UPLOADS
    print(f"calls an image: {total:.1f}, limit {LIMIT}")
    each = Counter(zip(counted.polls, counted.transitions, strict=True))
    for (polls, transitions), images in sorted(each.items()):
        print(f"{images:3} images with {polls} polls took {transitions} state transitions each")
    once = STATE_TRANSITIONS.image + (attempts - 1) * STATE_TRANSITIONS.retry
    of_a_poll = STATE_TRANSITIONS.poll
    right = all(made == once + of_a_poll * polls for polls, made in each)
    print(f"{once}, and {of_a_poll} for each poll, which `cutout costs` reckons with: {right}")
    return right and total <= LIMIT * attempts


def main() -> None:
    within = []
    for webhook in ("off", "on"):
        print(f"\nof {UPLOADS} images, webhook {webhook}:")
        within.append(show(count(webhook)))
    print(f"\nof {UPLOADS} images, each retried once:")
    within.append(show(count(retried=True), attempts=2))
    print(f"\nof {UPLOADS} AVIFs:")
    within.append(show(count(media="AVIF")))
    sys.exit(not all(within))


if __name__ == "__main__":
    main()
