"""Download an output from wherever the vendor says it is, and from nowhere else.

An output URL comes from outside, so it is not trusted: https only, and no private, loopback or
link-local address, checked on the very address that is connected to, at every redirect. The one
exception is the host of the configured API base URL. The API key is never sent.
"""

import base64
import ipaddress
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx

from cutout.domain.errors import BadOutput, OutputBlocked, OutputGone, OutputUnavailable
from cutout.domain.png import Output
from cutout.domain.tasks import Confidence
from cutout.wavespeed.client import tls
from cutout.wavespeed.contract import CONFIDENCE
from cutout.wavespeed.texts import scrubbed

BLOCK_BYTES = 256 * 1024
# Outputs come from a CDN: slow first bytes are normal, a minute without any is not.
_TIMEOUT = httpx.Timeout(connect=5, read=60, write=10, pool=5)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
# All that IANA has given out: not the obsolete forms of private ones, ::127.0.0.1 and fec0::1.
# https://www.iana.org/assignments/ipv6-address-space
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_IS_URL = re.compile(r"https?://", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_BLANK = re.compile(r"\s")
_GONE = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}

Resolve = Callable[[str, int], str]


def resolve(host: str, port: int) -> str:
    """The first address of a host. Raises `OSError`."""
    return str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])


class _PublicHosts(httpx.BaseTransport):
    """Connects to the address it has checked, so that a second DNS answer cannot differ."""

    def __init__(self, allowed: httpx.URL, resolve: Resolve, inner: httpx.BaseTransport) -> None:
        self._allowed = (allowed.scheme, allowed.host, allowed.port)
        self._resolve = resolve
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if (url.scheme, url.host, url.port) == self._allowed:
            return self._inner.handle_request(request)
        if url.scheme != "https":
            raise OutputBlocked(f"the output's URL is not https but {url.scheme}")
        pinned = httpx.Request(
            request.method,
            url.copy_with(host=self._public_address(url)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return self._inner.handle_request(pinned)

    def _public_address(self, url: httpx.URL) -> str:
        host = f"the output's host {scrubbed(url.host)}"
        try:
            address = self._resolve(url.host, url.port or 443)
        except OSError as error:
            raise OutputUnavailable(f"{host} was not found") from error
        except UnicodeError as error:  # of the codec that makes ASCII of host names
            raise BadOutput(f"{host} is not a valid host name") from error
        if not _is_public(address):
            raise OutputBlocked(f"{host} is not a public address")
        return address


class Outputs:
    """Downloads outputs of the API at `base_url`."""

    def __init__(
        self,
        base_url: str,
        transport: httpx.BaseTransport | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        inner = transport or httpx.HTTPTransport(verify=tls())
        self._http = httpx.Client(
            transport=_PublicHosts(httpx.URL(base_url), resolve, inner),
            timeout=_TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # a compressed answer could hide a bomb
            follow_redirects=True,
            max_redirects=5,
            trust_env=False,  # a proxy from the environment would bypass the address check
        )

    @contextmanager
    def open(self, output: str) -> Iterator[Output]:
        """Download an output, in blocks of at most `BLOCK_BYTES`; it is a URL, or base64.

        Raises `OutputBlocked`, `OutputGone`, `BadOutput` or `OutputUnavailable`.
        """
        output = output.strip()
        if not _IS_URL.match(output):
            yield Output(_decoded(output))
            return
        with _translated_errors(), self._http.stream("GET", output) as response:
            _check_status(response)
            yield Output(_blocks(response), _confidence(response))


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise BadOutput(f"the output's URL is invalid ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise OutputUnavailable(
            f"the output could not be downloaded ({type(error).__name__})"
        ) from error


def _blocks(response: httpx.Response) -> Iterator[bytes]:
    with _translated_errors():
        yield from response.iter_raw(BLOCK_BYTES)


def _confidence(response: httpx.Response) -> Confidence | None:
    level = response.headers.get(CONFIDENCE)
    return Confidence(level) if level in set(Confidence) else None


def _decoded(text: str) -> Iterator[bytes]:
    """Bare base64 as the vendor sends it; a `data:` prefix and line breaks are tolerated."""
    prefix = _DATA_URL.match(text)
    start = prefix.end() if prefix else 0
    if _BLANK.search(text, start):
        text, start = _BLANK.sub("", text[start:]), 0
    block = BLOCK_BYTES // 3 * 4
    try:
        for position in range(start, len(text), block):
            yield base64.b64decode(text[position : position + block], validate=True)
    except ValueError as error:
        raise BadOutput("the output is neither a URL nor base64") from error


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _embedded(ip) or ip
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is reached through an IPv6 one, if any."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour


def _check_status(response: httpx.Response) -> None:
    if response.status_code in _GONE:
        raise OutputGone(f"the output was not found or has expired ({response.status_code})")
    if not response.is_success:
        raise OutputUnavailable(f"the output's host answered {response.status_code}")
