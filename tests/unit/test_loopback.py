"""Which requests of a browser reach a server on this machine."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from cutout_local.loopback import LoopbackOnly
from tests.support.browser import EVIL, FOREIGN_PAGE, Sent

HOME = "http://127.0.0.1:5567"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


def status(sent: Sent, base_url: str = HOME) -> int:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(LoopbackOnly(app))
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
            return await client.request(sent.method, "/", headers=sent.headers)

    return asyncio.run(ask()).status_code


@pytest.mark.parametrize("sent", FOREIGN_PAGE.values(), ids=FOREIGN_PAGE)
def test_what_a_foreign_page_has_a_browser_send_is_refused(sent: Sent) -> None:
    assert status(sent) == 403


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1", "https://127.0.0.1:5567"])
def test_a_foreign_origin_is_refused_for_itself(origin: str) -> None:
    assert status(Sent("POST", {"Origin": origin})) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_port_of_this_machine_is_foreign_too(site: str) -> None:
    assert status(Sent("GET", {"Sec-Fetch-Site": site})) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-origin", "Origin": HOME},
    ],
    ids=["program", "address bar", "own page"],
)
def test_programs_and_the_servers_own_pages_are_let_in(headers: dict[str, str]) -> None:
    assert status(Sent("GET", headers)) == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine_are_let_in(name: str) -> None:
    assert status(Sent("GET", {}), f"http://{name}:5567") == 200


@pytest.mark.parametrize(
    "host", ["", "rebind.evil", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[::1"]
)
def test_other_names_are_refused(host: str) -> None:
    assert status(Sent("GET", {"Host": host})) == 403


def test_a_web_socket_is_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "headers": [(b"origin", EVIL.encode())]}
    asyncio.run(LoopbackOnly(app)(scope, receive, send))

    assert sent == [{"type": "websocket.close"}]
