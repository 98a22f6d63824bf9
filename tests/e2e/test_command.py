"""The `cutout` command as people use it."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import CUTOUT, Up, photo
from tests.support.waiting import wait_for


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
    (folder.parent / "notes.txt").write_text("not an image")
    single = tmp_path / "my photo.jpg"
    single.write_bytes(photo())
    (tmp_path / "bad.jpg").write_bytes(b"%PDF-1.7")

    done = cutout(
        "run", "album", single, "bad.jpg", "--sheet", "sheet.png", cwd=tmp_path, CUTOUT_TEST="end"
    )

    assert done.returncode == 1, done.stderr
    out = tmp_path / "out"
    saved = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert saved == {"more/one.png", "two.png", "my photo.png"}
    with Image.open(out / "my photo.png") as image:
        assert image.mode == "RGBA"
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert sum(line.startswith("done ") and "confidence" in line for line in lines) == 3
    assert sum(line.endswith("(unsupported_format)") for line in lines) == 1
    assert "skipped, for they are not named as images: 1 .txt" in done.stderr
    assert "4 photos: 3 done, 1 rejected" in done.stderr
    assert (tmp_path / "sheet.png").exists()
    if Path("/proc").exists():
        assert children("CUTOUT_TEST=end") == []


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
    told = cutout("env", cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "state"))
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stdout.splitlines() if line.startswith("export ")]
    exports = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert exports["AWS_ENDPOINT_URL"] == f"https://127.0.0.1:{ports[0]}"
    assert exports["WAVESPEED_BASE_URL"] == f"http://127.0.0.1:{ports[1]}"
    assert {"INPUT_BUCKET", "OUTPUT_BUCKET", "TASKS_TABLE", "STATE_MACHINE_ARN"} <= set(exports)
    assert {"UPLOAD_QUEUE_URL", "WAVESPEED_API_KEY", "AWS_DEFAULT_REGION"} <= set(exports)

    again = cutout("up", "--aws-port", ports[0], cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "state"))
    assert again.returncode == 1
    assert f"port {ports[0]}" in again.stderr

    down = cutout("down", cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "state"))
    assert down.stdout == f"the stack on port {ports[0]} has ended\n"
    assert up.process.wait(30) == 130
    gone = cutout("env", cwd=tmp_path, CUTOUT_STATE=str(tmp_path / "state"))
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "no local stack is running" in gone.stderr
