"""The WaveSpeedAI client: one method per endpoint, every answer one of our models or errors.

A submit is sent once, as the vendor's own SDKs do: a repeated POST is a second billed task.
"""

import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from http import HTTPStatus
from itertools import count
from typing import Annotated, Any, Self

import httpx
from pydantic import ValidationError
from pydantic_core import from_json

from cutout.domain.errors import (
    AnswerLost,
    InsufficientCredits,
    PredictionNotFound,
    RateLimited,
    RequestRefused,
    Unauthorized,
    VendorRedirects,
    VendorUnavailable,
    VendorUnreachable,
)
from cutout.domain.options import Options
from cutout.wavespeed.contract import (
    MOST_ON_A_PAGE,
    Answer,
    Balance,
    Deleted,
    DeleteRequest,
    History,
    HistoryRequest,
    Prediction,
    Price,
    PriceRequest,
    SubmitRequest,
    VendorText,
    WebhookSecret,
    or_default,
)
from cutout.wavespeed.texts import scrubbed

# A TCP connection that takes longer than 5 s will not come; a submit answers in a second or two,
# 30 s is for a vendor in trouble; writes are small; the pool is never shared.
_TIMEOUT = httpx.Timeout(connect=5, read=30, write=10, pool=5)
# The vendor's own wait in sync mode ends after about 90 s.
_SYNC_TIMEOUT = httpx.Timeout(connect=5, read=100, write=10, pool=5)
# The submit costs money, and a connection that was kept may have died unnoticed, while Lambda had
# the function frozen for one. Polls are further apart than httpx keeps connections anyway.
_FRESH_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)
# An answer is in memory twice while it is parsed, which has to fit into the function; of this, 96
# MiB of PNG are left with base64 output.
MAX_ANSWER_BYTES = 128 * 1024 * 1024
_READ_ATTEMPTS = 3
_MAX_RETRY_AFTER = 900
_UNKNOWN = "whether it was accepted is unknown"
# Nothing has left this machine when one of these is raised.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# A request that is answered so was not taken; that is not certain of any other answer.
_REFUSALS = {400, 402, 404, 413, 415, 422}


_KEY_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@cache
def tls() -> ssl.SSLContext:
    """One for all clients: to read the certificates takes a tenth of a cold start."""
    return httpx.create_ssl_context()


class _Bearer(httpx.Auth):
    """Asks for the key at each request; one that is refused may have been rotated just now.

    A refused request was not accepted, so that it may be sent again with the new key.
    """

    def __init__(self, api_key: Callable[[], str], fresh_key: Callable[[], str]) -> None:
        self._api_key = api_key
        self._fresh_key = fresh_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        key = self._api_key()
        request.headers["Authorization"] = f"Bearer {key}"
        response = yield request
        if response.status_code in _KEY_REFUSED and (fresh := self._fresh_key()) != key:
            request.headers["Authorization"] = f"Bearer {fresh}"
            yield request


class WaveSpeed:
    """The API at one base URL; keep it for the process's life.

    `fresh_key` is asked, if there is one, when the vendor has refused what `api_key` gave.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Callable[[], str],
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        fresh_key: Callable[[], str] | None = None,
    ) -> None:
        self._pause = pause
        self._http = httpx.Client(
            base_url=base_url.rstrip("/") + "/api/v3/",
            auth=_Bearer(api_key, fresh_key or api_key),
            headers={"Accept-Encoding": "identity"},  # a compressed answer could hide a bomb
            timeout=_TIMEOUT,
            limits=_FRESH_CONNECTIONS,
            verify=tls(),
            transport=transport,
        )

    def submit(
        self, image_url: str, options: Options, webhook_url: str | None = None
    ) -> Prediction:
        """Have the image behind a URL processed; this costs money, so it is sent once.

        In sync mode the answer takes as long as the model, and may already hold the result.
        Raises a `NotNow` or `RequestRefused` if nothing was accepted, and `AnswerLost` if that
        is not known.
        """
        body = SubmitRequest(
            image=image_url,
            enable_base64_output=options.base64_output,
            enable_sync_mode=options.sync,
        )
        try:
            reply = self._ask(
                "POST",
                options.model,
                json=body.model_dump(exclude_defaults=True),
                params={"webhook": webhook_url} if webhook_url else None,
                timeout=_SYNC_TIMEOUT if options.sync else _TIMEOUT,
            )
        except _NEVER_SENT as error:
            raise VendorUnreachable(f"the submit {_happened(error)}") from error
        except httpx.HTTPError as error:
            raise AnswerLost(f"the submit {_happened(error)}; {_UNKNOWN}") from error
        prediction = reply.prediction()
        _refuse(reply, prediction)
        if prediction is None:
            raise AnswerLost(f"the submit was answered without a prediction; {_UNKNOWN}")
        return prediction

    def result(self, prediction_id: str) -> Prediction:
        """Ask how a prediction stands, once: whoever needs the result asks again anyway.

        Raises `PredictionNotFound`, `Unauthorized`, `RateLimited` or `VendorUnavailable`.
        """
        reply = self._read_once(f"predictions/{prediction_id}/result")
        if reply.code == HTTPStatus.NOT_FOUND:
            raise PredictionNotFound(f"the vendor did not find prediction {prediction_id}")
        prediction = reply.prediction()
        if prediction is None:
            raise VendorUnavailable("the vendor's answer has no prediction")
        if prediction.id != prediction_id:
            raise VendorUnavailable("the vendor's answer is about another prediction")
        return prediction

    def history(self, model: str, after: datetime, before: datetime) -> Iterator[Prediction]:
        """A model's predictions that were created between two times, newest first.

        Pages are read as they are needed, until one brings nothing new. What is deleted meanwhile
        moves others to earlier pages, so that these are read once more, backwards: whatever moves
        is met there. Raises as `result` does.
        """
        asked = HistoryRequest(
            page_size=MOST_ON_A_PAGE, model=model, created_after=after, created_before=before
        )
        seen: set[str] = set()
        for number in count(1):
            page = self._history_page(asked.model_copy(update={"page": number}))
            new = _unseen(page, seen)
            yield from new
            if not new or len(seen) == page.total:
                break
        for again in range(number - 1, 0, -1):
            page = self._history_page(asked.model_copy(update={"page": again}))
            yield from _unseen(page, seen)
        if page.total and len(seen) < page.total:
            raise VendorUnavailable("the vendor's history is shorter than it says")

    def _history_page(self, asked: HistoryRequest) -> History:
        body = asked.model_dump(mode="json", exclude_none=True)
        reply = self._read("predictions", method="POST", json=body)
        try:
            return History.model_validate(reply.data, context=reply.key)
        except ValidationError as error:
            raise VendorUnavailable("the vendor's answer has no history") from error

    def delete(self, prediction_ids: Iterable[str]) -> int:
        """Delete predictions and their outputs; how many there were. Raises as `result` does."""
        body = DeleteRequest(ids=list(prediction_ids)).model_dump()
        reply = self._read("predictions/delete", method="POST", json=body)
        try:
            return Deleted.model_validate(reply.data).deleted_count
        except ValidationError as error:
            raise VendorUnavailable("the vendor's answer does not say what it deleted") from error

    def webhook_secret(self) -> str:
        """The secret that webhooks are signed with. Raises as `result` does."""
        reply = self._read("webhook/secret")
        try:
            return WebhookSecret.model_validate(reply.data).secret
        except ValidationError as error:
            raise VendorUnavailable("the vendor's answer has no webhook secret") from error

    def price(self, model: str) -> Price:
        """What one image costs with a model. Raises as `result` does."""
        body = PriceRequest(model_id=model).model_dump()
        reply = self._read("model/price", method="POST", json=body)
        try:
            return Price.model_validate(reply.data)
        except ValidationError as error:
            raise VendorUnavailable("the vendor's answer has no price") from error

    def balance(self) -> Decimal:
        """The account's credits in USD, asked for once. Raises as `result` does."""
        reply = self._read_once("balance")
        try:
            return Decimal(str(Balance.model_validate(reply.data).balance))
        except ValidationError as error:
            raise VendorUnavailable("the vendor's answer has no balance") from error

    def _read(self, path: str, method: str = "GET", **more: Any) -> "_Reply":
        """Ask up to three times, for nobody else asks again for a price or a secret."""
        for attempt in range(1, _READ_ATTEMPTS):
            try:
                return self._read_once(path, method, **more)
            except VendorUnavailable:
                self._pause(attempt)
        return self._read_once(path, method, **more)

    def _read_once(self, path: str, method: str = "GET", **more: Any) -> "_Reply":
        try:
            reply = self._ask(method, path, **more)
        except httpx.HTTPError as error:
            raise VendorUnavailable(f"the request {_happened(error)}") from error
        _refuse_credentials_and_pace(reply)
        if reply.redirects_to:
            raise VendorUnavailable(f"the vendor's base URL redirects to {reply.redirects_to}")
        if reply.code != HTTPStatus.NOT_FOUND and reply.code >= HTTPStatus.BAD_REQUEST:
            raise VendorUnavailable(f"the vendor answered {reply.code}")
        return reply

    def _ask(self, method: str, path: str, **more: Any) -> "_Reply":
        """Raises httpx's errors, also for an answer that is too large to be one."""
        with self._http.stream(method, path, **more) as response:
            content = bytearray()
            for block in response.iter_bytes():
                content += block
                if len(content) > MAX_ANSWER_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_ANSWER_BYTES} bytes")
            return _Reply.of(response, content)


def _unseen(page: History, seen: set[str]) -> list[Prediction]:
    """What a page has that was not seen, which it is then."""
    new = {found.id: found for found in page.items if found.id not in seen}
    seen.update(new)
    return list(new.values())


def _happened(error: httpx.HTTPError) -> str:
    """What became of a request, without its URL."""
    if isinstance(error, _NEVER_SENT):
        what = "could not connect to the vendor"
    elif isinstance(error, httpx.TimeoutException):
        what = "timed out"
    elif isinstance(error, httpx.DecodingError):
        what = "had an answer that is too large or cannot be unpacked"
    else:
        what = "failed: the connection to the vendor broke"
    return f"{what} ({type(error).__name__})"


class _Envelope(Answer):
    """What an answer is wrapped in, if it is; nulls stand for nothing."""

    code: Annotated[int | None, or_default(None)] = None
    message: VendorText = ""
    error: VendorText = ""
    data: Any = None
    id: Any = None  # only a prediction without an envelope has it here


@dataclass(frozen=True)
class _Reply:
    """A response, parsed once, for it may hold a whole image.

    `code` is the status that counts, `data` the answer without its envelope, `message` the reason
    of a refusal, `key` the one that was asked with.
    """

    code: int
    message: str
    data: Any
    retry_after: int | None
    redirects_to: str
    key: str

    @classmethod
    def of(cls, response: httpx.Response, content: bytearray) -> Self:
        key = response.request.headers["Authorization"].removeprefix("Bearer ")
        try:
            body = from_json(content)
            envelope = _Envelope.model_validate(body, context=key)
        except ValueError:  # gateways answer in HTML, which says nothing
            body, envelope = None, _Envelope()
        return cls(
            code=_code(response, envelope),
            message=envelope.message or envelope.error or "no reason given",
            data=body if envelope.data is None else envelope.data,
            retry_after=_retry_after(response),
            redirects_to=_redirects_to(response, key),
            key=key,
        )

    def prediction(self) -> Prediction | None:
        """The prediction that it holds, if any."""
        try:
            return Prediction.model_validate(self.data, context=self.key)
        except ValidationError:
            return None


def _code(response: httpx.Response, envelope: _Envelope) -> int:
    """The status that counts: an HTTP 200 may carry another code in its envelope.

    The code of a bare prediction is the task's own, which decides nothing.
    """
    if response.is_error or envelope.id or envelope.code is None:
        return response.status_code
    return envelope.code


def _refuse(reply: _Reply, prediction: Prediction | None) -> None:
    """Raise what a submit that was not accepted means, and what leaves that open."""
    if prediction and reply.code >= HTTPStatus.BAD_REQUEST:
        raise AnswerLost(f"the submit was answered with {reply.code} and a prediction; {_UNKNOWN}")
    _refuse_credentials_and_pace(reply)
    if reply.redirects_to:
        raise VendorRedirects(
            f"the vendor's base URL redirects to {reply.redirects_to}; set WaveSpeedBaseUrl to that"
        )
    if reply.code in _REFUSALS and "insufficient credits" in reply.message.lower():
        raise InsufficientCredits("the WaveSpeed account is out of credits; top it up")
    if reply.code in _REFUSALS:
        raise RequestRefused(f"the vendor refused the request ({reply.code}): {reply.message}")
    if reply.code >= HTTPStatus.BAD_REQUEST:
        raise AnswerLost(f"the submit was answered with {reply.code}; {_UNKNOWN}")


def _refuse_credentials_and_pace(reply: _Reply) -> None:
    if reply.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Unauthorized(
            f"the vendor refused the API key ({reply.code}); put a valid key into the secret"
        )
    if reply.code == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimited("the vendor's rate limit is reached", reply.retry_after)


def _redirects_to(response: httpx.Response, key: str) -> str:
    """Where a 3xx leads, empty for other answers."""
    location = scrubbed(response.headers.get("Location", ""), key) or "nowhere"
    return location if response.is_redirect else ""


def _retry_after(response: httpx.Response) -> int | None:
    """The header's seconds, capped; the vendor was never seen to send it, so dates are left."""
    value = response.headers.get("Retry-After", "")[:9]
    return min(max(1, int(value)), _MAX_RETRY_AFTER) if value.isdecimal() else None
