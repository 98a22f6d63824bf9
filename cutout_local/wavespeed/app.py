"""The FastAPI application."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from cutout_local.wavespeed import faults
from cutout_local.wavespeed.backend import Backend
from cutout_local.wavespeed.contract import ErrorAnswer
from cutout_local.wavespeed.errors import InternalError, Refusal
from cutout_local.wavespeed.media import Resolve, resolve
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
        """The schema without the 422 that FastAPI adds everywhere."""
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
    resolve: Resolve = resolve,
    clock: Clock = utc_now,
    folder: Path | None = None,
) -> Api:
    """The application. `cut_out` does the work; `transport` fetches images and sends
    webhooks, by default over the network; `resolve` tells hosts' addresses. State lives in memory
    and `folder`, whose tasks the next application knows again; a temporary one if left out.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="cutout-wavespeed-") as temporary:
            kept = folder or Path(temporary)
            backend = Backend(settings, cut_out, kept, clock, transport, resolve)
            app.state.backend = backend
            yield
            await backend.close()

    app = Api(
        title="WaveSpeed-compatible server",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _answer_errors(app)
    _show_docs(app)
    for router in (predictions.router, catalogue.router, files.keyed, files.router, control.router):
        app.include_router(router)
    # Last, since it takes every other path below /api/v3 for a model.
    app.include_router(predictions.submit_router(settings.models))
    return app


def _complaint(error: dict[str, Any]) -> str:
    """What one of pydantic's errors means for the sender of a request."""
    _, *field = error["loc"]
    if error["type"] == "json_invalid":
        return f"the body is not JSON: {error['ctx']['error']} at character {field[0]}"
    if not field:
        return "the body is not a JSON object with Content-Type: application/json"
    return f"{'.'.join(map(str, field))}: {error['msg']}"


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse(ErrorAnswer(code=status, message=message).model_dump(), status, headers)


def _show_docs(app: Api) -> None:
    """Describe the API at /docs without a CDN: FastAPI's own page is blank where there is none."""
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_offline", "static")]), name="static")

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon.png",
        )


def _answer_errors(app: Api) -> None:
    @app.exception_handler(Refusal)
    async def refuse(_: Request, error: Refusal) -> JSONResponse:
        return _error(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        """Name the fields, never what was in them."""
        return _error(400, "; ".join(map(_complaint, error.errors())))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, error.detail, error.headers)

    @app.exception_handler(Exception)
    async def bug(*_: object) -> JSONResponse:
        return _error(500, str(InternalError()))
