"""A server on a loopback address is for programs of this machine, not for pages in its browser."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_OWN_PAGES = frozenset({"same-origin", "none"})  # "none" is the address bar
_REFUSED = "web pages are refused"


class LoopbackOnly:
    """ASGI middleware that refuses what a foreign web page can have a browser send.

    That is a request to another name, which DNS rebinding leads here, one with the page's `Origin`,
    so that preflights fail, too, and one without, for an image or a script, of which the browser
    says whose it is. WebSockets are refused whatever they ask for.
    https://fetch.spec.whatwg.org/#origin-header https://www.w3.org/TR/fetch-metadata/
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http" and (reason := _refusal(scope)):
            await PlainTextResponse(reason, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    host, origins = headers.get("host", ""), headers.getlist("origin")
    if _name(host) not in _NAMES:
        return "the Host header must name this machine: 127.0.0.1 or localhost"
    if any(origin != f"{scope['scheme']}://{host}" for origin in origins):
        return f"the Origin header must be absent: {_REFUSED}"
    if headers.get("sec-fetch-site", "none") not in _OWN_PAGES:
        return f"the Sec-Fetch-Site header must be absent: {_REFUSED}"
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
