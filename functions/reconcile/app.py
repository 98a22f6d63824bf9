"""Lambda: compare one page of the buckets, the ledger or the vendor's history with the others."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.listing import Listing
from cutout.aws.s3 import Storage
from cutout.aws.secrets import ApiKey
from cutout.backfill import Missing
from cutout.domain.clock import utc_now
from cutout.domain.messages import PageRequest
from cutout.observability import logger
from cutout.reconcile import Reconciler
from cutout.settings import ReconcileSettings
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.wavespeed.client import WaveSpeed


@cache
def reconciler() -> Reconciler:
    env, s3 = ReconcileSettings.from_environment(), client("s3")
    api_key = ApiKey(client("secretsmanager"), env.api_key_secret)
    storage, ledger = Storage(s3), Ledger(Table(client("dynamodb"), env.tasks_table))
    return Reconciler(
        settings=env,
        listing=Listing(s3, env.input_bucket),
        missing=Missing(env, storage, ledger),
        storage=storage,
        ledger=ledger,
        wavespeed=WaveSpeed(env.wavespeed_base_url, api_key, fresh_key=api_key.fresh),
        clock=utc_now,
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    answer = reconciler().page(PageRequest.model_validate(event))
    return answer.model_dump(mode="json", exclude_none=True)


during_init(reconciler)
