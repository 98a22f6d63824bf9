"""Lambda: send what is in one page of the input bucket and not in the ledger."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.listing import Listing
from cutout.aws.s3 import Storage
from cutout.aws.sqs import UploadQueue
from cutout.backfill import Backfill, Missing
from cutout.domain.messages import PageRequest
from cutout.observability import logger
from cutout.settings import BackfillSettings
from cutout.store.ledger import Ledger
from cutout.store.table import Table


@cache
def backfill() -> Backfill:
    env, s3 = BackfillSettings.from_environment(), client("s3")
    return Backfill(
        listing=Listing(s3, env.input_bucket),
        missing=Missing(env, Storage(s3), Ledger(Table(client("dynamodb"), env.tasks_table))),
        queue=UploadQueue(client("sqs"), env.upload_queue_url),
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    answer = backfill().page(PageRequest.model_validate(event))
    return answer.model_dump(mode="json", exclude_none=True)


during_init(backfill)
