"""A stack goes, and its data only if that is asked for."""

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from cutout_cli.errors import NotRemoved
from cutout_cli.uninstall import Plan, Uninstaller
from tests.support.harness import TABLE, PipelineHarness
from tests.support.images import jpeg
from tests.unit.cli.conftest import (
    WAITING,
    CloudFormation,
    Cutout,
    FakeStack,
)


def test_an_uninstall_says_what_goes_and_does_nothing_unasked(
    cutout: Cutout, upload: Any, cloudformation: CloudFormation
) -> None:
    upload("c.jpg", *WAITING)
    cloudformation.parameters |= {"ApiKeySecret": "cutout/key", "ApiKeySecretArn": ""}
    cloudformation.resources |= {
        "InputBucket": ("AWS::S3::Bucket", "uploads"),
        "OutputBucket": ("AWS::S3::Bucket", "cutouts"),
        "TasksTable": ("AWS::DynamoDB::Table", "tasks"),
    }

    done = cutout("uninstall")

    assert done.stdout.splitlines() == [
        "goes: 2 AWS::SQS::Queue",
        "stays: bucket uploads",
        "stays: bucket cutouts",
        "stays: table tasks, the ledger",
        "stays: the secret cutout/key, which is not the stack's",
        "lost: 1 open task, which may have been paid",
    ]
    assert done.exit_code == 1
    assert "delete the stack cutout? There is nobody to ask; add --yes" in done.stderr
    assert cutout("uninstall", "--dry-run", "--delete-data").exit_code == 0
    told = json.loads(cutout("uninstall", "--dry-run", "--json").stdout)
    assert told == {
        "goes": {"AWS::SQS::Queue": 2},
        "deletes": [],
        "stays": ["uploads", "cutouts", "tasks", "cutout/key"],
        "open_tasks": 1,
    }


class Deletion:
    """A stack that CloudFormation can delete, or cannot."""

    def __init__(self, stack: FakeStack, fails: bool) -> None:
        self.deleted: list[str] = []
        self._fails = fails
        self._described = stack.client("cloudformation")

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._described.describe_stacks(**asked)
        answer["Stacks"][0]["StackId"] = "arn:of-the-stack"
        return answer

    def delete_stack(self, *, StackName: str) -> None:  # noqa: N803 - boto3's
        self.deleted.append(StackName)

    def get_waiter(self, name: str) -> "Deletion":
        assert name == "stack_delete_complete"
        return self

    def wait(self, *, StackName: str, **_: Any) -> None:  # noqa: N803 - boto3's
        assert StackName == "arn:of-the-stack"
        if self._fails:
            raise WaiterError("stack_delete_complete", "it failed", {})


@pytest.mark.parametrize("delete_data", [True, False])
def test_data_is_deleted_only_when_that_is_asked_for(
    upload: Any,
    harness: PipelineHarness,
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    delete_data: bool,
) -> None:
    upload("a.jpg")
    harness.upload(jpeg(), "a.jpg")
    harness.s3.delete_object(Bucket="uploads", Key="a.jpg")
    deletion, client, told = Deletion(stack, fails=False), stack.client, list[str]()
    uninstaller = Uninstaller(stack)
    plan = Plan({"I": "uploads", "O": "cutouts", "C": "converted"}, {"T": TABLE}, {}, "s")
    clients = {"cloudformation": deletion}
    monkeypatch.setitem(stack.__dict__, "client", lambda name: clients.get(name) or client(name))

    uninstaller.remove(plan, delete_data=delete_data, tell=told.append)

    assert deletion.deleted == ["cutout"]
    left = sorted(bucket["Name"] for bucket in harness.s3.list_buckets()["Buckets"])
    tables = harness.dynamodb.list_tables()["TableNames"]
    assert (left, tables) == (
        ([], []) if delete_data else (["converted", "cutouts", "uploads"], [TABLE])
    )
    if delete_data:
        assert "bucket uploads is deleted, with 3 versions of objects" in told


def test_a_stack_that_cannot_be_deleted_keeps_its_data(
    upload: Any, harness: PipelineHarness, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload("a.jpg")
    deletion = Deletion(stack, fails=True)
    monkeypatch.setitem(stack.__dict__, "client", lambda _name: deletion)

    with pytest.raises(NotRemoved, match="could not delete cutout"):
        Uninstaller(stack).remove(
            Plan({"I": "uploads"}, {}, {}, "s"), delete_data=True, tell=lambda _text: None
        )

    assert harness.s3.list_objects_v2(Bucket="uploads")["KeyCount"] == 1
