"""What `sam build` made, deployed by CloudFormation, as `sam deploy` does it."""

import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError
from samtranslator.yaml_helper import yaml_parse

from cutout_local.aws.credentials import REGION
from cutout_local.aws.errors import DeployFailed
from cutout_local.aws.stack import LocalAws

_BUCKET = "sam-artifacts"
_URIS = {"CodeUri", "ContentUri", "DefinitionUri"}


def deploy(aws: LocalAws, build: Path, stack: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Create or update a stack from the folder `build`; its outputs.

    Raises `DeployFailed`.
    """
    cloudformation = aws.client("cloudformation")
    try:
        request = {
            "StackName": stack,
            "TemplateURL": _package(aws, build / "template.yaml"),
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        _create_or_update(cloudformation, request)
    except (ClientError, WaiterError) as error:
        raise DeployFailed(f"{stack}: {_reason(cloudformation, stack)} ({error})") from error
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _package(aws: LocalAws, template: Path) -> str:
    """The URL of the template (JSON), in a bucket with its files, as `sam deploy` does it."""
    s3 = aws.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    document = yaml_parse(template.read_text(encoding="utf-8"))
    for name, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        for uri in _URIS & properties.keys():
            body = _artifact(template.parent / properties[uri])
            key = f"{name}-{sha256(body).hexdigest()}"  # another one is what makes an update
            s3.put_object(Bucket=_BUCKET, Key=key, Body=body)
            properties[uri] = f"s3://{_BUCKET}/{key}"
    s3.put_object(Bucket=_BUCKET, Key="template.json", Body=json.dumps(document, default=str))
    return f"{aws.endpoint_url}/{_BUCKET}/template.json"


def _artifact(path: Path) -> bytes:
    if path.is_file():
        return path.read_bytes()
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
