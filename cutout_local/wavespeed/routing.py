"""What all routes share: the backend, the key, the faults asked for, answers and their docs."""

import secrets
import socket
import struct
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cutout_local.wavespeed.backend import Backend
from cutout_local.wavespeed.contract import Envelope, ErrorAnswer
from cutout_local.wavespeed.errors import InternalError, LimitReached, NoCredits, Unauthorized
from cutout_local.wavespeed.faults import HEADER, Fault, RequestedFaults, parse_header

Data = TypeVar("Data")
Responses = dict[int | str, dict[str, Any]]

_HTML: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
REFUSED: Responses = {400: {"model": ErrorAnswer, "description": "The request is refused"}}
UNAUTHORIZED: Responses = {401: {"model": ErrorAnswer, "description": "No or a wrong API key"}}
NOT_FOUND: Responses = {404: {"model": ErrorAnswer, "description": "Unknown or expired"}}
BUSY: Responses = {429: {"model": ErrorAnswer, "description": "The plan's limit is reached"}}
BROKEN: Responses = {
    500: {"model": ErrorAnswer, "description": "The server failed"},
    502: {**_HTML, "description": "A gateway's page; only as a fault"},
}
LATE: Responses = {504: {**_HTML, "description": "A gateway's page; only as a fault"}}


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


BackendDep = Annotated[Backend, Depends(_backend)]
_bearer = HTTPBearer(auto_error=False, description="The API key")


async def require_key(
    backend: BackendDep,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Raise `Unauthorized` unless the request carries the API key."""
    key = given.credentials if given else ""
    if not secrets.compare_digest(key.encode(), backend.settings.api_key.encode()):
        raise Unauthorized


def _asked(request: Request) -> RequestedFaults:
    return parse_header(request.headers.get(HEADER, ""))


FaultsDep = Annotated[RequestedFaults, Depends(_asked)]


def success(data: Data) -> Envelope[Data]:
    """Wrap an answer."""
    return Envelope(message="success", data=data)


def base_url(request: Request) -> str:
    """The server's address as the caller wrote it."""
    return str(request.base_url).rstrip("/")


def reset_connection(request: Request) -> Response:
    """Reset the TCP connection, so that the caller gets no answer at all.

    The response returned goes nowhere; the server needs one to end the request.
    """
    transport = request.state.transport
    # Lingering for 0 s makes the close a reset instead of an orderly end.
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
    return Response()


def faulty_answer(fault: Fault, request: Request) -> Response:
    """Answer as a fault of the submit or the result asks; may raise a `Refusal`."""
    match fault:
        case Fault.SUBMIT_RATE_LIMITED | Fault.RESULT_RATE_LIMITED:
            raise LimitReached
        case Fault.SUBMIT_NO_CREDITS:
            raise NoCredits
        case Fault.SUBMIT_SERVER_ERROR | Fault.RESULT_SERVER_ERROR:
            raise InternalError
        case Fault.SUBMIT_BAD_GATEWAY | Fault.RESULT_BAD_GATEWAY:
            return HTMLResponse("<html><h1>502 Bad Gateway</h1></html>", 502)
        case Fault.SUBMIT_ACCEPTED_GATEWAY_TIMEOUT:
            return HTMLResponse("<html><h1>504 Gateway Time-out</h1></html>", 504)
        case Fault.SUBMIT_ACCEPTED_TIMEOUT:
            return HTMLResponse("<html><h1>408 Request Timeout</h1></html>", 408)
        case Fault.SUBMIT_REDIRECTED:
            return RedirectResponse("https://elsewhere.invalid/", 302)
        case _:
            return reset_connection(request)
