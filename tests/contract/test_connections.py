"""How the client uses connections, seen from the other end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from cutout.domain.options import Options
from cutout.wavespeed.client import WaveSpeed

ID = "0123456789abcdef0123456789abcdef"


class Handler(BaseHTTPRequestHandler):
    """Keeps connections, as HTTP/1.1 does; notes from which port each request came."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, int]]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.client_address[1]))
        body = json.dumps({"code": 200, "data": {"id": ID, "status": "created"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 (the library's name)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def vendor() -> Iterator[tuple[str, list[tuple[str, int]]]]:
    class Seen(Handler):
        seen: list[tuple[str, int]] = []  # noqa: RUF012 (one for the server's whole life)

    with ThreadingHTTPServer(("127.0.0.1", 0), Seen) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Seen.seen
        server.shutdown()


def test_the_call_that_costs_money_has_a_connection_of_its_own() -> None:
    with vendor() as (url, seen):
        client = WaveSpeed(url, lambda: "k")
        client.result(ID)
        client.submit("https://a.test/b.jpg", Options(model="a/b"))
        client.submit("https://a.test/c.jpg", Options(model="a/b"))

    assert [command for command, _ in seen] == ["GET", "POST", "POST"]
    assert len({port for _, port in seen}) == 3
