from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from cutout_local.aws import LocalAws
from cutout_local.aws.function_urls import MAX_EVENT_BYTES, event_of, response_of

from .support import invoke


def event(path: str = "/", **request: Any) -> dict[str, Any]:
    builder = EnvironBuilder(f"/_lambda-url/WebFunction{path}", **request)
    return event_of(Request(builder.get_environ()), "id-1")


def send(aws: LocalAws, path: str, **request: Any) -> httpx.Response:
    return httpx.post(aws.outputs["WebUrl"] + path, **request)


# ---------------------------------------------------------------- the event


def test_what_is_below_the_url_is_the_path_as_it_was_sent() -> None:
    seen = event("/a%2Fb/%C3%BC?x=1&x=2%20&y=")
    assert seen["version"] == "2.0"
    assert seen["rawPath"] == seen["requestContext"]["http"]["path"] == "/a%2Fb/%C3%BC"
    assert seen["rawQueryString"] == "x=1&x=2%20&y="
    assert seen["queryStringParameters"] == {"x": "1,2 ", "y": ""}


@pytest.mark.parametrize("path", ["", "/"])
def test_the_url_itself_has_the_path_of_the_root(path: str) -> None:
    seen = event(path)
    assert (seen["rawPath"], seen["rawQueryString"]) == ("/", "")
    assert "queryStringParameters" not in seen


def test_the_context_tells_of_the_request() -> None:
    headers = {"User-Agent": "agent"}
    environ = {"REMOTE_ADDR": "192.0.2.1"}
    seen = event("/p", method="PUT", headers=headers, environ_base=environ)["requestContext"]
    assert seen["http"] == {
        "method": "PUT",
        "path": "/p",
        "protocol": "HTTP/1.1",
        "sourceIp": "192.0.2.1",
        "userAgent": "agent",
    }
    assert seen["requestId"] == "id-1"
    assert seen["stage"] == seen["routeKey"] == "$default"
    assert seen["time"].endswith(" +0000")
    assert isinstance(seen["timeEpoch"], int)


def test_header_names_are_lower_case_and_cookies_apart() -> None:
    seen = event(headers={"Webhook-Id": "Abc", "Cookie": "a=1; b=2"})
    assert seen["headers"]["webhook-id"] == "Abc"
    assert seen["cookies"] == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain; charset=utf-8", "application/problem+json"],
)
def test_a_body_of_text_is_text(content_type: str) -> None:
    seen = event(method="POST", data='{"a": "ü"}'.encode(), content_type=content_type)
    assert (seen["body"], seen["isBase64Encoded"]) == ('{"a": "ü"}', False)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a", "image/png"),
        (b"a=1", "application/x-www-form-urlencoded"),
        (b"a", None),
        (b"\xff", "application/json"),
    ],
)
def test_any_other_body_is_in_base64(body: bytes, content_type: str | None) -> None:
    seen = event(method="POST", data=body, content_type=content_type)
    assert (base64.b64decode(seen["body"]), seen["isBase64Encoded"]) == (body, True)


def test_without_a_body_there_is_none() -> None:
    seen = event()
    assert "body" not in seen
    assert seen["isBase64Encoded"] is False


# ---------------------------------------------------------------- the answer


@pytest.mark.parametrize("payload", [b'{"message": "x"}', b'"text"', b"[1, 2]", b"null"])
def test_an_answer_without_a_status_code_is_the_body_of_a_200(payload: bytes) -> None:
    response = response_of(payload)
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.data == payload


def test_an_answer_with_a_status_code_is_the_response() -> None:
    answer = {
        "statusCode": 418,
        "headers": {"content-type": "text/plain", "X-Count": 3},
        "cookies": ["a=1", "b=2"],
        "body": "ü",
    }
    response = response_of(json.dumps(answer).encode())
    assert response.status_code == 418
    assert response.headers["X-Count"] == "3"
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers.getlist("Content-Type") == ["text/plain"]
    assert response.data == "ü".encode()


def test_an_answer_in_base64_is_decoded() -> None:
    answer = {"statusCode": 200, "body": "iVBORw==", "isBase64Encoded": True}
    assert response_of(json.dumps(answer).encode()).data == b"\x89PNG"


def test_what_an_answer_leaves_out_is_empty() -> None:
    response = response_of(b'{"statusCode": "204", "headers": null, "body": null}')
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "fine"},
        {"statusCode": 7},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": "b\nc"}},
    ],
)
def test_an_answer_of_the_wrong_form_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of pydantic, base64 or werkzeug
        response_of(json.dumps(answer).encode())


# ---------------------------------------------------------------- a stack with a Function URL


def test_the_url_is_served_and_known_to_other_functions(aws: LocalAws) -> None:
    url = aws.outputs["WebUrl"]
    assert url == f"{aws.endpoint_url}/_lambda-url/WebFunction/"
    assert invoke(aws, {"do": "environment"})["WEB_URL"] == url
    config = aws.client("lambda").get_function_url_config(FunctionName=aws.outputs["Web"])
    assert config["FunctionUrl"] == url


def test_a_request_reaches_the_function_and_its_answer_comes_back(aws: LocalAws) -> None:
    answer = send(aws, "tasks/1-2?a=b", json={"status": "completed"}, headers={"Webhook-Id": "x"})
    seen = answer.json()
    assert answer.status_code == 201
    assert answer.headers.get_list("set-cookie") == ["a=1; Secure", "b=2"]
    assert answer.headers["x-request-id"] == seen["requestContext"]["requestId"]
    assert (seen["rawPath"], seen["rawQueryString"]) == ("/tasks/1-2", "a=b")
    assert json.loads(seen["body"]) == {"status": "completed"}
    assert seen["headers"]["webhook-id"] == "x"
    assert seen["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


def test_a_body_in_chunks_arrives_whole(aws: LocalAws) -> None:
    seen = send(aws, "", content=iter([b"ab", b"cd"])).json()
    assert base64.b64decode(seen["body"]) == b"abcd"


@pytest.mark.parametrize("path", ["fail", "misanswer"])
def test_a_function_that_does_not_answer_well_is_a_bad_gateway(aws: LocalAws, path: str) -> None:
    answer = send(aws, path)
    assert (answer.status_code, answer.text) == (502, "Internal Server Error")


def test_a_request_that_no_invocation_can_hold_is_refused(aws: LocalAws) -> None:
    assert send(aws, "", content=b"x" * MAX_EVENT_BYTES).status_code == 413


def test_a_function_without_a_url_is_not_served(aws: LocalAws) -> None:
    url = aws.outputs["WebUrl"].replace("WebFunction", "CheckerFunction")
    assert httpx.post(url).status_code == 403
