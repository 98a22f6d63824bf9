"""The server over a real socket, in a thread of the calling process."""

import asyncio
import logging
import os
import socket
import threading
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cutout_local.loopback import LoopbackOnly
from cutout_local.wavespeed.app import Api, create_app
from cutout_local.wavespeed.errors import CannotListen, CannotStart, NoRemover, TaskFailure
from cutout_local.wavespeed.pool import WorkerPool
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.worker import LoadEngine, remover_engine

STOP_GRACE = 5  # seconds for answers that are being sent


class Server:
    """A WaveSpeed-compatible server, used as a context manager.

    with Server(Settings(api_key="key"), port=0) as server:
        httpx.get(server.base_url + "/api/v3/balance", headers={"Authorization": "Bearer key"})

    `load_engine` takes the place of `cutout_local.remover`.
    `folder` keeps tasks and outputs for the next server; without it they end with the server.
    The workers are processes that import the caller's main module anew, so a script needs its
    `if __name__ == "__main__"`.

    Raises `CannotListen` when the address is taken, `CannotStart` when the application fails.
    """

    def __init__(
        self,
        settings: Settings,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        load_engine: LoadEngine | None = None,
        folder: Path | None = None,
    ) -> None:
        self.settings = settings
        self._folder = folder
        self._host = host
        self._port = port
        self._load = load_engine or partial(remover_engine, settings.max_image_pixels)

    @property
    def base_url(self) -> str:
        """The address without a trailing slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def __enter__(self) -> Self:
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        # httpx logs whole URLs at INFO, and those of images are often presigned.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._pool = WorkerPool(self._load, self.settings.workers)
        self._uvicorn = _Uvicorn(create_app(self.settings, self._pool.cut_out, folder=self._folder))
        self._thread = threading.Thread(
            target=self._uvicorn.run_and_report, args=(listener,), name="wavespeed-server"
        )
        self._thread.start()
        try:
            self._uvicorn.wait_until_started()
        except BaseException:  # a Ctrl-C too must leave no thread behind
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_for_remover(self) -> None:
        """Wait until the first worker has its engine; raise `NoRemover` if it cannot be had.

        Without this, tasks fail with the same text.
        """
        try:
            self._pool.ready.result()
        except (TaskFailure, BrokenProcessPool) as error:
            raise NoRemover(str(error)) from error

    def stop(self) -> None:
        """End the server, its thread and its workers, also in the middle of tasks."""
        self._uvicorn.should_exit = True
        self._thread.join()
        self._pool.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        text = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
        raise CannotListen(text) from error


class _Protocol(H11Protocol):
    """Hands the transport to the application: ASGI has no way to break a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Left out by asyncio for a listener that does not name its protocol; without it the
        # second packet of an answer waits 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


class _Uvicorn(uvicorn.Server):
    def __init__(self, app: Api) -> None:
        config = uvicorn.Config(
            LoopbackOnly(app),
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_GRACE,
        )
        super().__init__(config)
        self._api = app
        self._started_or_ended = threading.Event()

    def wait_until_started(self) -> None:
        self._started_or_ended.wait()
        if not self.started:
            raise CannotStart("the server ended while it started; its log says why")

    def run_and_report(self, listener: socket.socket) -> None:
        try:
            self.run([listener])
        except SystemExit:  # how uvicorn ends a start that failed; `wait_until_started` says it
            pass
        finally:
            listener.close()
            self._started_or_ended.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started_or_ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Submits in sync mode would hold the stop for as long as their task runs.
        await self._api.state.backend.stop()
        await super().shutdown(sockets)
