"""Lambda Function URLs, served beside the AWS APIs.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html

Differences from AWS: plain HTTP, and a path where AWS has a host name, so the `host` header and
`domainName` are this machine's; no `x-amzn-` headers; header names with an underscore are dropped.
AuthType, Cors and InvokeMode change nothing: everybody may call, and answers are not streamed.
A URL that is made through the API and not by the template is not served.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from werkzeug.wrappers import Request, Response

from .functions import Function

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_EVENT_BYTES = 6 << 20
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (invocation payload)"""

_PREFIX = "/_lambda-url/"  # the underscore: no bucket has such a name
_TEXT = re.compile(r"text/.*|application/(.*\+)?(json|xml)|application/javascript")


@dataclass
class FunctionUrl:
    """A resource `AWS::Lambda::Url`, with what moto's CloudFormation asks of a resource."""

    url: str
    function_arn: str

    @property
    def physical_resource_id(self) -> str:
        return self.function_arn

    def get_cfn_attribute(self, name: str) -> str:
        return {"FunctionUrl": self.url, "FunctionArn": self.function_arn}[name]

    @staticmethod
    def has_cfn_attr(name: str) -> bool:
        return name in ("FunctionUrl", "FunctionArn")

    def is_created(self) -> bool:
        return True


class FunctionUrls:
    """The Function URLs of a stack; a function's logical id is the id of its URL."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}

    def add(self, function: Function, endpoint_url: str) -> FunctionUrl:
        """Serves the function at a URL that ends in a slash, as on AWS."""
        self._functions[function.logical_id] = function
        url = f"{endpoint_url}{_PREFIX}{function.logical_id}/"
        return FunctionUrl(url, function.model.function_arn)

    def in_front_of(self, app: WSGIApplication) -> WSGIApplication:
        """WSGI middleware that answers what is below a Function URL, and leaves the rest to app."""

        def route(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            below = environ["REQUEST_URI"].startswith(_PREFIX)
            answer = self._respond(Request(environ)) if below else app
            return answer(environ, start_response)

        return route

    def _respond(self, request: Request) -> Response:
        function = self._functions.get(_target(request)[0])
        if not function:
            return Response('{"Message":null}', 403, content_type="application/json")
        return respond(function, request)


def respond(function: Function, request: Request) -> Response:
    """Invokes the function with the request.

    What AWS makes of an answer of the wrong form is not documented; here it is a 502 too.
    """
    request_id = str(uuid.uuid4())
    event = json.dumps(event_of(request, request_id)).encode()
    if len(event) > MAX_EVENT_BYTES:
        return Response("Request Entity Too Large", 413)
    answer = function.invoke(event, request_id)
    if answer.failed:
        return Response("Internal Server Error", 502)
    try:
        return response_of(answer.payload)
    except ValueError:
        return Response("Internal Server Error", 502)


def event_of(request: Request, request_id: str) -> dict[str, Any]:
    """The event, in payload format 2.0, of a request below a Function URL."""
    url_id, path, query = _target(request)
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": _headers(request),
        "requestContext": _context(request, request_id, url_id, path),
        **_cookies(request),
        **_query(request),
        **_body(request),
    }


def _target(request: Request) -> tuple[str, str, str]:
    """The URL's id, the path below it, and the query; as they came, still percent-encoded."""
    path, _, query = request.environ["REQUEST_URI"].removeprefix(_PREFIX).partition("?")
    url_id, _, below = path.partition("/")
    return url_id, f"/{below}", query


def _headers(request: Request) -> dict[str, str]:
    headers = {name.lower(): value for name, value in request.headers if name != "Connection"}
    return {
        **headers,
        "x-forwarded-for": request.remote_addr or "",
        "x-forwarded-port": request.environ["SERVER_PORT"],
        "x-forwarded-proto": request.scheme,
    }


def _context(request: Request, request_id: str, url_id: str, path: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "accountId": "anonymous",
        "apiId": url_id,
        "domainName": request.host,
        "domainPrefix": url_id,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": request.environ["SERVER_PROTOCOL"],
            "sourceIp": request.remote_addr,
            "userAgent": request.headers.get("User-Agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
        "timeEpoch": int(now.timestamp() * 1000),
    }


def _cookies(request: Request) -> dict[str, list[str]]:
    cookies = request.headers.get("Cookie")
    return {"cookies": cookies.split("; ")} if cookies else {}


def _query(request: Request) -> dict[str, dict[str, str]]:
    values = {name: ",".join(several) for name, several in request.args.lists()}
    return {"queryStringParameters": values} if values else {}


def _body(request: Request) -> dict[str, Any]:
    """As text or, when the content type is binary, in base64.

    AWS does not tell which types are binary. It was seen to take these for text, and all others,
    forms and bodies without a type included, for binary:
    https://github.com/ministackorg/ministack/pull/766 (of the same format, in API Gateway).
    """
    body = request.get_data()
    if not body:
        return {"isBase64Encoded": False}
    if _TEXT.fullmatch(request.mimetype):
        try:
            return {"body": body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            """Text in name only."""
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, coerce_numbers_to_str=True)

    status_code: int = Field(ge=200, le=599)
    headers: dict[str, str] = {}
    cookies: list[str] = []
    body: str = ""
    is_base64_encoded: bool = False

    @property
    def content(self) -> bytes:
        if self.is_base64_encoded:
            return base64.b64decode(self.body, validate=True)
        return self.body.encode()


def response_of(payload: bytes) -> Response:
    """The HTTP response that a function's answer (JSON) stands for.

    An object with a `statusCode` is the response; anything else is the body of a 200.
    Raises `ValueError` for a `statusCode` with which the rest does not go together.
    """
    result = json.loads(payload)
    if not isinstance(result, dict) or "statusCode" not in result:
        return Response(payload, content_type="application/json")
    given = {name: value for name, value in result.items() if value is not None}
    answer = _Answer.model_validate(given)
    response = Response(answer.content, answer.status_code, content_type="application/json")
    for name, value in answer.headers.items():
        response.headers[name] = value
    for cookie in answer.cookies:
        response.headers.add("Set-Cookie", cookie)
    return response
