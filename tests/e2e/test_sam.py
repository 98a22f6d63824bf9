"""The AWS CLI and the SAM CLI deploy to the local stack, and operate it, as they do on AWS."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cutout_local.stack import BUILD
from tests.e2e.conftest import photo
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for


class Typed:
    """A command at a terminal, whose questions are answered as a person would."""

    def __init__(self, *command: str, env: dict[str, str], cwd: Path) -> None:
        self._terminal, own = pty.openpty()
        self._process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=own, stdout=own, stderr=own, start_new_session=True
        )
        os.close(own)
        self.shown = ""
        self._seen = 0

    def answer(self, question: str, answer: str) -> None:
        """Wait for a question, and type."""
        while question not in self.shown[self._seen :]:
            assert self._read(), self.shown
        self._seen = self.shown.index(question, self._seen) + len(question)
        os.write(self._terminal, f"{answer}\n".encode())

    def ended(self) -> int:
        while self._read():
            pass
        os.close(self._terminal)
        return self._process.wait()

    def _read(self) -> bool:
        try:
            text = os.read(self._terminal, 65536)
        except OSError:  # what Linux says when the other side is closed
            return False
        self.shown += text.decode(errors="replace")
        return bool(text)


class Shell:
    """A shell with the stack's exports, and little else."""

    def __init__(self, stack: StackClient, home: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.defpath}"
        self._env = stack.env | {"PATH": path, "HOME": str(home), "SAM_CLI_TELEMETRY": "0"}
        self._parameters = (
            "--parameter-overrides",
            f"WaveSpeedBaseUrl={stack.env['WAVESPEED_BASE_URL']}",
            "ImagesPerMinute=0",
        )
        self.home = home

    def run(self, *command: str, typed: str = "") -> str:
        done = subprocess.run(
            command,
            env=self._env,
            cwd=self.home,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deploy(self, stack: StackClient, *options: str) -> Typed:
        own = (f"-pWaveSpeedBaseUrl={stack.env['WAVESPEED_BASE_URL']}", "-pApiKeySecret=my/key")
        what = ("--stack", "mine", "--template", str(BUILD / "template.yaml"), *own, *options)
        command = str(Path(sys.executable).parent / "cutout")
        return Typed(command, "deploy", *what, env=self._env, cwd=self.home)

    def cloudformation_deploy(self, name: str, bucket: str) -> None:
        template, packaged = str(BUILD / "template.yaml"), str(self.home / "packaged.yaml")
        aws = ("aws", "cloudformation")
        files = ("--template-file", template, "--output-template-file", packaged)
        self.run(*aws, "package", *files, "--s3-bucket", bucket)
        capabilities = ("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
        where = ("--template-file", packaged, "--stack-name", name, "--s3-bucket", bucket)
        self.run(*aws, "deploy", *where, *capabilities, *self._parameters)


@pytest.fixture
def shell(stack: StackClient, tmp_path: Path) -> Shell:
    return Shell(stack, tmp_path)


def outputs(stack: StackClient, name: str) -> dict[str, str]:
    described = stack.aws.client("cloudformation").describe_stacks(StackName=name)
    return {o["OutputKey"]: o["OutputValue"] for o in described["Stacks"][0]["Outputs"]}


def stacks(stack: StackClient) -> set[str]:
    described = stack.aws.client("cloudformation").describe_stacks()["Stacks"]
    return {found["StackName"] for found in described}


def cuts_out(stack: StackClient, name: str) -> bool:
    """Whether a photo comes out of a stack of this name."""
    buckets = outputs(stack, name)
    stack.s3.put_object(Bucket=buckets["InputBucket"], Key="a.jpg", Body=photo())
    listed = wait_for(
        lambda: stack.s3.list_objects_v2(Bucket=buckets["OutputBucket"]).get("Contents")
    )
    return [found["Key"] for found in listed] == ["a.jpg.png"]


def test_sam_deploys_a_stack_guided_with_every_default_taken_and_deletes_it(
    stack: StackClient, shell: Shell
) -> None:
    template = ("--template-file", str(BUILD / "template.yaml"))
    shell.run("sam", "deploy", "--guided", *template, typed="\n" * 200)

    assert outputs(stack, "sam-app")["InputBucket"]
    shell.run("sam", "delete", "--stack-name", "sam-app", "--no-prompts")
    assert "sam-app" not in stacks(stack)


def test_cloudformation_deploys_what_it_packaged(stack: StackClient, shell: Shell) -> None:
    stack.s3.create_bucket(
        Bucket="packages",
        CreateBucketConfiguration={"LocationConstraint": stack.env["AWS_DEFAULT_REGION"]},
    )
    shell.cloudformation_deploy("by-cli", "packages")

    assert cuts_out(stack, "by-cli")


def test_sam_shows_the_logs_and_invokes_a_function(stack: StackClient, shell: Shell) -> None:
    task = stack.ended(stack.upload(photo(), "logged-by-sam.jpg"))

    answer = shell.run(
        *("sam", "remote", "invoke", "PollFunction", "--stack-name", "cutout"),
        *("--event", json.dumps({"task_id": task.task_id})),
    )
    logs = shell.run("sam", "logs", "--stack-name", "cutout")

    assert '"status": "completed"' in answer or '"status":"completed"' in answer
    assert task.task_id in logs


def parameters(stack: StackClient, name: str) -> dict[str, str]:
    described = stack.aws.client("cloudformation").describe_stacks(StackName=name)
    pairs = described["Stacks"][0]["Parameters"]
    return {pair["ParameterKey"]: pair["ParameterValue"] for pair in pairs}


def test_a_deployment_asks_what_matters_and_keeps_the_key_to_itself(
    stack: StackClient, shell: Shell
) -> None:
    key = stack.env["WAVESPEED_API_KEY"]
    first = shell.deploy(stack, "--tag", "Team=web")
    first.answer("images a minute", "many")
    first.answer("must be a number", "60")
    first.answer("most USD", "2.5")
    first.answer("e-mail address", "me@example.com")
    first.answer("a bucket of yours", "")
    first.answer("API key, not shown (goes into my/key)", key)
    first.answer("send one image", "n")
    first.answer("set an alarm", "n")
    assert first.ended() == 0, first.shown

    assert key not in first.shown
    secrets = stack.aws.client("secretsmanager")
    assert secrets.get_secret_value(SecretId="my/key")["SecretString"] == key
    assert "uploads are seen, after" in first.shown
    assert "key: the vendor takes the key" in first.shown
    bucket = outputs(stack, "mine")["InputBucket"]
    assert "Versions" not in stack.s3.list_object_versions(Bucket=bucket)
    given = {"ImagesPerMinute": "60", "DailyBudget": "2.5", "NotificationEmail": "me@example.com"}
    assert parameters(stack, "mine").items() >= given.items()

    again = shell.deploy(stack, "-pLogLevel=DEBUG")
    for question, answer in (("images a minute", "0"), ("most USD", ""), ("e-mail", "-")):
        again.answer(question, answer)
    again.answer("the key in my/key stays if you give none", "")
    again.answer("send one image", "n")
    again.answer("set an alarm", "n")
    assert again.ended() == 0, again.shown

    changed = {"ImagesPerMinute": "0", "NotificationEmail": "", "LogLevel": "DEBUG"}
    assert parameters(stack, "mine") == parameters(stack, "mine") | given | changed
    described = stack.aws.client("cloudformation").describe_stacks(StackName="mine")
    assert described["Stacks"][0]["Tags"] == [{"Key": "Team", "Value": "web"}]
    assert outputs(stack, "mine")["InputBucket"] == bucket
    assert cuts_out(stack, "mine")
