"""Lambda: take the vendor's callbacks, behind a Function URL."""

import base64
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
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
    env = WebhookSettings.from_environment()
    api_key = ApiKey(client("secretsmanager"), env.api_key_secret)
    wavespeed = WaveSpeed(env.wavespeed_base_url, api_key, fresh_key=api_key.fresh)
    return WebhookReceiver(
        secret=SigningSecret(wavespeed.webhook_secret, utc_now),
        ledger=Ledger(Table(client("dynamodb"), env.tasks_table)),
        wait_loop=WaitLoop(client("stepfunctions"), env.state_machine_arn),
        clock=utc_now,
    )


def _raw_body(event: dict[str, Any]) -> bytes:
    """The bytes that were signed, whatever they are."""
    text: str = event.get("body") or ""
    return base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()


def _headers(event: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in event.get("headers", {}).items()}


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    if event["requestContext"]["http"]["method"] != "POST":
        return {"statusCode": 405}
    body = _raw_body(event)
    if len(body) > MAX_BODY_BYTES:
        return {"statusCode": 413}
    try:
        webhook_receiver().receive(event["rawPath"], _headers(event), body)
    except ForgedCallback as error:
        logger.warning("a callback was refused", reason=str(error))
        return {"statusCode": 401}
    return {"statusCode": 200}


during_init(webhook_receiver)
