"""A stack with `--data` that is stopped, or killed, with tasks in flight, and started again."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from cutout_local.aws.stack import LocalAws
from cutout_local.stack import API_KEY_SECRET, STACK_NAME, LocalStack
from cutout_local.wavespeed.server import Server
from cutout_local.wavespeed.settings import Settings
from tests.e2e.conftest import HIDDEN, Up, photo
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for


class Kept:
    """The stack of a folder, on the same ports each time."""

    def __init__(self, folder: Path, ports: tuple[str, str]) -> None:
        self.folder = folder
        self.ports = ports

    def start(self) -> StackClient:
        self.up = Up(self.folder, self.ports, "--data", self.folder / "kept")
        wait_for(self.up.is_up)
        assert self.up.process.poll() is None, self.up.log.read_text()
        aws = LocalAws(self.folder / "kept", port=int(self.ports[0]))
        key = aws.client("secretsmanager").get_secret_value(SecretId=API_KEY_SECRET)
        vendor = Server(Settings(api_key=key["SecretString"]), port=int(self.ports[1]))
        stacks = aws.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
        outputs = {pair["OutputKey"]: pair["OutputValue"] for pair in stacks[0]["Outputs"]}
        return StackClient(LocalStack(aws, vendor, outputs))

    def stop(self, how: signal.Signals) -> None:
        """Send the signal, and wait until AWS, a process of its own, has ended, too."""
        self.up.process.send_signal(how)
        self.up.process.wait(30)
        wait_for(self._has_ended)

    def _has_ended(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.ports[0]))) != 0


@pytest.fixture
def kept(tmp_path: Path, ports: tuple[str, str]) -> Iterator[Kept]:
    kept = Kept(tmp_path, ports)
    yield kept
    kept.stop(signal.SIGTERM)


def reached(key: str) -> set[Status]:
    """Where a task gets to, whatever it was stopped in.

    What became of a submit that was stopped between its POST and the answer is nobody's to know;
    it says so when its lease is over, which is 210 s.
    """
    if key.startswith("just-"):
        return {Status.COMPLETED, Status.SUBMITTING, Status.UNCERTAIN}
    return {Status.COMPLETED, Status.FAILED}


def test_tasks_in_flight_go_on_after_a_stop_and_after_a_kill(kept: Kept) -> None:
    stack = kept.start()
    stack.hide_failed_messages(HIDDEN)
    uploads: dict[str, Upload] = {}
    for how, key in ((signal.SIGTERM, "stopped.jpg"), (signal.SIGKILL, "killed.jpg")):
        # The vendor forgets with its process that it shall never end this one.
        stack.ask_for_fault("task-never-ends", key)
        uploads[key] = stack.upload(photo(), key)
        stack.reached(uploads[key], Status.PROCESSING)
        just = f"just-{key}"
        uploads[just] = stack.upload(photo(), just)  # an event, a message or an invocation
        kept.stop(how)
        stack = kept.start()
        ended = {each: stack.reached(upload, *reached(each)) for each, upload in uploads.items()}
    for key in ("stopped.jpg", "killed.jpg"):
        assert (ended[key].status, ended[key].attempt) == (Status.COMPLETED, 1), ended[key].reason
        assert stack.execution(ended[key])["status"] == "SUCCEEDED"
        assert stack.image(f"{key}.png").mode == "RGBA"
        assert [entry["status"] for entry in stack.billed(key)] == ["completed"]
        assert len(stack.billed(f"just-{key}")) <= 1
