"""Drain a burst of uploads under a plan that the local server enforces to the letter.

    python -m benchmarks.governor [--rate 60] [--uploads 90]

Wanted: no 429 at all, and at least 95 % of the plan's rate.
"""

import argparse
import io
import sys
import time

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table as Printed

from cutout.domain.errors import TaskNotFound
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout_local.stack import LocalStack, local_stack
from cutout_local.wavespeed.settings import Settings, Tier

LEAST_SHARE = 0.95


def burst(stack: LocalStack, uploads: int) -> list[str]:
    """Put small images into the input bucket as fast as it goes; their tasks' ids."""
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    s3, bucket = stack.aws.client("s3"), stack.environment["INPUT_BUCKET"]
    ids = []
    for number in range(uploads):
        key = f"{number}.png"
        answer = s3.put_object(Bucket=bucket, Key=key, Body=file.getvalue())
        version = answer["VersionId"]
        ids.append(Upload(bucket=bucket, key=key, version_id=version, etag="", size=1).task_id)
    return ids


def sent(ledger: Ledger, task_id: str) -> Task:
    """The task, once the vendor has it."""
    while True:
        try:
            task = ledger.get(task_id)
        except TaskNotFound:  # its event is still on its way
            task = None
        if task and Status.PROCESSING in task.entered_at:
            return task
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.governor", description=__doc__)
    parser.add_argument("--rate", type=int, default=60, help="images a minute (default: 60)")
    parser.add_argument("--uploads", type=int, default=90, help="size of the burst (default: 90)")
    options = parser.parse_args()
    tier = Tier(images_per_minute=options.rate, concurrent=1000)
    parameters = {"ImagesPerMinute": str(options.rate)}
    with local_stack(parameters=parameters, settings=Settings(tier=tier)) as stack:
        ids = burst(stack, options.uploads)
        client = stack.aws.client("dynamodb")
        ledger = Ledger(Table(client, stack.environment["TASKS_TABLE"]))
        tasks = [sent(ledger, task_id) for task_id in ids]
    sys.exit(report(tasks, options.rate))


def report(tasks: list[Task], rate: int) -> bool:
    """Print the table; whether the aim was missed."""
    times = sorted(task.entered_at[Status.SUBMITTING] for task in tasks)
    reached = (len(times) - 1) / (times[-1] - times[0]).total_seconds() * 60
    refusals = sum(task.attempt - 1 for task in tasks)
    table = Printed("plan, images a minute", "reached", "share", "429s", "seconds", box=None)
    seconds = (times[-1] - times[0]).total_seconds()
    table.add_row(
        str(rate), f"{reached:.1f}", f"{reached / rate:.1%}", str(refusals), f"{seconds:.0f}"
    )
    Console().print(table)
    return refusals > 0 or reached / rate < LEAST_SHARE


if __name__ == "__main__":
    main()
