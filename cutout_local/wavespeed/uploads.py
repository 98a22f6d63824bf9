"""Files that a client uploads before it submits their URL."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cutout_local.wavespeed.books import Books
from cutout_local.wavespeed.errors import BadRequest, NotFound
from cutout_local.wavespeed.storage import Storage
from cutout_local.wavespeed.tasks import Clock, new_id

TICKET_LIFE = timedelta(hours=1)
DEFAULT_TYPE = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(;[ -~]*)?", re.ASCII)


@dataclass(eq=False)
class Upload:
    """One file; `size` in bytes is None until it is known."""

    id: str
    filename: str
    content_type: str
    size: int | None
    created_at: datetime
    path: Path
    received: bool = False

    @property
    def type(self) -> str:
        """The kind of media, as the vendor names it."""
        return self.content_type.partition("/")[0]


class Uploads:
    """All uploads of one server."""

    def __init__(
        self,
        storage: Storage,
        books: Books[Upload],
        clock: Clock,
        retention: timedelta,
        max_bytes: int,
    ) -> None:
        self._storage = storage
        self._books = books
        self._clock = clock
        self._retention = retention
        self._max_bytes = max_bytes
        self._uploads = {upload.id: upload for upload in books.read()}

    def create(self, filename: str, content_type: str | None, size: int | None) -> Upload:
        """Prepare a place for a file; raise `BadRequest` if it is too large or of no known type."""
        kind = content_type or DEFAULT_TYPE
        if not _MEDIA_TYPE.fullmatch(kind):
            raise BadRequest("content_type: not a media type")
        if size is not None and size > self._max_bytes:
            raise BadRequest(f"size: more than {self._max_bytes} bytes")
        self._forget_expired()
        upload_id = new_id()
        path = self._storage.path(f"{upload_id}.upload")
        upload = Upload(upload_id, filename, kind, size, self._clock(), path)
        self._uploads[upload_id] = upload
        self._books.write(upload)
        return upload

    async def receive(self, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        """Store the bytes; raise `BadRequest` if there are too many or not as many as said."""
        size = await self._write(upload.path, chunks)
        if size > self._max_bytes or upload.size not in (None, size):
            self._storage.drop(upload.path)
            raise BadRequest("the bytes that came are too many, or not as many as said")
        upload.size, upload.received = size, True
        self._books.write(upload)
        self._storage.keep(upload.path, self._clock())

    async def _write(self, path: Path, chunks: AsyncIterator[bytes]) -> int:
        """How many bytes came; those beyond the limit are not read."""
        size = 0
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max_bytes:
                    break
                file.write(chunk)
        return size

    def expected(self, upload_id: str) -> Upload:
        """An upload whose bytes have not come yet. Raises `NotFound`."""
        upload = self._uploads.get(upload_id)
        if upload is None or upload.received or self._age(upload) >= TICKET_LIFE:
            raise NotFound("there is no such upload, or it is over")
        return upload

    def find(self, upload_id: str) -> Upload:
        """An upload that can be downloaded. Raises `NotFound`."""
        upload = self._uploads.get(upload_id)
        gone = upload is None or self._age(upload) >= self._retention
        if upload is None or gone or not upload.path.exists() or not upload.received:
            raise NotFound("there is no such file, or it has expired")
        return upload

    def all(self) -> list[Upload]:
        """Every upload, those too whose bytes have not come."""
        return list(self._uploads.values())

    def _age(self, upload: Upload) -> timedelta:
        return self._clock() - upload.created_at

    def _forget_expired(self) -> None:
        for upload in list(self._uploads.values()):
            if self._age(upload) < self._retention:
                break
            self._storage.drop(upload.path)
            self._books.drop(upload)
            del self._uploads[upload.id]
