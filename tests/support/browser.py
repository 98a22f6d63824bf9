"""What a browser sends to a server on this machine because a foreign page tells it to.

Recorded from Chromium 156 with a page of `http://evil.example` that did all of these. Left out is
what tells nothing: the versions of the browser, and what compression it understands.
"""

from typing import NamedTuple

EVIL = "http://evil.example"


class Sent(NamedTuple):
    """One request; a `Host` that is not here is the server's own."""

    method: str
    headers: dict[str, str]


_BROWSER = {"Accept": "*/*", "Connection": "keep-alive", "Referer": f"{EVIL}/"}


def _hidden(destination: str) -> dict[str, str]:
    """Without CORS: it is sent, and the page does not see the answer."""
    kind = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": destination}
    return _BROWSER | {"Sec-Fetch-Site": "cross-site"} | kind


_ORIGIN = {"Origin": EVIL}
_CORS = _hidden("empty") | _ORIGIN | {"Sec-Fetch-Mode": "cors"}
_TEXT = _hidden("empty") | _ORIGIN | {"Content-Type": "text/plain;charset=UTF-8"}
_FORM = _hidden("iframe") | _ORIGIN | {"Sec-Fetch-Mode": "navigate"}

FOREIGN_PAGE = {
    "image": Sent("GET", _hidden("image") | {"Sec-Fetch-Storage-Access": "active"}),
    "script": Sent("GET", _hidden("script") | {"Sec-Fetch-Storage-Access": "active"}),
    "fetch without CORS": Sent("GET", _hidden("empty")),
    "post without CORS": Sent("POST", _TEXT),
    "beacon": Sent("POST", _TEXT | {"Sec-Fetch-Storage-Access": "active"}),
    "form": Sent("POST", _FORM | {"Content-Type": "multipart/form-data; boundary=----WebKitFormB"}),
    "fetch": Sent("GET", _CORS),
    "preflight of a put": Sent("OPTIONS", _CORS | {"Access-Control-Request-Method": "PUT"}),
    "preflight of a key": Sent(
        "OPTIONS",
        _CORS
        | {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    ),
    "name that was rebound": Sent("GET", _BROWSER | {"Host": "rebind.evil:8802"}),
}
"""By what the page did. A name without TLS is told no `Sec-Fetch-Site`."""
