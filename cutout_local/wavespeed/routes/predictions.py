"""Submit, result, history and delete."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from cutout.wavespeed.contract import (
    Deleted,
    DeleteRequest,
    History,
    HistoryRequest,
    Prediction,
    PredictionStatus,
    SubmitRequest,
)
from cutout_local.wavespeed.backend import Backend
from cutout_local.wavespeed.contract import (
    WEBHOOK_WITH_BASE64,
    BareError,
    Envelope,
    ErrorAnswer,
    TaskCode,
)
from cutout_local.wavespeed.faults import Fault
from cutout_local.wavespeed.routing import (
    BROKEN,
    BUSY,
    LATE,
    NOT_FOUND,
    REFUSED,
    UNAUTHORIZED,
    BackendDep,
    FaultsDep,
    Responses,
    base_url,
    faulty_answer,
    require_key,
    success,
)
from cutout_local.wavespeed.settings import Model
from cutout_local.wavespeed.tasks import Task

PREFIX = "/api/v3"
ACCEPTED_FAULTS = {
    Fault.SUBMIT_ACCEPTED_DROPPED,
    Fault.SUBMIT_ACCEPTED_GATEWAY_TIMEOUT,
    Fault.SUBMIT_ACCEPTED_TIMEOUT,
    Fault.SUBMIT_ACCEPTED_AS_ANOTHER,
    Fault.SUBMIT_ACCEPTED_LATE,
}
SUBMIT_REFUSED: Responses = {
    400: {"model": ErrorAnswer | BareError, "description": "Refused, not billed"}
}

router = APIRouter(
    prefix=PREFIX,
    tags=["predictions"],
    dependencies=[Depends(require_key)],
    responses=UNAUTHORIZED,
)


@router.get(
    "/predictions/{task_id}/result",
    response_model=Envelope[Prediction],
    response_model_exclude_none=True,
    responses={**REFUSED, **NOT_FOUND, **BUSY, **BROKEN},
)
@router.get(
    "/predictions/{task_id}",
    response_model=Envelope[Prediction],
    response_model_exclude_none=True,
    responses={**REFUSED, **NOT_FOUND, **BUSY, **BROKEN},
)
async def result(
    task_id: str, request: Request, backend: BackendDep, asked: FaultsDep
) -> Envelope[Prediction] | Response:
    """Tell where a task is, with its outputs once it has completed."""
    task = backend.tasks.find(task_id)
    task.asked_about = True
    triggered = backend.faults.first("result", task.request.image, {**task.asked, **asked})
    if triggered and triggered.fault is Fault.RESULT_OF_ANOTHER:
        task = backend.tasks.another(task)
    elif triggered:
        return faulty_answer(triggered.fault, request)
    return success(task.prediction(await task.outputs()))


@router.post(
    "/predictions",
    response_model=Envelope[History],
    response_model_exclude_none=True,
    responses=REFUSED,
)
async def history(body: HistoryRequest, backend: BackendDep) -> Envelope[History]:
    """List the tasks of the last days, newest first."""
    return success(backend.tasks.history(body))


@router.post("/predictions/delete", response_model=Envelope[Deleted], responses=REFUSED)
async def delete(body: DeleteRequest, backend: BackendDep) -> Envelope[Deleted]:
    """Delete tasks that have ended, and their outputs."""
    return success(Deleted(deleted_count=backend.delete(body.ids)))


Submit = Callable[..., Awaitable[Envelope[Prediction] | Response]]


def submit_router(models: tuple[Model, ...]) -> APIRouter:
    """A submit for each model; every other path is an unknown model."""
    router = APIRouter(
        prefix=PREFIX,
        tags=["submit"],
        dependencies=[Depends(require_key)],
        responses=UNAUTHORIZED,
    )
    for model in models:
        router.post(
            f"/{model.id}",
            summary=f"Submit to {model.name}",
            response_model=Envelope[Prediction],
            response_model_exclude_none=True,
            responses={**SUBMIT_REFUSED, **BUSY, **BROKEN, **LATE},
        )(_submit_to(model))
    router.post("/{model_id:path}", include_in_schema=False)(_unknown_model)
    return router


async def _unknown_model(model_id: str, backend: BackendDep) -> None:
    backend.model(model_id)


def _submit_to(model: Model) -> Submit:
    async def submit(
        body: SubmitRequest,
        request: Request,
        backend: BackendDep,
        asked: FaultsDep,
        webhook: Annotated[str | None, Query(description="Is sent the ended prediction")] = None,
    ) -> Envelope[Prediction] | Response:
        """Accept and bill a task. Faults: header `x-cutout-fault`, see `PUT /_faults`."""
        if webhook and body.enable_base64_output:
            return JSONResponse(BareError(error=WEBHOOK_WITH_BASE64).model_dump(), 400)
        backend.check(body, webhook)
        triggered = backend.faults.first("submit", body.image, asked)
        if triggered and triggered.fault not in ACCEPTED_FAULTS:
            return faulty_answer(triggered.fault, request)
        task = backend.accept(model, body, base_url(request), webhook, asked)
        if triggered and triggered.fault is Fault.SUBMIT_ACCEPTED_LATE:
            await asyncio.sleep(triggered.seconds)
        elif triggered and triggered.fault is Fault.SUBMIT_ACCEPTED_AS_ANOTHER:
            return success(backend.tasks.another(task).prediction([]))
        elif triggered:
            return faulty_answer(triggered.fault, request)
        if body.enable_sync_mode:
            return success(await _wait(task, backend))
        return success(task.prediction([]))

    return submit


async def _wait(task: Task, backend: Backend) -> Prediction:
    seconds = backend.settings.sync_wait
    try:
        async with asyncio.timeout(seconds):
            await task.ended.wait()
    except TimeoutError:
        pass
    if task.status.ended:
        return task.prediction(await task.outputs())
    text = (
        f"Sync mode timed out after {seconds:g} seconds. "
        "The prediction is still processing asynchronously."
    )
    running = {"status": PredictionStatus.PROCESSING, "code": TaskCode.SYNC_TIMEOUT, "error": text}
    return task.prediction([]).model_copy(update=running)
