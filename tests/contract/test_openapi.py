"""Schemathesis against the server's own OpenAPI: no server error, no undocumented answer.

It runs as a program: what its plugin collects has one name for all operations, of which xdist runs
the first, and each worker would make all cases.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.harness import KEY, MODEL, ServerHarness, serve
from tests.support import engines

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
OPTIONS = [
    f"--header=Authorization: Bearer {KEY}",
    "--checks=not_a_server_error,status_code_conformance",
    "--checks=content_type_conformance,response_schema_conformance,ignored_auth",
    "--suppress-health-check=all",
    "--seed=1",
    "--warnings=off",
]
# Faults that it sets would be found as faults, and another key would shut it out.
SAFE = ["--exclude-path=/_faults", "--exclude-path=/_key"]


@pytest.fixture
def server() -> Iterator[ServerHarness]:
    with serve(sync_wait=0.2) as running:
        yield running


def fuzz(server: ServerHarness, folder: Path, *options: str, **known: str) -> str:
    """What Schemathesis says of the server; `known` are values that it is to use."""
    config = folder / "schemathesis.toml"
    values = "".join(f"{name} = {value!r}\n" for name, value in known.items())
    config.write_text(f"[parameters]\n{values}")
    command = [SCHEMATHESIS, "--config-file", str(config), "run", f"{server.url}/openapi.json"]
    done = subprocess.run(
        [*command, *OPTIONS, *options], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_answer_is_documented(server: ServerHarness, tmp_path: Path) -> None:
    told = fuzz(server, tmp_path, "--phases=fuzzing", "--max-examples=4", *SAFE)

    paths = server.client.get("/openapi.json").json()["paths"]
    tested = [name for name in paths if f"--exclude-path={name}" not in SAFE]
    assert f"Tested: {sum(len(paths[name]) for name in tested)}\n" in told


def test_every_answer_is_documented_for_things_that_exist(
    server: ServerHarness, tmp_path: Path
) -> None:
    """Which no generator would guess."""
    image = server.upload(engines.make_image())
    known = {
        "image": image,
        "task_id": server.submit(image).json()["data"]["id"],
        "upload_id": image.rsplit("/", 1)[1],
        "model_id": MODEL,
    }
    fuzz(server, tmp_path, "--phases=coverage", *SAFE, **known)


def test_faults_can_be_set_to_whatever_the_schema_allows(
    server: ServerHarness, tmp_path: Path
) -> None:
    fuzz(server, tmp_path, "--phases=coverage", "--include-path=/_faults")
