"""Measure one photo of a megapixel on its way through the whole local stack.

    python -m benchmarks.pipeline

The pipeline's share is everything but the stack's start and the remover's own time.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cutout_cli import report
from cutout_cli.photos import Photo
from cutout_cli.stacks import local
from cutout_cli.uploads import Follower, Job, Uploader
from cutout_local.stack import local_stack

LIMIT = 3.0  # seconds
WIDTH, HEIGHT = 1250, 800


def make_photo(path: Path) -> Photo:
    """A red, rough ball before a smooth backdrop."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ball = np.hypot(x - WIDTH / 2, y - HEIGHT / 2) < HEIGHT / 3
    noise = np.random.default_rng(3).normal(0, 25, (HEIGHT, WIDTH, 1))
    backdrop = np.stack([60 + x / 16, 90 + y / 16, 150 + x / 32], axis=2)
    pixels = np.where(ball[..., None], np.array([200.0, 70.0, 40.0]) + noise, backdrop)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return Photo(path, "ball.jpg", "ball.png")


def send(folder: Path) -> Job:
    """Start the stack, send the photo, stop the stack."""
    start = time.monotonic()
    with local_stack() as stack:
        stack.wavespeed.wait_for_remover()
        print(f"the stack is up after {time.monotonic() - start:.1f} s")
        reached = local(stack.environment)
        job = Uploader(reached).upload(make_photo(folder / "ball.jpg"))
        for _ in Follower(reached, folder / "out").follow([job]):
            pass
    return job


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        job = send(Path(folder))
    table = report.steps(job)
    if not job.task or not table:
        sys.exit(str(report.line(job)))
    report.console().print(table)
    share = job.seconds - (job.task.inference_ms or 0) / 1000
    print(f"pipeline: {share:.2f} s, limit {LIMIT:.2f} s")
    sys.exit(share > LIMIT)


if __name__ == "__main__":
    main()
