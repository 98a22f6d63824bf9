"""The `cutout` command as people use it."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import photo
from tests.support.waiting import wait_for

CUTOUT = Path(sys.executable).with_name("cutout")


def cutout(
    *arguments: str | Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CUTOUT, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def children(marker: str) -> list[str]:
    """The command lines of processes that were started with a marker in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_photos_and_folders_come_out_as_pngs(tmp_path: Path) -> None:
    folder = tmp_path / "album" / "more"
    folder.mkdir(parents=True)
    (folder / "one.jpg").write_bytes(photo())
    (folder.parent / "two.png").write_bytes(photo(format="PNG"))
    (folder.parent / "notes.txt").write_text("not a picture")
    single = tmp_path / "my photo.jpg"
    single.write_bytes(photo())

    done = cutout("run", "album", single, cwd=tmp_path, CUTOUT_TEST="clean-end")

    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    saved = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert saved == {"more/one.png", "two.png", "my photo.png"}
    with Image.open(out / "my photo.png") as picture:
        assert picture.mode == "RGBA"
    assert done.stdout.count("done") == 3
    if Path("/proc").exists():
        assert children("CUTOUT_TEST=clean-end") == []


def test_one_photo_is_told_step_by_step(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(photo())

    done = cutout("run", "cat.jpg", cwd=tmp_path, COLUMNS="120")

    assert done.returncode == 0, done.stderr
    for word in ("out/cat.png", "queue", "submit", "remove", "total", "is completed", " poll"):
        assert word in done.stdout


def test_one_failure_fails_the_run_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(photo())
    (tmp_path / "bad.jpg").write_bytes(b"%PDF-1.7")

    done = cutout("run", "good.jpg", "bad.jpg", cwd=tmp_path, COLUMNS="200")

    assert done.returncode == 1
    assert (tmp_path / "out" / "good.png").exists()
    assert "rejected" in done.stdout
    assert "(unsupported_format)" in done.stdout


def test_a_photo_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = cutout("run", "nowhere.jpg", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cutout: nowhere.jpg: no such file or folder\n"


def test_an_engine_that_cannot_run_is_named(tmp_path: Path) -> None:
    done = cutout("run", cwd=tmp_path, CUTOUT_REMOVER="magic")

    assert done.returncode == 1
    assert done.stderr == "cutout: there is no remover 'magic'; known are: classical, rembg\n"


@pytest.fixture
def ports() -> tuple[str, str]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return str(one.getsockname()[1]), str(two.getsockname()[1])


class Up:
    """A `cutout up` in a terminal of its own."""

    def __init__(self, cwd: Path, ports: tuple[str, str]) -> None:
        self._log = (cwd / "up.log").open("w+")
        self.process = subprocess.Popen(
            [CUTOUT, "up", "--aws-port", ports[0], "--wavespeed-port", ports[1]],
            cwd=cwd,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"CUTOUT_STATE": str(cwd / "stack.json")},
        )
        self.log = cwd / "up.log"

    def is_up(self) -> bool:
        return "Ctrl-C ends it" in self.log.read_text() or self.process.poll() is not None

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(30)
        finally:
            self._log.close()


@pytest.fixture
def up(tmp_path: Path, ports: tuple[str, str]) -> Iterator[Up]:
    up = Up(tmp_path, ports)
    wait_for(up.is_up)
    yield up
    if up.process.poll() is None:
        up.end()


def test_a_stack_that_is_up_is_used_from_another_terminal(
    up: Up, tmp_path: Path, ports: tuple[str, str]
) -> None:
    told = cutout("env", cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "stack.json"))
    assert told.returncode == 0, told.stderr
    exports = dict(
        shlex.split(line.removeprefix("export "))[0].split("=", 1)
        for line in told.stdout.splitlines()
    )
    assert exports["AWS_ENDPOINT_URL"] == f"https://127.0.0.1:{ports[0]}"
    assert exports["WAVESPEED_BASE_URL"] == f"http://127.0.0.1:{ports[1]}"
    assert {"INPUT_BUCKET", "OUTPUT_BUCKET", "TASKS_TABLE", "STATE_MACHINE_ARN"} <= set(exports)
    assert {"UPLOAD_QUEUE_URL", "WAVESPEED_API_KEY", "AWS_DEFAULT_REGION"} <= set(exports)

    again = cutout("up", "--aws-port", ports[0], cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "s2"))
    assert again.returncode == 1
    assert f"port {ports[0]}" in again.stderr

    assert up.end() == 130
    gone = cutout("env", cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "stack.json"))
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "no local stack is running" in gone.stderr
