import asyncio
import time
from io import BytesIO

import httpx
import pytest
from PIL import Image

from cutout_local.wavespeed.errors import BadRequest
from cutout_local.wavespeed.faults import Fault, FaultRule, Faults, parse_header
from cutout_local.wavespeed.runner import CANARY
from tests.unit.wavespeed_server.harness import IMAGE, PNG, Api

pytestmark = pytest.mark.anyio


async def set_faults(api: Api, *rules: dict[str, object]) -> None:
    answer = await api.client.put("/_faults", json=rules)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("submit-rate-limited", 429, "application/json"),
        ("submit-no-credits", 400, "application/json"),
        ("submit-server-error", 500, "application/json"),
        ("submit-bad-gateway", 502, "text/html; charset=utf-8"),
    ],
)
async def test_a_refusal_asked_for_by_header_accepts_nothing(
    api: Api, fault: str, status: int, kind: str
) -> None:
    answer = await api.submit(fault=fault)
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert await api.billed_tasks() == []


async def test_a_gateway_timeout_can_come_with_the_task_accepted(api: Api) -> None:
    answer = await api.submit(fault="submit-accepted-gateway-timeout")
    assert answer.status_code == 504
    (task,) = await api.billed_tasks()
    await api.wait_for(task["id"], "completed")


async def test_the_answer_to_an_accepted_submit_can_be_late(api: Api) -> None:
    answer = asyncio.create_task(api.submit(fault="submit-accepted-late=0.05"))
    async with asyncio.timeout(5):
        while not (billed := await api.billed_tasks()):
            await asyncio.sleep(0)
    assert not answer.done()
    assert (await answer).json()["data"]["id"] == billed[0]["id"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "timeout", "deleted"])
async def test_a_task_can_end_in_every_terminal_status_and_is_refunded(
    api: Api, status: str
) -> None:
    fault = "task-fails" if status == "failed" else f"task-{status}"
    data = await api.run(fault=fault)
    assert (data["status"], data["outputs"]) == (status, [])
    assert data["error"]
    assert (await api.billed_tasks())[0]["refunded"]


async def test_a_task_can_show_a_status_that_nobody_knows_and_complete(api: Api) -> None:
    api.remover.hold()
    answer = await api.submit(fault="task-unknown-status")
    task_id = answer.json()["data"]["id"]
    await api.wait_for(task_id, "unknown")
    api.remover.go_on.set()
    await api.wait_for(task_id, "completed")


async def test_a_slow_task_is_processing_after_its_work_is_done(api: Api) -> None:
    answer = await api.submit(fault="task-slow=0.05")
    task_id = answer.json()["data"]["id"]
    assert (await api.wait_for(task_id, "processing"))["outputs"] == []
    await api.wait_for(task_id, "completed")


async def test_a_task_that_never_ends_does_not_hold_the_others_up(api: Api) -> None:
    endless = [(await api.submit(fault="task-never-ends")).json()["data"]["id"] for _ in range(3)]
    assert (await api.run())["status"] == "completed"
    for task_id in endless:
        assert (await api.result(task_id))["status"] == "processing"


@pytest.mark.parametrize(
    ("fault", "status"),
    [("result-rate-limited", 429), ("result-server-error", 500), ("result-bad-gateway", 502)],
)
async def test_polls_can_fail(api: Api, fault: str, status: int) -> None:
    path = f"/api/v3/predictions/{(await api.run())['id']}"
    headers = {"x-cutout-fault": fault}
    for poll in (path, f"{path}/result"):
        assert (await api.client.get(poll, headers=headers)).status_code == status
    assert (await api.client.get(path)).status_code == 200


async def test_an_output_can_have_expired(api: Api) -> None:
    url = (await api.run(fault="output-expired"))["outputs"][0]
    assert (await api.client.get(url)).status_code == 404


async def test_an_output_can_be_incomplete_in_a_whole_answer(api: Api) -> None:
    url = (await api.run(fault="output-incomplete"))["outputs"][0]
    assert (await api.client.get(url)).content == PNG[: len(PNG) // 2]


async def test_an_output_can_be_no_png(api: Api) -> None:
    url = (await api.run(fault="output-wrong-bytes"))["outputs"][0]
    answer = await api.client.get(url)
    assert answer.headers["content-type"] == "image/png"
    assert not answer.content.startswith(b"\x89PNG")


async def test_an_output_can_lack_transparency(api: Api) -> None:
    url = (await api.run(fault="output-no-alpha"))["outputs"][0]
    with Image.open(BytesIO((await api.client.get(url)).content)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (8, 6))


async def test_an_output_can_be_wholly_transparent(api: Api) -> None:
    url = (await api.run(fault="output-empty"))["outputs"][0]
    with Image.open(BytesIO((await api.client.get(url)).content)) as image:
        assert (image.mode, image.size) == ("RGBA", (8, 6))
        assert image.getchannel("A").getextrema() == (0, 0)


async def test_an_output_can_have_right_chunks_and_no_pixels(api: Api) -> None:
    url = (await api.run(fault="output-damaged-pixels"))["outputs"][0]
    with (
        Image.open(BytesIO((await api.client.get(url)).content)) as image,
        pytest.raises(OSError, match="truncated"),
    ):
        image.load()


async def test_a_submit_can_be_redirected_and_accept_nothing(api: Api) -> None:
    answer = await api.submit(fault="submit-redirected")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://elsewhere.invalid/")
    assert await api.billed_tasks() == []


async def test_a_request_timeout_can_come_with_the_task_accepted(api: Api) -> None:
    assert (await api.submit(fault="submit-accepted-timeout")).status_code == 408
    assert len(await api.billed_tasks()) == 1


async def test_an_error_can_quote_the_images_url_and_a_key(api: Api) -> None:
    image = f"{IMAGE}?X-Amz-Signature=CANARY"
    data = await api.run(image, fault="task-fails-with-secrets")
    assert data["status"] == "failed"
    assert image in data["error"]
    assert f"Bearer {CANARY}" in data["error"]


async def test_a_result_can_be_that_of_another_task(api: Api) -> None:
    first = (await api.run())["id"]
    second = (await api.run(fault="result-of-another"))["id"]
    answers = [await api.client.get(f"/api/v3/predictions/{one}/result") for one in (first, second)]
    assert [answer.json()["data"]["id"] for answer in answers] == [first, first]


async def test_a_submit_can_be_answered_with_another_task(api: Api) -> None:
    known = (await api.run())["id"]
    await api.result(known)
    answer = await api.submit(fault="submit-accepted-as-another")
    assert answer.json()["data"]["id"] == known
    assert len(await api.billed_tasks()) == 2


async def test_a_price_can_be_less_than_what_is_billed(api: Api) -> None:
    await set_faults(api, {"fault": "price-too-low"})
    body = {"model_id": "wavespeed-ai/image-background-remover"}
    answer = await api.client.post("/api/v3/model/price", json=body)
    assert answer.json()["data"]["price"] == 0.00001
    before = await api.balance()
    await api.run()
    assert await api.balance() == pytest.approx(before - 0.01)


async def test_an_output_can_come_late(api: Api) -> None:
    url = (await api.run(fault="output-slow=0.1"))["outputs"][0]
    began = time.monotonic()
    answer = await api.client.get(url)
    assert answer.content.startswith(b"\x89PNG")
    assert time.monotonic() - began >= 0.1


async def test_an_output_can_redirect_to_a_link_local_address(api: Api) -> None:
    url = (await api.run(fault="output-private-redirect"))["outputs"][0]
    answer = await api.client.get(url)
    assert answer.status_code == 302
    assert httpx.URL(answer.headers["location"]).host == "169.254.169.254"


async def test_a_header_on_a_download_holds_for_that_download_only(api: Api) -> None:
    url = (await api.run())["outputs"][0]
    headers = {"x-cutout-fault": "output-expired"}
    assert (await api.client.get(url, headers=headers)).status_code == 404
    assert (await api.client.get(url)).status_code == 200


async def test_a_rule_of_the_server_fires_as_often_as_it_says(api: Api) -> None:
    await set_faults(api, {"fault": "result-server-error", "times": 2})
    path = f"/api/v3/predictions/{(await api.run())['id']}"
    assert [(await api.client.get(path)).status_code for _ in range(3)] == [500, 500, 200]
    (rule,) = (await api.client.get("/_faults")).json()
    assert (rule["fault"], rule["fired"]) == ("result-server-error", 2)


async def test_a_rule_fires_only_images_whose_path_matches(api: Api) -> None:
    await set_faults(api, {"fault": "task-fails", "match": "/b ü/cat"})
    assert (await api.run("https://h.test/b%20%C3%BC/cat.jpg"))["status"] == "failed"
    assert (await api.run("https://h.test/dog.jpg?key=/b ü/cat"))["status"] == "completed"


async def test_new_rules_replace_the_old_ones(api: Api) -> None:
    await set_faults(api, {"fault": "task-fails"})
    await set_faults(api)
    assert (await api.run())["status"] == "completed"


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"fault": "no-such"},
        {"fault": "task-fails", "times": 0},
        {"fault": "task-fails", "probability": 2},
        {"fault": "task-slow", "seconds": -1},
    ],
)
async def test_a_bad_rule_is_400_and_changes_nothing(api: Api, rule: dict[str, object]) -> None:
    await set_faults(api, {"fault": "task-fails"})
    assert (await api.client.put("/_faults", json=[rule])).status_code == 400
    assert len((await api.client.get("/_faults")).json()) == 1


async def test_an_unknown_fault_in_the_header_is_400_and_names_the_known_ones(api: Api) -> None:
    answer = await api.submit(fault="no-such")
    assert answer.status_code == 400
    assert "task-never-ends" in answer.json()["message"]


def test_the_header_takes_several_faults_with_their_seconds() -> None:
    assert parse_header(" task-slow=2.5 , webhook-twice,") == {
        Fault.TASK_SLOW: 2.5,
        Fault.WEBHOOK_TWICE: 5.0,
    }


@pytest.mark.parametrize("value", ["task-slow=soon", "task-slow=nan", "task-slow=-1", "slow"])
def test_the_header_refuses_what_is_no_fault(value: str) -> None:
    with pytest.raises(BadRequest):
        parse_header(value)


def fired(faults: Faults, paths: list[str]) -> dict[str, bool]:
    urls = {path: f"https://h.test{path}" for path in paths}
    return {p: faults.fires(Fault.TASK_FAILS, url, {}) is not None for p, url in urls.items()}


def test_chance_depends_on_seed_and_image_and_not_on_the_order_of_requests() -> None:
    paths = [f"/{number}.jpg" for number in range(200)]
    faults = Faults()
    outcomes = []
    for seed, order in [(1, paths), (1, paths[::-1]), (2, paths)]:
        faults.replace([FaultRule(fault=Fault.TASK_FAILS, probability=0.5, seed=seed)])
        outcomes.append(fired(faults, order))
    assert outcomes[0] == outcomes[1] != outcomes[2]
    assert 60 < sum(outcomes[0].values()) < 140


def test_chance_is_taken_anew_each_time_a_rule_meets_an_image() -> None:
    faults = Faults()
    faults.replace([FaultRule(fault=Fault.TASK_FAILS, probability=0.5)])
    hits = [faults.fires(Fault.TASK_FAILS, IMAGE, {}) is not None for _ in range(50)]
    assert 5 < sum(hits) < 45


async def test_the_history_can_list_a_task_late(api: Api) -> None:
    await set_faults(api, {"fault": "history-late", "seconds": 300, "match": "cat"})
    late = (await api.run())["id"]

    async def listed() -> list[str]:
        answer = await api.client.post("/api/v3/predictions", json={})
        return [item["id"] for item in answer.json()["data"]["items"]]

    assert await listed() == []
    api.clock.advance(seconds=300)
    assert await listed() == [late]
