"""Engines for worker processes: small, so that no test waits for a real remover."""

import os
import signal
import socket
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from cutout_local.wavespeed.errors import BadMedia, ExecutionFailed, ServerFailure
from cutout_local.wavespeed.worker import EncodedCutout, Engine


def make_image(size: tuple[int, int] = (64, 48)) -> bytes:
    """An oval on a plain background, as JPEG."""
    image = Image.new("RGB", size, "skyblue")
    ImageDraw.Draw(image).ellipse((8, 8, size[0] - 8, size[1] - 8), "firebrick")
    return _jpeg(image)


def make_blank() -> bytes:
    """One colour, as JPEG."""
    return _jpeg(Image.new("RGB", (64, 48), "white"))


def _jpeg(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def oval() -> Engine:
    """Cut out the oval in the middle, whatever is there."""
    return _cut_oval


def _cut_oval(data: bytes) -> EncodedCutout:
    try:
        image = Image.open(BytesIO(data)).convert("RGB")
    except OSError as error:
        raise BadMedia("the image cannot be read") from error
    if image.getcolors(1) is not None:
        raise ExecutionFailed("no subject was found")
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((8, 8, image.width - 8, image.height - 8), 255)
    image.putalpha(mask)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return EncodedCutout(buffer.getvalue(), confidence=0.5, level="low")


def calls(port: int) -> Engine:
    """Connect to the test for each image, and hold the line until the process ends."""

    def cut_out(_: bytes) -> EncodedCutout:
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.recv(1)
        raise AssertionError("the test hung up")

    return cut_out


def dies_once(marker: Path) -> Engine:
    """The first worker that gets an image dies; `marker` tells the others."""

    def cut_out(data: bytes) -> EncodedCutout:
        if not marker.exists():
            marker.touch()
            os._exit(1)
        return _cut_oval(data)

    return cut_out


def dies_of_blanks() -> Engine:
    """Every worker that gets a blank image dies."""

    def cut_out(data: bytes) -> EncodedCutout:
        try:
            return _cut_oval(data)
        except ExecutionFailed:
            os._exit(1)

    return cut_out


def tells_blocked_signals() -> Engine:
    """Instead of a PNG, the signals that the worker does not get."""

    def cut_out(_: bytes) -> EncodedCutout:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return EncodedCutout(" ".join(map(str, blocked)).encode())

    return cut_out


def unavailable() -> Engine:
    """No engine can be had."""
    raise ServerFailure("the model file is missing")
