"""The FastAPI application."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cutout_local.wavespeed import faults
from cutout_local.wavespeed.backend import Backend
from cutout_local.wavespeed.contract import ErrorAnswer
from cutout_local.wavespeed.errors import InternalError, Refusal
from cutout_local.wavespeed.pool import CutOut
from cutout_local.wavespeed.routes import catalogue, control, files, predictions
from cutout_local.wavespeed.settings import Settings
from cutout_local.wavespeed.tasks import Clock, utc_now

DESCRIPTION = f"""
Speaks the HTTP contract of WaveSpeedAI's background remover, and removes backgrounds.

{faults.DESCRIPTION}
"""


class Api(FastAPI):
    """FastAPI whose validation errors are 400, and documented so."""

    def openapi(self) -> dict[str, Any]:
        """Return the schema without the 422 that FastAPI adds everywhere."""
        schema = super().openapi()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        return schema


def create_app(
    settings: Settings,
    cut_out: CutOut,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock = utc_now,
) -> Api:
    """Return the application. `cut_out` does the work; `transport` fetches images and sends
    webhooks, by default over the network. State lives in memory and a temporary folder, from the
    start of the lifespan to its end.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="cutout-wavespeed-") as folder:
            backend = Backend(settings, cut_out, Path(folder), clock, transport)
            app.state.backend = backend
            yield
            await backend.close()

    app = Api(title="WaveSpeed-compatible server", description=DESCRIPTION, lifespan=lifespan)
    _answer_errors(app)
    for router in (predictions.router, catalogue.router, files.keyed, files.router, control.router):
        app.include_router(router)
    # Last, since it takes every other path below /api/v3 for a model.
    app.include_router(predictions.submit_router(settings.models))
    return app


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse(ErrorAnswer(code=status, message=message).model_dump(), status, headers)


def _answer_errors(app: Api) -> None:
    @app.exception_handler(Refusal)
    async def refuse(_: Request, error: Refusal) -> JSONResponse:
        return _error(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        """Name the fields, never what was in them."""
        texts = (f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return _error(400, "; ".join(texts))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, error.detail, error.headers)

    @app.exception_handler(Exception)
    async def bug(*_: object) -> JSONResponse:
        return _error(500, str(InternalError()))
