import gzip
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from cutout.domain.errors import (
    AnswerLost,
    ApiKeyUnavailable,
    CutoutError,
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
from cutout.wavespeed.client import WaveSpeed, tls
from cutout.wavespeed.contract import PredictionStatus

BASE = "https://api.wavespeed.test"
MODEL = "wavespeed-ai/image-background-remover"
OPTIONS = Options(model=MODEL)
IMAGE = "https://s3.test/in/cat.jpg?signature=hush"
ID = "0123456789abcdef0123456789abcdef"
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
CREDITS = "Insufficient credits. Please top up your account to continue."

Reply = httpx.Response | Exception


def prediction(**fields: Any) -> dict[str, Any]:
    return {"id": ID, "model": MODEL, "outputs": [], "status": "created"} | fields


def envelope(data: Any, code: int = 200, message: str = "success") -> dict[str, Any]:
    return {"code": code, "message": message, "data": data}


def answer(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json=body, headers={k.replace("_", "-"): headers[k] for k in headers}
    )


def html(status: int) -> httpx.Response:
    return httpx.Response(status, html=HTML)


def refusal(status: int, message: str = "") -> httpx.Response:
    return answer({"code": status, "message": message}, status)


class Vendor:
    """Gives the replies one after the other, the last one for ever; keeps what it was asked."""

    def __init__(self, *replies: Reply, api_key: Callable[[], str] = lambda: "wsk-1") -> None:
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        self._replies = list(replies)
        self.client = WaveSpeed(BASE, api_key, httpx.MockTransport(self._reply), self.pauses.append)

    def _reply(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)


def page(number: int, *items: dict[str, Any], total: int | None = None) -> httpx.Response:
    """A page of the history."""
    return answer(envelope({"page": number, "total": total, "items": list(items)}))


# ------------------------------------------------------------------ submit


def test_a_submit_is_what_the_model_page_says() -> None:
    vendor = Vendor(answer(envelope(prediction())))
    assert vendor.client.submit(IMAGE, OPTIONS).id == ID
    (request,) = vendor.requests
    assert request.method == "POST"
    assert request.url == f"{BASE}/api/v3/{MODEL}"
    assert request.headers["Authorization"] == "Bearer wsk-1"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.content) == {"image": IMAGE}


def test_a_base_url_may_end_in_a_slash() -> None:
    seen: list[httpx.URL] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return answer(envelope(prediction()))

    WaveSpeed(f"{BASE}/", lambda: "k", httpx.MockTransport(reply)).submit(IMAGE, OPTIONS)
    assert seen == [f"{BASE}/api/v3/{MODEL}"]


@pytest.mark.parametrize(
    "body",
    [
        envelope(prediction()),
        prediction(),
        {"message": "success", "data": prediction()},
        {"data": prediction()},
        prediction(code=5004, status="processing"),
        envelope(prediction(code=5004, status="processing", error="Sync mode timed out")),
        prediction(code=None, error=None, outputs=None, has_nsfw_contents=None),
        envelope(prediction(created_at="2026-09-14T08:15:02.123456789Z", executionTime=12)),
    ],
    ids=["envelope", "bare", "no code", "only data", "bare 5004", "5004", "bare nulls", "extra"],
)
def test_a_prediction_is_found_in_every_form(body: Any) -> None:
    assert Vendor(answer(body)).client.submit(IMAGE, OPTIONS).id == ID


NEVER_SENT = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("too slow"),
    httpx.PoolTimeout("too busy"),
]
NO_ANSWER = [
    httpx.ReadTimeout("silence"),
    httpx.WriteTimeout("stuck"),
    httpx.ReadError("connection reset by peer"),
    httpx.WriteError("broken pipe"),
    httpx.RemoteProtocolError("server disconnected without sending a response"),
]
SUBMIT_ERRORS: list[tuple[Reply, type[CutoutError]]] = [
    *((error, VendorUnreachable) for error in NEVER_SENT),
    *((error, AnswerLost) for error in NO_ANSWER),
    (refusal(401), Unauthorized),
    (refusal(403), Unauthorized),
    (html(403), Unauthorized),
    (answer(envelope(None, 401, "bad key")), Unauthorized),
    (refusal(429, "You have reached your concurrency limit"), RateLimited),
    (html(429), RateLimited),
    (answer(envelope(None, 429, "You have reached your concurrency limit")), RateLimited),
    (answer(envelope({}, 429)), RateLimited),
    (answer(envelope({"retry": True}, 429), 429), RateLimited),
    (refusal(400, CREDITS), InsufficientCredits),
    (refusal(402, CREDITS.upper()), InsufficientCredits),
    (answer(envelope({}, 400, CREDITS), 400), InsufficientCredits),
    (answer(envelope(None, 400, CREDITS)), InsufficientCredits),
    (answer(envelope({}, 400, CREDITS)), InsufficientCredits),
    (answer({"error": CREDITS}, 400), InsufficientCredits),
    (refusal(400, "model not found"), RequestRefused),
    (answer(envelope({}, 400, "image is required")), RequestRefused),
    (refusal(404), RequestRefused),
    (html(413), RequestRefused),
    (answer({"error": "webhook callback does not support base64 output"}, 400), RequestRefused),
    *((html(status), AnswerLost) for status in (500, 502, 503, 504)),
    (refusal(500, "internal error"), AnswerLost),
    (refusal(500, CREDITS), AnswerLost),
    (answer(envelope(None, 500, "internal error")), AnswerLost),
    *((refusal(status), AnswerLost) for status in (405, 408, 409, 410, 425, 451, 499)),
    (answer(envelope(None, 409, "conflict")), AnswerLost),
    *((refusal(status, "no"), RequestRefused) for status in (400, 402, 404, 413, 415, 422)),
    *((answer(envelope(prediction(), status), status), AnswerLost) for status in (400, 429)),
    (answer(envelope(prediction(), 400)), AnswerLost),
    *(
        (httpx.Response(status, headers={"Location": f"{BASE}/elsewhere"}), VendorRedirects)
        for status in (301, 302, 303, 307, 308)
    ),
    (httpx.Response(302), VendorRedirects),
    (html(200), AnswerLost),
    (httpx.Response(200), AnswerLost),
    (answer(envelope(None)), AnswerLost),
    (answer(envelope({})), AnswerLost),
    (answer({}), AnswerLost),
    (answer([]), AnswerLost),
    (answer(envelope({"id": ID})), AnswerLost),
]


@pytest.mark.parametrize(("reply", "error"), SUBMIT_ERRORS)
def test_a_submit_that_goes_wrong_is_one_of_our_errors_and_is_sent_once(
    reply: Reply, error: type[CutoutError]
) -> None:
    vendor = Vendor(reply)
    with pytest.raises(CutoutError) as caught:
        vendor.client.submit(IMAGE, OPTIONS)
    assert type(caught.value) is error
    assert len(vendor.requests) == 1
    assert vendor.pauses == []


@pytest.mark.parametrize(("reply", "_error"), SUBMIT_ERRORS)
def test_errors_of_a_submit_tell_neither_the_key_nor_the_url(
    reply: Reply, _error: type[CutoutError]
) -> None:
    with pytest.raises(CutoutError) as caught:
        Vendor(reply).client.submit(IMAGE, OPTIONS)
    assert "wsk-1" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refusal(400, "model not found"), "\\(400\\): model not found"),
        (answer({"error": "no base64 output here"}, 400), "\\(400\\): no base64 output here"),
        (html(413), "\\(413\\): no reason given"),
    ],
)
def test_a_refusal_tells_the_vendors_reason(reply: Reply, said: str) -> None:
    with pytest.raises(RequestRefused, match=said):
        Vendor(reply).client.submit(IMAGE, OPTIONS)


def test_an_answer_that_leaves_all_open_is_told_by_its_status() -> None:
    said = r"^the submit was answered with 502; whether it was accepted is unknown$"
    with pytest.raises(AnswerLost, match=said):
        Vendor(html(502)).client.submit(IMAGE, OPTIONS)


def test_a_redirect_is_named_and_the_key_stays_here() -> None:
    vendor = Vendor(httpx.Response(301, headers={"Location": "https://b.test/x?token=hush"}))
    with pytest.raises(VendorRedirects, match=r"redirects to https://b\.test/x") as caught:
        vendor.client.submit(IMAGE, OPTIONS)
    assert "hush" not in str(caught.value)
    assert [request.url.host for request in vendor.requests] == ["api.wavespeed.test"]


def test_a_result_that_redirects_says_so() -> None:
    vendor = Vendor(httpx.Response(301, headers={"Location": "https://b.test/x"}))
    with pytest.raises(VendorUnavailable, match=r"redirects to https://b\.test/x"):
        vendor.client.result(ID)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7),
        ("0", 1),
        ("900", 900),
        ("999999999", 900),
        ("-5", 60),
        ("1.5", 60),
        ("", 60),
        ("soon", 60),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60),
        (None, 60),
    ],
)
def test_retry_after_is_honoured_within_bounds(header: str | None, wait: int) -> None:
    headers = {} if header is None else {"Retry_After": header}
    with pytest.raises(RateLimited) as caught:
        Vendor(answer({"code": 429}, 429, **headers)).client.submit(IMAGE, OPTIONS)
    assert caught.value.wait_seconds == wait


def test_the_key_is_asked_for_at_each_request() -> None:
    keys = iter(["old", "new", "newer"])
    vendor = Vendor(answer(envelope(prediction())), api_key=lambda: next(keys))
    vendor.client.submit(IMAGE, OPTIONS)
    vendor.client.submit(IMAGE, OPTIONS)
    vendor.client.result(ID)
    sent = [request.headers["Authorization"] for request in vendor.requests]
    assert sent == ["Bearer old", "Bearer new", "Bearer newer"]


def no_key() -> str:
    raise ApiKeyUnavailable("the secret cannot be read")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.submit(IMAGE, OPTIONS),
        lambda client: client.result(ID),
        WaveSpeed.webhook_secret,
    ],
    ids=["submit", "result", "webhook_secret"],
)
def test_without_a_key_nothing_is_sent(call: Callable[[WaveSpeed], object]) -> None:
    vendor = Vendor(answer(envelope(prediction())), api_key=no_key)
    with pytest.raises(ApiKeyUnavailable):
        call(vendor.client)
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, {}),
        ({"sync": True}, {"enable_sync_mode": True}),
        ({"base64_output": True}, {"enable_base64_output": True}),
        (
            {"sync": True, "base64_output": True},
            {"enable_sync_mode": True, "enable_base64_output": True},
        ),
    ],
)
def test_only_what_is_asked_for_is_in_the_body(
    options: dict[str, bool], flags: dict[str, bool]
) -> None:
    vendor = Vendor(answer(envelope(prediction())))
    vendor.client.submit(IMAGE, Options(model="acme/cutter", **options))
    (request,) = vendor.requests
    assert request.url == f"{BASE}/api/v3/acme/cutter"
    assert json.loads(request.content) == {"image": IMAGE, **flags}


def test_a_sync_submit_waits_longer_than_the_vendor_does() -> None:
    vendor = Vendor(answer(envelope(prediction())))
    vendor.client.submit(IMAGE, Options(model=MODEL, sync=True))
    vendor.client.submit(IMAGE, OPTIONS)
    sync, plain = (request.extensions["timeout"] for request in vendor.requests)
    assert sync["read"] > 90 > plain["read"]
    assert {**sync, "read": 0} == {**plain, "read": 0}


def test_a_sync_answer_holds_the_result() -> None:
    done = prediction(status="completed", outputs=["https://cdn.test/out.png"])
    vendor = Vendor(answer(envelope(done)))
    result = vendor.client.submit(IMAGE, Options(model=MODEL, sync=True))
    assert (result.status, result.outputs) == (PredictionStatus.COMPLETED, done["outputs"])


def test_a_webhook_goes_percent_encoded_into_the_query() -> None:
    webhook = "https://abc.lambda-url.eu-central-1.on.aws/a b/0123-1?x=1&y=ü#z"
    vendor = Vendor(answer(envelope(prediction())))
    vendor.client.submit(IMAGE, OPTIONS, webhook)
    (request,) = vendor.requests
    query = request.url.query.decode()
    assert query.startswith("webhook=https%3A%2F%2Fabc.lambda-url.eu-central-1.on.aws%2Fa")
    assert parse_qs(query, strict_parsing=True) == {"webhook": [webhook]}
    assert json.loads(request.content) == {"image": IMAGE}


def test_without_a_webhook_there_is_no_query() -> None:
    vendor = Vendor(answer(envelope(prediction())))
    vendor.client.submit(IMAGE, OPTIONS)
    assert vendor.requests[0].url.query == b""


# ------------------------------------------------------------------ webhook_secret


SECRET = "whsec_0123456789abcdef"


@pytest.mark.parametrize(
    "body", [envelope({"secret": SECRET}), {"secret": SECRET}, {"data": {"secret": SECRET}}]
)
def test_the_webhook_secret_is_found_in_its_envelope_and_bare(body: Any) -> None:
    vendor = Vendor(answer(body))
    assert vendor.client.webhook_secret() == SECRET
    (request,) = vendor.requests
    assert request.method == "GET"
    assert request.url == f"{BASE}/api/v3/webhook/secret"
    assert request.headers["Authorization"] == "Bearer wsk-1"


@pytest.mark.parametrize(
    "reply",
    [
        answer(envelope(None)),
        answer(envelope({})),
        answer(envelope({"secret": None})),
        answer(envelope({"secret": ""})),
        answer(envelope({"secret": "whsec_"})),
        answer(envelope({"secret": 17})),
        answer(["secret"]),
        answer({}),
        answer({"code": 404, "message": "no such endpoint"}, 404),
        httpx.Response(200, html=HTML),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(204),
    ],
)
def test_an_answer_without_a_usable_secret_is_trouble_of_the_vendor(reply: httpx.Response) -> None:
    with pytest.raises(VendorUnavailable, match="no webhook secret"):
        Vendor(reply).client.webhook_secret()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"code": 401}, 401), Unauthorized),
        (answer({"code": 429}, 429), RateLimited),
        (httpx.Response(502, html=HTML), VendorUnavailable),
        (httpx.ConnectError("refused"), VendorUnavailable),
    ],
)
def test_the_webhook_secret_is_asked_for_as_a_result_is(
    reply: Reply, error: type[CutoutError]
) -> None:
    with pytest.raises(error):
        Vendor(reply).client.webhook_secret()


def test_a_passing_trouble_does_not_hide_the_webhook_secret() -> None:
    vendor = Vendor(httpx.Response(503), answer(envelope({"secret": SECRET})))
    assert vendor.client.webhook_secret() == SECRET
    assert len(vendor.pauses) == 1


# ------------------------------------------------------------------ result


def test_a_result_is_what_the_model_page_says() -> None:
    outputs = ["https://cdn.test/out.png"]
    done = prediction(status="completed", outputs=outputs, timings={"inference": 1234.4})
    vendor = Vendor(answer(envelope(done)))
    result = vendor.client.result(ID)
    assert (result.status, result.outputs) == (PredictionStatus.COMPLETED, outputs)
    assert result.timings.inference == 1234
    (request,) = vendor.requests
    assert request.method == "GET"
    assert request.url == f"{BASE}/api/v3/predictions/{ID}/result"
    assert request.headers["Authorization"] == "Bearer wsk-1"


def test_a_failed_task_is_an_answer_and_no_error() -> None:
    failed = prediction(status="failed", error="could not fetch the image", code=1402)
    result = Vendor(answer(envelope(failed))).client.result(ID)
    assert (result.status, result.error) == (PredictionStatus.FAILED, "could not fetch the image")


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_an_error_is_one_whatever_its_envelope_says(status: int) -> None:
    with pytest.raises(AnswerLost, match=f"answered with {status} and a prediction"):
        Vendor(answer(envelope(prediction(), code=200), status)).client.submit(IMAGE, OPTIONS)
    with pytest.raises((VendorUnavailable, PredictionNotFound)):
        Vendor(answer(envelope(prediction(), code=200), status)).client.result(ID)


@pytest.mark.parametrize("body", [prediction(code=5004), envelope(prediction(code=5004))])
def test_a_task_code_does_not_end_a_task(body: Any) -> None:
    assert not Vendor(answer(body)).client.result(ID).status.ended


@pytest.mark.parametrize("other", ["f" * 32, ID.upper(), ID + "0", ""])
def test_a_result_is_taken_only_for_the_prediction_that_was_asked_for(other: str) -> None:
    done = prediction(id=other, status="completed", outputs=["https://cdn.test/others.png"])
    with pytest.raises(VendorUnavailable):
        Vendor(answer(envelope(done))).client.result(ID)


@pytest.mark.parametrize(
    "odd",
    [
        {"has_nsfw_contents": [None]},
        {"has_nsfw_contents": "no"},
        {"timings": {"inference": "123.4x"}},
        {"timings": {"inference": 10**41}},
        {"timings": {"inference": -1}},
        {"timings": "fast"},
        {"created_at": "yesterday"},
        {"code": "E1"},
        {"urls": []},
        {"model": 7},
        {"error": {"deep": [1, 2]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("wrapped", [{"code": "E1"}, {"message": {"text": "ok"}}, {"message": 7}])
def test_a_paid_result_is_not_refused_for_what_nothing_uses(
    odd: dict[str, Any], wrapped: dict[str, Any]
) -> None:
    done = prediction(status="completed", outputs=["https://cdn.test/out.png"], **odd)
    result = Vendor(answer(envelope(done) | wrapped)).client.result(ID)
    assert (result.status, result.outputs) == (PredictionStatus.COMPLETED, done["outputs"])
    assert result.timings.inference == 0


def test_an_infinite_latency_is_none() -> None:
    body = json.dumps(envelope(prediction(timings={"inference": float("inf")})))
    vendor = Vendor(httpx.Response(200, content=body.replace("Infinity", "1e999")))
    assert vendor.client.result(ID).timings.inference == 0


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_is_bounded_however_it_is_packed(
    monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr("cutout.wavespeed.client.MAX_ANSWER_BYTES", 10_000)
    body = json.dumps(envelope(prediction(outputs=["x" * 20_000]))).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    sent = gzip.compress(body) if packed else body

    def vendor(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(sent))

    client = WaveSpeed(BASE, lambda: "wsk-1", httpx.MockTransport(vendor))
    with pytest.raises(VendorUnavailable, match="too large"):
        client.result(ID)
    with pytest.raises(AnswerLost, match="too large"):
        client.submit(IMAGE, OPTIONS)


def test_an_answer_may_be_as_large_as_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(envelope(prediction())).encode()
    monkeypatch.setattr("cutout.wavespeed.client.MAX_ANSWER_BYTES", len(body))

    assert Vendor(httpx.Response(200, content=body)).client.result(ID).id == ID


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("hush"), r"could not connect to the vendor \(ConnectError\)"),
        (httpx.ConnectTimeout("hush"), r"could not connect to the vendor \(ConnectTimeout\)"),
        (httpx.ReadTimeout("hush"), r"timed out \(ReadTimeout\)"),
        (httpx.ReadError("hush"), r"failed: the connection to the vendor broke \(ReadError\)"),
    ],
)
def test_what_became_of_a_request_is_told(error: httpx.HTTPError, said: str) -> None:
    with pytest.raises(VendorUnavailable, match=f"^the request {said}$"):
        Vendor(error).client.result(ID)
    with pytest.raises(CutoutError, match=f"^the submit {said}"):
        Vendor(error).client.submit(IMAGE, OPTIONS)


PASSING: list[Reply] = [
    *NEVER_SENT,
    *NO_ANSWER,
    *(html(status) for status in (500, 502, 503, 504)),
    answer(envelope(None, 500, "internal error")),
    answer(envelope({}, 503)),
    refusal(400, "bad request"),
]


@pytest.mark.parametrize("reply", PASSING)
def test_a_result_is_asked_for_once_because_the_wait_loop_asks_again(reply: Reply) -> None:
    vendor = Vendor(reply)
    with pytest.raises(VendorUnavailable):
        vendor.client.result(ID)
    assert len(vendor.requests) == 1
    assert vendor.pauses == []


def test_the_balance_is_what_the_vendor_says_digit_for_digit() -> None:
    vendor = Vendor(answer(envelope({"balance": 0.1})))
    assert vendor.client.balance() == Decimal("0.1")
    (request,) = vendor.requests
    assert (request.method, str(request.url)) == ("GET", f"{BASE}/api/v3/balance")


@pytest.mark.parametrize("data", [None, {}, {"balance": None}, {"balance": "much"}])
def test_an_answer_without_a_balance_is_trouble_of_the_vendor(data: Any) -> None:
    with pytest.raises(VendorUnavailable, match="no balance"):
        Vendor(answer(envelope(data))).client.balance()


@pytest.mark.parametrize("reply", PASSING)
def test_the_balance_is_asked_for_once_because_the_clock_comes_again(reply: Reply) -> None:
    vendor = Vendor(reply)
    with pytest.raises(VendorUnavailable):
        vendor.client.balance()
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("reply", PASSING)
def test_a_price_is_asked_for_three_times(reply: Reply) -> None:
    vendor = Vendor(reply)
    with pytest.raises(VendorUnavailable):
        vendor.client.price(MODEL)
    assert len(vendor.requests) == 3
    assert vendor.pauses == [1, 2]
    for request in vendor.requests:
        assert (request.method, request.url.path) == ("POST", "/api/v3/model/price")
        assert json.loads(request.content) == {"model_id": MODEL, "inputs": {}}


@pytest.mark.parametrize("reply", PASSING)
def test_a_price_that_comes_later_is_an_answer(reply: Reply) -> None:
    vendor = Vendor(reply, answer(envelope({"price": 0.01})))
    assert vendor.client.price(MODEL).price == 0.01
    assert len(vendor.requests) == 2


def test_an_answer_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With base64 output it holds the whole image."""
    parsed: list[bytes] = []

    def parse(content: bytes) -> Any:
        parsed.append(content)
        return json.loads(content)

    monkeypatch.setattr("cutout.wavespeed.client.from_json", parse)
    Vendor(answer(envelope(prediction()))).client.result(ID)
    assert len(parsed) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(404, "Prediction not found"), PredictionNotFound),
        (html(404), PredictionNotFound),
        (answer(envelope(None, 404, "Prediction not found")), PredictionNotFound),
        (answer(envelope({}, 404)), PredictionNotFound),
        (refusal(401), Unauthorized),
        (refusal(403), Unauthorized),
        (answer(envelope(None, 401)), Unauthorized),
        (refusal(429), RateLimited),
        (answer(envelope({}, 429)), RateLimited),
        (answer(envelope(None)), VendorUnavailable),
        (answer(envelope({})), VendorUnavailable),
        (answer({}), VendorUnavailable),
        (html(200), VendorUnavailable),
        (httpx.Response(302, headers={"Location": BASE}), VendorUnavailable),
    ],
)
def test_a_read_whose_answer_would_not_change_is_not_repeated(
    reply: Reply, error: type[CutoutError]
) -> None:
    vendor = Vendor(reply)
    with pytest.raises(CutoutError) as caught:
        vendor.client.result(ID)
    assert type(caught.value) is error
    assert len(vendor.requests) == 1


def test_every_phase_of_a_request_has_its_own_timeout() -> None:
    vendor = Vendor(answer(envelope(prediction())), answer(envelope(prediction())))
    vendor.client.submit(IMAGE, OPTIONS)
    vendor.client.result(ID)
    for request in vendor.requests:
        timeouts = request.extensions["timeout"]
        assert timeouts == {"connect": 5, "read": 30, "write": 10, "pool": 5}


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize(("fresh", "requests"), [("wsk-2", 2), ("wsk-1", 1)])
def test_a_request_whose_key_was_refused_is_sent_once_more_with_the_rotated_one(
    code: int, fresh: str, requests: int
) -> None:
    keys = []

    def vendor(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Authorization"])
        if keys[-1] != "Bearer wsk-2":
            return httpx.Response(code)
        return httpx.Response(200, json={"data": {"id": "p1", "status": "created"}})

    client = WaveSpeed(BASE, lambda: "wsk-1", httpx.MockTransport(vendor), fresh_key=lambda: fresh)
    if requests == 2:
        assert client.submit(IMAGE, OPTIONS).id == "p1"
    else:
        with pytest.raises(Unauthorized):
            client.submit(IMAGE, OPTIONS)
    assert len(keys) == requests


# ------------------------------------------------------------------ delete


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_delete_says_how_many_there_were(count: int) -> None:
    vendor = Vendor(answer(envelope({"deleted_count": count})))

    assert vendor.client.delete([ID, "p2"]) == count

    (request,) = vendor.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/api/v3/predictions/delete")
    assert json.loads(request.content) == {"ids": [ID, "p2"]}


@pytest.mark.parametrize("data", [None, {}, {"deleted_count": -1}, {"deleted_count": "some"}])
def test_a_delete_whose_answer_has_no_count_may_not_have_been_one(data: Any) -> None:
    with pytest.raises(VendorUnavailable, match="does not say what it deleted"):
        Vendor(answer(envelope(data))).client.delete([ID])


# ------------------------------------------------------------------ the history


def history(*replies: Reply) -> tuple[list[str], Vendor]:
    """The ids that the history of an hour lists, and who was asked."""
    vendor = Vendor(*replies)
    hour = [datetime(2026, 1, 31, at, tzinfo=UTC) for at in (11, 12)]
    return [found.id for found in vendor.client.history(MODEL, *hour)], vendor


def test_the_history_is_asked_for_a_model_and_a_time_and_read_to_its_end() -> None:
    ids, vendor = history(
        page(1, prediction(id="c"), prediction(id="b")), page(2, prediction(id="a")), page(3)
    )

    assert ids == ["c", "b", "a"]
    bodies = [json.loads(request.content) for request in vendor.requests]
    assert [body.pop("page") for body in bodies] == [1, 2, 3, 2, 1]
    assert bodies[0] == {
        "page_size": 100,
        "model": MODEL,
        "created_after": "2026-01-31T11:00:00Z",
        "created_before": "2026-01-31T12:00:00Z",
    }
    assert vendor.requests[0].method == "POST"
    assert vendor.requests[0].url == f"{BASE}/api/v3/predictions"


def test_a_history_that_says_how_long_it_is_costs_no_further_page() -> None:
    ids, vendor = history(page(1, prediction(id="a"), total=1))

    assert (ids, len(vendor.requests)) == (["a"], 1)


def test_what_moves_to_the_next_page_meanwhile_is_listed_once() -> None:
    ids, _ = history(
        page(1, prediction(id="b"), prediction(id="a")),
        page(2, prediction(id="a"), prediction(id="z")),
        page(3),
    )

    assert ids == ["b", "a", "z"]


def test_a_vendor_that_only_knows_one_page_is_not_asked_for_ever() -> None:
    ids, vendor = history(page(1, prediction(id="a")))

    assert (ids, len(vendor.requests)) == (["a"], 3)


@pytest.mark.parametrize("says_total", [True, False])
@pytest.mark.parametrize("deleted_after", [1, 2, 3])
def test_what_is_deleted_meanwhile_hides_no_other(says_total: bool, deleted_after: int) -> None:
    """Pages of two: what is deleted moves the later ones to pages that were read."""
    there = ["f", "e", "d", "c", "b", "a"]
    asked = 0

    def vendor(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        number = json.loads(request.content)["page"]
        items = [prediction(id=name) for name in there[2 * number - 2 : 2 * number]]
        total = len(there) if says_total else None
        if asked == deleted_after:
            del there[:2]
        return page(number, *items, total=total)

    client = WaveSpeed(BASE, lambda: "wsk-1", httpx.MockTransport(vendor))
    hour = [datetime(2026, 1, 31, at, tzinfo=UTC) for at in (11, 12)]

    ids = [found.id for found in client.history(MODEL, *hour)]

    assert {"d", "c", "b", "a"} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "reply",
    [
        answer(envelope({})),
        answer(envelope({"page": 1, "items": [prediction(), {"id": "?"}]})),
        answer(envelope({"page": 1, "items": [{"status": "completed"}]})),
        page(1, prediction(), total=2),
        html(200),
        refusal(400, "created_after: not a time"),
        refusal(404),
        refusal(500),
    ],
)
def test_what_may_not_be_the_whole_history_is_none(reply: httpx.Response) -> None:
    with pytest.raises(VendorUnavailable):
        history(reply)


def test_the_history_tells_no_key() -> None:
    vendor = Vendor(page(1, prediction(error="bad key wsk-1"), total=1))
    now = datetime(2026, 1, 31, tzinfo=UTC)

    (found,) = vendor.client.history(MODEL, now, now)

    assert "bad key" in str(found.error)
    assert "wsk-1" not in str(found.error)


def test_an_empty_history_may_come_as_null() -> None:
    assert history(answer(envelope({"page": 1, "items": None})))[0] == []


def test_answers_are_asked_for_as_they_are() -> None:
    vendor = Vendor(answer(envelope(prediction())))
    vendor.client.result(ID)
    assert vendor.requests[0].headers["accept-encoding"] == "identity"


def test_the_vendors_certificate_is_checked() -> None:
    assert tls().verify_mode is ssl.CERT_REQUIRED
    assert tls().check_hostname
