"""`cutout deploy`: ask what matters, keep the key where it belongs, deploy, wait for events."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from getpass import getpass
from pathlib import Path
from typing import Any

import typer
from botocore.exceptions import ClientError

from cutout_cli.bucket import watch
from cutout_cli.errors import (
    BadParameters,
    DeploymentFailed,
    NotACutout,
    StackNotFound,
    UploadsNotSeen,
)
from cutout_cli.parameters import checked, defaults
from cutout_cli.stacks import Stack
from cutout_cli.tasks import Tasks

TEMPLATE = Path(__file__).parents[1] / ".aws-sam" / "build" / "template.yaml"
"""What `make build` makes."""
QUESTIONS = {
    "ImagesPerMinute": "images a minute that your WaveSpeedAI plan allows (0: no limit)",
    "DailyBudget": "most USD to spend in a day (0: no limit)",
    "NotificationEmail": "e-mail address that alarms are told to",
    "ExistingInputBucket": "a bucket of yours to watch, or nothing for a new one",
}
_NOTHING = "-"
_KEY = re.compile(r"[!-~]+")  # what a header can carry
# No image: it is rejected, and costs nothing.
_PROBE, _PROBE_BODY = "cutout-deploy-check.txt", b"is this upload seen?\n"
_LOOK_EVERY, _PUT_EVERY, _SEEN_WITHIN = 2.0, 15.0, 900.0  # S3 says five minutes


@dataclass(frozen=True)
class Deployment:
    """One deployment of a stack, new or not; `tell` is for people."""

    stack: Stack
    template: Path
    tell: Callable[[str], None]

    def present(self) -> dict[str, str] | None:
        """The parameters as they are deployed; None if there is no such stack.

        Raises `NotACutout`.
        """
        try:
            return self.stack.parameters
        except NotACutout:
            raise
        except StackNotFound:
            return None

    def ask(self, given: Mapping[str, str]) -> dict[str, str]:
        """What a person answers, and what was given; what is not in it stays as it is."""
        present = self.present()
        answers = dict(given)
        shown = defaults() | (present or {}) | answers
        for name, question in QUESTIONS.items():
            # Another bucket would leave the uploads of the present one to nobody.
            if name in given or (present and name == "ExistingInputBucket"):
                continue
            answers[name] = self._answer(name, question, shown[name])
        return answers

    def _answer(self, name: str, question: str, present: str) -> str:
        """One that the template takes; Enter keeps what is there."""
        hint = f" ({_NOTHING} for nothing)" if present and not defaults()[name] else ""
        while True:
            value: str = typer.prompt(f"{question}{hint}", default=present, err=True).strip()
            value = "" if value == _NOTHING else value
            try:
                answer = checked([f"{name}={value}"])[name]
                if name == "ExistingInputBucket" and answer:
                    self.check_bucket(answer)
            except BadParameters as error:
                typer.echo(error, err=True)
            else:
                return answer

    def check_bucket(self, bucket: str) -> None:
        """Raise `BadParameters` if a bucket is not there, not the account's, or in another region.

        EventBridge sends a bucket's events nowhere else.
        """
        s3 = self.stack.client("s3")
        try:
            region = s3.head_bucket(Bucket=bucket).get("BucketRegion", s3.meta.region_name)
        except ClientError as error:
            why = {
                "404": "there is no such bucket",
                "403": "it is somebody else's, or you may not see it",
            }.get(error.response["Error"]["Code"])
            if why is None:
                raise
            raise BadParameters(f"ExistingInputBucket={bucket}: {why}") from None
        if region != s3.meta.region_name:
            raise BadParameters(f"ExistingInputBucket={bucket}: it is in {region}, the stack not")

    def store_key(self, parameters: Mapping[str, str]) -> None:
        """Ask for the key and keep it as a secret: it is in no command line and in no history."""
        if parameters.get("ApiKeySecretArn"):
            self.tell("the key is in the secret that ApiKeySecretArn names")
            return
        secrets = self.stack.client("secretsmanager")
        name = parameters["ApiKeySecret"]
        there = _has_secret(secrets, name)
        key = _key(f"the key in {name} stays if you give none" if there else f"goes into {name}")
        while not key and not there:
            key = _key("there is none yet")
        if not key:
            return
        if there:
            secrets.put_secret_value(SecretId=name, SecretString=key)
        else:
            own = parameters.get("SecretKmsKeyArn")
            encrypted = {"KmsKeyId": own} if own else {}
            secrets.create_secret(Name=name, SecretString=key, **encrypted)

    def deploy(
        self, answers: Mapping[str, str], tags: Mapping[str, str], options: list[str]
    ) -> None:
        """Have `sam deploy` do it; what is not given stays. Raises `DeploymentFailed`."""
        sam = [str(Path(sys.executable).parent / "sam"), "deploy"]
        what = ["--template-file", str(self.template), "--stack-name", self.stack.name]
        how = ["--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
        how += ["--no-fail-on-empty-changeset"]
        pairs = [f"{name}={value}" for name, value in answers.items()]
        more = ["--parameter-overrides", *map(_quoted, pairs)] if pairs else []
        if kept := self._tags() | dict(tags):
            more += ["--tags", *(_quoted(f"{name}={value}") for name, value in kept.items())]
        done = subprocess.run([*sam, *what, *how, *options, *more], check=False)
        if done.returncode:
            raise DeploymentFailed("sam deploy failed; what it said above names the resource")

    def _tags(self) -> dict[str, str]:
        """The stack's: a deployment that names none would take them away."""
        try:
            return self.stack.tags
        except StackNotFound:
            return {}


def tags_of(arguments: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping. Raises `BadParameters`."""
    for argument in arguments:
        if not argument.partition("=")[0] or "=" not in argument:
            raise BadParameters(f"{argument!r} is not NAME=VALUE")
    return dict(argument.split("=", 1) for argument in arguments)


def _key(hint: str) -> str:
    """What is typed is not shown."""
    while True:
        key = getpass(f"WaveSpeedAI API key, not shown ({hint}): ").strip()
        if not key or _KEY.fullmatch(key):
            return key
        typer.echo("that is no API key: it has characters that no header can carry", err=True)


def _has_secret(secrets: Any, name: str) -> bool:
    try:
        secrets.describe_secret(SecretId=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return False
        raise
    return True


def _quoted(pair: str) -> str:
    """A pair as the SAM CLI takes it, which splits what has spaces."""
    name, _, value = pair.partition("=")
    return f'{name}="{value}"' if not value or " " in value else pair


def watch_existing(stack: Stack, bucket: str, tell: Callable[[str], None]) -> None:
    """Have a bucket that was there before send its events."""
    if bucket and watch(stack.client("s3"), bucket, on=True):
        tell(f"{bucket} sends its events to EventBridge from now on")


def wait_until_seen(stack: Stack, tell: Callable[[str], None]) -> None:
    """Upload something that is no image, until one of these uploads is in the ledger.

    S3 needs minutes to begin to tell EventBridge. Raises `UploadsNotSeen`.
    """
    s3, bucket = stack.client("s3"), stack.input_bucket
    key = stack.parameters.get("InputPrefix", "") + _PROBE
    tell("waiting until uploads are seen; S3 takes up to five minutes for a new bucket")
    began, started, put_at = datetime.now(UTC), time.monotonic(), -_PUT_EVERY
    since = began - timedelta(minutes=1)  # this machine's clock may be ahead
    try:
        while time.monotonic() - started < _SEEN_WITHIN:
            if time.monotonic() - put_at >= _PUT_EVERY:
                s3.put_object(Bucket=bucket, Key=key, Body=_PROBE_BODY + str(began).encode())
                put_at = time.monotonic()
            time.sleep(_LOOK_EVERY)
            if any(task.created_at >= since for task in Tasks(stack).revisions(key)):
                tell(f"uploads are seen, after {time.monotonic() - started:.0f} s")
                return
    finally:
        _delete(s3, bucket, key)
    raise UploadsNotSeen(
        f"no upload into {bucket} was seen within {_SEEN_WITHIN / 60:.0f} minutes; "
        f"see: cutout doctor{stack.options}"
    )


def _delete(s3: Any, bucket: str, key: str) -> None:
    """All versions of an object."""
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    for one in found:
        s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
