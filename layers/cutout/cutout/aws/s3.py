"""S3: read an upload in ranges, presign it for the vendor, stream the output into its bucket."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from cutout.aws.errors import code, is_gone, is_refused, served
from cutout.domain.errors import (
    MetadataRefused,
    OutputGone,
    ServiceError,
    SourceGone,
    Superseded,
    UploadForbidden,
)
from cutout.domain.lineage import SavedPng, lineage, with_lineage
from cutout.domain.png import Output, PngCheck
from cutout.domain.tasks import Task
from cutout.domain.uploads import ObjectRevision, Upload, version_of
from cutout.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RANGE_BYTES = 64 * 1024
_BLOCK_BYTES = 256 * 1024
# One part in memory at a time: the whole transfer stays near 16 MiB however large the PNG.
_ONE_PART_AT_A_TIME = TransferConfig(use_threads=False, multipart_chunksize=8 * 1024 * 1024)
_UNFIT = {"InvalidTag", "MetadataTooLarge"}


class Storage:
    """The buckets. Raises `ServiceError` when S3 does not serve a call."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def open(self, upload: ObjectRevision) -> BinaryIO:
        """A seekable file over the upload's bytes; its reads raise as `metadata` does."""
        return io.BufferedReader(_RangeReader(self._client, upload), _RANGE_BYTES)

    def metadata(self, upload: ObjectRevision) -> dict[str, str]:
        """The user metadata of the upload. Raises `SourceGone` or `UploadForbidden`."""
        with _source_errors():
            return self._client.head_object(**_revision(upload))["Metadata"]

    def current(self, bucket: str, key: str) -> Upload | None:
        """The upload that is under a key now; None if there is none."""
        try:
            with _source_errors():
                head = self._client.head_object(Bucket=bucket, Key=key)
        except SourceGone:
            return None
        return Upload(
            bucket=bucket,
            key=key,
            version_id=version_of(head.get("VersionId")),
            etag=head["ETag"].strip('"'),
            size=head["ContentLength"],
        )

    def is_current(self, upload: ObjectRevision) -> bool:
        """Whether this is what the bucket has under the key now."""
        found = self.current(upload.bucket, upload.key)
        return found is not None and _same_revision(found, upload)

    def png(self, bucket: str, key: str) -> SavedPng | None:
        """What a PNG's metadata say of it; None if there is none."""
        with served(f"S3 tells nothing of the output {key}"):
            try:
                head = self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if is_gone(error):
                    return None
                raise
        return SavedPng.of(head["Metadata"], head["LastModified"])

    def read(self, upload: ObjectRevision) -> bytes:
        """All of the upload's bytes. Raises `SourceGone`."""
        with self.open(upload) as file:
            return file.read()

    def sha256(self, upload: ObjectRevision) -> str:
        """The digest of the upload's bytes, in hex; it reads them all. Raises `SourceGone`."""
        digest = hashlib.sha256()
        with _source_errors():
            answer = self._client.get_object(**_revision(upload), IfMatch=upload.etag)
            with closing(answer["Body"]) as body:
                for block in body.iter_chunks(_BLOCK_BYTES):
                    digest.update(block)
        return digest.hexdigest()

    def presign(self, upload: ObjectRevision, seconds: int, media_type: str) -> str:
        """A URL under which anybody may read the upload for a while. Never log it.

        It is served as `media_type`, for what SDKs upload is `binary/octet-stream` to S3.
        """
        return self._client.generate_presigned_url(
            "get_object",
            Params=_revision(upload) | {"ResponseContentType": media_type},
            ExpiresIn=seconds,
        )

    def save_png(
        self, task: Task, blocks: Iterator[bytes], check: PngCheck, *, carry_over: bool = True
    ) -> None:
        """Stream a PNG to the task's output key; nothing appears there unless `check` passes.

        The source's metadata and tags go with it, if `carry_over` says so. Raises `MetadataRefused`
        if S3 refuses it with them. Errors of `blocks` and of `check` pass through, after the
        multipart upload is aborted. Raises `Superseded` if the source was replaced since it was
        announced, so that nobody knows which of the two the vendor was given.
        """
        failed = f"S3 failed to save the output of task {task.task_id}"
        with served(failed):
            try:
                self._client.upload_fileobj(
                    io.BufferedReader(_CheckedStream(blocks, check)),
                    task.output_bucket,
                    task.output_key,
                    ExtraArgs={"ContentType": "image/png", **self._metadata(task, carry_over)},
                    Config=_ONE_PART_AT_A_TIME,
                )
            except ClientError as error:
                if carry_over and (is_refused(error) or code(error) in _UNFIT):
                    _say_lost("metadata and tags", error)
                    raise MetadataRefused(failed) from error
                raise

    def saved_png(self, task: Task) -> tuple[str | None, str | None]:
        """Version id and ETag of the PNG that a task has just saved, None where not to be had."""
        try:
            with served("S3 tells nothing of it"):
                head = self._client.head_object(Bucket=task.output_bucket, Key=task.output_key)
        except ServiceError as error:
            logger.warning(f"the PNG cannot be reused: {error}", error=repr(error.__cause__))
            return None, None
        if head["Metadata"].get("cutout-task-id") != task.task_id:
            return None, None  # somebody else's has taken its place
        return head.get("VersionId"), head["ETag"].strip('"')

    @contextmanager
    def open_png(self, task: Task) -> Iterator[Output]:
        """The PNG of a completed task, the very one that it saved. Raises `OutputGone`."""
        version: Any = {"VersionId": task.output_version_id} if task.output_version_id else {}
        with served(f"S3 failed to read the PNG of task {task.task_id}"):
            try:
                answer = self._client.get_object(
                    Bucket=task.output_bucket,
                    Key=task.output_key,
                    IfMatch=task.output_etag or "",
                    **version,
                )
            except ClientError as error:
                if is_gone(error) or is_refused(error):
                    gone = f"the PNG of task {task.task_id} is not there any more"
                    raise OutputGone(gone) from error
                raise
        with closing(answer["Body"]) as body:
            yield Output(body.iter_chunks(_BLOCK_BYTES), task.confidence)

    def _metadata(self, task: Task, carry_over: bool) -> dict[str, Any]:
        """The lineage, with the source's metadata and tags as far as they can be had.

        What can not be had is left out: the result is paid.
        """
        users = _ascii(self._source(task))
        if not carry_over:
            return {"Metadata": with_lineage({}, lineage(task))}
        metadata = with_lineage(users, lineage(task))
        tags = {name: value for name, value in self._tags(task).items() if _is_users(name)}
        return {"Metadata": metadata} | ({"Tagging": urlencode(tags)} if tags else {})

    def _source(self, task: Task) -> dict[str, str]:
        try:
            head = self._client.head_object(**_revision(task))
        except ClientError as error:
            # Of an object without versions, it must be known that it is still the same.
            if not (is_gone(error) or (is_refused(error) and _has_version(task))):
                raise
            _say_lost("metadata", error)
            return {}
        if not _has_version(task) and head["ETag"].strip('"') != task.etag:
            raise Superseded("the object was replaced while it was processed")
        return head["Metadata"]

    def _tags(self, task: Task) -> dict[str, str]:
        try:
            found = self._client.get_object_tagging(**_revision(task))["TagSet"]
        except ClientError as error:
            if not (is_gone(error) or is_refused(error)):
                raise
            _say_lost("tags", error)
            return {}
        return {tag["Key"]: tag["Value"] for tag in found}


def _say_lost(what: str, error: ClientError) -> None:
    logger.warning(f"the output is saved without the {what} of its source", code=code(error))


def _ascii(metadata: dict[str, str]) -> dict[str, str]:
    """What can be sent in headers; S3 may hold more, sent by other means."""
    kept = {n: v for n, v in metadata.items() if f"{n}{v}".isascii() and f"{n}{v}".isprintable()}
    if kept != metadata:
        logger.warning("the output is saved without metadata that is not ASCII")
    return kept


def _is_users(tag: str) -> bool:
    """Not AWS's own, nor GuardDuty's, which would vouch for a file that it never saw."""
    return not tag.startswith(("aws:", "GuardDuty"))


def _has_version(upload: ObjectRevision) -> bool:
    """Whether no other bytes can ever be under this address."""
    return version_of(upload.version_id) is not None


class _RangeReader(io.RawIOBase):
    """Random access to an object, so that a header is found without fetching the whole object."""

    def __init__(self, client: "S3Client", upload: ObjectRevision) -> None:
        self._client = client
        self._upload = upload
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._upload.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._upload.size)
        if self._position >= end:
            return 0
        data = self._fetch(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _fetch(self, start: int, end: int) -> bytes:
        with _source_errors():
            answer = self._client.get_object(
                **_revision(self._upload),
                IfMatch=self._upload.etag,  # an unversioned object may have been replaced
                Range=f"bytes={start}-{end - 1}",
            )
            return answer["Body"].read()


@contextmanager
def _source_errors() -> Iterator[None]:
    """Reading an upload: it may be gone or forbidden; everything else is a `ServiceError`."""
    with served("S3 failed to read the upload"):
        try:
            yield
        except ClientError as error:
            if is_gone(error):
                raise SourceGone(
                    "the object was deleted or replaced before it was sent; upload it again"
                ) from error
            if is_refused(error):
                raise UploadForbidden(
                    f"S3 does not let this stack read the upload ({code(error)}): see the bucket's "
                    "policy, its key in KMS (InputKmsKeyArn), InputPrefix and its storage class"
                ) from error
            raise


class _CheckedStream(io.RawIOBase):
    """The non-seekable file that boto3 uploads: every byte passes the check on its way.

    The check's verdict falls in the read that finds the end, which is before boto3 completes the
    upload, so a bad output never becomes an object.
    """

    def __init__(self, blocks: Iterator[bytes], check: PngCheck) -> None:
        self._blocks = blocks
        self._check = check
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = memoryview(next(self._blocks, b""))
            self._check.feed(self._left)
        if not self._left:
            self._check.finish()
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _same_revision(one: ObjectRevision, other: ObjectRevision) -> bool:
    versions = {version_of(one.version_id), version_of(other.version_id)}
    return len(versions) == 1 and one.etag == other.etag


def _revision(upload: ObjectRevision) -> dict[str, Any]:
    address = {"Bucket": upload.bucket, "Key": upload.key}
    return address | ({"VersionId": upload.version_id} if upload.version_id else {})
