"""One revision of an object in the input bucket, and which task it means."""

import hashlib
import json
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel


def version_of(version_id: str | None) -> str | None:
    """The version that an id names; None if no other bytes can be told from it.

    S3 calls what is made without versions, or while they are suspended, "null".
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
    """
    return None if version_id in {None, "", "null"} else version_id


class ObjectRevision(BaseModel):
    """One revision of one S3 object. `size` is in bytes."""

    bucket: str
    key: str
    version_id: str | None = None
    sequencer: str | None = None
    etag: str
    size: int


class ListedUpload(NamedTuple):
    """An upload as the bucket's listing or inventory has it, and when it was made."""

    upload: "Upload"
    made_at: datetime


class ConvertedImage(ObjectRevision):
    """The copy of an upload in a format that the vendor takes."""

    media_type: str


class Upload(ObjectRevision):
    """An object revision that nobody may have looked at yet."""

    @property
    def task_id(self) -> str:
        """32 hex characters: the same for an event delivered twice, another for a re-upload."""
        return self._identity(self._version or self.sequencer or self.etag)

    @property
    def unversioned_id(self) -> str | None:
        """What an event and a listing of an object without a version have in common, else None.

        A listing tells no sequencer, so its task's id is another than that of the event's.
        """
        return None if self._version else self._identity(self.etag)

    @property
    def _version(self) -> str | None:
        return version_of(self.version_id)

    def _identity(self, revision: str) -> str:
        identity = json.dumps([self.bucket, self.key, revision])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]
