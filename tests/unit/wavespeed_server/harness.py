"""The application in process: no socket, no worker process, a clock that only the test moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from cutout_local.wavespeed.app import create_app
from cutout_local.wavespeed.errors import TaskFailure, WorkerDied
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.worker import Outcome

KEY = "test-key"
SUBMIT = "/api/v3/wavespeed-ai/image-background-remover"
IMAGE = "https://images.test/bucket/cat.jpg?X-Amz-Signature=secret"
HOOK = "https://hooks.test/tasks/1"


def make_png(mode: str = "RGBA") -> bytes:
    buffer = BytesIO()
    Image.new(mode, (8, 6), "tomato").save(buffer, "PNG")
    return buffer.getvalue()


PNG = make_png()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 9, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


class Remover:
    """Stands in for the worker pool; `hold` keeps it from finishing, `failure` lets it fail."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: TaskFailure | WorkerDied | ZeroDivisionError | None = None
        self.outcome = Outcome(inference_ms=12.6, confidence=0.8765, level="high")
        self.sources: list[bytes] = []

    def hold(self) -> None:
        self.go_on.clear()

    async def __call__(self, source: Path, target: Path) -> Outcome:
        self.sources.append(source.read_bytes())
        await self.go_on.wait()
        if self.failure:
            raise self.failure
        target.write_bytes(PNG)
        return self.outcome


class Network:
    """What lies outside the server: images, and a receiver of webhooks."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx.Response] = {}
        self.asked: list[httpx.Request] = []
        self.stall = asyncio.Event()
        self.hooks: list[httpx.Request] = []
        self.hook_statuses: list[int] = []
        self._hooked = asyncio.Condition()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.host == "unreachable.test":
            raise httpx.ConnectError("no route to https://unreachable.test/secret")
        if request.url.host == "stalled.test":
            await self.stall.wait()
        if request.method == "POST":
            return await self._take_hook(request)
        return self.answers.get(request.url.path, httpx.Response(200, content=b"image bytes"))

    async def _take_hook(self, request: httpx.Request) -> httpx.Response:
        async with self._hooked:
            self.hooks.append(request)
            self._hooked.notify_all()
        return httpx.Response(self.hook_statuses.pop(0) if self.hook_statuses else 200)

    async def wait_for_hooks(self, count: int) -> list[httpx.Request]:
        async with asyncio.timeout(5), self._hooked:
            await self._hooked.wait_for(lambda: len(self.hooks) >= count)
        return self.hooks


@dataclass
class Api:
    """A client of the application, and what the test holds in its hands."""

    client: httpx.AsyncClient
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    remover: Remover = field(default_factory=Remover)
    network: Network = field(default_factory=Network)

    async def submit(
        self,
        image: str = IMAGE,
        *,
        fault: str = "",
        webhook: str | None = None,
        **body: object,
    ) -> httpx.Response:
        return await self.client.post(
            SUBMIT,
            json={"image": image, **body},
            headers={"x-cutout-fault": fault} if fault else {},
            params={"webhook": webhook} if webhook else {},
        )

    async def run(self, image: str = IMAGE, **options: Any) -> dict[str, Any]:
        """Submit and wait for the end."""
        answer = await self.submit(image, enable_sync_mode=True, **options)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def result(self, task_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/api/v3/predictions/{task_id}/result")
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def wait_for(self, task_id: str, status: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while (data := await self.result(task_id))["status"] != status:
                await asyncio.sleep(0)
        return data

    async def billed_tasks(self) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = (await self.client.get("/_billing")).json()["tasks"]
        return tasks

    async def balance(self) -> float:
        balance: float = (await self.client.get("/api/v3/balance")).json()["data"]["balance"]
        return balance


async def resolve(host: str) -> list[str]:
    """The address behind every host of the Internet: public, but for those named after theirs."""
    if host == "unreachable.test":
        raise OSError
    return [host.removesuffix(".test") if host[0].isdigit() or ":" in host else "203.0.113.7"]


@asynccontextmanager
async def serve(folder: Path | None = None, **settings: Any) -> AsyncIterator[Api]:
    """Run the application with these settings."""
    chosen = Settings(**{"api_key": KEY, "workers": 2} | settings)
    headers = {"authorization": f"Bearer {KEY}"}
    clock, remover, network = Clock(), Remover(), Network()
    outside = httpx.MockTransport(network)
    app = create_app(
        chosen, remover, transport=outside, resolve=resolve, clock=clock, folder=folder
    )
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers) as client,
    ):
        yield Api(client, chosen, clock, remover, network)
