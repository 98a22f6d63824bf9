"""The whole of Cutout on this machine: the template's stack, and the vendor it talks to."""

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutout_local.aws.deploy import deploy, package
from cutout_local.aws.errors import NotBuilt
from cutout_local.aws.stack import LocalAws

if TYPE_CHECKING:
    from cutout_local.wavespeed.server import Server
    from cutout_local.wavespeed.settings import Settings
    from cutout_local.wavespeed.worker import LoadEngine

ROOT = Path(__file__).parents[1]
BUILD = ROOT / ".aws-sam" / "local"
"""What `make build-local` makes: the template, and the layer for this machine."""
STACK_NAME = "cutout"
API_KEY_SECRET = "cutout/wavespeed-api-key"  # noqa: S105 - the name of a secret, not the secret


@dataclass(frozen=True)
class LocalStack:
    """A running stack. `outputs` are those of the template."""

    aws: LocalAws
    wavespeed: "Server"
    outputs: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs to use the stack with the AWS CLI, SAM or an SDK."""
        return {
            **self.aws.environment,
            "STACK_NAME": STACK_NAME,
            "INPUT_BUCKET": self.outputs["InputBucket"],
            "OUTPUT_BUCKET": self.outputs["OutputBucket"],
            "TASKS_TABLE": self.outputs["TasksTable"],
            "UPLOAD_QUEUE_URL": self.outputs["UploadQueueUrl"],
            "DEAD_LETTER_QUEUE_URL": self.outputs["DeadLetterQueueUrl"],
            "STATE_MACHINE_ARN": self.outputs["StateMachineArn"],
            "WAVESPEED_BASE_URL": self.wavespeed.base_url,
            "WAVESPEED_API_KEY": self.wavespeed.settings.api_key,
        }

    def physical_name(self, logical_id: str) -> str:
        """The name that CloudFormation gave to a resource of the template."""
        resource = self.aws.client("cloudformation").describe_stack_resource(
            StackName=STACK_NAME, LogicalResourceId=logical_id
        )
        return str(resource["StackResourceDetail"]["PhysicalResourceId"])


@contextmanager
def local_stack(
    *,
    aws_port: int = 0,
    wavespeed_port: int = 0,
    parameters: Mapping[str, str] | None = None,
    settings: "Settings | None" = None,
    load_engine: "LoadEngine | None" = None,
    data: Path | None = None,
    build: Path = BUILD,
    wait_scale: float = 1,
    schedule_scale: float = 1,
) -> Iterator[LocalStack]:
    """Run the stack for as long as the block lasts; port 0 takes any that is free.

    `parameters` are the template's; `load_engine` takes the place of the remover; `data` is a
    folder that keeps the data of both for the next stack on the same ports; `build` is what
    `sam build` made; `wait_scale` and `schedule_scale` are those of `LocalAws`.

    Raises `LocalAwsError` or `ServerError` if it cannot start.
    """
    if build is BUILD:
        _check_build()
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(_private_folder()))
        aws = LocalAws(
            _made(folder),
            port=aws_port,
            keep=data is not None,
            wait_scale=wait_scale,
            schedule_scale=schedule_scale,
        )
        stack.callback(aws.close)
        aws.start()
        packaged = stack.enter_context(ThreadPoolExecutor(1)).submit(package, build)
        # Imported while AWS starts, which takes as long.
        from cutout_local.wavespeed.server import Server
        from cutout_local.wavespeed.settings import Settings

        settings = (settings or Settings()).model_copy(update={"ca_file": str(aws.certificate.ca)})
        wavespeed = Server(
            settings,
            port=wavespeed_port,
            load_engine=load_engine,
            folder=_made(folder / "wavespeed"),
        )
        if data is not None:  # kept tasks begin at once, with images from AWS
            aws.wait_until_up()
        stack.enter_context(wavespeed)
        secrets = aws.client("secretsmanager")
        aws.wait_until_up()
        _put_secret(secrets, settings.api_key)
        local = {
            "WaveSpeedBaseUrl": wavespeed.base_url,
            "ImagesPerMinute": "0",  # the local server has no plan unless it is given one
        }
        outputs = deploy(aws, packaged.result(), STACK_NAME, local | dict(parameters or {}))
        for function in ("SubmitFunction", "PollFunction"):
            aws.initialise(outputs[function])
        yield LocalStack(aws, wavespeed, outputs)


def _check_build() -> None:
    template = BUILD / "template.yaml"
    if not template.exists():
        raise NotBuilt(f"{template} is not there; make it with: make build-local")
    sources = [ROOT / "template.yaml"]
    for folder in ("functions", "layers", "statemachine"):
        sources += (file for file in (ROOT / folder).rglob("*") if file.suffix != ".pyc")
    built = template.stat().st_mtime
    newer = [file for file in sources if file.is_file() and file.stat().st_mtime > built]
    if newer:
        raise NotBuilt(f"{newer[0]} is newer than what was built; build with: make build-local")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cutout-", ignore_cleanup_errors=True)


def _put_secret(secrets: Any, api_key: str) -> None:
    try:
        secrets.create_secret(Name=API_KEY_SECRET, SecretString=api_key)
    except secrets.exceptions.ResourceExistsException:
        secrets.put_secret_value(SecretId=API_KEY_SECRET, SecretString=api_key)
