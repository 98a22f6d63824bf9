"""Lambda: close the task of an execution that ended without closing it."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.announcements import Announcements
from cutout.aws import CONFIG
from cutout.backstop import Backstop, ExecutionEnded
from cutout.ledger import Ledger
from cutout.observability import logger
from cutout.settings import BackstopSettings
from cutout.table import Table


@cache
def backstop() -> Backstop:
    env = BackstopSettings()
    return Backstop(
        ledger=Ledger(Table(boto3.client("dynamodb", config=CONFIG), env.tasks_table)),
        announcements=Announcements(boto3.client("events", config=CONFIG), env.event_bus),
        clock=lambda: datetime.now(UTC),
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> None:
    backstop().close(ExecutionEnded.model_validate(event).detail)
