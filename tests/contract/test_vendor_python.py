"""The vendor's Python package, unchanged and pointed at the server by its own configuration."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import wavespeed  # type: ignore[import-untyped]
from PIL import Image

from tests.contract.harness import KEY, MODEL, ServerHarness, serve
from tests.support import engines


@pytest.fixture
def client(server: ServerHarness) -> wavespeed.Client:
    return wavespeed.Client(api_key=KEY, base_url=server.url, retry_interval=0.01)


@pytest.fixture(scope="module")
def impatient_server() -> Iterator[ServerHarness]:
    with serve(sync_wait=0.05) as running:
        yield running


def mode(url: str) -> str:
    with Image.open(BytesIO(httpx.get(url).content)) as image:
        return image.mode


def test_run_polls_until_the_output_is_there(client: wavespeed.Client, image_url: str) -> None:
    answer = client.run(MODEL, {"image": image_url}, poll_interval=0.01)
    (url,) = answer["outputs"]
    assert mode(url) == "RGBA"


def test_the_modules_own_functions_work_by_configuration_alone(
    server: ServerHarness, image_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wavespeed.config.api, "api_key", KEY)
    monkeypatch.setattr(wavespeed.config.api, "base_url", server.url)
    monkeypatch.setattr("wavespeed.api._default_client", None)
    (url,) = wavespeed.run(MODEL, {"image": image_url}, poll_interval=0.01)["outputs"]
    assert url.startswith(server.url)


def test_sync_mode_answers_with_the_output(client: wavespeed.Client, image_url: str) -> None:
    (url,) = client.run(MODEL, {"image": image_url}, enable_sync_mode=True)["outputs"]
    assert mode(url) == "RGBA"


def test_base64_outputs_come_through(client: wavespeed.Client, image_url: str) -> None:
    body = {"image": image_url, "enable_base64_output": True}
    (output,) = client.run(MODEL, body, poll_interval=0.01)["outputs"]
    assert output.startswith("iVBORw0KGgo")


def test_upload_gives_a_url_that_can_be_submitted(client: wavespeed.Client, tmp_path: Path) -> None:
    file = tmp_path / "my photo ü.jpg"
    file.write_bytes(engines.make_image())
    url = client.upload(str(file))
    assert httpx.get(url).content == file.read_bytes()
    assert client.run(MODEL, {"image": url}, poll_interval=0.01)["outputs"]


def test_a_failed_task_raises_with_its_text(client: wavespeed.Client, blank_url: str) -> None:
    with pytest.raises(RuntimeError, match=r"Prediction failed .*: no subject was found"):
        client.run(MODEL, {"image": blank_url}, poll_interval=0.01)


@pytest.mark.parametrize("status", ["cancelled", "timeout", "deleted"])
def test_the_other_terminal_statuses_raise_too(
    server: ServerHarness, client: wavespeed.Client, image_url: str, status: str
) -> None:
    server.set_faults({"fault": f"task-{status}"})
    with pytest.raises(RuntimeError, match=f"Prediction {status}"):
        client.run(MODEL, {"image": image_url}, poll_interval=0.01)


def test_its_timeout_leaves_a_task_that_can_still_be_asked_for(
    server: ServerHarness, client: wavespeed.Client, image_url: str
) -> None:
    server.set_faults({"fault": "task-never-ends"})
    with pytest.raises(TimeoutError, match="task_id"):
        client.run(MODEL, {"image": image_url}, timeout=0.2, poll_interval=0.01)
    task_id = server.billed_tasks()[-1]["id"]
    assert client.get_result(task_id)["data"]["status"] == "processing"


def test_a_sync_wait_that_runs_out_is_recognised_as_still_processing(
    impatient_server: ServerHarness,
) -> None:
    impatient_server.set_faults({"fault": "task-never-ends"})
    client = wavespeed.Client(api_key=KEY, base_url=impatient_server.url)
    body = {"image": "http://127.0.0.1:1/cat.jpg"}
    result = client.run_no_throw(MODEL, body, enable_sync_mode=True)
    assert result["status"] == "processing"
    assert result["task_id"] == impatient_server.billed_tasks()[-1]["id"]


def test_it_outlives_polls_that_fail(
    server: ServerHarness, client: wavespeed.Client, image_url: str
) -> None:
    server.set_faults(
        *({"fault": f"result-{kind}", "times": 1} for kind in ("rate-limited", "server-error")),
        *({"fault": f"result-{kind}", "times": 1} for kind in ("bad-gateway", "dropped")),
    )
    assert client.run(MODEL, {"image": image_url}, poll_interval=0.01)["outputs"]


@pytest.mark.parametrize("fault", ["submit-rate-limited", "submit-server-error", "submit-dropped"])
def test_it_submits_once_and_reports_the_refusal(
    server: ServerHarness, client: wavespeed.Client, image_url: str, fault: str
) -> None:
    server.set_faults({"fault": fault})
    with pytest.raises(RuntimeError):
        client.run(MODEL, {"image": image_url})
    (rule,) = server.client.get("/_faults").json()
    assert rule["fired"] == 1


def test_a_wrong_key_is_reported(server: ServerHarness, image_url: str) -> None:
    stranger = wavespeed.Client(api_key="wrong", base_url=server.url)
    with pytest.raises(RuntimeError, match="HTTP 401"):
        stranger.run(MODEL, {"image": image_url})
