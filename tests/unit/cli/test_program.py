"""How commands end."""

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from cutout.domain.errors import ServiceError
from cutout_cli.errors import WaitedTooLong
from cutout_cli.program import explanation
from cutout_local.aws.errors import NotBuilt
from cutout_local.wavespeed.errors import CannotListen, NoRemover
from cutout_local.wavespeed.settings import Settings
from tests.support.command_reference import PAGE, names, page, told
from tests.support.template import ROOT
from tests.unit.cli.conftest import Cutout

DENIED = ClientError(
    {"Error": {"Code": "AccessDenied", "Message": "u is not authorized to perform: dynamodb:Scan"}},
    "Scan",
)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> "Fails":
    return Fails(monkeypatch)


class Fails:
    """Has `cutout env` raise an error."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, error: BaseException) -> None:
        def fail(_port: int | None) -> None:
            raise error

        self._patch.setattr("cutout_cli.state_file.running_stack", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotBuilt("build first"), 1),
        (NoRemover("build first"), 1),
        (ServiceError("build first"), 1),
        (WaitedTooLong("build first"), 3),
    ],
)
def test_an_error_of_ours_is_one_line(
    cutout: Cutout, fails: Fails, error: Exception, code: int
) -> None:
    fails(error)

    done = cutout("env")

    assert (done.exit_code, done.stdout, done.stderr) == (code, "", "cutout: build first\n")


def test_a_refused_call_says_which_action() -> None:
    assert explanation(DENIED) == "Scan: u is not authorized to perform: dynamodb:Scan"


def test_a_refused_head_says_what_it_needs() -> None:
    """S3 answers it without a body. https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html"""
    refused = ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    assert explanation(refused) == "HeadObject: Forbidden (it needs s3:GetObject)"


def test_a_service_error_says_what_the_service_said() -> None:
    error = ServiceError("DynamoDB failed on x")
    error.__cause__ = DENIED

    told = explanation(error)
    assert told == "DynamoDB failed on x: Scan: u is not authorized to perform: dynamodb:Scan"


def test_what_the_system_refused_is_said_once() -> None:
    error = CannotListen("cannot listen on 127.0.0.1:1: Address already in use")
    error.__cause__ = OSError(98, "Address already in use")

    assert explanation(error) == str(error)


def test_what_the_system_refuses_is_said_with_the_file() -> None:
    assert explanation(OSError(28, "No space left on device")) == "No space left on device"
    assert explanation(PermissionError(13, "Denied", "photo.jpg")) == "photo.jpg: Denied"


def test_a_ctrl_c_while_the_command_is_imported_leaves_no_traceback() -> None:
    code = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "cutout_cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from cutout_cli.entry import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_missing_credentials_are_explained() -> None:
    assert explanation(NoCredentialsError()) == "Unable to locate credentials"


def test_a_defect_keeps_its_traceback(cutout: Cutout, fails: Fails) -> None:
    fails(ZeroDivisionError("a defect"))

    with pytest.raises(ZeroDivisionError):
        cutout("env")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_as_a_shell_expects(
    cutout: Cutout, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def interrupted(_port: int | None) -> None:
        os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    # A shell starts what runs in the background with Ctrl-C ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("cutout_cli.state_file.running_stack", interrupted)

    try:
        assert cutout("env").exit_code == 130
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", names())
def test_help_shows_examples(cutout: Cutout, command: str, option: str) -> None:
    lines = cutout(command, option).stdout.splitlines()

    assert [line for line in lines[2:] if line.startswith("  ") and f"cutout {command}" in line]


# What a shell evaluates, what runs until it is ended, and what asks a person.
FOR_PEOPLE = {"up", "down", "env", "api", "deploy"}


def test_every_command_that_operates_a_stack_speaks_json_whose_fields_are_documented() -> None:
    pages = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").partition("\n## JSON\n")[2]
    table = re.findall(r"^\| ([^|]+) \|", pages.partition("\n## ")[0], re.MULTILINE)
    documented = {name for cell in table for name in re.findall(r"`([a-z-]+)", cell)}

    assert {name for name in names() if "  --json " in told(name)} == documented
    assert documented == set(names()) - FOR_PEOPLE


def test_the_reference_says_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it with make commands"


def test_the_version_is_the_packages(cutout: Cutout) -> None:
    assert cutout("--version").stdout == f"cutout {version('cutout')}\n"


@pytest.mark.parametrize("port", ["-1", "99999"])
@pytest.mark.parametrize("command", [("up", "--aws-port"), ("api", "--port")])
def test_a_port_that_cannot_be_is_a_usage_error(
    cutout: Cutout, command: tuple[str, str], port: str
) -> None:
    done = cutout(*command, port)

    assert done.exit_code == 2
    assert "equal to 65535" in done.stderr or "equal to 0" in done.stderr


def test_the_api_fetches_from_link_local_addresses_only_if_told(
    cutout: Cutout, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def server(settings: Settings, **_: object) -> None:
        seen.append(settings.fetch_link_local)
        raise CannotListen("it was only asked for its settings")

    monkeypatch.setattr("cutout_local.wavespeed.server.Server", server)
    cutout("api")
    cutout("api", "--fetch-link-local")

    assert seen == [False, True]
