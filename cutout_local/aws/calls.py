"""Which AWS calls were made, and by whom."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import ServiceOperationRouter, get_service_router
from werkzeug.exceptions import NotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

OnCall = Callable[[str, str, str], None]
"""Called with caller, service and operation, e.g. `("PollFunction", "s3", "PutObject")`.

The caller is the access key id: of a function, its logical id in the template; of the state
machines, `states`. The operation is named as in the service's API, e.g. `UploadPart`, of which
the IAM action may differ (`s3:PutObject`). Runs in the server's threads, before the call.
"""

_CREDENTIAL = re.compile(r"(?:Credential=)?([^/=\s]+)/\d{8}/[^/]+/([^/]+)/aws4_request")


class RecordedCalls:
    """WSGI middleware that tells `on_call` of every signed request."""

    def __init__(self, app: WSGIApplication, on_call: OnCall) -> None:
        self._app = app
        self._on_call = on_call

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if signed := _CREDENTIAL.search(_signature(environ)):
            caller, service = signed.groups()
            self._on_call(caller, service, _operation(environ, service))
        return self._app(environ, start_response)


def _signature(environ: WSGIEnvironment) -> str:
    query = parse_qs(environ.get("QUERY_STRING", ""))
    presigned = query.get("X-Amz-Credential", [""])[0]
    return str(environ.get("HTTP_AUTHORIZATION", presigned))


def _operation(environ: WSGIEnvironment, service: str) -> str:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rsplit(".", 1)[1]
    if str(environ.get("CONTENT_TYPE", "")).startswith("application/x-www-form-urlencoded"):
        return parse_qs(_body(environ).decode())["Action"][0]
    try:
        operation, _ = _router(service).match(Request(dict(environ)))
    except NotFound:
        return "Unknown"
    return str(operation.name)


def _body(environ: WSGIEnvironment) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


@lru_cache
def _router(service: str) -> ServiceOperationRouter:
    return get_service_router(service)
