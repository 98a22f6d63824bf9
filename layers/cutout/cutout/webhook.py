"""The vendor's webhook: believe it only when it is signed, and wake the task's wait loop.

A callback only says that it is worth looking now; the poll function still asks the vendor. So one
that comes too early, too late, twice, or never costs a moment, and never data.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from cutout.aws.wait_loop import WaitLoop
from cutout.domain.errors import (
    ForgedCallback,
    PredictionTaken,
    StatusChanged,
    TaskNotFound,
    VendorUnavailable,
)
from cutout.domain.messages import Callback
from cutout.domain.tasks import AttemptId, Status, Task
from cutout.observability import logger
from cutout.store.ledger import Ledger
from cutout.wavespeed.contract import (
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    Prediction,
    sign_webhook,
)

MAX_AGE = timedelta(minutes=5)
_FETCH_AGAIN_AFTER = timedelta(minutes=1)


@dataclass
class SigningSecret:
    """The vendor's secret, fetched when it is first needed and kept.

    `refreshed` fetches it anew, for it may have been rotated, but not more than once a minute, so
    that forged callbacks cannot make this stack hammer the vendor.
    """

    fetch: Callable[[], str]
    clock: Callable[[], datetime]
    _value: str = ""
    _fetched_at: datetime | None = field(default=None)

    def current(self) -> str:
        """The secret as it was when it was last fetched."""
        return self._value or self.refreshed()

    def refreshed(self) -> str:
        """The secret as it is now, or as it was within the last minute.

        Raises what `fetch` raises, and `VendorUnavailable` until it may be asked again.
        """
        now = self.clock()
        if self._fetched_at is None or now - self._fetched_at >= _FETCH_AGAIN_AFTER:
            self._fetched_at = now  # before the fetch: one that fails counts too
            self._value = self.fetch()
        if not self._value:
            raise VendorUnavailable("the webhook secret could not be read within the last minute")
        return self._value


@dataclass(frozen=True)
class WebhookReceiver:
    """Everything that taking a callback needs; `clock` gives the time in UTC."""

    secret: SigningSecret
    ledger: Ledger
    wait_loop: WaitLoop
    clock: Callable[[], datetime]

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Take one callback; header names are in lower case.

        Raises `ForgedCallback` for what does not come to the URL that the vendor was told, or was
        not signed by the vendor in the last five minutes.
        """
        attempt, task = self._addressee(path)
        self._authenticate(headers, body)
        prediction = _prediction(body)
        if prediction is None:
            logger.warning("a signed callback was ignored: it names no prediction")
            return
        try:
            if task.prediction_id is None:
                self.ledger.claim_prediction(task, prediction.id)
            self._wake(self.ledger.record_callback(attempt, prediction.id, self.clock()))
        except PredictionTaken:
            logger.warning("a signed callback was ignored: its prediction is another task's")
        except StatusChanged:
            logger.info("a callback was ignored: its task has ended, or is in another attempt")

    def _addressee(self, path: str) -> tuple[AttemptId, Task]:
        """The attempt that a path is about, and its task.

        Everything else is refused before anybody but the ledger is asked: the URL is public.
        """
        callback = Callback.parse(path)
        if callback is None:
            raise ForgedCallback("the callback's path names no attempt")
        logger.append_keys(task_id=callback.attempt.task_id)
        try:
            task = self.ledger.get(callback.attempt.task_id)
        except TaskNotFound as error:
            raise ForgedCallback("the callback's path names no task") from error
        token = task.callback_token
        if not (token and hmac.compare_digest(token.encode(), callback.token.encode())):
            raise ForgedCallback("the callback's path is not one that the vendor was told")
        return callback.attempt, task

    def _wake(self, task: Task) -> None:
        if task.status is Status.SUBMITTING:
            return  # the sender finds the callback in the ledger
        if task.status is Status.UNCERTAIN:
            task = self.ledger.move(task, Status.PROCESSING, self.clock(), code=None, reason=None)
        if task.task_token:
            self.wait_loop.wake(task.task_token)
        else:
            self.wait_loop.start(task, first_wait=0)

    def _authenticate(self, headers: Mapping[str, str], body: bytes) -> None:
        timestamp = headers.get(WEBHOOK_TIMESTAMP, "")
        if not timestamp.isdecimal() or len(timestamp) > len("9999999999"):
            raise ForgedCallback("the callback has no timestamp")
        if abs(self.clock().timestamp() - int(timestamp)) > MAX_AGE.total_seconds():
            raise ForgedCallback("the callback is too old or too new")
        given = headers.get(WEBHOOK_SIGNATURE, "").encode()
        for secret in (self.secret.current, self.secret.refreshed):
            signed = sign_webhook(secret(), headers.get(WEBHOOK_ID, ""), int(timestamp), body)
            if hmac.compare_digest(given, signed.encode()):
                return
        raise ForgedCallback("the callback's signature is wrong")


def _prediction(body: bytes) -> Prediction | None:
    try:
        return Prediction.model_validate_json(body)
    except ValidationError:
        return None
