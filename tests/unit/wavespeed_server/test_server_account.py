from decimal import Decimal

import pytest

from cutout_local.wavespeed.settings import Tier
from tests.unit.wavespeed_server.harness import IMAGE, Api, serve

pytestmark = pytest.mark.anyio

MODEL = "wavespeed-ai/image-background-remover"


async def test_a_completed_task_costs_its_price_and_a_failed_one_nothing(api: Api) -> None:
    before = await api.balance()
    await api.run()
    assert await api.balance() == pytest.approx(before - 0.01)
    await api.run(fault="task-fails")
    assert await api.balance() == pytest.approx(before - 0.01)


async def test_after_a_rotation_only_the_new_key_is_taken(api: Api) -> None:
    rotated = await api.client.put("/_key", json={"api_key": "another"})
    assert rotated.status_code == 204
    assert (await api.client.get("/api/v3/balance")).status_code == 401
    another = {"authorization": "Bearer another"}
    assert (await api.client.get("/api/v3/balance", headers=another)).status_code == 200


async def test_without_credits_a_submit_is_400_with_the_known_message() -> None:
    async with serve(balance=Decimal("0.01")) as api:
        await api.run()
        answer = await api.submit()
        assert (answer.status_code, answer.json()) == (
            400,
            {
                "code": 400,
                "message": "Insufficient credits. Please top up your account to continue.",
            },
        )
        assert len(await api.billed_tasks()) == 1


async def test_both_price_endpoints_tell_the_models_price(api: Api) -> None:
    body = {"model_id": MODEL, "inputs": {"image": IMAGE}}
    price = await api.client.post("/api/v3/model/price", json=body)
    assert price.json()["data"] == {
        "model_id": MODEL,
        "price": 0.01,
        "discounted_price": 0.01,
        "discount_rate": 0,
        "currency": "USD",
    }
    older = await api.client.post("/api/v3/model/pricing", json=body)
    assert older.json()["data"] == {"model_id": MODEL, "unit_price": 0.01, "currency": "USD"}


@pytest.mark.parametrize("path", ["/api/v3/model/price", "/api/v3/model/pricing"])
async def test_an_unknown_model_has_no_price(api: Api, path: str) -> None:
    answer = await api.client.post(path, json={"model_id": "no/such"})
    assert (answer.status_code, answer.json()["message"]) == (400, "model not found")


async def test_the_catalogue_lists_the_models_with_the_schema_of_their_request(api: Api) -> None:
    models = (await api.client.get("/api/v3/models")).json()["data"]
    assert [model["model_id"] for model in models] == [MODEL, "wavespeed-ai/feynobg"]
    schema = models[0]["api_schema"]
    assert schema["required"] == ["image"]
    assert set(schema["properties"]) == {"image", "enable_base64_output", "enable_sync_mode"}


async def test_the_plan_limits_the_images_of_each_clock_minute() -> None:
    async with serve(tier=Tier(images_per_minute=2, concurrent=9)) as api:
        api.clock.advance(seconds=50)
        await api.run()
        await api.run()
        refused = await api.submit()
        assert (refused.status_code, refused.json()["code"]) == (429, 429)
        assert "retry-after" not in refused.headers
        api.clock.advance(seconds=9)
        assert (await api.submit()).status_code == 429
        api.clock.advance(seconds=1)
        assert (await api.submit()).status_code == 200
        assert len(await api.billed_tasks()) == 3


async def test_the_plan_limits_the_tasks_open_at_once() -> None:
    async with serve(tier=Tier(images_per_minute=9, concurrent=2)) as api:
        api.remover.hold()
        ids = [(await api.submit()).json()["data"]["id"] for _ in range(2)]
        refused = await api.submit()
        assert refused.status_code == 429
        assert refused.json()["message"] == "You have reached your concurrency limit"
        api.remover.go_on.set()
        await api.wait_for(ids[1], "completed")
        assert (await api.submit()).status_code == 200
