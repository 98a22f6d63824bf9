"""Lambda: close the task of an execution that fails, for the wait loop and for EventBridge."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.events import EventBus
from cutout.backstop import Backstop
from cutout.close import Closer
from cutout.domain.clock import utc_now
from cutout.domain.messages import ExecutionEnded
from cutout.observability import logger
from cutout.settings import BackstopSettings
from cutout.store.ledger import Ledger
from cutout.store.table import Table


@cache
def backstop() -> Backstop:
    env = BackstopSettings.from_environment()
    ledger = Ledger(Table(client("dynamodb"), env.tasks_table))
    return Backstop(ledger, Closer(ledger, EventBus(client("events"), env.event_bus), utc_now))


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return backstop().close(ExecutionEnded.model_validate(event).detail).model_dump()


during_init(backstop)
