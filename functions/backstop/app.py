"""Lambda: close the task of an execution that ended without closing it."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.announcements import Announcements
from cutout.aws import client
from cutout.backstop import Backstop, ExecutionEnded
from cutout.clock import utc_now
from cutout.ledger import Ledger
from cutout.observability import logger
from cutout.settings import BackstopSettings
from cutout.table import Table


@cache
def backstop() -> Backstop:
    env = BackstopSettings()
    return Backstop(
        ledger=Ledger(Table(client("dynamodb"), env.tasks_table)),
        announcements=Announcements(client("events"), env.event_bus),
        clock=utc_now,
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> None:
    backstop().close(ExecutionEnded.model_validate(event).detail)
