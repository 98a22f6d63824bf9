"""Lambda: poll one task, for the state machine."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from cutout.aws import CONFIG, S3_CONFIG
from cutout.credentials import ApiKey
from cutout.holds import OutputHolds
from cutout.latencies import Latencies
from cutout.ledger import Ledger
from cutout.observability import logger
from cutout.polling import Polling
from cutout.settings import PollSettings
from cutout.storage import Storage
from cutout.table import Table
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.outputs import Outputs


class PollRequest(BaseModel):
    """What the state machine sends."""

    task_id: str


@cache
def polling() -> Polling:
    env = PollSettings()
    api_key = ApiKey(boto3.client("secretsmanager", config=CONFIG), env.api_key_secret)
    table = Table(boto3.client("dynamodb", config=CONFIG), env.tasks_table)
    return Polling(
        settings=env,
        ledger=Ledger(table),
        holds=OutputHolds(table),
        latencies=Latencies(table),
        storage=Storage(boto3.client("s3", config=S3_CONFIG)),
        wavespeed=WaveSpeed(env.wavespeed_base_url, api_key),
        outputs=Outputs(env.wavespeed_base_url),
        clock=lambda: datetime.now(UTC),
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    request = PollRequest.model_validate(event)
    logger.append_keys(task_id=request.task_id)
    return polling().poll(request.task_id).model_dump(mode="json")
