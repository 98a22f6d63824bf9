"""Lambda: submit the uploads of a batch of queue messages."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.convert_function import ConvertFunction
from cutout.aws.events import EventBus
from cutout.aws.s3 import Storage
from cutout.aws.secrets import ApiKey
from cutout.aws.sqs import UploadQueue
from cutout.aws.wait_loop import WaitLoop
from cutout.backstop import Backstop
from cutout.close import Closer
from cutout.domain.clock import utc_now
from cutout.domain.errors import ServiceError
from cutout.domain.messages import (
    QueueBatch,
    QueueMessage,
    RetryRequest,
    TaskDue,
    batch_report,
    upload_message,
)
from cutout.domain.schedule import Schedule
from cutout.observability import logger
from cutout.retry import Retrier
from cutout.reuse import Reuse
from cutout.settings import SubmitSettings
from cutout.settle import Settler
from cutout.store.contents import Contents
from cutout.store.governor import Governor
from cutout.store.latencies import Latencies
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.submit import Submitter
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.prices import Prices


@cache
def settings() -> SubmitSettings:
    return SubmitSettings.from_environment()


@cache
def submitter() -> Submitter:
    env = settings()
    api_key = ApiKey(client("secretsmanager"), env.api_key_secret)
    wavespeed = WaveSpeed(env.wavespeed_base_url, api_key, fresh_key=api_key.fresh)
    table = Table(client("dynamodb"), env.tasks_table)
    prices = Prices(wavespeed, env.price_per_image, utc_now)
    ledger = Ledger(table)
    return Submitter(
        settings=env,
        ledger=ledger,
        governor=Governor(table, env.images_per_minute, env.daily_budget),
        price=prices.of,
        schedule=Schedule(Latencies(table).recent, env.webhook_fallback_seconds),
        storage=Storage(client("s3")),
        wavespeed=wavespeed,
        queue=upload_queue(),
        wait_loop=WaitLoop(client("stepfunctions"), env.state_machine_arn),
        closer=Closer(ledger, EventBus(client("events"), env.event_bus), utc_now),
        settler=Settler(ledger, wavespeed, env.key_is_dedicated),
        reuse=Reuse(ledger, Contents(table)),
        convert_function=ConvertFunction(client("lambda"), env.convert_function),
        clock=utc_now,
    )


@cache
def upload_queue() -> UploadQueue:
    return UploadQueue(client("sqs"), settings().upload_queue_url)


@cache
def retrier() -> Retrier:
    submit = submitter()
    return Retrier(submit, submit.ledger, Backstop(submit.ledger, submit.closer), submit.clock)


def handle_message(body: str, submitter: Submitter, retrier: Retrier) -> None:
    match upload_message(body):
        case TaskDue() as due:
            submitter.wake(due.detail.task_id)
        case RetryRequest() as request:
            retrier.retry(**request.detail.model_dump())
        case created:
            submitter.submit(created.upload, created.time)


def succeeds(message: QueueMessage) -> bool:
    """Whether a message is done with; one that is not goes back to the queue by itself."""
    try:
        handle_message(message.body, submitter(), retrier())
    except Exception:  # noqa: BLE001 (whatever it is, the other messages are not to blame)
        logger.exception("the message failed and goes back to the queue")
        _retry_soon(message)
        return False
    else:
        return True


def _retry_soon(message: QueueMessage) -> None:
    try:
        upload_queue().retry_soon(message.receipt_handle, message.attributes.receives)
    except ServiceError:
        logger.exception("the message comes back when its visibility timeout ends")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    messages = QueueBatch.model_validate(event).messages
    return batch_report([message for message in messages if not succeeds(message)])


during_init(retrier)
