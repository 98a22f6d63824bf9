"""`cutout up` and `cutout down` without a stack."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cutout.domain.errors import CutoutError
from cutout_cli import state_file
from cutout_cli.errors import StillRunning
from cutout_local.aws.errors import PortTaken
from cutout_local.wavespeed.errors import CannotListen
from tests.unit.cli.conftest import Cutout

ENVIRONMENT = {"AWS_ENDPOINT_URL": "https://127.0.0.1:1", "INPUT_BUCKET": "in"}
Start = Callable[[CutoutError | None], dict[str, Any]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Start:
    """Has the stack start in this way; what it was started with."""

    def starting(error: CutoutError | None) -> dict[str, Any]:
        started: dict[str, Any] = {}

        @contextmanager
        def stack(**asked: Any) -> Iterator[Any]:
            started.update(asked)
            if error:
                raise error
            server = SimpleNamespace(wait_for_remover=lambda: None)
            aws = SimpleNamespace(port=1, log=tmp_path / "aws.log")
            yield SimpleNamespace(aws=aws, wavespeed=server, environment=ENVIRONMENT)

        def interrupted(_stack: Any) -> None:
            assert state_file.running_stack().environment == ENVIRONMENT
            raise KeyboardInterrupt

        monkeypatch.setattr("cutout_local.stack.local_stack", stack)
        monkeypatch.setattr("cutout_cli.stacks.local", lambda environment: environment)
        monkeypatch.setattr("cutout_cli.tell_tasks.tell_tasks", interrupted)
        return started

    return starting


def test_a_stack_is_told_while_it_is_up(cutout: Cutout, start: Start, tmp_path: Path) -> None:
    started = start(None)

    done = cutout("up", "--data", "kept", "-p", "Webhook=on", "--aws-port", "1")

    assert done.exit_code == 130
    assert "export INPUT_BUCKET=in\n" in done.stdout
    assert f"# the log of AWS: {tmp_path / 'aws.log'}" in done.stdout
    assert (started["data"], started["parameters"]) == (tmp_path / "kept", {"Webhook": "on"})
    assert state_file.running_stacks() == []


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (PortTaken("port 1 of 127.0.0.1: in use"), "with --aws-port or CUTOUT_AWS_PORT"),
        (CannotListen("port 2"), "with --wavespeed-port or CUTOUT_WAVESPEED_PORT"),
    ],
)
def test_a_port_that_is_taken_says_how_to_choose_another(
    cutout: Cutout, start: Start, error: CutoutError, hint: str
) -> None:
    start(error)

    done = cutout("up")

    assert done.exit_code == 1
    assert done.stderr.startswith(f"cutout: {error}")
    assert done.stderr.endswith(f"{hint}\n")


def test_a_stack_is_ended_from_elsewhere(cutout: Cutout, monkeypatch: pytest.MonkeyPatch) -> None:
    told, ends = threading.Event(), threading.Event()

    def up() -> None:
        with state_file.publisher() as publish:
            publish(5566, ENVIRONMENT)
            told.set()
            ends.wait(60)

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGTERM)
        ends.set()

    thread = threading.Thread(target=up)
    thread.start()
    told.wait(60)
    monkeypatch.setattr("cutout_cli.state_file.os.kill", kill)

    assert cutout("down").stdout == "the stack on port 5566 has ended\n"
    thread.join()


def test_a_stack_that_does_not_end_is_named(
    cutout: Cutout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutout_cli.state_file.os.kill", lambda *_: None)
    monkeypatch.setattr("cutout_cli.state_file._STOP_SECONDS", 0)

    with state_file.publisher() as publish:
        publish(5566, ENVIRONMENT)
        with pytest.raises(StillRunning, match=rf"port 5566 \(process {os.getpid()}\)"):
            state_file.stop()
