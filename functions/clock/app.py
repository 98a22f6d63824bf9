"""Lambda: wake the tasks that are due, once a minute."""

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.events import EventBus
from cutout.aws.sqs import UploadQueue
from cutout.aws.wait_loop import WaitLoop
from cutout.backstop import Backstop
from cutout.close import Closer
from cutout.domain.clock import utc_now
from cutout.observability import logger
from cutout.settings import ClockSettings
from cutout.store.governor import Governor
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.wake import Waker

# What is begun before the time is over needs some time to end.
_SPARE = timedelta(seconds=10)


@cache
def waker() -> Waker:
    env = ClockSettings.from_environment()
    table = Table(client("dynamodb"), env.tasks_table)
    ledger = Ledger(table)
    return Waker(
        settings=env,
        ledger=ledger,
        governor=Governor(table, env.images_per_minute, env.daily_budget),
        queue=UploadQueue(client("sqs"), env.upload_queue_url),
        wait_loop=WaitLoop(client("stepfunctions"), env.state_machine_arn),
        backstop=Backstop(
            ledger, Closer(ledger, EventBus(client("events"), env.event_bus), utc_now)
        ),
        clock=utc_now,
    )


@logger.inject_lambda_context(clear_state=True)
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    left = timedelta(milliseconds=context.get_remaining_time_in_millis())
    woken = waker().wake(utc_now() + left - _SPARE)
    logger.info("tasks were woken", woken=woken)
    return woken


during_init(waker)
