"""Lambda: poll one task, for the state machine."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.converted import ConvertedImages
from cutout.aws.events import EventBus
from cutout.aws.s3 import Storage
from cutout.aws.secrets import ApiKey
from cutout.domain.clock import utc_now
from cutout.domain.messages import PollRequest
from cutout.domain.schedule import Schedule
from cutout.observability import logger
from cutout.poll import Poller
from cutout.settings import PollSettings
from cutout.store.latencies import Latencies
from cutout.store.ledger import Ledger
from cutout.store.output_locks import OutputLocks
from cutout.store.table import Table
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.outputs import Outputs


@cache
def poller() -> Poller:
    env = PollSettings.from_environment()
    api_key = ApiKey(client("secretsmanager"), env.api_key_secret)
    table = Table(client("dynamodb"), env.tasks_table)
    latencies = Latencies(table)
    s3 = client("s3")
    storage = Storage(s3)
    return Poller(
        settings=env,
        ledger=Ledger(table),
        locks=OutputLocks(table, storage.is_current),
        latencies=latencies,
        schedule=Schedule(latencies.recent, env.webhook_fallback_seconds),
        storage=storage,
        wavespeed=WaveSpeed(env.wavespeed_base_url, api_key, fresh_key=api_key.fresh),
        outputs=Outputs(env.wavespeed_base_url),
        converted=ConvertedImages(s3, env.converted_bucket),
        events=EventBus(client("events"), env.event_bus),
        clock=utc_now,
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    request = PollRequest.model_validate(event)
    return poller().poll(request.task_id).model_dump(mode="json")


during_init(poller)
