"""One revision of an object in the input bucket, and which task it means."""

import hashlib
import json

from pydantic import BaseModel


class ObjectRevision(BaseModel):
    """One revision of one S3 object. `size` is in bytes."""

    bucket: str
    key: str
    version_id: str | None = None
    sequencer: str | None = None
    etag: str
    size: int


class ConvertedImage(ObjectRevision):
    """The copy of an upload in a format that the vendor takes."""

    media_type: str


class Upload(ObjectRevision):
    """An object revision that nobody may have looked at yet."""

    @property
    def task_id(self) -> str:
        """32 hex characters: the same for an event delivered twice, another for a re-upload."""
        # While versioning is suspended, all revisions of an object have the version "null".
        version = None if self.version_id == "null" else self.version_id
        revision = version or self.sequencer or self.etag
        identity = json.dumps([self.bucket, self.key, revision])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]
