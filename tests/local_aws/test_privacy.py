"""What a foreign web page can have a browser send is refused, and so is who has not signed."""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.local_aws.support import Account
from tests.support.browser import FOREIGN_PAGE

EVIL = "https://evil.example"
PREFLIGHT = {"Origin": EVIL, "Access-Control-Request-Method": "PUT"}


def send(aws: Account, method: str, path: str, headers: Mapping[str, str], **more: Any) -> int:
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    url = aws.aws.endpoint_url + path
    return httpx.request(method, url, headers=headers, verify=trusting, **more).status_code


def a_signed_url(aws: Account) -> str:
    aws.put("in/private")
    place = {"Bucket": aws.outputs["Bucket"], "Key": "in/private"}
    url: str = aws.s3.generate_presigned_url("get_object", Params=place)
    return url.removeprefix(aws.aws.endpoint_url)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebind.evil"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1@evil.example"},
        {"Host": "[::1"},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_a_foreign_page_is_refused_what_a_program_is_given(
    aws: Account, headers: dict[str, str]
) -> None:
    path = a_signed_url(aws)
    assert send(aws, "GET", path, {}) == 200
    assert send(aws, "GET", path, headers) == 403


def test_what_a_foreign_page_has_a_browser_send_is_refused(aws: Account) -> None:
    path = a_signed_url(aws)
    for did, sent in FOREIGN_PAGE.items():
        assert send(aws, sent.method, path, sent.headers) == 403, did
        assert send(aws, sent.method, "/_ministack/reset", sent.headers) == 403, did
    assert send(aws, "GET", path, {}) == 200


@pytest.mark.parametrize("path", ["/", "/bucket/key", "/_aws/lambda-url/x/", "/_cutout/report"])
def test_a_preflight_of_a_foreign_page_is_refused(aws: Account, path: str) -> None:
    assert send(aws, "OPTIONS", path, PREFLIGHT) == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", "/_ministack/health"),
        ("GET", "/_ministack/sqs/messages"),
        ("GET", "/_localstack/health"),
        ("GET", "/health"),
    ],
)
def test_ministack_s_own_routes_are_shut(aws: Account, method: str, path: str) -> None:
    aws.put("in/kept", b"kept")
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for headers in ({}, signed, form):
        assert send(aws, method, path, headers) == 403, headers
    assert aws.get("in/kept") == b"kept"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/in/kept"), ("PUT", "/in/kept"), ("DELETE", "/in/kept")],
)
def test_s3_gives_nothing_to_who_has_not_signed(aws: Account, method: str, path: str) -> None:
    aws.put("in/kept", b"kept")
    assert send(aws, method, f"/{aws.outputs['Bucket']}{path}", {}) == 403
    assert aws.get("in/kept") == b"kept"


def test_a_form_is_taken_by_its_signed_policy_only(aws: Account) -> None:
    post = aws.s3.generate_presigned_post(aws.outputs["Bucket"], "in/form")
    path, file = post["url"].removeprefix(aws.aws.endpoint_url), {"file": b"by form"}
    assert send(aws, "POST", path, {}, data=post["fields"], files=file) == 204
    assert aws.get("in/form") == b"by form"
    forged = post["fields"] | {"x-amz-signature": "0" * 64}
    assert send(aws, "POST", path, {}, data=forged, files={"file": b"forged"}) == 403
    assert send(aws, "POST", path + "?delete", {}, files={"file": b"forged"}) == 403
    assert aws.get("in/form") == b"by form"
