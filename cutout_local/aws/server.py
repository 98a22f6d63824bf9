"""moto's server on a port of the caller's choice, in threads of this process."""

from __future__ import annotations

import logging
import os
import socket
from threading import Thread
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from .calls import OnCall, RecordedCalls
from .errors import PortTaken
from .function_urls import FunctionUrls

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"


class _RequestHandler(MotoRequestHandler):
    """Without the access log: it would show every presigned URL with its signature."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        logger.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)


class MotoServer:
    """Listens from the moment it is made until `close`. Raises `PortTaken`."""

    def __init__(self, port: int, on_call: OnCall | None, urls: FunctionUrls) -> None:
        dispatcher = DomainDispatcherApplication(create_backend_app)
        app = RecordedCalls(dispatcher, on_call) if on_call else dispatcher
        with _listen(port) as listener:
            # werkzeug ends the whole process when a port is taken: it gets a bound socket instead.
            self._server = make_server(
                HOST,
                port,
                urls.in_front_of(app),
                threaded=True,
                request_handler=_RequestHandler,
                fd=listener.fileno(),
            )
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="moto")
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        """By address, so that SDKs put the bucket in the path and not in the host name."""
        return f"http://{HOST}:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortTaken(f"port {port} of {HOST}: {error.strerror}") from error
    return listener
