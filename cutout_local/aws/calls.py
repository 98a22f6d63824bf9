"""Which AWS calls were made, and by whom; `permissions` tells what a role must allow for them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import ServiceOperationRouter, get_service_router
from werkzeug.exceptions import NotFound

from .faults import Fault

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


@dataclass(frozen=True)
class Call:
    """A signed request to an AWS service, or one by a URL that was signed before.

    The caller is the access key id: of a function, its logical id in the template; of the state
    machines, `states`. The operation is named as in the service's API, e.g. `UploadPart`, of which
    the IAM action may differ (`s3:PutObject`). The rest is what the action depends on besides: an
    object's version in the query, and tags in the header of an object that is put. To the role it
    is the same whether its holder calls or somebody who was given a URL.
    """

    caller: str
    service: str
    operation: str
    names_version: bool = False
    sets_tags: bool = False
    presigned: bool = field(default=False, compare=False)


OnCall = Callable[[Call], Fault | None]
"""Runs in the server's threads, before the call; may have it fail."""

_CREDENTIAL = re.compile(r"(?:Credential=)?([^/=\s]+)/\d{8}/[^/]+/([^/]+)/aws4_request")


class RecordedCalls:
    """WSGI middleware that tells `on_call` of every signed request."""

    def __init__(self, app: WSGIApplication, on_call: OnCall) -> None:
        self._app = app
        self._on_call = on_call

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        call = _call(environ)
        fault = self._on_call(call) if call else None
        if call and fault:
            return fault.in_place_of(self._app, call.service, environ, start_response)
        return self._app(environ, start_response)


def _call(environ: WSGIEnvironment) -> Call | None:
    query = parse_qs(environ.get("QUERY_STRING", ""))
    presigned = query.get("X-Amz-Credential", [""])[0]
    signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", presigned))
    if not signed:
        return None
    caller, service = signed.groups()
    return Call(
        caller,
        service,
        _operation(environ, service),
        names_version="versionId" in query,
        sets_tags="HTTP_X_AMZ_TAGGING" in environ,
        presigned=bool(presigned),
    )


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
