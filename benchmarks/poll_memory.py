"""Measure the poll function's memory while it saves a PNG of 100 MB.

    python -m benchmarks.poll_memory

The local stack runs the function as Lambda does, in a process of its own; a vendor that has only
this one image is in this process. A first poll, which finds nothing, leaves the
function idle: imported, with its clients made and used. Linux only: it reads /proc.
"""

import io
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from PIL import Image

from cutout_local.stack import LocalStack, local_stack

LIMIT = 64_000_000  # bytes above idle
SIDE = 5000  # pixels; four bytes each of noise, which does not compress
PATIENCE = 120  # seconds


class Memory(NamedTuple):
    """Resident bytes of a process: now, and the most since it started.

    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """

    now: int
    peak: int

    @classmethod
    def of(cls, process: Path) -> "Memory":
        sizes = dict(re.findall(r"(\w+):\s+(\d+) kB", (process / "status").read_text()))
        return cls(int(sizes["VmRSS"]) * 1024, int(sizes["VmHWM"]) * 1024)


class Vendor(BaseHTTPRequestHandler):
    """Predictions are completed when they are asked about for the second time."""

    image: bytes
    url: str
    downloaded_at = 0.0
    asked: dict[str, list[Memory]] = {}  # noqa: RUF012 - handlers are made for each connection

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer_with(uuid4().hex, "created")

    def do_GET(self) -> None:
        if self.path == "/noise.png":
            Vendor.downloaded_at = time.monotonic()
            self._answer(self.image)
            return
        prediction_id = self.path.split("/")[-2]
        looks = self.asked.setdefault(prediction_id, [])
        looks.append(Memory.of(poll_process()))
        self._answer_with(prediction_id, "processing" if len(looks) == 1 else "completed")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        pass

    def _answer_with(self, prediction_id: str, status: str) -> None:
        outputs = [f"http://{self.headers['Host']}/noise.png"]
        prediction = {"id": prediction_id, "status": status, "outputs": outputs}
        self._answer(json.dumps({"code": 200, "data": prediction}).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def poll_process() -> Path:
    """The process of the poll function that asks this vendor: so its environment says."""
    url = f"WAVESPEED_BASE_URL={Vendor.url}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            if b"-PollFunction-" in environment and url in environment:
                return process
        except OSError:
            continue  # somebody else's, or gone
    raise LookupError("the poll function has no process")


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


@contextmanager
def vendor() -> Iterator[str]:
    """Serve noise; the URL."""
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    Vendor.image = png(noise)
    with ThreadingHTTPServer(("127.0.0.1", 0), Vendor) as server:
        Thread(target=server.serve_forever).start()
        Vendor.url = f"http://127.0.0.1:{server.server_port}"
        yield Vendor.url
        server.shutdown()


def save_one(stack: LocalStack, key: str) -> float:
    """Upload a photo; seconds from the start of the download to the PNG in the output bucket."""
    s3, start = stack.aws.client("s3"), time.monotonic()
    photo = png(np.zeros((8, 8, 3), np.uint8))
    s3.put_object(Bucket=stack.outputs["InputBucket"], Key=key, Body=photo)
    while time.monotonic() < start + PATIENCE:
        found = s3.list_objects_v2(Bucket=stack.outputs["OutputBucket"], Prefix=key)
        for saved in found.get("Contents", []):
            assert saved["Size"] == len(Vendor.image)
            return time.monotonic() - Vendor.downloaded_at
        time.sleep(0.1)
    raise TimeoutError(f"no PNG after {PATIENCE} s")


def main() -> None:
    if not sys.platform.startswith("linux"):
        sys.exit("this benchmark reads /proc, which only Linux has")
    with vendor() as url, local_stack(parameters={"WaveSpeedBaseUrl": url}) as stack:
        print(f"{'MB':8}{'image':>9}{'idle':>9}{'peak':>9}{'above':>9}{'limit':>9}{'seconds':>9}")
        for name in ("first", "second"):
            seconds = save_one(stack, f"{name}.png")
            above = print_row(name, seconds)
    sys.exit(above > LIMIT)


def print_row(name: str, seconds: float) -> int:
    """Print the function's memory so far; how many bytes it took above idle."""
    (_, idle), *_ = Vendor.asked.values()
    peak = Memory.of(poll_process()).peak
    numbers = (len(Vendor.image), idle.now, peak, peak - idle.now, LIMIT)
    columns = "".join(f"{number / 1e6:9.1f}" for number in numbers)
    print(f"{name:8}{columns}{seconds:9.1f}")
    return peak - idle.now


if __name__ == "__main__":
    main()
