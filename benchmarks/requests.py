"""Count the calls to AWS that an image takes, which is what docs/costs.md is computed from.

    python -m benchmarks.requests

Without the webhook, on a stack with nothing else to do. What Lambda calls for its own part, such as
receiving messages, is not counted here.
"""

import io
import sys
from collections import Counter
from typing import NamedTuple

import numpy as np
from PIL import Image

from cutout.domain.tasks import Status
from cutout_local.stack import local_stack
from tests.support.stack_client import StackClient

UPLOADS = 20
CALLERS = ("SubmitFunction", "PollFunction", "WaitLoop")
LIMIT = 40  # calls an image


class Counted(NamedTuple):
    """Calls by what they are, and polls, for all uploads."""

    calls: Counter[str]
    polls: int


def photo(number: int) -> bytes:
    """A bright square on a dark ground; each number has its own."""
    pixels = np.full((200, 300, 3), number, np.uint8)
    pixels[50:150, 100:200] = 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def count() -> Counted:
    """Send the photos through a stack of their own."""
    with local_stack(parameters={"ImagesPerMinute": "0"}) as stack:
        client = StackClient(stack)
        stack.wavespeed.wait_for_remover()
        uploads = [client.upload(photo(number), f"{number}.jpg") for number in range(UPLOADS)]
        tasks = [client.ended(upload) for upload in uploads]
        assert all(task.status is Status.COMPLETED for task in tasks)
        callers = {stack.physical_name(name).split(":")[-1] for name in CALLERS}
        calls = Counter[str]()
        for call, times in client.aws.report().calls:
            if call.caller in callers:
                calls[call.action] += times
    return Counted(calls, sum(task.polls for task in tasks))


def main() -> None:
    counted = count()
    print(f"{counted.polls / UPLOADS:.1f} polls an image, of {UPLOADS}; calls:")
    for action, times in sorted(counted.calls.items()):
        print(f"  {action:32} {times / UPLOADS:6.2f}")
    total = counted.calls.total() / UPLOADS
    print(f"\ncalls an image: {total:.1f}, limit {LIMIT}")
    sys.exit(total > LIMIT)


if __name__ == "__main__":
    main()
