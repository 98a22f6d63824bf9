"""Callbacks that the vendor did not send, or not for this."""

import random
import time
from collections import Counter

import httpx

from cutout.wavespeed.contract import (
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    sign_webhook,
)
from tests.chaos.stack import CampaignStack

_BODY = b'{"id": "forged", "status": "completed", "outputs": ["http://127.0.0.1:1/x.png"]}'


def send_forged(stack: CampaignStack, path: str, rng: random.Random) -> str:
    """Send one callback that must be refused; what it was, and the answer's status."""
    kind = rng.choice(["unsigned", "wrong secret", "stale", "too large"])
    secret = "whsec_of_a_stranger" if kind == "wrong secret" else stack.webhook_secret
    sent = int(time.time()) - (3600 if kind == "stale" else 0)
    body = bytes(300_000) if kind == "too large" else _BODY
    headers = {
        "content-type": "application/json",
        WEBHOOK_ID: "m1",
        WEBHOOK_TIMESTAMP: str(sent),
        WEBHOOK_SIGNATURE: sign_webhook(secret, "m1", sent, body),
    }
    answer = httpx.post(
        stack.webhook_url + path,
        content=body,
        headers={} if kind == "unsigned" else headers,
        timeout=60,
        verify=stack.trusted,
    )
    return f"{kind}: {answer.status_code}"


def accepted(forged: Counter[str]) -> list[str]:
    """Those that were taken for the vendor's."""
    return [what for what in forged if what.endswith(" 200")]
