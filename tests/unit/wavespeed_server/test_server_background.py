import asyncio
from contextlib import suppress

import pytest

from cutout_local.wavespeed.runner import Background

pytestmark = pytest.mark.anyio


async def test_work_that_swallows_a_cancellation_is_cancelled_again() -> None:
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    background = Background()
    background.spawn(stubborn())
    await started.wait()

    await background.stop()
    assert len(background) == 0
