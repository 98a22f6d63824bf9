"""What each function is told by its environment, and nothing more.

A missing or bad variable stops the function at its start with the variable's name.
"""

import os
from decimal import Decimal
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from cutout.domain.naming import OutputNaming
from cutout.domain.png import OpaqueCutouts
from cutout.domain.tasks import OnUncertain


def _listed(value: object) -> object:
    """A CloudFormation list parameter, as the template joins it: `a,b`, or nothing."""
    return [item for item in value.split(",") if item] if isinstance(value, str) else value


def _keeps_the_key_secret(base_url: str) -> str:
    url = urlsplit(base_url)
    if url.scheme != "https" and url.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ValueError("must begin with https://, for the API key goes there")
    return base_url


class Settings(BaseModel):
    """Fields are environment variables, by their names in lower case."""

    @classmethod
    def from_environment(cls) -> Self:
        """Raise `ValidationError` with the names of what is missing or bad."""
        return cls.model_validate({name.lower(): value for name, value in os.environ.items()})


class WaveSpeedSettings(Settings):
    """How to reach the vendor."""

    wavespeed_base_url: Annotated[str, AfterValidator(_keeps_the_key_secret)]
    api_key_secret: str = Field(description="Name or ARN of the secret that holds the API key.")


class SubmitSettings(WaveSpeedSettings):
    """The submit function's environment."""

    tasks_table: str
    state_machine_arn: str
    upload_queue_url: str
    event_bus: str
    output_bucket: str
    output_prefix: str
    output_naming: OutputNaming
    model_id: str
    allowed_models: Annotated[frozenset[str], BeforeValidator(_listed)]
    sync_mode: bool
    base64_output: bool
    webhook_url: str = Field(description="The webhook function's URL; empty with the webhook off.")
    webhook_fallback_seconds: int
    reuse_results: bool
    on_uncertain: OnUncertain
    uncertain_grace_seconds: int
    key_is_dedicated: bool
    max_upload_megabytes: int
    max_megapixels: int
    presign_seconds: int
    task_retention_days: int
    lease_seconds: int
    images_per_minute: int
    daily_budget: Decimal
    price_per_image: Decimal
    convert_function: str = Field(description="Its name; empty: nothing is converted.")


class PollSettings(WaveSpeedSettings):
    """The poll function's environment."""

    tasks_table: str
    deadline_seconds: int
    webhook_fallback_seconds: int
    lock_seconds: int
    reuse_results: bool
    erase_at_vendor: bool
    converted_bucket: str = Field(description="Empty: nothing is converted.")
    event_bus: str
    max_output_megabytes: int
    max_megapixels: int
    opaque_cutout: OpaqueCutouts


class ConvertSettings(Settings):
    """The convert function's environment."""

    converted_bucket: str
    max_megapixels: int


class WebhookSettings(WaveSpeedSettings):
    """The webhook function's environment."""

    tasks_table: str
    state_machine_arn: str


class ClockSettings(WaveSpeedSettings):
    """The clock function's environment."""

    tasks_table: str
    upload_queue_url: str
    state_machine_arn: str
    event_bus: str
    lease_seconds: int
    deadline_seconds: int
    images_per_minute: int
    daily_budget: Decimal
    model_id: str
    low_balance: Decimal = Field(description="USD; 0: the vendor is not asked for the balance.")


class BucketSettings(Settings):
    """Which buckets belong together, and how."""

    tasks_table: str
    input_bucket: str
    input_prefix: str
    output_bucket: str
    output_prefix: str
    output_naming: OutputNaming


class BackfillSettings(BucketSettings):
    """The backfill function's environment."""

    upload_queue_url: str


class ReconcileSettings(BucketSettings, WaveSpeedSettings):
    """The reconcile function's environment."""

    model_id: str
    allowed_models: Annotated[frozenset[str], BeforeValidator(_listed)]
    key_is_dedicated: bool


class BackstopSettings(Settings):
    """The backstop function's environment."""

    tasks_table: str
    event_bus: str
