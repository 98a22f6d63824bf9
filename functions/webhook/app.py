"""Lambda: take the vendor's callbacks, behind a Function URL."""

import base64
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.data_classes import LambdaFunctionUrlEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client
from cutout.aws.secrets import ApiKey
from cutout.aws.wait_loop import WaitLoop
from cutout.domain.clock import utc_now
from cutout.domain.errors import ForgedCallback
from cutout.observability import logger
from cutout.settings import WebhookSettings
from cutout.store.ledger import Ledger
from cutout.store.table import Table
from cutout.wavespeed.client import WaveSpeed
from cutout.webhook import SigningSecret, WebhookReceiver

MAX_BODY_BYTES = 256 * 1024  # a callback holds a few URLs


@cache
def webhook_receiver() -> WebhookReceiver:
    env = WebhookSettings()
    api_key = ApiKey(client("secretsmanager"), env.api_key_secret)
    wavespeed = WaveSpeed(env.wavespeed_base_url, api_key, fresh_key=api_key.fresh)
    return WebhookReceiver(
        secret=SigningSecret(wavespeed.webhook_secret, utc_now),
        ledger=Ledger(Table(client("dynamodb"), env.tasks_table)),
        wait_loop=WaitLoop(client("stepfunctions"), env.state_machine_arn),
        clock=utc_now,
    )


def _raw_body(request: LambdaFunctionUrlEvent) -> bytes:
    """The bytes that were signed; Powertools would decode them, whatever they are, to text."""
    text = request.body or ""
    return base64.b64decode(text) if request.is_base64_encoded else text.encode()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    request = LambdaFunctionUrlEvent(event)
    if request.http_method != "POST":
        return {"statusCode": 405}
    body = _raw_body(request)
    if len(body) > MAX_BODY_BYTES:
        return {"statusCode": 413}
    try:
        webhook_receiver().receive(request.raw_path, request.headers, body)
    except ForgedCallback as error:
        logger.warning("a callback was refused", reason=str(error))
        return {"statusCode": 401}
    return {"statusCode": 200}
