import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.wavespeed_server.harness import HOOK, Api, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serve(webhook_backoff=0.001) as served:
        yield served


async def secret(api: Api) -> str:
    data = (await api.client.get("/api/v3/webhook/secret")).json()["data"]
    return str(data["secret"])


def signed_with(key: str, hook: httpx.Request) -> bool:
    """Verify as the vendor's docs describe it, without the code under test."""
    message = f"{hook.headers['webhook-id']}.{hook.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key.encode(), message + hook.content, hashlib.sha256).hexdigest()
    return hook.headers["webhook-signature"] == f"v3,{digest}"


async def test_a_completed_task_sends_its_bare_prediction_signed(api: Api) -> None:
    data = await api.run(webhook=f"{HOOK}?a=b%20c")
    (hook,) = await api.network.wait_for_hooks(1)
    assert str(hook.url) == f"{HOOK}?a=b%20c"
    assert json.loads(hook.content) == data == await api.result(data["id"])
    key = await secret(api)
    assert key.startswith("whsec_")
    assert signed_with(key.removeprefix("whsec_"), hook)


async def test_a_failed_task_sends_its_prediction_too(api: Api) -> None:
    await api.run(webhook=HOOK, fault="task-fails")
    (hook,) = await api.network.wait_for_hooks(1)
    assert json.loads(hook.content)["status"] == "failed"


async def test_a_receiver_that_fails_is_asked_again_with_the_same_message(api: Api) -> None:
    api.network.hook_statuses = [500, 302, 404]
    await api.run(webhook=HOOK)
    hooks = await api.network.wait_for_hooks(4)
    assert len({hook.headers["webhook-id"] for hook in hooks}) == 1
    assert len({hook.content for hook in hooks}) == 1


async def test_after_three_retries_the_webhook_is_given_up(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.network.hook_statuses = [500, 429, 302, 404, 500]
    data = await api.run(webhook=HOOK)
    told = f"task {data['id']}: the webhook was not taken (500, 429, 302, 404)"
    async with asyncio.timeout(5):
        while told not in caplog.text:
            await asyncio.sleep(0.001)
    assert len(api.network.hooks) == 4


async def test_a_receiver_that_is_not_there_changes_nothing_for_the_task(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    data = await api.run(webhook="https://unreachable.test/secret")
    async with asyncio.timeout(5):
        while "the webhook was not taken (ConnectError" not in caplog.text:
            await asyncio.sleep(0.001)
    assert (await api.result(data["id"]))["status"] == "completed"
    assert "unreachable.test" not in caplog.text


async def test_a_lost_webhook_is_never_sent(api: Api) -> None:
    await api.run(webhook=HOOK, fault="webhook-lost")
    await api.run(webhook=f"{HOOK}/second")
    (hook,) = await api.network.wait_for_hooks(1)
    assert hook.url.path.endswith("/second")


async def test_a_webhook_that_is_sent_twice_is_the_same_message(api: Api) -> None:
    await api.run(webhook=HOOK, fault="webhook-twice")
    first, second = await api.network.wait_for_hooks(2)
    assert first.content == second.content
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_late_webhook_comes_after_its_seconds(api: Api) -> None:
    await api.run(webhook=HOOK, fault="webhook-late=0.01")
    await api.network.wait_for_hooks(1)


async def test_a_forged_webhook_comes_before_the_true_one(api: Api) -> None:
    data = await api.run(webhook=HOOK, fault="webhook-forged")
    forged, true = await api.network.wait_for_hooks(2)
    key = (await secret(api)).removeprefix("whsec_")
    assert json.loads(forged.content)["status"] == "failed"
    assert not signed_with(key, forged)
    assert json.loads(true.content) == data
    assert signed_with(key, true)


async def test_a_webhook_that_is_no_url_is_refused(api: Api) -> None:
    assert (await api.submit(webhook="not a url")).status_code == 400
