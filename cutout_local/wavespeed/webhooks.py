"""Telling a submitter that a task has ended."""

import asyncio
import logging
import secrets
import time
from functools import partial

import httpx

from cutout.wavespeed.contract import (
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    Prediction,
    PredictionStatus,
    sign_webhook,
)
from cutout_local.wavespeed.faults import Fault, Faults
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.tasks import Task, new_id

logger = logging.getLogger(__name__)

RETRIES = 3


class Webhooks:
    """Signs and sends; a receiver that does not answer 2xx is asked again, up to three times."""

    def __init__(self, client: httpx.AsyncClient, faults: Faults, settings: Settings) -> None:
        self._client = client
        self._faults = faults
        self._secret = settings.webhook_secret
        self._timeout = settings.webhook_timeout
        self._backoff = settings.webhook_backoff

    async def send(self, task: Task) -> None:
        """Send the bare prediction to the task's webhook, with what faults do to it."""
        if task.webhook is None:
            return
        fires = partial(self._faults.fires, image=task.request.image, asked=task.asked)
        prediction = task.prediction(task.output_urls)
        if fires(Fault.WEBHOOK_FORGED) is not None:
            await self._deliver(task.webhook, _forged(prediction), secrets.token_hex(24))
        if fires(Fault.WEBHOOK_LOST) is not None:
            return
        await asyncio.sleep(fires(Fault.WEBHOOK_LATE) or 0)
        times = 1 if fires(Fault.WEBHOOK_TWICE) is None else 2
        message_id = new_id()
        for _ in range(times):
            await self._deliver(task.webhook, prediction, self._secret, message_id)

    async def _deliver(
        self, url: str, prediction: Prediction, secret: str, message_id: str = ""
    ) -> None:
        body = prediction.model_dump_json(exclude_none=True).encode()
        answers = []
        for retry in range(RETRIES + 1):
            if retry:
                await asyncio.sleep(self._backoff * 2 ** (retry - 1))
            answer = await self._post(url, body, secret, message_id or new_id())
            if answer.startswith("2"):
                return
            answers.append(answer)
        told = ", ".join(answers)
        logger.warning("task %s: the webhook was not taken (%s)", prediction.id, told)

    async def _post(self, url: str, body: bytes, secret: str, message_id: str) -> str:
        """The answer's status, or the class of the error if there is none."""
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            WEBHOOK_ID: message_id,
            WEBHOOK_TIMESTAMP: str(timestamp),
            WEBHOOK_SIGNATURE: sign_webhook(secret, message_id, timestamp, body),
        }
        try:
            answer = await self._client.post(
                url, content=body, headers=headers, timeout=self._timeout, follow_redirects=False
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
        return str(answer.status_code)


def _forged(prediction: Prediction) -> Prediction:
    return prediction.model_copy(
        update={"status": PredictionStatus.FAILED, "outputs": [], "error": "forged"}
    )
