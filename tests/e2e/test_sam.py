"""The AWS CLI and the SAM CLI deploy to the local stack, and operate it, as they do on AWS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cutout_local.stack import BUILD
from tests.e2e.conftest import photo
from tests.support.stack_client import StackClient
from tests.support.waiting import wait_for


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

    def sam_deploy(self, name: str) -> None:
        template = ("--template-file", str(BUILD / "template.yaml"), "--stack-name", name)
        others = ("--resolve-s3", "--capabilities", "CAPABILITY_IAM")
        self.run("sam", "deploy", *template, *others, *self._parameters)

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


def test_sam_deploys_a_second_stack_beside_the_first_and_deletes_it(
    stack: StackClient, shell: Shell
) -> None:
    shell.sam_deploy("by-sam")
    assert cuts_out(stack, "by-sam")

    shell.run("sam", "delete", "--stack-name", "by-sam", "--no-prompts")
    assert "by-sam" not in stacks(stack)


def test_a_guided_deployment_with_every_default_taken_makes_the_stack(
    stack: StackClient, shell: Shell
) -> None:
    template = ("--template-file", str(BUILD / "template.yaml"))
    shell.run("sam", "deploy", "--guided", *template, typed="\n" * 200)

    assert outputs(stack, "sam-app")["InputBucket"]
    shell.run("sam", "delete", "--stack-name", "sam-app", "--no-prompts")


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
