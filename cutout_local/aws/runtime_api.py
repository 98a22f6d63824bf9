"""The Lambda runtime API, version 2018-06-01, for one function process.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Event, Thread
from typing import Any

_ROOT = "/2018-06-01/runtime"


@dataclass(frozen=True)
class Invocation:
    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str


@dataclass(frozen=True)
class Answer:
    """What the handler returned (JSON), or the error (JSON with errorMessage, errorType)."""

    payload: bytes
    failed: bool


@dataclass(frozen=True)
class Exited:
    """The process ended; the code is negative for a signal, as in `subprocess`."""

    code: int


class RuntimeApi:
    """Hands invocations to the process that asks here, and its answers to `outcomes`."""

    def __init__(self) -> None:
        self.outcomes: Queue[Answer | Exited] = Queue()
        self.initialised = Event()
        self.failed_to_initialise = False
        self._invocations: Queue[Invocation | None] = Queue()
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="runtime-api")
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def offer(self, invocation: Invocation) -> None:
        self._invocations.put(invocation)

    def next(self) -> Invocation | None:
        """The next invocation, waited for; None when there will be no more."""
        self.initialised.set()
        return self._invocations.get()

    def report(self, outcome: Answer | Exited) -> None:
        self.outcomes.put(outcome)

    def report_failed_initialisation(self, outcome: Answer | Exited) -> None:
        self.failed_to_initialise = True
        self.report(outcome)
        self.initialised.set()

    def close(self) -> None:
        self._invocations.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, api: RuntimeApi) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet when the process was killed in the middle of a request: `Exited` tells of it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet, at once: else each call waits 40 ms for a delayed ACK.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path != f"{_ROOT}/invocation/next":
            self._reply(HTTPStatus.NOT_FOUND, b"{}")
        elif invocation := self.server.api.next():
            self._reply(HTTPStatus.OK, invocation.event, _headers(invocation))
        else:
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == f"{_ROOT}/init/error":
            self.server.api.report_failed_initialisation(Answer(body, failed=True))
        else:
            self.server.api.report(Answer(body, failed=self.path.endswith("/error")))
        self._reply(HTTPStatus.ACCEPTED, b'{"status":"OK"}')

    def _reply(
        self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        pass


def _headers(invocation: Invocation) -> dict[str, str]:
    return {
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        # Sampled=0, since there is no X-Ray daemon here to send segments to.
        "Lambda-Runtime-Trace-Id": f"Root={_trace_root(invocation)};Parent={'0' * 16};Sampled=0",
    }


def _trace_root(invocation: Invocation) -> str:
    seconds = invocation.deadline_ms // 1000
    return f"1-{seconds:08x}-{invocation.request_id.replace('-', '')[:24]}"
