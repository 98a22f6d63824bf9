"""What `sam build` made, deployed by CloudFormation, as `sam deploy` does it."""

import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from cutout_local.aws import template
from cutout_local.aws.credentials import REGION
from cutout_local.aws.errors import DeployFailed
from cutout_local.aws.stack import LocalAws

_BUCKET = "sam-artifacts"
_URIS = {"CodeUri", "ContentUri", "DefinitionUri"}


@dataclass(frozen=True)
class Package:
    """A template (JSON) that names its files by their keys in the bucket for artifacts."""

    template: str
    files: Mapping[str, bytes]


def package(build: Path) -> Package:
    """What `sam build` left in a folder, as `sam package` does it but for the uploads."""
    document = template.read(build / "template.yaml")
    files = {}
    for name, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        for uri in _URIS & properties.keys():
            body = _artifact(build / properties[uri])
            key = f"{name}-{sha256(body).hexdigest()}"  # another one is what makes an update
            files[key] = body
            properties[uri] = f"s3://{_BUCKET}/{key}"
    return Package(json.dumps(document, default=str), files)


def deploy(
    aws: LocalAws, package: Package, stack: str, parameters: Mapping[str, str]
) -> dict[str, str]:
    """Create or update a stack; its outputs.

    Raises `DeployFailed`.
    """
    cloudformation = aws.client("cloudformation")
    try:
        request = {
            "StackName": stack,
            "TemplateURL": _upload(aws, package),
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        _create_or_update(cloudformation, request)
    except (ClientError, WaiterError) as error:
        raise DeployFailed(f"{stack}: {_reason(cloudformation, stack)} ({error})") from error
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _upload(aws: LocalAws, package: Package) -> str:
    """The URL of the template."""
    s3 = aws.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key, body in package.files.items():
        s3.put_object(Bucket=_BUCKET, Key=key, Body=body)
    s3.put_object(Bucket=_BUCKET, Key="template.json", Body=package.template)
    return f"{aws.endpoint_url}/{_BUCKET}/template.json"


def _artifact(path: Path) -> bytes:
    """A folder's is zipped here, unless `make build-local` has done it: layers are large."""
    for file in (path, path.with_name(f"{path.name}.zip")):
        if file.is_file():
            return file.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(path.rglob("*")):
            archive.write(file, file.relative_to(path))
    return buffer.getvalue()


def _create_or_update(cloudformation: Any, request: Mapping[str, Any]) -> None:
    done = "stack_create_complete"
    try:
        cloudformation.create_stack(**request, OnFailure="DO_NOTHING")
    except cloudformation.exceptions.AlreadyExistsException:
        done = "stack_update_complete"
        try:
            cloudformation.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
    often = {"Delay": 0.05, "MaxAttempts": 1200}
    cloudformation.get_waiter(done).wait(StackName=request["StackName"], WaiterConfig=often)


def _reason(cloudformation: Any, stack: str) -> str:
    try:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    except ClientError:
        return "refused"
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    return "; ".join(f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in failed)
