from collections.abc import AsyncIterator

import pytest

from tests.unit.wavespeed_server.harness import Api, serve


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serve() as served:
        yield served
