"""Fetching the `image` of a submit."""

import asyncio
import ssl
from pathlib import Path

import httpx
from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from cutout_local.wavespeed.errors import MediaNotFetched
from cutout_local.wavespeed.settings import Settings

FETCHES_AT_ONCE = 16
_WEB_URL = TypeAdapter(AnyHttpUrl)
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def web_client(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    """Return a client that follows redirects and asks no proxy for this machine's own ports."""
    trusted = ssl.create_default_context()
    if settings.ca_file:
        trusted.load_verify_locations(settings.ca_file)
    return httpx.AsyncClient(
        verify=trusted,
        # A connection that waits for the next image may be closed just as it comes.
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=settings.fetch_timeout,
        follow_redirects=True,
        max_redirects=settings.max_redirects,
        transport=transport,
        mounts=dict.fromkeys(_LOOPBACK, transport),
    )


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
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                text = f"the image could not be fetched: {type(error).__name__}"
                raise MediaNotFetched(text) from error

    async def _download(self, url: str, target: Path) -> None:
        size = 0
        async with self._client.stream("GET", url) as response:
            if not response.is_success:
                text = f"the image could not be fetched: HTTP {response.status_code}"
                raise MediaNotFetched(text)
            with target.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise MediaNotFetched(f"the image has more than {self._max_bytes} bytes")
                    file.write(chunk)
