"""What S3 announces when an object is created, and which task that means."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, Field


class Upload(BaseModel):
    """One revision of one object. `size` is in bytes."""

    bucket: str
    key: str
    version_id: str | None = None
    sequencer: str | None = None
    etag: str
    size: int

    @property
    def task_id(self) -> str:
        """32 hex characters: the same for an event delivered twice, another for a re-upload."""
        # While versioning is suspended, all revisions of an object have the version "null".
        version = None if self.version_id == "null" else self.version_id
        revision = version or self.sequencer or self.etag
        identity = json.dumps([self.bucket, self.key, revision])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str = Field(min_length=1)
    size: int
    etag: str
    version_id: str | None = Field(default=None, alias="version-id")
    sequencer: str | None = None


class _Detail(BaseModel):
    bucket: _Bucket
    object: _Object


class RetryRequest(BaseModel):
    """A person's wish to take a task up again, sent to the upload queue like an event."""

    class Detail(BaseModel):
        task_id: str = Field(pattern=r"^[0-9a-f]{32}$")
        pay_again: bool = False
        attempt: int | None = Field(default=None, description="The one to retry; None: the last.")

    detail_type: Literal["Cutout Retry"] = Field(default="Cutout Retry", alias="detail-type")
    detail: Detail


class ObjectCreated(BaseModel):
    """The "Object Created" event as EventBridge delivers it; its keys are not URL-encoded.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """

    detail: _Detail

    @property
    def upload(self) -> Upload:
        created = self.detail.object
        return Upload(
            bucket=self.detail.bucket.name,
            key=created.key,
            version_id=created.version_id,
            sequencer=created.sequencer,
            etag=created.etag,
            size=created.size,
        )
