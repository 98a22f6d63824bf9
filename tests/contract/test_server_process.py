"""The whole server over a real socket: its processes, its port, its broken connections."""

import asyncio
import multiprocessing
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import skimage.data
from PIL import Image

from cutout_local.wavespeed.errors import CannotListen, CannotStart, NoRemover
from cutout_local.wavespeed.pool import WorkerPool
from cutout_local.wavespeed.server import Server
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.worker import remover_engine
from tests.contract.harness import KEY, MODEL, ServerHarness, serve
from tests.support import engines
from tests.support.browser import FOREIGN_PAGE, Sent


@pytest.fixture
def switchboard() -> Iterator[socket.socket]:
    """Where `engines.calls` calls."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


def hung_up(line: socket.socket) -> bool:
    line.settimeout(20)
    return line.recv(1) == b""


def photo() -> bytes:
    """A cup of coffee at 300 x 200, from scikit-image (CC0)."""
    buffer = BytesIO()
    coffee = skimage.data.coffee()  # type: ignore[no-untyped-call]
    Image.fromarray(coffee).resize((300, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_photo_goes_all_the_way_through_the_real_remover() -> None:
    with serve(partial(remover_engine, 100_000)) as running:
        data = running.run(running.upload(photo()))
        assert data["status"] == "completed", data["error"]
        assert data["timings"]["inference"] > 0
        answer = httpx.get(data["outputs"][0])
        with Image.open(BytesIO(answer.content)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (300, 200))
            assert image.getchannel("A").getextrema() == (0, 255)
        assert 0 < float(answer.headers["x-cutout-confidence"]) <= 1
        failures = [engines.make_blank(), b"no image", engines.make_image((400, 300))]
        ends = [running.run(running.upload(failure)) for failure in failures]
        assert [(end["status"], end["code"]) for end in ends] == [
            ("failed", 1403),
            ("failed", 1401),
            ("failed", 1401),
        ]


def test_the_server_process_imports_no_numpy() -> None:
    code = "import sys, cutout_local.wavespeed; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_taken_port_is_an_error_that_names_it(server: ServerHarness) -> None:
    port = httpx.URL(server.url).port
    with (
        pytest.raises(CannotListen, match=str(port)),
        Server(Settings(api_key=KEY), port=port or 0),
    ):
        pytest.fail("two servers on one port")


def test_an_application_that_cannot_start_is_an_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    threads = threading.enumerate()
    broken = Server(Settings(api_key=KEY), load_engine=engines.oval)
    with pytest.raises(CannotStart):
        broken.__enter__()
    assert [thread for thread in threading.enumerate() if thread not in threads] == []


def test_stopping_in_the_middle_of_an_image_leaves_nothing_behind(
    switchboard: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    threads, processes = threading.enumerate(), multiprocessing.active_children()
    with serve(partial(engines.calls, switchboard.getsockname()[1])) as running:
        image = running.upload(engines.make_image())
        task_ids = [running.submit(image).json()["data"]["id"] for _ in range(3)]
        line, _ = switchboard.accept()
        states = [running.client.get(f"/api/v3/predictions/{task_id}") for task_id in task_ids]
        assert states[0].json()["data"]["status"] == "processing"
    with line:
        assert hung_up(line)
    assert [thread for thread in threading.enumerate() if thread not in threads] == []
    assert [p for p in multiprocessing.active_children() if p not in processes] == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url)


def test_a_submit_that_waits_for_its_result_does_not_hold_the_stop_up(
    switchboard: socket.socket,
) -> None:
    with serve(partial(engines.calls, switchboard.getsockname()[1])) as running:
        image = running.upload(engines.make_image())
        answers: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(running.submit(image, enable_sync_mode=True))
        )
        waiting.start()
        line, _ = switchboard.accept()
        running.server.stop()
        waiting.join(20)
    line.close()
    assert [answer.json()["data"]["status"] for answer in answers] == ["processing"]


def test_workers_leave_with_a_server_that_was_killed(
    switchboard: socket.socket, tmp_path: Path
) -> None:
    script = tmp_path / "main.py"
    script.write_text(KILLED_SERVER)
    port = str(switchboard.getsockname()[1])
    with subprocess.Popen([sys.executable, str(script), port]) as process:
        line, _ = switchboard.accept()
        process.send_signal(signal.SIGKILL)
    with line:
        assert hung_up(line)


KILLED_SERVER = """
import sys, threading
from functools import partial
from tests.support import engines
from tests.contract.harness import serve

if __name__ == "__main__":
    with serve(partial(engines.calls, int(sys.argv[1]))) as running:
        running.submit(running.upload(engines.make_image()))
        threading.Event().wait()
"""


def test_a_ctrl_c_is_not_for_the_workers(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    pool = WorkerPool(engines.tells_blocked_signals, workers=1)
    try:
        asyncio.run(pool.cut_out(tmp_path / "image", tmp_path / "told"))
    finally:
        pool.close()

    assert str(signal.SIGINT) in (tmp_path / "told").read_text()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_image_is_tried_again_when_its_worker_dies(tmp_path: Path) -> None:
    with serve(partial(engines.dies_once, tmp_path / "died")) as running:
        assert running.run(running.upload(engines.make_image()))["status"] == "completed"


def test_an_image_that_kills_its_workers_fails_and_the_server_goes_on() -> None:
    with serve(engines.dies_of_blanks) as running:
        data = running.run(running.upload(engines.make_blank()))
        assert (data["status"], data["code"]) == ("failed", 5000)
        assert running.run(running.upload(engines.make_image()))["status"] == "completed"


def test_an_engine_that_cannot_be_had_is_said_at_the_start_and_in_every_task() -> None:
    with serve(engines.unavailable) as running:
        with pytest.raises(NoRemover, match="the model file is missing"):
            running.server.wait_for_remover()
        data = running.run(running.upload(engines.make_image()))
        assert (data["status"], data["error"]) == ("failed", "the model file is missing")


def test_an_image_that_redirects_out_of_the_web_is_not_fetched(server: ServerHarness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, ThreadPoolExecutor(1) as thread:
        elsewhere.settimeout(20)
        end = thread.submit(server.run, f"http://127.0.0.1:{elsewhere.getsockname()[1]}/cat.jpg")
        line, _ = elsewhere.accept()
        with line:
            line.recv(65_536)
            line.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")
        assert end.result(20)["code"] == 1402


@pytest.mark.parametrize("when", ["submit-dropped", "submit-accepted-dropped"])
def test_a_dropped_submit_gets_no_answer_at_all(
    server: ServerHarness, image_url: str, when: str
) -> None:
    before = len(server.billed_tasks())
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        server.submit(image_url, fault=when)
    assert len(server.billed_tasks()) - before == (when == "submit-accepted-dropped")


def test_a_dropped_poll_gets_no_answer_and_the_next_does(
    server: ServerHarness, image_url: str
) -> None:
    task_id = server.run(image_url)["id"]
    server.set_faults({"fault": "result-dropped", "times": 1})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        server.client.get(f"/api/v3/predictions/{task_id}/result")
    assert server.client.get(f"/api/v3/predictions/{task_id}/result").status_code == 200


def drain(response: httpx.Response, received: bytearray) -> None:
    for chunk in response.iter_raw():
        received += chunk


def test_a_truncated_output_breaks_off_in_the_middle(server: ServerHarness, image_url: str) -> None:
    url = server.run(image_url)["outputs"][0]
    whole = httpx.get(url).content
    received = bytearray()
    headers = {"x-cutout-fault": "output-truncated"}
    with httpx.stream("GET", url, headers=headers) as response:
        assert response.headers["content-length"] == str(len(whole))
        with pytest.raises(httpx.RemoteProtocolError):
            drain(response, received)
    assert received == whole[: len(whole) // 2]


def test_a_webhook_reaches_a_receiver_on_this_machine(
    server: ServerHarness, image_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(20)
        port = receiver.getsockname()[1]
        hook = f"http://127.0.0.1:{port}/tasks/7"
        body = {"image": image_url}
        server.client.post(f"/api/v3/{MODEL}", params={"webhook": hook}, json=body)
        line, _ = receiver.accept()
        with line:
            request = line.recv(65_536)
            line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert request.startswith(b"POST /tasks/7 HTTP/1.1\r\n")
    assert b"webhook-signature: v3," in request


@pytest.mark.parametrize("sent", FOREIGN_PAGE.values(), ids=FOREIGN_PAGE)
def test_a_foreign_page_is_refused_even_with_the_key(server: ServerHarness, sent: Sent) -> None:
    assert server.client.get("/api/v3/balance").status_code == 200
    refused = server.client.request(sent.method, "/api/v3/balance", headers=sent.headers)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


def test_each_server_has_a_key_of_its_own() -> None:
    assert Settings().api_key != Settings().api_key
