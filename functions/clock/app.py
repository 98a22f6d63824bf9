"""Lambda: wake the tasks that are due, once a minute; measure; ask the vendor for an operator."""

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.events import EventBus
from cutout.aws.secrets import ApiKey
from cutout.aws.sqs import UploadQueue
from cutout.aws.wait_loop import WaitLoop
from cutout.backstop import Backstop
from cutout.close import Closer
from cutout.domain.clock import utc_now
from cutout.domain.messages import VendorQuestion
from cutout.measure import Meter
from cutout.observability import logger
from cutout.settings import ClockSettings
from cutout.store.governor import Governor
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.wake import Waker
from cutout.wavespeed.client import WaveSpeed

# What is begun before the time is over needs some time to end.
_SPARE = timedelta(seconds=10)
_MEASURE_EVERY = 5  # minutes
# The vendor may take half a minute to answer; where so much is due, that goes first.
_MEASURE_TAKES = timedelta(seconds=45)


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


@cache
def meter() -> Meter:
    env = ClockSettings.from_environment()
    api_key = ApiKey(client("secretsmanager"), env.api_key_secret)
    wavespeed = WaveSpeed(env.wavespeed_base_url, api_key, fresh_key=api_key.fresh)
    return Meter(env, Ledger(Table(client("dynamodb"), env.tasks_table)), wavespeed)


def _left(context: LambdaContext) -> timedelta:
    return timedelta(milliseconds=context.get_remaining_time_in_millis())


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if question := VendorQuestion.of(event):
        return meter().ask_vendor(question.detail).model_dump(mode="json")
    woken = waker().wake(utc_now() + _left(context) - _SPARE)
    logger.info("tasks were woken", woken=woken)
    if utc_now().minute % _MEASURE_EVERY == 0 and _left(context) >= _MEASURE_TAKES:
        meter().measure()
    return dict(woken)


during_init(waker)
