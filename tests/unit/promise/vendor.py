"""The vendor as a promise test sees it: books, answers that get lost, and callbacks."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.support.fakes import Functions
from tests.support.harness import BASE_URL, MODEL, accepted, answer, download, refused
from tests.support.images import png

SECRET = "whsec_0123456789abcdef"
CALLBACKS_AT = "https://webhook.test/"
PRICE = 0.01
MOST_UPLOADS = 5
# How late the vendor's history is: less than the grace time, and more than one that is too short.
HISTORY_LAG = timedelta(seconds=300)
OUTPUTS = [png(4 + number, 3) for number in range(MOST_UPLOADS)]

ACCEPTED, LOST_AFTER, LOST_BEFORE, REFUSED = "accepted", "lost after", "lost before", "refused"
LIMITED, UNREACHABLE, BROKEN, DEAD = "limited", "unreachable", "broken", "dead"
NOTHING_ACCEPTED = {LIMITED, UNREACHABLE}
NOT_BILLED = NOTHING_ACCEPTED | {REFUSED}


@dataclass
class Posted:
    """One submit in the vendor's books."""

    task_id: str
    attempt: int
    outcome: str
    at: datetime
    prediction_id: str = ""


@dataclass
class AtVendor:
    """An image that the vendor has accepted."""

    number: int
    callback: str
    created_at: datetime
    status: str = "processing"
    told: bool = False


class Vendor:
    """Answers as `reply` says; `sent` is told the number of each upload that is submitted.

    `number_of` tells whose image is behind a URL.
    """

    def __init__(
        self,
        functions: Functions,
        clock: Callable[[], datetime],
        sent: Callable[[int, str], Posted],
        number_of: Callable[[httpx.URL], int],
    ) -> None:
        self._functions = functions
        self._clock = clock
        self._sent = sent
        self._number_of = number_of
        self.posts: list[Posted] = []
        self.predictions: dict[str, AtVendor] = {}
        self.reply = ACCEPTED

    def answer(self, request: httpx.Request) -> httpx.Response:
        self._functions.spend()
        path = request.url.path
        if path.endswith("/model/price"):
            return answer(price=PRICE)
        if path.endswith("/webhook/secret"):
            return answer(secret=SECRET)
        if path.startswith("/out/"):
            return download(OUTPUTS[int(path.removeprefix("/out/"))])
        if path.endswith("/result"):
            return self._result(path.split("/")[-2])
        if path.endswith("/predictions/delete"):
            return self._delete(json.loads(request.content)["ids"])
        if path.endswith("/predictions"):
            return self._history(json.loads(request.content))
        return self._submitted(request)

    def end_all(self) -> None:
        """Complete whatever is still being processed."""
        for known in self.processing():
            known.status = "completed"

    def processing(self) -> list[AtVendor]:
        return [known for known in self.predictions.values() if known.status == "processing"]

    def called_back(self) -> list[str]:
        """The predictions that the vendor was asked to call back about."""
        return [name for name, known in self.predictions.items() if known.callback]

    def _result(self, prediction_id: str) -> httpx.Response:
        if prediction_id not in self.predictions:
            return refused(404)
        known = self.predictions[prediction_id]
        done = known.status == "completed"
        outputs = [f"{BASE_URL}/out/{known.number}"] if done else []
        return answer(
            id=prediction_id,
            status=known.status,
            outputs=outputs,
            timings={"inference": 2000 if done else 0},
        )

    def _delete(self, ids: list[str]) -> httpx.Response:
        gone = [self.predictions.pop(name, None) for name in ids]
        return answer(deleted_count=len(gone) - gone.count(None))

    def _history(self, asked: dict[str, Any]) -> httpx.Response:
        """The first page has all; there is one model."""
        after, before = (datetime.fromisoformat(asked[f"created_{n}"]) for n in ("after", "before"))
        items = [
            {"id": name, "model": MODEL, "status": p.status, "created_at": str(p.created_at)}
            for name, p in self.predictions.items()
            if after <= p.created_at <= before and p.created_at + HISTORY_LAG <= self._clock()
        ]
        return answer(page=1, total=len(items), items=items)

    def _submitted(self, request: httpx.Request) -> httpx.Response:
        number = self._number_of(httpx.URL(json.loads(request.content)["image"]))
        posted = self._sent(number, self.reply)
        self.posts.append(posted)
        if posted.outcome in {ACCEPTED, LOST_AFTER, DEAD}:
            posted.prediction_id = f"p{len(self.posts)}"
            callback = request.url.params.get("webhook", "").removeprefix(CALLBACKS_AT)
            self.predictions[posted.prediction_id] = AtVendor(number, callback, posted.at)
        return self._replied(posted)

    def _replied(self, posted: Posted) -> httpx.Response:
        match posted.outcome:
            case "lost after" | "lost before":
                raise httpx.ReadTimeout("no answer")
            case "unreachable":
                raise httpx.ConnectError("no route")
            case "limited":
                return refused(429)
            case "refused":
                return refused(400, "this image is invalid")
            case "broken":
                return refused(500)
            case "dead":
                self._functions.die()
        return accepted(posted.prediction_id)
