"""Function URLs, payload format 2.0."""

import base64
import ssl
from typing import Any

import httpx
import pytest

from tests.local_aws.support import Account


def send(aws: Account, path: str = "", **request: Any) -> httpx.Response:
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    return httpx.post(aws.outputs["WebUrl"] + path, verify=trusting, **request)


def body(aws: Account, content: bytes, kind: str | None) -> bytes:
    """What the function got."""
    event = send(aws, content=content, headers={"Content-Type": kind} if kind else {}).json()
    text: str = event["body"]
    return base64.b64decode(text) if event["isBase64Encoded"] else text.encode()


def test_a_request_reaches_the_function_and_its_answer_comes_back(aws: Account) -> None:
    answer = send(aws, "tasks/1-2?a=b", json={}, headers={"Webhook-Id": "Abc"})
    seen = answer.json()
    assert answer.status_code == 418
    assert answer.headers["x-request-id"]
    assert (seen["version"], seen["rawPath"]) == ("2.0", "/tasks/1-2")
    assert seen["rawQueryString"] == "a=b"
    assert seen["requestContext"]["http"]["method"] == "POST"
    assert seen["headers"]["webhook-id"] == "Abc"
    assert not any(name != name.lower() for name in seen["headers"])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x00\xff", "image/png"),
        (b"\x89PNG\r\n\x00\xff", None),
        ('{"a": "ü\U0001f600"}  \n'.encode(), "application/json"),
        ("ü".encode(), "text/plain; charset=utf-8"),
        (b"a=1&b=%20+", "application/x-www-form-urlencoded"),
        (b'{"a":1}', "application/problem+json"),
    ],
)
def test_a_body_arrives_byte_for_byte(aws: Account, content: bytes, kind: str | None) -> None:
    assert body(aws, content, kind) == content


def test_a_body_in_chunks_arrives_whole(aws: Account) -> None:
    event = send(aws, content=iter([b"ab", b"cd"])).json()
    assert base64.b64decode(event["body"]) == b"abcd"


@pytest.mark.parametrize("path", ["raise", "exit"])
def test_a_function_that_does_not_answer_is_a_bad_gateway(aws: Account, path: str) -> None:
    assert send(aws, path).status_code == 502


def test_a_request_that_finds_no_concurrency_is_one_too_many(aws: Account) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html#urls-throttling"""
    function = {"FunctionName": aws.outputs["Web"]}
    aws.functions.put_function_concurrency(**function, ReservedConcurrentExecutions=0)
    try:
        assert send(aws).status_code == 429
    finally:
        aws.functions.delete_function_concurrency(**function)
    assert send(aws).status_code == 418


def test_the_url_is_known_to_lambda(aws: Account) -> None:
    config = aws.functions.get_function_url_config(FunctionName=aws.outputs["Web"])
    assert config["FunctionUrl"] == aws.outputs["WebUrl"]
    assert config["FunctionUrl"].startswith(aws.aws.endpoint_url)


def test_a_url_of_no_function_is_not_served(aws: Account) -> None:
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    url = aws.outputs["WebUrl"].rstrip("/") + "0/"
    assert httpx.post(url, verify=trusting).status_code in {403, 404}
