"""What each function is told by its environment, and nothing more.

A missing or bad variable stops the function at its start with the variable's name.
"""

from pydantic import Field
from pydantic_settings import BaseSettings

from cutout.naming import OutputNaming


class WaveSpeedSettings(BaseSettings):
    """How to reach the vendor."""

    wavespeed_base_url: str
    model_id: str
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
    max_upload_megabytes: int
    max_megapixels: int
    presign_seconds: int
    task_retention_days: int
    lease_seconds: int


class PollSettings(WaveSpeedSettings):
    """The poll function's environment."""

    tasks_table: str
    deadline_seconds: int
    max_output_megabytes: int
