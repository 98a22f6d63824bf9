"""Remove a stack: say what goes and what stays, and empty nothing unasked."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ClientError, WaiterError

from cutout_cli.errors import NotRemoved
from cutout_cli.stacks import Stack
from cutout_cli.text import plural

# They outlive the stack: DeletionPolicy is Retain.
_BUCKETS = ("InputBucket", "OutputBucket", "ConvertedBucket")
_TABLE = "TasksTable"


@dataclass(frozen=True)
class Plan:
    """What a stack has made: names by logical id, and how many `others` of each type."""

    buckets: dict[str, str]
    table: dict[str, str]
    others: dict[str, int]
    secret: str

    def as_json(self, *, delete_data: bool, open_tasks: int) -> str:
        """What goes and what stays, for programs."""
        data = [*self.buckets.values(), *self.table.values()]
        secret = [self.secret]
        told = {
            "goes": self.others,
            "deletes": data if delete_data else [],
            "stays": secret if delete_data else data + secret,
            "open_tasks": open_tasks,
        }
        return json.dumps(told)

    def lines(self, *, delete_data: bool, open_tasks: int) -> list[str]:
        """The same for people."""
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.others.items()))
        kept = "goes, with all that it holds" if delete_data else "stays"
        lost = f"lost: {plural(open_tasks, 'open task')}, which may have been paid"
        return [
            f"goes: {counts}",
            *(f"{kept}: bucket {bucket}" for bucket in self.buckets.values()),
            *(f"{kept}: table {table}, the ledger" for table in self.table.values()),
            f"stays: the secret {self.secret}, which is not the stack's",
            *([lost] if open_tasks else []),
        ]


class Uninstaller:
    """Removes one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def plan(self) -> Plan:
        """What the stack has made; a bucket that was there before it is none of it."""
        others: dict[str, int] = {}
        kept: dict[str, str] = {}
        for name, (kind, physical) in self._stack.resources.items():
            if name in {*_BUCKETS, _TABLE}:
                kept[name] = physical
            else:
                others[kind] = others.get(kind, 0) + 1
        parameters = self._stack.parameters
        return Plan(
            buckets={name: kept[name] for name in _BUCKETS if name in kept},
            table={name: kept[name] for name in (_TABLE,) if name in kept},
            others=others,
            secret=parameters.get("ApiKeySecretArn") or parameters["ApiKeySecret"],
        )

    def remove(self, plan: Plan, *, delete_data: bool, tell: Callable[[str], None]) -> None:
        """Delete the stack, then what it leaves behind if that is wanted. Raises `NotRemoved`."""
        self._delete_stack()
        tell(f"the stack {self._stack.name} is deleted")
        if not delete_data:
            return
        for bucket in plan.buckets.values():
            count = self._delete_bucket(bucket)
            tell(f"bucket {bucket} is deleted, with {count} versions of objects")
        for table in plan.table.values():
            dynamodb = self._stack.client("dynamodb")
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
            dynamodb.get_waiter("table_exists").wait(TableName=table)  # until it is changed
            dynamodb.delete_table(TableName=table)
            tell(f"table {table} is deleted")

    def _delete_stack(self) -> None:
        cloudformation = self._stack.client("cloudformation")
        name = self._stack.name
        # By its id: a stack that is deleted is not found by its name any more.
        stack_id = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        cloudformation.delete_stack(StackName=name)
        waiter = cloudformation.get_waiter("stack_delete_complete")
        every = 0.1 if self._stack.is_local else 5
        try:
            waiter.wait(StackName=stack_id, WaiterConfig={"Delay": every, "MaxAttempts": 720})
        except WaiterError:
            raise NotRemoved(
                f"CloudFormation could not delete {name}; its events say why"
            ) from None

    def _delete_bucket(self, bucket: str) -> int:
        s3 = self._stack.client("s3")
        deleted = 0
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            names = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions]
            if names:
                answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": names, "Quiet": True})
                if errors := answer.get("Errors"):
                    raise NotRemoved(f"{bucket}: {errors[0]['Key']}: {errors[0]['Message']}")
            deleted += len(names)
        try:
            s3.delete_bucket(Bucket=bucket)
        except ClientError as error:
            raise NotRemoved(f"the bucket {bucket} cannot be deleted") from error
        return deleted
