import base64
import gzip
import hashlib
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from cutout.domain.errors import (
    BadOutput,
    CutoutError,
    OutputBlocked,
    OutputGone,
    OutputUnavailable,
)
from cutout.domain.tasks import Confidence
from cutout.wavespeed.client import tls
from cutout.wavespeed.outputs import BLOCK_BYTES, Outputs, resolve

API = "https://api.wavespeed.test"
URL = "https://cdn.test/out.png?signature=secret"
PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"

Handler = Callable[[httpx.Request], httpx.Response]


class Host:
    """Stands where the network begins; keeps the requests as they would leave the machine."""

    def __init__(self, *replies: httpx.Response | Exception | Handler) -> None:
        self.requests: list[httpx.Request] = []
        self._replies = iter(replies)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply(request) if callable(reply) else reply


class Resolver:
    """Answers with the addresses in turn, the last one for ever."""

    def __init__(self, *addresses: str) -> None:
        self.asked: list[tuple[str, int]] = []
        self._addresses = list(addresses)

    def __call__(self, host: str, port: int) -> str:
        self.asked.append((host, port))
        return self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]


def download(
    host: Host, url: str = URL, addresses: Callable[[str, int], str] | None = None, api: str = API
) -> bytes:
    outputs = Outputs(api, httpx.MockTransport(host), addresses or Resolver(PUBLIC))
    with outputs.open(url) as output:
        return b"".join(output.blocks)


def redirect(location: str) -> httpx.Response:
    return httpx.Response(302, headers={"Location": location})


def found(content: bytes = b"png") -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(content))


def test_an_output_is_downloaded() -> None:
    assert download(Host(found(b"the image"))) == b"the image"


def test_an_output_comes_in_blocks() -> None:
    image = bytes(range(256)) * 4096
    outputs = Outputs(API, httpx.MockTransport(Host(found(image))), Resolver(PUBLIC))
    with outputs.open(URL) as output:
        blocks = list(output.blocks)
    assert b"".join(blocks) == image
    assert {len(block) for block in blocks} == {BLOCK_BYTES}


def test_the_checked_address_is_the_one_that_is_connected_to() -> None:
    host, resolver = Host(found()), Resolver(PUBLIC, "10.0.0.1")
    download(host, addresses=resolver)
    (request,) = host.requests
    assert request.url == URL.replace("cdn.test", PUBLIC)
    assert request.headers["Host"] == "cdn.test"
    assert request.extensions["sni_hostname"] == "cdn.test"
    assert resolver.asked == [("cdn.test", 443)]


def test_a_proxy_of_the_environment_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would look the host up by itself, and connect to what was never checked."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    host = Host(found())

    download(host)

    assert host.requests[0].url.host == PUBLIC


def test_a_port_of_its_own_is_kept() -> None:
    host, resolver = Host(found()), Resolver(PUBLIC)
    download(host, "https://cdn.test:8443/out.png", resolver)
    assert host.requests[0].url == f"https://{PUBLIC}:8443/out.png"
    assert host.requests[0].headers["Host"] == "cdn.test:8443"
    assert resolver.asked == [("cdn.test", 8443)]


def test_an_ipv6_address_is_connected_to() -> None:
    host = Host(found())
    download(host, addresses=Resolver(PUBLIC_V6))
    assert host.requests[0].url == URL.replace("cdn.test", f"[{PUBLIC_V6}]")
    assert host.requests[0].headers["Host"] == "cdn.test"


def test_the_hosts_certificate_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def transport(**how: object) -> httpx.MockTransport:
        asked.append(how)
        return httpx.MockTransport(Host(found()))

    monkeypatch.setattr(httpx, "HTTPTransport", transport)
    with Outputs(API, resolve=Resolver(PUBLIC)).open(URL) as output:
        assert b"".join(output.blocks) == b"png"
    assert asked == [{"verify": tls()}]


def test_timeouts_reach_the_connection() -> None:
    host = Host(found())
    download(host)
    timeouts = host.requests[0].extensions["timeout"]
    assert timeouts == {"connect": 5, "read": 60, "write": 10, "pool": 5}


NOT_PUBLIC = [
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 (not bound to)
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "2002:a9fe:a9fe::1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "::127.0.0.1",
    "::169.254.169.254",
    "fec0::1",
    "4000::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_never_connected_to(address: str) -> None:
    host = Host(found())
    with pytest.raises(OutputBlocked, match=r"cdn\.test is not a public address"):
        download(host, addresses=Resolver(address))
    assert host.requests == []


@pytest.mark.parametrize(
    "address", [PUBLIC, PUBLIC_V6, f"::ffff:{PUBLIC}", f"64:ff9b::{PUBLIC}", "2002:5db8:d822::1"]
)
def test_a_public_address_is_connected_to(address: str) -> None:
    assert download(Host(found()), addresses=Resolver(address)) == b"png"


@pytest.mark.parametrize("address", ["10.0.0.1", "[::1]", "[fe80::1]", "2130706433", "0x7f.1"])
def test_an_address_in_the_url_is_checked_too(address: str) -> None:
    def as_the_system_does(host: str, _port: int) -> str:
        return {"2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1"}.get(host, host)

    host = Host(found())
    with pytest.raises(OutputBlocked):
        download(host, f"https://{address}/out.png", as_the_system_does)
    assert host.requests == []


def test_only_https_is_followed() -> None:
    host = Host(found())
    with pytest.raises(OutputBlocked, match="is not https"):
        download(host, "http://cdn.test/out.png")
    assert host.requests == []


@pytest.mark.parametrize(
    "output",
    ["ftp://cdn.test/out.png", "file:///etc/passwd", "//cdn.test/out.png", "out.png", "bild.ü"],
)
def test_what_is_neither_a_url_nor_base64_is_a_bad_output(output: str) -> None:
    host = Host(found())
    with pytest.raises(BadOutput, match="neither a URL nor base64"):
        download(host, output)
    assert host.requests == []


@pytest.mark.parametrize("url", ["https://cdn.test:port/", "https://cdn.test/\x00", "https://[::1"])
def test_a_url_that_is_none_is_a_bad_output(url: str) -> None:
    with pytest.raises(BadOutput, match="is invalid"):
        download(Host(found()), url)


def test_a_host_name_that_is_none_is_a_bad_output() -> None:
    def as_the_system_does(host: str, _port: int) -> str:
        return host.encode("idna").decode()  # what getaddrinfo does first

    with pytest.raises(BadOutput, match="is not a valid host name"):
        download(Host(found()), f"https://{'a' * 64}.test/out.png", as_the_system_does)


def test_a_host_that_is_not_found_may_be_found_later() -> None:
    def unknown(_host: str, _port: int) -> str:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(OutputUnavailable, match=r"cdn\.test was not found"):
        download(Host(found()), addresses=unknown)


# ------------------------------------------------------------------ base64


def decoded(text: str) -> list[bytes]:
    """The blocks of an output that is no URL; nothing may be asked for."""
    host = Host()
    with Outputs(API, httpx.MockTransport(host), unresolved).open(text) as output:
        blocks = list(output.blocks)
    assert host.requests == []
    return blocks


@pytest.mark.parametrize(
    "prefix", ["", "data:image/png;base64,", "data:;base64,", "data:image/png;name=a;base64,"]
)
@pytest.mark.parametrize("size", [1, 2, 3, BLOCK_BYTES])
def test_base64_is_decoded_with_and_without_a_prefix(prefix: str, size: int) -> None:
    image = hashlib.shake_128(b"image").digest(size)
    assert b"".join(decoded(prefix + base64.b64encode(image).decode())) == image


@pytest.mark.parametrize("size", [BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_base64_comes_in_blocks_too(size: int) -> None:
    image = hashlib.shake_128(b"image").digest(size)
    blocks = decoded(base64.b64encode(image).decode())
    assert b"".join(blocks) == image
    # An empty block would read as the end.
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)
    assert len(blocks) == -(-size // (BLOCK_BYTES - 1))  # as few as base64 allows


@pytest.mark.parametrize(
    "broken",
    [
        "iVBORw0KGgo",
        "iVBORw0KGgo-",
        "iVBORw0KGgo=iVBORw0KGgo=",
        "====",
        "data:image/png;base64",
        "data:image/png,%89PNG",
        "{'url': 'https://cdn.test/out.png'}",
    ],
)
def test_broken_base64_is_a_bad_output(broken: str) -> None:
    with pytest.raises(BadOutput, match="neither a URL nor base64"):
        decoded(broken)


@pytest.mark.parametrize(
    "text",
    [
        "aVZC\r\nT1J3\n",
        " aVZCT1J3",
        "data:image/png;base64,aVZC\nT1J3",
        "DATA:image/png;charset=utf-8;BASE64,aVZCT1J3",
    ],
)
def test_base64_may_come_in_lines_and_as_a_data_url(text: str) -> None:
    assert b"".join(decoded(text)) == b"iVBORw"


@pytest.mark.parametrize("url", [URL.replace("https", "HTTPS"), f" {URL}\n"])
def test_a_url_is_known_by_its_scheme_in_any_case(url: str) -> None:
    assert download(Host(found()), url) == b"png"


def test_http_in_capitals_is_not_https_either() -> None:
    host = Host(found())
    with pytest.raises(OutputBlocked, match="is not https"):
        download(host, "HTTP://cdn.test/out.png")
    assert host.requests == []


def test_a_host_is_named_without_what_could_be_a_secret() -> None:
    with pytest.raises(OutputBlocked) as caught:
        download(Host(found()), f"https://{'a' * 60}.test/out.png", Resolver("10.0.0.1"))
    assert str(caught.value) == f"the output's host {'a' * 60}.test is not a public address"


def test_base64_that_breaks_late_is_a_bad_output_midway() -> None:
    with Outputs(API).open(base64.b64encode(bytes(BLOCK_BYTES)).decode() + "?") as output:
        assert len(next(output.blocks)) > 0
        with pytest.raises(BadOutput):
            list(output.blocks)


@pytest.mark.parametrize("nothing", ["", "data:image/png;base64,"])
def test_an_empty_output_has_no_bytes(nothing: str) -> None:
    assert decoded(nothing) == []


def test_an_error_does_not_tell_the_output() -> None:
    with pytest.raises(BadOutput) as caught:
        decoded("c2VjcmV0?")
    assert "c2VjcmV0" not in str(caught.value)


# ------------------------------------------------------------------ redirects


def test_a_redirect_is_resolved_and_checked_again() -> None:
    host, resolver = Host(redirect("https://other.test/x.png"), found()), Resolver(PUBLIC)
    assert download(host, addresses=resolver) == b"png"
    assert [name for name, _ in resolver.asked] == ["cdn.test", "other.test"]
    assert host.requests[1].headers["Host"] == "other.test"
    assert host.requests[1].extensions["sni_hostname"] == "other.test"


def test_a_relative_redirect_goes_to_the_name_and_not_to_the_address() -> None:
    host, resolver = Host(redirect("/moved/out.png"), found()), Resolver(PUBLIC)
    download(host, addresses=resolver)
    assert resolver.asked == [("cdn.test", 443)] * 2
    assert host.requests[1].url == f"https://{PUBLIC}/moved/out.png"
    assert host.requests[1].headers["Host"] == "cdn.test"


def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    host = Host(redirect("https://inside.test/secret"), found())
    with pytest.raises(OutputBlocked, match=r"inside\.test"):
        download(host, addresses=Resolver(PUBLIC, "10.0.0.1"))
    assert len(host.requests) == 1


def test_a_name_that_turns_private_between_redirects_is_not_followed() -> None:
    host = Host(redirect("/again"), found())
    with pytest.raises(OutputBlocked):
        download(host, addresses=Resolver(PUBLIC, "127.0.0.1"))
    assert len(host.requests) == 1


def test_a_redirect_to_http_is_not_followed() -> None:
    host = Host(redirect("http://cdn.test/out.png"), found())
    with pytest.raises(OutputBlocked, match="is not https"):
        download(host)
    assert len(host.requests) == 1


def test_redirects_without_end_are_a_bad_output() -> None:
    host = Host(*[redirect("/again") for _ in range(20)])
    with pytest.raises(BadOutput, match="TooManyRedirects"):
        download(host)
    assert len(host.requests) == 6


# ------------------------------------------------------------------ the API's own host


LOCAL = "http://127.0.0.1:8080"


def unresolved(host: str, _port: int) -> str:
    pytest.fail(f"{host} was resolved")


def test_the_apis_own_host_is_allowed_wherever_it_is() -> None:
    host = Host(found())
    assert download(host, f"{LOCAL}/outputs/1.png", unresolved, api=LOCAL) == b"png"
    assert host.requests[0].url == f"{LOCAL}/outputs/1.png"


def test_a_default_port_may_be_spelled_out() -> None:
    host = Host(found())
    assert download(host, "https://API.test/1.png", unresolved, api="https://api.test:443")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/1.png", "http://127.0.0.1:8081/1.png", "https://127.0.0.1:8080/1.png"],
)
def test_another_port_or_scheme_of_the_apis_host_is_another_host(url: str) -> None:
    host = Host(found())
    with pytest.raises(OutputBlocked):
        download(host, url, Resolver("127.0.0.1"), api=LOCAL)
    assert host.requests == []


def test_from_the_apis_host_a_redirect_leads_nowhere_private() -> None:
    host = Host(redirect("https://inside.test/"), found())
    with pytest.raises(OutputBlocked):
        download(host, f"{LOCAL}/1.png", Resolver("192.168.0.1"), api=LOCAL)
    assert len(host.requests) == 1


# ------------------------------------------------------------------ what is sent and what comes


def test_no_key_is_sent_anywhere() -> None:
    host = Host(redirect(f"{API}/2"), redirect("https://cdn.test/3"), found())
    download(host)
    assert len(host.requests) == 3
    for request in host.requests:
        assert "Authorization" not in request.headers
        assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, OutputGone),
        (403, OutputGone),
        (410, OutputGone),
        (400, OutputUnavailable),
        (401, OutputUnavailable),
        (429, OutputUnavailable),
        (500, OutputUnavailable),
        (502, OutputUnavailable),
        (503, OutputUnavailable),
        (304, OutputUnavailable),
    ],
)
def test_a_status_says_whether_the_output_will_come(status: int, error: type[CutoutError]) -> None:
    with pytest.raises(CutoutError, match=str(status)) as caught:
        download(Host(httpx.Response(status, content=b"<html>sorry</html>")))
    assert type(caught.value) is error


class Broken(httpx.SyncByteStream):
    """A body that fails after its first block."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield bytes(BLOCK_BYTES)
        raise self._error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "error",
    [
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
        httpx.ReadError("connection reset by peer"),
        httpx.ReadTimeout("silence"),
    ],
)
def test_a_body_that_stops_short_may_come_whole_later(error: Exception) -> None:
    body = Broken(error)
    outputs = Outputs(
        API, httpx.MockTransport(lambda _: httpx.Response(200, stream=body)), Resolver(PUBLIC)
    )
    with outputs.open(URL) as output:
        assert len(next(output.blocks)) == BLOCK_BYTES
        with pytest.raises(OutputUnavailable, match=type(error).__name__):
            next(output.blocks)
    assert body.closed


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.ReadTimeout("")]
)
def test_a_connection_that_fails_may_come_about_later(error: Exception) -> None:
    with pytest.raises(OutputUnavailable, match=type(error).__name__) as caught:
        download(Host(error))
    assert "secret" not in str(caught.value)


def test_an_unasked_compression_is_not_undone() -> None:
    packed = gzip.compress(bytes(1_000_000))
    reply = httpx.Response(
        200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(packed)
    )
    assert download(Host(reply)) == packed


@pytest.mark.parametrize(
    ("said", "heard"), [("low", Confidence.LOW), ("99 %", None), ("", None), (None, None)]
)
def test_an_output_says_how_sure_its_remover_was(
    said: str | None, heard: Confidence | None
) -> None:
    headers = {"x-cutout-confidence-level": said} if said is not None else {}
    reply = httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"png"))
    outputs = Outputs(API, httpx.MockTransport(Host(reply)), Resolver(PUBLIC))
    with outputs.open(URL) as output:
        assert output.confidence is heard


# ------------------------------------------------------------------ resolve


def test_a_name_resolves_to_its_first_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: int, *, type: int) -> list[object]:  # noqa: A002
        assert (host, port, type) == ("cdn.test", 8443, socket.SOCK_STREAM)
        kind = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET6, *kind, (PUBLIC_V6, port, 0, 0)),
            (socket.AF_INET, *kind, (PUBLIC, port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert resolve("cdn.test", 8443) == PUBLIC_V6
