"""A deployed stack, on AWS or on this machine: what CloudFormation tells of it, and its clients."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cutout.wavespeed.client import WaveSpeed
from cutout_cli import state_file
from cutout_cli.errors import NotACutout, StackNotFound


@dataclass(frozen=True)
class Stack:
    """A stack by its name; `client` makes a boto3 client, `is_local` tells where it runs.

    `options` is what a command that is suggested must say to reach the same stack.
    """

    name: str
    client: Callable[[str], Any] = field(repr=False)
    is_local: bool = False
    options: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The template's parameters as they are deployed."""
        pairs = self._described.get("Parameters", [])
        return {pair["ParameterKey"]: pair["ParameterValue"] for pair in pairs}

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The template's outputs."""
        pairs = self._described.get("Outputs", [])
        return {pair["OutputKey"]: pair["OutputValue"] for pair in pairs}

    @property
    def tags(self) -> dict[str, str]:
        """Those of the stack, which CloudFormation gives to its resources."""
        return {pair["Key"]: pair["Value"] for pair in self._described.get("Tags", [])}

    @property
    def status(self) -> str:
        """CloudFormation's, such as UPDATE_COMPLETE."""
        status: str = self._described["StackStatus"]
        return status

    @cached_property
    def resources(self) -> dict[str, tuple[str, str]]:
        """Type and physical id of each resource by its logical id."""
        _ = self._described  # a stack that is not there has its own error
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return {
            found["LogicalResourceId"]: (found["ResourceType"], found["PhysicalResourceId"])
            for page in pages.paginate(StackName=self.name)
            for found in page["StackResourceSummaries"]
            if found.get("PhysicalResourceId")
        }

    @property
    def input_bucket(self) -> str:
        return self.outputs["InputBucket"]

    @property
    def output_bucket(self) -> str:
        return self.outputs["OutputBucket"]

    @property
    def tasks_table(self) -> str:
        return self.outputs["TasksTable"]

    @cached_property
    def vendor(self) -> WaveSpeed | None:
        """The vendor's API, if `WAVESPEED_API_KEY` says with which key."""
        key = self.environment.get("WAVESPEED_API_KEY")
        if not key:
            return None
        return WaveSpeed(self.parameters["WaveSpeedBaseUrl"], lambda: key)

    def of_type(self, resource_type: str) -> dict[str, str]:
        """The physical ids of a type's resources by their logical ids."""
        return {
            name: physical
            for name, (kind, physical) in self.resources.items()
            if kind == resource_type
        }

    @cached_property
    def _described(self) -> dict[str, Any]:
        try:
            answer = self.client("cloudformation").describe_stacks(StackName=self.name)
        except ClientError as error:
            if "does not exist" in str(error):
                raise StackNotFound(
                    f"there is no stack {self.name} in this account and region; "
                    "choose them with --region and --profile"
                ) from None
            raise
        described: dict[str, Any] = answer["Stacks"][0]
        outputs = {output["OutputKey"] for output in described.get("Outputs", [])}
        if not outputs >= {"InputBucket", "OutputBucket", "TasksTable", "UploadQueueUrl"}:
            raise NotACutout(f"the stack {self.name} is no Cutout, or is not deployed yet")
        return described


def find_stack(
    name: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    port: int | None = None,
) -> Stack:
    """A stack on AWS by its name, or the local one that is up (on an AWS port).

    Raises `NoStackRunning`; what CloudFormation does not know shows at the first use.
    """
    return _on_aws(name, region, profile) if name else local(_environment(port))


def find_account(
    name: str | None, region: str | None, profile: str | None, port: int | None
) -> Callable[[str], Any]:
    """Clients of the account on AWS, if anything names one, else of the local stack's."""
    if name or region or profile:
        return _on_aws(name or "", region, profile).client
    return find_stack(port=port).client


def local(environment: Mapping[str, str]) -> Stack:
    """The local stack that an environment leads to."""
    reached = {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": environment.get("AWS_SESSION_TOKEN"),
        "verify": environment["AWS_CA_BUNDLE"],
    }

    @cache
    def client(service: str) -> Any:
        return boto3.client(service, **reached)  # type: ignore[call-overload]

    return Stack(environment["STACK_NAME"], client, is_local=True, environment=environment)


def _environment(port: int | None) -> Mapping[str, str]:
    return state_file.running_stack(port).environment


def _on_aws(name: str, region: str | None, profile: str | None) -> Stack:
    given = {"--stack": name, "--region": region, "--profile": profile}
    options = " ".join(f"{option} {value}" for option, value in given.items() if value)
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
    except BotoCoreError as error:
        raise StackNotFound(str(error)) from None
    return Stack(name, cache(session.client), options=f" {options}")
