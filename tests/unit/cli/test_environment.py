"""What a shell is told of a running stack."""

import subprocess
from pathlib import Path

import pytest

from cutout_cli import state_file
from cutout_cli.environment import exports
from cutout_cli.errors import NoStackRunning
from tests.unit.cli.conftest import Cutout

STACK = {
    "AWS_ENDPOINT_URL": "https://127.0.0.1:5566",
    "AWS_REGION": "eu-central-2",
    "INPUT_BUCKET": "in",
    "AWS_CA_BUNDLE": "/tmp/my folder/ca.pem",  # noqa: S108 - a name, no file
}
OWN = {
    "AWS_PROFILE": "work",
    "AWS_REGION": "us-east-1",
    "AWS_SESSION_TOKEN": "of another account",
    "AWS_ENDPOINT_URL_S3": "https://elsewhere",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "NO_PROXY": "intranet",
}


def shell(lines: list[str], own: dict[str, str]) -> dict[str, str]:
    """The environment after a shell has evaluated these lines."""
    script = "\n".join([*lines, "env -0"])
    done = subprocess.run(
        ["bash", "-euc", script],
        env=own | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    pairs = done.stdout.decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_exports_win_over_the_users_own_settings() -> None:
    after = shell(exports(STACK, OWN), OWN)

    assert STACK.items() <= after.items()
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & after.keys()
    assert after["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "false"
    assert after["NO_PROXY"] == after["no_proxy"] == "intranet,127.0.0.1"


def test_the_exports_can_be_taken_back(cutout: Cutout) -> None:
    with state_file.publisher() as publish:
        publish(5566, STACK)
        lines = cutout("env", "--unset").stdout.splitlines()

    after = shell([*exports(STACK, {}), *lines], {})
    assert not STACK.keys() & after.keys()


def test_a_dotenv_file_has_the_same_values(cutout: Cutout) -> None:
    with state_file.publisher() as publish:
        publish(5566, STACK)
        lines = cutout("env", "--dotenv").stdout.splitlines()

    assert lines[:2] == ["AWS_ENDPOINT_URL=https://127.0.0.1:5566", "AWS_REGION=eu-central-2"]
    assert "AWS_CA_BUNDLE='/tmp/my folder/ca.pem'" in lines


def test_a_stack_that_has_ended_is_told_no_more(cutout: Cutout) -> None:
    with state_file.publisher() as publish:
        publish(5566, STACK)
        assert cutout("env").exit_code == 0

    done = cutout("env")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "cutout: no local stack is running; start one with: make up\n"


def test_what_a_killed_process_left_behind_is_no_stack(cutout: Cutout, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "5566.json").write_text('{"pid": 1, "port": 5566, "environment": {}}')

    with pytest.raises(NoStackRunning):
        state_file.running_stack()


def test_a_stack_that_ends_meanwhile_is_no_stack(cutout: Cutout, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "5566.json").symlink_to(tmp_path / "gone")  # found, and not there

    assert cutout("env").stderr.startswith("cutout: no local stack is running")


def test_two_stacks_do_not_take_each_others_state(cutout: Cutout) -> None:
    with state_file.publisher() as first:
        first(5566, STACK)
        with state_file.publisher() as second:
            second(7766, STACK | {"INPUT_BUCKET": "other"})

            unclear = cutout("env")
            assert unclear.exit_code == 1
            assert "the ports 5566, 7766; choose with --aws-port" in unclear.stderr
            assert "INPUT_BUCKET=other" in cutout("env", "--aws-port", "7766").stdout
        assert "INPUT_BUCKET=in" in cutout("env").stdout
