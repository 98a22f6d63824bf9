"""Fetching the `image` of a submit."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from cutout_local.wavespeed.errors import MediaNotFetched
from cutout_local.wavespeed.settings import Settings

FETCHES_AT_ONCE = 16
_WEB_URL = TypeAdapter(AnyHttpUrl)
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_METADATA = {
    # Where clouds tell machines their credentials, besides the link-local 169.254.169.254:
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    ipaddress.ip_address("fd00:ec2::254"),
    # https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
    ipaddress.ip_address("100.100.100.200"),
    # https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16
    ipaddress.ip_address("168.63.129.16"),
}

Resolve = Callable[[str], Awaitable[list[str]]]
"""The addresses of a host; raises `OSError`."""


class LinkLocal(httpx.RequestError):
    """The host has a link-local address or that of a cloud's metadata service."""


async def resolve(host: str) -> list[str]:
    """Ask the system for all addresses of a host; raise `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def web_client(
    settings: Settings, transport: httpx.AsyncBaseTransport | None, resolve: Resolve
) -> httpx.AsyncClient:
    """A client that follows redirects and asks no proxy for this machine's own ports.

    Unless the settings say otherwise, it raises `LinkLocal` instead of asking such an address.
    """

    async def check(request: httpx.Request) -> None:
        """See each request before it is sent, also those that follow a redirect."""
        _keep_path(request)
        if not settings.fetch_link_local:
            await _refuse_link_local(request, resolve)

    return httpx.AsyncClient(
        verify=_trusted(settings.ca_file),
        # A connection that waits for the next image may be closed just as it comes.
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=settings.fetch_timeout,
        follow_redirects=True,
        max_redirects=settings.max_redirects,
        transport=transport,
        mounts=dict.fromkeys(_LOOPBACK, transport),
        event_hooks={"request": [check]},
    )


@cache
def _trusted(ca_file: str | None) -> ssl.SSLContext:
    """The system's certificates, which take long to read, and one's own."""
    trusted = ssl.create_default_context()
    if ca_file:
        trusted.load_verify_locations(ca_file)
    return trusted


async def _refuse_link_local(request: httpx.Request, resolve: Resolve) -> None:
    try:
        addresses = await resolve(request.url.host)
    except (OSError, UnicodeError):  # the latter for what is no host name
        return  # the connection will fail, or a proxy knows the name
    if any(_is_link_local(address) for address in addresses):
        raise LinkLocal("the host's address is link-local or of a metadata service")


def _is_link_local(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_link_local or (mapped or ip) in _METADATA


def _keep_path(request: httpx.Request) -> None:
    """Ask for the path as it was written: httpx takes `..` out, and an S3 key may hold it.

    A redirect's request inherits the extensions, but has a path of its own.
    """
    written = request.extensions.pop("written", None)
    if written is None:
        request.extensions.pop("target", None)
    else:
        parts = urlsplit(written)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        request.extensions["target"] = target.encode("ascii")


def is_web_url(text: str) -> bool:
    """Whether this is an absolute http or https URL that can be asked for."""
    try:
        _WEB_URL.validate_python(text)
        httpx.URL(text)
    except (ValidationError, httpx.InvalidURL):
        return False
    return True


class Fetcher:
    """Downloads images to files, a few at a time; `timeout` in seconds for each as a whole."""

    def __init__(self, client: httpx.AsyncClient, timeout: float, max_bytes: int) -> None:
        self._client = client
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def fetch(self, url: str, target: Path) -> None:
        """Write what `url` holds to `target`; raise `MediaNotFetched`.

        No message names the URL: presigned ones are secrets.
        """
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._download(url, target)
            except TimeoutError as error:
                text = f"the image could not be fetched within {self._timeout:g} seconds"
                raise MediaNotFetched(text) from error
            except LinkLocal as error:
                raise MediaNotFetched(f"the image is not fetched: {error}") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                text = f"the image could not be fetched: {type(error).__name__}"
                raise MediaNotFetched(text) from error

    async def _download(self, url: str, target: Path) -> None:
        size = 0
        # What is not ASCII has no written form that could be sent.
        extensions = {"written": url} if url.isascii() else {}
        async with self._client.stream("GET", url, extensions=extensions) as response:
            if not response.is_success:
                text = f"the image could not be fetched: HTTP {response.status_code}"
                raise MediaNotFetched(text)
            with target.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise MediaNotFetched(f"the image has more than {self._max_bytes} bytes")
                    file.write(chunk)
