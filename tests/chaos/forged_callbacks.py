"""Callbacks that the vendor did not send, or not about this."""

import json
import random
import time
from collections import Counter

import httpx

from cutout.domain.tasks import Task
from cutout.wavespeed.contract import (
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    sign_webhook,
)
from tests.chaos.stack import CampaignStack

_MIXED_UP = "another's prediction"
_KINDS = ["unsigned", "wrong secret", "stale", "too large", "another's path", _MIXED_UP]


def send_forged(stack: CampaignStack, rng: random.Random) -> str | None:
    """Send one callback that must have no effect; what it was, and the answer's status."""
    tasks = [task for task in stack.tasks().values() if task.callback_token]
    known = [task for task in tasks if task.prediction_id]
    if len(tasks) < 2 or not known:
        return None
    kind, other = rng.choice(_KINDS), rng.choice(known)
    about = rng.choice([task for task in tasks if task is not other])
    answer = httpx.post(
        stack.webhook_url + _path(kind, about, other),
        content=(body := _body(kind, other)),
        headers=_headers(kind, stack.webhook_secret, body),
        timeout=60,
        verify=stack.trusted,
    )
    return f"{kind}: {answer.status_code}"


def _path(kind: str, about: Task, other: Task) -> str:
    token = other.callback_token if kind == "another's path" else about.callback_token
    return f"{about.attempt_id}-{token}"


def _body(kind: str, other: Task) -> bytes:
    body = {"id": other.prediction_id, "status": "completed", "outputs": ["http://127.0.0.1:1/x"]}
    return bytes(300_000) if kind == "too large" else json.dumps(body).encode()


def _headers(kind: str, secret: str, body: bytes) -> dict[str, str]:
    if kind == "unsigned":
        return {}
    sent = int(time.time()) - (3600 if kind == "stale" else 0)
    signed_with = "whsec_of_a_stranger" if kind == "wrong secret" else secret
    return {
        "content-type": "application/json",
        WEBHOOK_ID: "m1",
        WEBHOOK_TIMESTAMP: str(sent),
        WEBHOOK_SIGNATURE: sign_webhook(signed_with, "m1", sent, body),
    }


def accepted(forged: Counter[str]) -> list[str]:
    """Those that were taken, though not the vendor's; its own mix-ups are taken without effect."""
    return [what for what in forged if what.endswith(" 200") and not what.startswith(_MIXED_UP)]
