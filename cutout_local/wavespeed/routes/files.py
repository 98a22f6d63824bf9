"""Uploads, and the downloads of uploads and outputs. Downloads take no key, as the vendor's."""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response, UploadFile
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from cutout.wavespeed.contract import CONFIDENCE
from cutout_local.wavespeed.contract import (
    Envelope,
    Media,
    UploadInstruction,
    UploadRequest,
    UploadTicket,
)
from cutout_local.wavespeed.errors import BadRequest, NotFound
from cutout_local.wavespeed.faults import Fault
from cutout_local.wavespeed.routing import (
    NOT_FOUND,
    REFUSED,
    UNAUTHORIZED,
    BackendDep,
    FaultsDep,
    Responses,
    base_url,
    require_key,
    success,
)
from cutout_local.wavespeed.tasks import Task
from cutout_local.wavespeed.uploads import TICKET_LIFE, Upload

CHUNK = 64 * 1024
PRIVATE_URL = "http://169.254.169.254/latest/meta-data/"
NO_PNG = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"

router = APIRouter(tags=["files"])
keyed = APIRouter(
    prefix="/api/v3/media",
    tags=["files"],
    dependencies=[Depends(require_key)],
    responses={**UNAUTHORIZED, **REFUSED},
)


@keyed.post("/uploads", response_model_exclude_none=True)
async def create_upload(
    body: UploadRequest, request: Request, backend: BackendDep
) -> Envelope[UploadTicket]:
    """Tell where and how to PUT a file."""
    upload = backend.uploads.create(body.filename, body.content_type, body.size)
    url = _url(request, upload)
    instruction = UploadInstruction(
        method="PUT",
        url=url,
        headers={"Content-Type": upload.content_type},
        expires_at=upload.created_at + TICKET_LIFE,
    )
    ticket = UploadTicket(
        type=upload.type,
        download_url=url,
        filename=upload.filename,
        size=body.size,
        upload=instruction,
    )
    return success(ticket)


@keyed.post("/upload/binary")
async def upload_form(file: UploadFile, request: Request, backend: BackendDep) -> Envelope[Media]:
    """Take a file in a form, the older way."""
    upload = backend.uploads.create(file.filename or "upload", file.content_type, None)
    await backend.uploads.receive(upload, _chunks(file))
    media = Media(
        type=upload.type,
        download_url=_url(request, upload),
        filename=upload.filename,
        size=upload.size or 0,
    )
    return success(media)


@router.put("/media/{upload_id}", responses={**REFUSED, **NOT_FOUND})
async def receive(upload_id: str, request: Request, backend: BackendDep) -> Response:
    """Take the bytes of a file, with exactly the headers that were given for it."""
    upload = backend.uploads.expected(upload_id)
    if request.headers.get("content-type") != upload.content_type:
        raise BadRequest("the Content-Type is not the one of the upload's headers")
    if "authorization" in request.headers:
        raise BadRequest("this URL takes no Authorization")
    await backend.uploads.receive(upload, request.stream())
    return Response()


_BINARY: Responses = {200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}
_PNG: Responses = {
    200: {
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "x-cutout-confidence": {"schema": {"type": "number"}},
            CONFIDENCE: {"schema": {"enum": ["high", "medium", "low"]}},
        },
    },
    302: {"description": "Only as a fault"},
}


# As a CDN, both tell the headers alone too.
@router.head("/media/{upload_id}", include_in_schema=False)
@router.get("/media/{upload_id}", response_class=FileResponse, responses={**_BINARY, **NOT_FOUND})
async def download_upload(upload_id: str, backend: BackendDep) -> Response:
    """Send an uploaded file."""
    upload = backend.uploads.find(upload_id)
    return FileResponse(upload.path, media_type=upload.content_type)


@router.head("/outputs/{task_id}.png", include_in_schema=False)
@router.get(
    "/outputs/{task_id}.png",
    response_class=FileResponse,
    responses={**_PNG, **REFUSED, **NOT_FOUND},
)
async def download_output(
    task_id: str, request: Request, backend: BackendDep, asked: FaultsDep
) -> Response:
    """Send a finished PNG."""
    task = backend.output(task_id)
    triggered = backend.faults.first("output", task.request.image, {**task.asked, **asked})
    if triggered and triggered.fault is Fault.OUTPUT_SLOW:
        await asyncio.sleep(triggered.seconds)
    elif triggered:
        return await _faulty_output(triggered.fault, task, request)
    return FileResponse(task.output, media_type="image/png", headers=_confidence(task))


def _confidence(task: Task) -> dict[str, str]:
    outcome = task.outcome
    if outcome is None or outcome.confidence is None:
        return {}
    headers = {"x-cutout-confidence": f"{outcome.confidence:.3f}"}
    return headers | ({CONFIDENCE: outcome.level} if outcome.level else {})


async def _faulty_output(fault: Fault, task: Task, request: Request) -> Response:
    if fault is Fault.OUTPUT_EXPIRED:
        raise NotFound("there is no such output, or it has expired")
    if fault is Fault.OUTPUT_PRIVATE_REDIRECT:
        return RedirectResponse(PRIVATE_URL, 302)
    if fault is Fault.OUTPUT_WRONG_BYTES:
        return Response(NO_PNG, media_type="image/png")
    if fault is Fault.OUTPUT_NO_ALPHA:
        opaque = await asyncio.to_thread(_without_alpha, task.output)
        return Response(opaque, media_type="image/png")
    png = await asyncio.to_thread(task.output.read_bytes)
    if fault is Fault.OUTPUT_EMPTY:
        return Response(_with_pixels(png, _clear_rows(png)), media_type="image/png")
    if fault is Fault.OUTPUT_DAMAGED_PIXELS:
        return Response(_with_pixels(png, b"no rows"), media_type="image/png")
    half = png[: len(png) // 2]
    if fault is Fault.OUTPUT_INCOMPLETE:
        return Response(half, media_type="image/png")
    headers = {"content-length": str(len(png))}
    return StreamingResponse(_break_off(half, request), media_type="image/png", headers=headers)


async def _break_off(body: bytes, request: Request) -> AsyncIterator[bytes]:
    yield body
    request.state.transport.close()
    while not await request.is_disconnected():
        await asyncio.sleep(0)


def _without_alpha(path: Path) -> bytes:
    # Imported here: no other request needs it.
    from PIL import Image

    buffer = BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _clear_rows(png: bytes) -> bytes:
    width, height = struct.unpack(">II", png[16:24])
    return bytes(height * (1 + 4 * width))


def _with_pixels(png: bytes, rows: bytes) -> bytes:
    """An RGBA PNG of the same size with other rows in it, which may be none."""
    header = png[16:24] + bytes([8, 6, 0, 0, 0])
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND")
    return png[:8] + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def _url(request: Request, upload: Upload) -> str:
    return f"{base_url(request)}/media/{upload.id}"


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK):
        yield chunk
