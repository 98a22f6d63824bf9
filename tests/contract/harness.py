"""A server on a real socket, and a client that has its key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from cutout_local.wavespeed.server import Server
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.worker import LoadEngine
from tests.support import engines

KEY = "contract-key"
MODEL = "wavespeed-ai/image-background-remover"


@dataclass
class ServerHarness:
    """What a test needs of a running server."""

    server: Server
    client: httpx.Client

    @property
    def url(self) -> str:
        return self.server.base_url

    def upload(self, content: bytes) -> str:
        """Return the URL under which the server itself serves these bytes."""
        files = {"file": ("cat.jpg", content, "image/jpeg")}
        answer = self.client.post("/api/v3/media/upload/binary", files=files)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["download_url"])

    def submit(self, image: str, fault: str = "", **body: object) -> httpx.Response:
        headers = {"x-cutout-fault": fault}
        return self.client.post(f"/api/v3/{MODEL}", json={"image": image, **body}, headers=headers)

    def run(self, image: str, fault: str = "") -> dict[str, Any]:
        """Submit and wait for the end."""
        answer = self.submit(image, fault, enable_sync_mode=True)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def billed_tasks(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = self.client.get("/_billing").json()["tasks"]
        return tasks

    def set_faults(self, *rules: dict[str, object]) -> None:
        self.client.put("/_faults", json=rules).raise_for_status()


@contextmanager
def serve(load_engine: LoadEngine = engines.oval, **settings: Any) -> Iterator[ServerHarness]:
    """Run a server with one worker."""
    chosen = Settings(api_key=KEY, workers=1, **settings)
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        Server(chosen, load_engine=load_engine) as server,
        httpx.Client(base_url=server.base_url, headers=headers, timeout=30) as client,
    ):
        yield ServerHarness(server, client)
