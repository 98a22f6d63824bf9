"""Measure what no function counts: how much is open, since when, and what the account holds.

The clock function does it every few minutes, and asks the vendor for an operator, who then needs no
right to read the API key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cutout.domain.clock import utc_now
from cutout.domain.errors import NotNow, VendorUnavailable
from cutout.domain.messages import VendorAnswer, VendorQuestion
from cutout.domain.tasks import WATCHED, Status
from cutout.observability import logger, measure_balance, measure_oldest, measure_open
from cutout.settings import ClockSettings
from cutout.store.ledger import Ledger
from cutout.wavespeed.client import WaveSpeed

_NO_ANSWER = (NotNow, VendorUnavailable)


@dataclass(frozen=True)
class Meter:
    """Everything that measuring needs; `clock` gives the time in UTC."""

    settings: ClockSettings
    ledger: Ledger
    wavespeed: WaveSpeed
    clock: Callable[[], datetime] = utc_now

    def measure(self) -> None:
        """Write the metrics. Raises `ServiceError`; a vendor that gives no answer is logged."""
        for status in sorted(WATCHED):
            if tasks := self.ledger.count(status):
                measure_open(status, tasks)
        now = self.clock()
        for oldest in self.ledger.due(Status.QUEUED, now):
            measure_oldest((now - datetime.fromisoformat(oldest.due_at)).total_seconds())
            break
        if self.settings.low_balance:
            try:
                measure_balance(self.wavespeed.balance())
            except _NO_ANSWER as error:
                logger.warning("the balance could not be read", code=error.code, reason=str(error))

    def ask_vendor(self, question: VendorQuestion.Detail) -> VendorAnswer:
        """What the vendor says to the stack's own key, up to where it gives no answer."""
        answer = VendorAnswer()
        try:
            answer.balance = self.wavespeed.balance()
            answer.price = self.wavespeed.price(self.settings.model_id).charged
            if question.prediction_id:
                answer.listed = self._lists(question.prediction_id, question.since)
        except _NO_ANSWER as error:
            answer.code, answer.reason = error.code, str(error)
        return answer

    def _lists(self, prediction_id: str, since: datetime | None) -> bool:
        now = self.clock()
        after = since or now - timedelta(hours=1)
        listed = self.wavespeed.history(self.settings.model_id, after, now + timedelta(minutes=1))
        return any(prediction.id == prediction_id for prediction in listed)
