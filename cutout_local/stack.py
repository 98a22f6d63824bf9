"""The whole of Cutout on this machine: the template's stack, and the vendor it talks to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cutout_local.aws import LocalAws, OnCall
from cutout_local.wavespeed import Server, Settings
from cutout_local.wavespeed.worker import LoadEngine

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
API_KEY_SECRET = "cutout/wavespeed-api-key"  # noqa: S105 - the name of a secret, not the secret
LOCAL_API_KEY = "local-api-key"


@dataclass(frozen=True)
class LocalStack:
    """A running stack."""

    aws: LocalAws
    wavespeed: Server

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs to use the stack with the AWS CLI or an SDK."""
        outputs = self.aws.outputs
        return {
            "AWS_ENDPOINT_URL": self.aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": self.aws.region,
            "INPUT_BUCKET": outputs["InputBucket"],
            "OUTPUT_BUCKET": outputs["OutputBucket"],
            "TASKS_TABLE": outputs["TasksTable"],
            "UPLOAD_QUEUE_URL": outputs["UploadQueueUrl"],
            "DEAD_LETTER_QUEUE_URL": outputs["DeadLetterQueueUrl"],
            "STATE_MACHINE_ARN": outputs["StateMachineArn"],
            "WAVESPEED_BASE_URL": self.wavespeed.base_url,
            "WAVESPEED_API_KEY": self.wavespeed.settings.api_key,
        }


@contextmanager
def local_stack(
    *,
    remover: str = "classical",
    aws_port: int = 0,
    wavespeed_port: int = 0,
    parameters: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    load_engine: LoadEngine | None = None,
    environments: int = 1,
    on_call: OnCall | None = None,
) -> Iterator[LocalStack]:
    """Run the stack for as long as the block lasts; port 0 takes any that is free.

    `parameters` are the template's; `load_engine` takes the place of the remover; `environments`
    and `on_call` are those of `LocalAws`.

    Raises `LocalAwsError` or `ServerError` if it cannot start.
    """
    settings = settings or Settings(api_key=LOCAL_API_KEY)
    with Server(
        settings, port=wavespeed_port, remover=remover, load_engine=load_engine
    ) as wavespeed:
        local = {
            "WaveSpeedBaseUrl": wavespeed.base_url,
            "ApiKeySecret": API_KEY_SECRET,
            "ImagesPerMinute": "0",  # the local server has no plan unless it is given one
        }
        secrets = {API_KEY_SECRET: settings.api_key}
        with LocalAws(
            TEMPLATE,
            local | dict(parameters or {}),
            secrets=secrets,
            port=aws_port,
            environments=environments,
            on_call=on_call,
        ) as aws:
            yield LocalStack(aws, wavespeed)
