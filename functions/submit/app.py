"""Lambda: submit the uploads of a batch of queue messages."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.announcements import Announcements
from cutout.aws import CONFIG, S3_CONFIG
from cutout.credentials import ApiKey
from cutout.ledger import Ledger
from cutout.observability import logger
from cutout.queues import UploadQueue
from cutout.settings import SubmitSettings
from cutout.storage import Storage
from cutout.submission import Submission
from cutout.uploads import ObjectCreated
from cutout.wavespeed.client import WaveSpeed
from cutout.workflow import Workflow

# A message that fails goes back to the queue by itself; the function has not failed.
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def settings() -> SubmitSettings:
    return SubmitSettings()


@cache
def submission() -> Submission:
    env = settings()
    api_key = ApiKey(boto3.client("secretsmanager", config=CONFIG), env.api_key_secret)
    return Submission(
        settings=env,
        ledger=Ledger(boto3.client("dynamodb", config=CONFIG), env.tasks_table),
        storage=Storage(boto3.client("s3", config=S3_CONFIG)),
        wavespeed=WaveSpeed(env.wavespeed_base_url, env.model_id, api_key),
        workflow=Workflow(boto3.client("stepfunctions", config=CONFIG), env.state_machine_arn),
        announcements=Announcements(boto3.client("events", config=CONFIG), env.event_bus),
        clock=lambda: datetime.now(UTC),
    )


@cache
def upload_queue() -> UploadQueue:
    return UploadQueue(boto3.client("sqs", config=CONFIG), settings().upload_queue_url)


def handle_record(record: SQSRecord) -> None:
    try:
        wait = submission().submit(ObjectCreated.model_validate_json(record.body).upload)
        if wait is not None:
            upload_queue().put_back(record.body, wait)
    except Exception:
        logger.exception("the message goes back to the queue")
        raise


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return process_partial_response(event, handle_record, processor, context)
