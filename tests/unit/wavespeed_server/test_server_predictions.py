import base64
import re
from datetime import datetime

import httpx
import pytest

from cutout_local.wavespeed.app import create_app
from cutout_local.wavespeed.errors import BadMedia, ExecutionFailed, WorkerDied
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.worker import Outcome
from tests.unit.wavespeed_server.harness import HOOK, IMAGE, KEY, PNG, SUBMIT, Api, Remover, serve

pytestmark = pytest.mark.anyio


async def test_a_submit_is_answered_as_the_model_page_says(api: Api) -> None:
    api.remover.hold()
    answer = await api.submit()
    assert answer.status_code == 200
    body = answer.json()
    assert body["code"] == 200
    data = body["data"]
    assert re.fullmatch("[0-9a-f]{32}", data["id"])
    assert datetime.fromisoformat(data.pop("created_at")) == api.clock.now
    assert data == {
        "id": data["id"],
        "model": "wavespeed-ai/image-background-remover",
        "outputs": [],
        "urls": {"get": f"http://server/api/v3/predictions/{data['id']}/result"},
        "has_nsfw_contents": [],
        "status": "created",
        "error": "",
        "timings": {"inference": 0},
    }


async def test_a_task_goes_from_created_over_processing_to_completed(api: Api) -> None:
    api.remover.hold()
    task_id = (await api.submit()).json()["data"]["id"]
    assert (await api.wait_for(task_id, "processing"))["outputs"] == []
    api.remover.go_on.set()
    done = await api.wait_for(task_id, "completed")
    assert done["outputs"] == [f"http://server/outputs/{task_id}.png"]
    assert done["timings"]["inference"] == 13
    assert done["has_nsfw_contents"] == [False]


async def test_the_remover_gets_the_bytes_that_the_image_url_holds(api: Api) -> None:
    api.network.answers["/bucket/cat.jpg"] = httpx.Response(200, content=b"the cat")
    await api.run()
    assert api.remover.sources == [b"the cat"]


async def test_the_output_is_a_png_with_its_length_and_confidence(api: Api) -> None:
    url = (await api.run())["outputs"][0]
    answer = await api.client.get(url, headers={"authorization": ""})
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["x-cutout-confidence"] == "0.876"
    assert answer.headers["x-cutout-confidence-level"] == "high"


async def test_the_headers_of_an_output_can_be_had_alone(api: Api) -> None:
    url = (await api.run())["outputs"][0]
    answer = await api.client.head(url, headers={"authorization": ""})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["x-cutout-confidence-level"] == "high"


async def test_an_engine_without_a_score_sends_no_confidence(api: Api) -> None:
    api.remover.outcome = Outcome(inference_ms=1, confidence=None, level=None)
    answer = await api.client.get((await api.run())["outputs"][0])
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "confidence" in name]


async def test_a_bug_is_a_500_in_the_same_form_and_tells_nothing() -> None:
    app = create_app(Settings(api_key=KEY), Remover())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://server") as client,
    ):
        app.state.backend.account.balance = "hunter2"
        headers = {"authorization": f"Bearer {KEY}"}
        answer = await client.get("/api/v3/balance", headers=headers)
    assert answer.status_code == 500
    assert answer.json() == {"code": 500, "message": "internal server error"}


async def test_the_alias_says_what_the_result_says(api: Api) -> None:
    data = await api.run()
    alias = await api.client.get(f"/api/v3/predictions/{data['id']}")
    assert alias.json()["data"] == await api.result(data["id"]) == data


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic test-key"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", SUBMIT),
        ("POST", "/api/v3/no/model"),
        ("GET", "/api/v3/predictions/1/result"),
        ("GET", "/api/v3/predictions/1"),
        ("POST", "/api/v3/predictions"),
        ("POST", "/api/v3/predictions/delete"),
        ("GET", "/api/v3/balance"),
        ("POST", "/api/v3/model/price"),
        ("POST", "/api/v3/model/pricing"),
        ("GET", "/api/v3/models"),
        ("GET", "/api/v3/webhook/secret"),
        ("POST", "/api/v3/media/uploads"),
        ("POST", "/api/v3/media/upload/binary"),
        ("GET", "/_billing"),
        ("GET", "/_faults"),
        ("PUT", "/_faults"),
        ("PUT", "/_key"),
    ],
)
async def test_without_the_key_everything_is_401(
    api: Api, method: str, path: str, authorization: str
) -> None:
    answer = await api.client.request(method, path, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["code"] == 401


@pytest.mark.parametrize(
    "body",
    [
        b'{"enable_sync_mode": true}',
        b'{"image": 7}',
        b'{"image": ""}',
        b'{"image": "cat.jpg"}',
        b'{"image": "ftp://host/cat.jpg"}',
        b'{"image": "https://[broken/cat.jpg"}',
        b'{"image": "https://h/c.jpg", "enable_sync_mode": "perhaps"}',
        b"[]",
        b"not json",
        b"",
    ],
)
async def test_a_bad_submit_is_400_and_costs_nothing(api: Api, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = await api.client.post(SUBMIT, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == 400
    assert answer.json()["message"]
    assert await api.billed_tasks() == []


async def test_a_validation_error_names_the_field_and_not_its_content(api: Api) -> None:
    message = (await api.submit(enable_sync_mode="hunter2")).json()["message"]
    assert "enable_sync_mode" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (
            b'{"image": }',
            {"content-type": "application/json"},
            "the body is not JSON: Expecting value at character 10",
        ),
        (
            b'{"image": "https://images.test/cat.jpg"}',
            {},
            "the body is not a JSON object with Content-Type: application/json",
        ),
        (
            b"[]",
            {"content-type": "application/json"},
            "the body is not a JSON object with Content-Type: application/json",
        ),
        (b"{}", {"content-type": "application/json"}, "image: Field required"),
    ],
)
async def test_a_400_says_what_is_wrong_with_the_body(
    api: Api, body: bytes, headers: dict[str, str], message: str
) -> None:
    answer = await api.client.post(SUBMIT, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"code": 400, "message": message})


async def test_an_unknown_model_is_400(api: Api) -> None:
    answer = await api.client.post("/api/v3/wavespeed-ai/no-such", json={"image": IMAGE})
    assert (answer.status_code, answer.json()) == (400, {"code": 400, "message": "model not found"})


async def test_an_unknown_prediction_is_404(api: Api) -> None:
    answer = await api.client.get("/api/v3/predictions/nope/result")
    assert answer.status_code == 404
    assert answer.json() == {"code": 404, "message": "Prediction not found"}


async def test_unknown_paths_and_methods_have_the_same_error_body(api: Api) -> None:
    unknown = await api.client.get("/nowhere")
    assert (unknown.status_code, unknown.json()["code"]) == (404, 404)
    method = await api.client.delete("/api/v3/balance")
    assert (method.status_code, method.json()["code"]) == (405, 405)


async def test_a_failed_task_is_a_200_with_the_removers_text(api: Api) -> None:
    api.remover.failure = ExecutionFailed("no subject was found")
    data = await api.run()
    assert data["status"] == "failed"
    assert data["error"] == "no subject was found"
    assert data["code"] == 1403
    assert data["outputs"] == []


async def test_what_is_no_image_is_an_invalid_parameter(api: Api) -> None:
    api.remover.failure = BadMedia("the image cannot be read")
    assert (await api.run())["code"] == 1401


@pytest.mark.parametrize("failure", [WorkerDied("twice"), ZeroDivisionError()])
async def test_a_failure_of_the_server_fails_the_task_and_refunds_it(
    api: Api, failure: WorkerDied | ZeroDivisionError
) -> None:
    before = await api.balance()
    api.remover.failure = failure
    data = await api.run()
    assert (data["status"], data["code"]) == ("failed", 5000)
    assert await api.balance() == before


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://images.test/gone", httpx.Response(404)),
        ("https://images.test/large", httpx.Response(200, content=b"x" * 2_000)),
        (
            "https://images.test/loop",
            httpx.Response(302, headers={"location": "https://images.test/loop"}),
        ),
        ("https://unreachable.test/secret", None),
    ],
)
async def test_an_image_that_cannot_be_fetched_is_a_failed_task_1402(
    url: str, answer: httpx.Response | None
) -> None:
    async with serve(max_image_bytes=1_000) as api:
        if answer:
            api.network.answers[httpx.URL(url).path] = answer
        data = await api.run(f"{url}?X-Amz-Signature=secret")
        assert (data["status"], data["code"]) == ("failed", 1402)
        assert "secret" not in data["error"]
        assert api.remover.sources == []


async def test_an_image_that_takes_too_long_is_a_failed_task_1402() -> None:
    async with serve(fetch_timeout=0.01) as api:
        assert (await api.run("https://stalled.test/cat.jpg"))["code"] == 1402


async def test_many_tasks_can_be_open_at_once(api: Api) -> None:
    api.remover.hold()
    ids = [(await api.submit()).json()["data"]["id"] for _ in range(20)]
    await api.wait_for(ids[0], "processing")
    assert (await api.result(ids[-1]))["status"] == "created"
    api.remover.go_on.set()
    for task_id in ids:
        await api.wait_for(task_id, "completed")


async def test_one_worker_takes_the_images_in_the_order_of_their_submits() -> None:
    async with serve(workers=1) as api:
        api.remover.hold()
        names = [f"{number}.jpg" for number in range(5)]
        for name in names:
            api.network.answers[f"/{name}"] = httpx.Response(200, content=name.encode())
            await api.submit(f"https://images.test/{name}")
        api.remover.go_on.set()
        await api.run()
        assert api.remover.sources == [*(name.encode() for name in names), b"image bytes"]


@pytest.mark.parametrize(("cores", "gibibytes", "workers"), [(8, 64, 8), (8, 5, 2), (1, 1, 1)])
def test_there_is_a_worker_for_each_core_as_far_as_memory_goes(
    monkeypatch: pytest.MonkeyPatch, cores: int, gibibytes: int, workers: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gibibytes << 18}.get)
    assert Settings(api_key=KEY).workers == workers


async def test_sync_mode_that_runs_out_says_5004_and_the_task_lives_on() -> None:
    async with serve(sync_wait=0.01) as api:
        api.remover.hold()
        answer = await api.submit(enable_sync_mode=True)
        assert answer.status_code == 200
        data = answer.json()["data"]
        assert (data["status"], data["code"]) == ("processing", 5004)
        assert data["error"] == (
            "Sync mode timed out after 0.01 seconds. "
            "The prediction is still processing asynchronously."
        )
        api.remover.go_on.set()
        done = await api.wait_for(data["id"], "completed")
        assert done["error"] == ""
        assert "code" not in done


async def test_base64_outputs_are_bare_on_the_post_and_on_the_get(api: Api) -> None:
    data = await api.run(enable_base64_output=True)
    assert base64.b64decode(data["outputs"][0], validate=True) == PNG
    assert (await api.result(data["id"]))["outputs"] == data["outputs"]


async def test_base64_together_with_a_webhook_is_refused_in_the_known_form(api: Api) -> None:
    answer = await api.submit(enable_base64_output=True, webhook=HOOK)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "webhook callback does not support base64 output, "
        "please use the normal API to use base64 output"
    }
    assert await api.billed_tasks() == []


async def test_history_is_newest_first_in_pages_and_without_inputs(api: Api) -> None:
    ids = [(await api.run())["id"] for _ in range(5)]
    answer = await api.client.post("/api/v3/predictions", json={"page": 2, "page_size": 2})
    page = answer.json()["data"]
    assert (page["page"], page["total"]) == (2, 5)
    assert [item["id"] for item in page["items"]] == [ids[2], ids[1]]
    assert "images.test" not in answer.text


async def test_history_filters_by_model_status_and_time(api: Api) -> None:
    first = (await api.run())["id"]
    start = api.clock.now
    api.clock.advance(minutes=1)
    other = await api.client.post("/api/v3/wavespeed-ai/feynobg", json={"image": IMAGE})
    second = other.json()["data"]["id"]
    await api.wait_for(second, "completed")
    api.clock.advance(minutes=1)
    third = (await api.run(fault="task-fails"))["id"]

    async def found(**filters: object) -> list[str]:
        answer = await api.client.post("/api/v3/predictions", json=filters)
        return [item["id"] for item in answer.json()["data"]["items"]]

    assert await found() == [third, second, first]
    assert await found(model="wavespeed-ai/feynobg") == [second]
    assert await found(status="failed") == [third]
    after = start.replace(second=30)
    assert await found(created_after=after.isoformat()) == [third, second]
    assert await found(created_before=after.isoformat()) == [first]
    naive = after.replace(tzinfo=None)
    assert await found(created_before=naive.isoformat()) == [first]


@pytest.mark.parametrize("body", [{"page": 0}, {"page_size": 101}, {"created_after": "soon"}])
async def test_a_bad_history_request_is_400(api: Api, body: dict[str, object]) -> None:
    assert (await api.client.post("/api/v3/predictions", json=body)).status_code == 400


async def test_deleted_tasks_and_their_outputs_are_gone(api: Api) -> None:
    data, kept = await api.run(), await api.run()
    api.remover.hold()
    running = (await api.submit()).json()["data"]["id"]
    ids = [data["id"], data["id"], "nope", running]
    answer = await api.client.post("/api/v3/predictions/delete", json={"ids": ids})
    assert answer.json()["data"] == {"deleted_count": 1}
    gone = await api.client.get(f"/api/v3/predictions/{data['id']}/result")
    assert gone.status_code == 404
    assert (await api.client.get(data["outputs"][0])).status_code == 404
    assert (await api.client.get(kept["outputs"][0])).status_code == 200
    assert (await api.result(running))["status"] != "deleted"


async def test_everything_of_a_task_expires_after_the_retention_time(api: Api) -> None:
    data = await api.run()
    api.clock.advance(days=6.9)
    assert (await api.client.get(data["outputs"][0])).status_code == 200
    api.clock.advance(days=0.1)
    assert (await api.client.get(data["outputs"][0])).status_code == 404
    assert (await api.client.get(f"/api/v3/predictions/{data['id']}")).status_code == 404
    history = await api.client.post("/api/v3/predictions", json={})
    assert history.json()["data"]["total"] == 0
    assert [task["id"] for task in await api.billed_tasks()] == [data["id"]]


async def test_the_oldest_outputs_go_when_they_take_too_much_room() -> None:
    async with serve(max_stored_bytes=2 * len(PNG)) as api:
        urls = [(await api.run())["outputs"][0] for _ in range(3)]
        statuses = [(await api.client.get(url)).status_code for url in urls]
        assert statuses == [404, 200, 200]


async def test_an_expired_base64_output_is_404_and_no_server_error() -> None:
    async with serve(max_stored_bytes=len(PNG)) as api:
        first = await api.run(enable_base64_output=True)
        await api.run()
        answer = await api.client.get(f"/api/v3/predictions/{first['id']}/result")
        assert answer.status_code == 404


async def test_the_oldest_ended_tasks_go_when_there_are_too_many() -> None:
    async with serve(max_tasks=2) as api:
        ids = [(await api.run())["id"] for _ in range(3)]
        assert [task["id"] for task in await api.billed_tasks()] == ids[1:]


async def test_the_billing_names_every_accepted_task_without_the_urls_query(api: Api) -> None:
    done = await api.run()
    failed = await api.run("https://images.test/b%C3%BC/a+b%20c.png?sig=1", fault="task-fails")
    billed = await api.billed_tasks()
    facts = ("id", "image", "status", "billed", "refunded")
    assert [tuple(task[fact] for fact in facts) for task in billed] == [
        (done["id"], "/bucket/cat.jpg", "completed", 0.01, False),
        (failed["id"], "/bü/a+b c.png", "failed", 0.01, True),
    ]
