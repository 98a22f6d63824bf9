"""The vendor's npm package, unchanged and pointed at the server by its own configuration."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.harness import KEY, MODEL, ServerHarness
from tests.support import engines

PACKAGE = "wavespeed@0.3.2"
SCRIPT = Path(__file__).with_name("vendor.cjs")
FAST = {"pollInterval": 0.01}

Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package was installed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine")
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "install", PACKAGE, "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(
            [*command, "--prefix", str(folder)], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install {PACKAGE} within a minute")
    if done.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {done.stderr[-200:]}")
    return folder / "node_modules"


@pytest.fixture
def call(server: ServerHarness, modules: Path) -> Call:
    """Call a method of the client; return its value or its error."""

    def run(method: str, *args: object, key: str = KEY) -> dict[str, Any]:
        command = ["node", str(SCRIPT), server.url, key, method, json.dumps(args)]
        environment = {**os.environ, "NODE_PATH": str(modules)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=30, check=True
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


def test_run_polls_until_the_output_is_there(call: Call, image_url: str) -> None:
    (url,) = call("run", MODEL, {"image": image_url}, FAST)["value"]["outputs"]
    assert httpx.get(url).content.startswith(b"\x89PNG")


def test_sync_mode_answers_with_the_output(call: Call, image_url: str) -> None:
    answer = call("run", MODEL, {"image": image_url}, {"enableSyncMode": True})
    assert len(answer["value"]["outputs"]) == 1


def test_upload_gives_a_url_that_can_be_submitted(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "my photo ü.jpg"
    file.write_bytes(engines.make_image())
    url = call("upload", str(file))["value"]
    assert httpx.get(url).content == file.read_bytes()
    assert call("run", MODEL, {"image": url}, FAST)["value"]["outputs"]


def test_a_failed_task_is_an_exception_with_its_text(call: Call, blank_url: str) -> None:
    answer = call("run", MODEL, {"image": blank_url}, FAST)
    assert "no subject was found" in answer["message"]


def test_its_timeout_is_an_exception(server: ServerHarness, call: Call, image_url: str) -> None:
    server.set_faults({"fault": "task-never-ends"})
    answer = call("run", MODEL, {"image": image_url}, {**FAST, "timeout": 2})
    assert "timed out" in answer["message"]


def test_it_outlives_polls_that_fail(server: ServerHarness, call: Call, image_url: str) -> None:
    kinds = ("rate-limited", "server-error", "bad-gateway", "dropped")
    server.set_faults(*({"fault": f"result-{kind}", "times": 1} for kind in kinds))
    assert call("run", MODEL, {"image": image_url}, FAST)["value"]["outputs"]


def test_it_submits_once_and_reports_a_dropped_connection(
    server: ServerHarness, call: Call, image_url: str
) -> None:
    server.set_faults({"fault": "submit-accepted-dropped"})
    before = len(server.billed_tasks())
    answer = call("run", MODEL, {"image": image_url}, FAST)
    assert answer["error"] == "WavespeedSubmissionException"
    assert len(server.billed_tasks()) == before + 1


def test_a_wrong_key_is_reported(call: Call, image_url: str) -> None:
    assert "HTTP 401" in call("run", MODEL, {"image": image_url}, key="wrong")["message"]
