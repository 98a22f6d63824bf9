"""What `cutout deploy` asks, keeps and waits for; tests/e2e/test_sam.py types it at a terminal."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cutout.domain.tasks import Status
from cutout_cli import deploy
from cutout_cli.deploy import Deployment, tags_of, wait_until_seen
from cutout_cli.errors import BadParameters, DeploymentFailed, NotACutout, UploadsNotSeen
from cutout_cli.parameters import defaults
from cutout_cli.stacks import Stack
from tests.support.harness import PipelineHarness
from tests.unit.cli.conftest import CloudFormation, Cutout, FakeStack, Fates

TEMPLATE = Path("template.yaml")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def deployment(stack: FakeStack, said: list[str]) -> Deployment:
    return Deployment(stack, TEMPLATE, said.append)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Answers by a word of the question; Enter, if there is none."""
    answers: dict[str, list[str]] = {}

    def prompt(question: str, default: str, **_: Any) -> str:
        for word, left in answers.items():
            if word in question and left:
                return left.pop(0)
        return default

    def getpass(_question: str) -> str:
        return answers["key"].pop(0)

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr(deploy, "getpass", getpass)
    return answers


def test_without_a_terminal_nothing_is_asked_or_done(cutout: Cutout) -> None:
    result = cutout("deploy")

    assert (result.exit_code, result.stderr) == (
        1,
        "cutout: there is nobody to ask; use sam deploy\n",
    )


def test_of_a_stack_that_is_there_what_it_has_is_offered_and_its_bucket_is_not_asked_for(
    deployment: Deployment, cloudformation: CloudFormation, typed: dict[str, list[str]]
) -> None:
    cloudformation.parameters |= {"NotificationEmail": "me@x.org", "DailyBudget": "5"}
    typed["USD"] = ["many", "7.5"]

    answers = deployment.ask({"Webhook": "on"})

    assert answers == {
        "Webhook": "on",
        "ImagesPerMinute": "10",
        "DailyBudget": "7.5",
        "NotificationEmail": "me@x.org",
    }


def test_a_dash_takes_away_what_is_there(
    deployment: Deployment, cloudformation: CloudFormation, typed: dict[str, list[str]]
) -> None:
    cloudformation.parameters["NotificationEmail"] = "me@x.org"
    typed["e-mail"] = ["-"]

    assert deployment.ask({})["NotificationEmail"] == ""


def test_a_bucket_is_asked_for_until_it_is_one_that_can_be_watched(
    deployment: Deployment,
    aws: Any,
    cloudformation: CloudFormation,
    typed: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloudformation, "describe_stacks", no_stack)
    elsewhere: Any = {"LocationConstraint": "eu-north-1"}
    there = aws.client("s3", region_name="eu-north-1")
    there.create_bucket(Bucket="far-away", CreateBucketConfiguration=elsewhere)
    typed["bucket"] = ["No_Bucket", "not-there", "far-away", "uploads"]

    assert deployment.ask({})["ExistingInputBucket"] == "uploads"

    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in told] == [
        "must be a bucket name, or empty",
        "there is no such bucket",
        "it is in eu-north-1, the stack not",
    ]


def no_stack(**_asked: str) -> None:
    raise ClientError({"Error": {"Message": "Stack cutout does not exist"}}, "DescribeStacks")


def test_without_what_make_builds_nothing_is_asked(
    cutout: Cutout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("cutout_cli.commands.deploy.sys", SimpleNamespace(stdin=terminal))

    done = cutout("deploy", "--template", tmp_path / "none.yaml")

    assert done.exit_code == 1
    assert "make deploy makes it, and deploys" in done.stderr


def test_another_stack_of_that_name_is_left_alone(
    deployment: Deployment, cloudformation: CloudFormation
) -> None:
    del cloudformation.outputs["InputBucket"]

    with pytest.raises(NotACutout):
        deployment.ask({})


def test_a_key_is_asked_for_until_there_is_one_and_then_kept(
    deployment: Deployment, aws: Any, typed: dict[str, list[str]]
) -> None:
    secrets = aws.client("secretsmanager")
    named = defaults() | {"ApiKeySecret": "my/key"}

    typed["key"] = ["", "two words", "first"]
    deployment.store_key(named)
    typed["key"] = [""]
    deployment.store_key(named)
    assert secrets.get_secret_value(SecretId="my/key")["SecretString"] == "first"

    typed["key"] = ["second"]
    deployment.store_key(named)
    assert secrets.get_secret_value(SecretId="my/key")["SecretString"] == "second"


def test_a_secret_of_another_account_is_not_written(
    deployment: Deployment, aws: Any, said: list[str]
) -> None:
    deployment.store_key(defaults() | {"ApiKeySecretArn": "arn:aws:secretsmanager:x"})

    assert said == ["the key is in the secret that ApiKeySecretArn names"]
    assert aws.client("secretsmanager").list_secrets()["SecretList"] == []


def test_sam_is_told_what_was_answered_and_the_tags_that_are_there(
    deployment: Deployment, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return type("Done", (), {"returncode": len(commands) - 1})

    monkeypatch.setattr("subprocess.run", run)
    described = cloudformation.describe_stacks()
    described["Stacks"][0]["Tags"] = [{"Key": "Team", "Value": "web"}]
    monkeypatch.setattr(cloudformation, "describe_stacks", lambda **_: described)

    answers = {"DailyBudget": "5", "NotificationEmail": ""}
    deployment.deploy(answers, {"Cost center": "12 b"}, ["--region", "eu-west-1"])

    (command,) = commands
    at = command.index("--region")
    assert command[at:] == [
        *("--region", "eu-west-1", "--parameter-overrides", "DailyBudget=5"),
        *('NotificationEmail=""', "--tags", "Team=web", 'Cost center="12 b"'),
    ]
    with pytest.raises(DeploymentFailed):
        deployment.deploy({}, {}, [])


def test_a_tag_is_a_pair() -> None:
    assert tags_of(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    with pytest.raises(BadParameters, match="'a' is not NAME=VALUE"):
        tags_of(["a"])


def test_a_bucket_of_ones_own_is_watched(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    watched: list[str] = []

    def watch(_s3: Any, bucket: str, *, on: bool) -> bool:
        watched.append(bucket)
        return on

    monkeypatch.setattr(deploy, "watch", watch)

    deploy.watch_existing(stack, "", said.append)
    deploy.watch_existing(stack, "photos", said.append)

    assert watched == ["photos"]
    assert said == ["photos sends its events to EventBridge from now on"]


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes by sleeping only."""
    passed = [0.0]
    clock = SimpleNamespace(
        sleep=lambda wait: passed.append(passed[-1] + wait), monotonic=lambda: passed[-1]
    )
    monkeypatch.setattr(deploy, "time", clock)


def versions(harness: PipelineHarness) -> list[Any]:
    listed = harness.s3.list_object_versions(Bucket="uploads")
    return [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]


def test_uploads_are_repeated_until_one_is_seen_and_then_deleted(
    stack: Stack,
    harness: PipelineHarness,
    fates: Fates,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    passing: None,
) -> None:
    unseen, arrived = itertools.count(), fates.arrived
    fates.by_key["in/cutout-deploy-check.txt"] = (Status.REJECTED, "unsupported_format", "text")
    stack.parameters["InputPrefix"] = "in/"

    def begins_late(upload: Any) -> Any:
        if next(unseen) < 2:
            return None
        harness.now = datetime.now(UTC)
        return arrived(upload)

    monkeypatch.setattr(fates, "arrived", begins_late)

    wait_until_seen(stack, said.append)

    assert said[-1] == "uploads are seen, after 34 s"
    assert versions(harness) == []


def test_uploads_that_are_never_seen_end_the_wait(
    stack: Stack, harness: PipelineHarness, said: list[str], passing: None
) -> None:
    with pytest.raises(UploadsNotSeen, match="no upload into uploads was seen within 15 minutes"):
        wait_until_seen(stack, said.append)

    assert versions(harness) == []
