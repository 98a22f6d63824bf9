"""The README's blocks, run as they are by a person who reads from top to bottom."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import photo
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
RUN, UP, OTHERS = BLOCKS[0], BLOCKS[1], BLOCKS[2:]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one's own, as far as the commands write into it; a photo lies in it."""
    for entry in ROOT.iterdir():
        if entry.name not in {"out", ".cutout", ".git"}:
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "photo.jpg").write_bytes(photo())
    return tmp_path


@pytest.fixture
def environment(checkout: Path) -> dict[str, str]:
    def port() -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return str(free.getsockname()[1])

    ports = {"CUTOUT_AWS_PORT": port(), "CUTOUT_WAVESPEED_PORT": port()}
    return os.environ | ports | {"CUTOUT_STATE": str(checkout / ".cutout"), "AWS_PAGER": ""}


def script(blocks: list[tuple[str, str]]) -> str:
    """Blocks as they are typed into one shell."""
    python = "python - <<'END'\n{}END\n"
    return "".join(python.format(code) if kind == "python" else code for kind, code in blocks)


def shell(text: str, checkout: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def up(checkout: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The terminal in which the second block runs."""
    with (checkout / "up.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", UP[1]],
            cwd=checkout,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        ended = "Ctrl-C ends it"
        wait_for(lambda: ended in (checkout / "up.log").read_text() or process.poll())
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def test_the_first_block_cuts_out_a_photo(checkout: Path, environment: dict[str, str]) -> None:
    assert "photo.jpg -> out/photo.png" in shell(RUN[1], checkout, environment)
    assert (checkout / "out" / "photo.png").exists()


def test_the_other_blocks_work_in_one_shell(
    up: subprocess.Popen[bytes], checkout: Path, environment: dict[str, str]
) -> None:
    shell(script(OTHERS), checkout, environment)

    for name in ("cut/photo.png", "key.jpg.png", "sdk.png", "vendor.png"):
        assert (checkout / name).read_bytes().startswith(b"\x89PNG"), name
    assert up.wait(30) == 0
    told = (checkout / "up.log").read_text()
    assert re.search(r"^completed  .* UTC  any/key\.jpg$", told, re.MULTILINE)
    assert "Traceback" not in told
