"""One local stack for all end-to-end tests of a worker."""

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutout_cli.retry import Retries, Retry
from cutout_cli.stacks import local
from cutout_cli.tasks import Tasks
from cutout_local.stack import BUILD, local_stack
from cutout_local.wavespeed.worker import LoadEngine
from tests.chaos.numbered_images import keep_colours
from tests.support.stack_client import StackClient

HIDDEN = 5  # seconds
CUTOUT = Path(sys.executable).with_name("cutout")


@contextmanager
def running(
    build: Path = BUILD,
    wait_scale: float = 1,
    schedule_scale: float = 1,
    load_engine: LoadEngine | None = keep_colours,
    **parameters: str,
) -> Iterator[StackClient]:
    """A stack with the template's parameters, and with failed messages coming back soon.

    Its engine is a quick one, which cuts the margin off; None takes the real remover.
    """
    bounds = {
        "DeadlineSeconds": "120",
        "MaxReceives": "2",
        "MaxMegapixels": "2",
        "SubmitConcurrency": "2",  # each has a process of its own, which takes a second to start
    }
    asked = bounds | parameters
    with local_stack(
        build=build,
        wait_scale=wait_scale,
        schedule_scale=schedule_scale,
        load_engine=load_engine,
        parameters=asked,
    ) as local:
        stack = StackClient(local)
        stack.hide_failed_messages(HIDDEN)
        yield stack


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClient]:
    with running() as stack:
        yield stack


def retry(stack: StackClient, key: str, *, pay_again: bool = False) -> Retry:
    """Have the newest task of an object taken up again, as `cutout retry` does."""
    reached = local(stack.env)
    retries = Retries(reached, pay_again=pay_again)
    planned = retries.plan(Tasks(reached).of_key(key)[0])
    if planned.sends:
        retries.send(planned)
    return planned


def photo(
    width: int = 160,
    height: int = 120,
    format: str = "JPEG",  # noqa: A002 - Pillow's name
) -> bytes:
    """A red, rough ball before a smooth backdrop, as a file."""
    y, x = np.mgrid[:height, :width]
    ball = np.hypot(x - width / 2, y - height / 2) < height / 3
    noise = np.random.default_rng(3).normal(0, 25, (height, width, 1))
    backdrop = np.stack([60 + x / 8, 90 + y / 8, 150 + x / 16], axis=2)
    pixels = np.where(ball[..., None], np.array([200.0, 70.0, 40.0]) + noise, backdrop)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, format)
    return file.getvalue()


@pytest.fixture
def ports() -> tuple[str, str]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return str(one.getsockname()[1]), str(two.getsockname()[1])


class Up:
    """A `cutout up` in a terminal of its own."""

    def __init__(self, cwd: Path, ports: tuple[str, str], *options: str | Path) -> None:
        self.log = cwd / "up.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [CUTOUT, "up", "--aws-port", ports[0], "--wavespeed-port", ports[1], *options],
                cwd=cwd,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"CUTOUT_STATE": str(cwd / "state")},
            )

    def is_up(self) -> bool:
        return "Ctrl-C ends it" in self.log.read_text() or self.process.poll() is not None

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)
