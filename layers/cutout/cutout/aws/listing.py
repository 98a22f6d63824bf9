"""What is in the input bucket: page by page from S3, or from an S3 Inventory of it."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit

from botocore.exceptions import ClientError

from cutout.aws.errors import code, served
from cutout.domain.errors import InventoryUnreadable
from cutout.domain.messages import Cursor
from cutout.domain.uploads import ListedUpload, Upload, version_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectVersionTypeDef

Page = tuple[list[ListedUpload], Cursor | None]
# Each page of an inventory begins at the start of its compressed file, so there are fewer of them.
_LINES_FOR_A_KEY = 10
_NEEDED = {"Key", "Size", "LastModifiedDate", "ETag"}


class Listing:
    """The current objects of the input bucket, but for those that stand for folders.

    Raises `ServiceError` when S3 does not serve a call.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def page(self, cursor: Cursor, size: int) -> Page:
        """Some uploads, and where to read on; raises `InventoryUnreadable`, too.

        Of a listing `size` versions are read, replaced ones and delete markers included.
        """
        if cursor.manifest:
            return self._inventory_page(cursor, cursor.manifest, size * _LINES_FOR_A_KEY)
        after = {"KeyMarker": cursor.after_key, "VersionIdMarker": cursor.after_version}
        more: Any = {name: marker for name, marker in after.items() if marker}
        with served("S3 failed to list the uploads"):
            found = self._client.list_object_versions(
                Bucket=self._bucket, Prefix=cursor.prefix, MaxKeys=size, **more
            )
        listed = [self._listed(v) for v in found.get("Versions", []) if v["IsLatest"]]
        return [one for one in listed if not _is_folder(one)], _after(cursor, found)

    def outputs(self, bucket: str, cursor: Cursor, size: int) -> tuple[list[str], Cursor | None]:
        """Some keys of the output bucket, and where to read on."""
        more: Any = {"StartAfter": cursor.after_key} if cursor.after_key else {}
        with served("S3 failed to list the outputs"):
            found = self._client.list_objects_v2(
                Bucket=bucket, Prefix=cursor.prefix, MaxKeys=size, **more
            )
        keys = [one["Key"] for one in found.get("Contents", [])]
        following = cursor.model_copy(update={"after_key": keys[-1]}) if keys else None
        return keys, following if found["IsTruncated"] else None

    def _listed(self, version: "ObjectVersionTypeDef") -> ListedUpload:
        upload = Upload(
            bucket=self._bucket,
            key=version["Key"],
            version_id=version_of(version["VersionId"]),
            etag=version["ETag"].strip('"'),
            size=version["Size"],
        )
        return ListedUpload(upload, version["LastModified"])

    def _inventory_page(self, cursor: Cursor, manifest_url: str, lines: int) -> Page:
        manifest = self._manifest(manifest_url)
        fields, files = _fields(manifest), manifest["files"]
        if cursor.file >= len(files):
            return [], None
        bucket = manifest["destinationBucket"].rpartition(":")[2]
        with self._open(bucket, files[cursor.file]["key"]) as file:
            rows = list(csv.reader(islice(file, cursor.line, cursor.line + lines)))
        found = [dict(zip(fields, row, strict=False)) for row in rows]
        listed = [self._inventoried(row) for row in found if _is_current(row)]
        kept = [one for one in listed if one.upload.key.startswith(cursor.prefix)]
        return [one for one in kept if not _is_folder(one)], _next(cursor, len(rows), lines, files)

    def _manifest(self, url: str) -> dict[str, Any]:
        where = urlsplit(url)
        with _inventory_errors(f"read the inventory {url}"):
            body = self._client.get_object(Bucket=where.netloc, Key=where.path[1:])["Body"]
            manifest: dict[str, Any] = json.loads(body.read())
        if manifest.get("sourceBucket") != self._bucket or manifest.get("fileFormat") != "CSV":
            raise InventoryUnreadable(f"{url} is no inventory of {self._bucket} in CSV")
        return manifest

    @contextmanager
    def _open(self, bucket: str, key: str) -> Iterator[io.TextIOWrapper]:
        with _inventory_errors(f"read {key} of the inventory"):
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            with closing(body), gzip.GzipFile(fileobj=body) as plain:
                yield io.TextIOWrapper(plain, encoding="utf-8", newline="")

    def _inventoried(self, row: dict[str, str]) -> ListedUpload:
        upload = Upload(
            bucket=self._bucket,
            key=unquote_plus(row["Key"]),
            version_id=version_of(row.get("VersionId")),
            etag=row["ETag"],
            size=int(row["Size"] or 0),
        )
        return ListedUpload(upload, datetime.fromisoformat(row["LastModifiedDate"]))


def _after(cursor: Cursor, found: Any) -> Cursor | None:
    """Where to list on, with both of S3's markers."""
    if not found["IsTruncated"]:
        return None
    markers = {
        "after_key": found["NextKeyMarker"],
        "after_version": found.get("NextVersionIdMarker"),
    }
    return cursor.model_copy(update=markers)


def _next(cursor: Cursor, read: int, asked: int, files: list[Any]) -> Cursor | None:
    """Where to read on in an inventory: in this file, or in the next one of this cursor."""
    if read == asked:
        return cursor.model_copy(update={"line": cursor.line + read})
    file = cursor.file + cursor.step
    return cursor.model_copy(update={"file": file, "line": 0}) if file < len(files) else None


def _fields(manifest: dict[str, Any]) -> list[str]:
    """The columns. https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html"""
    fields = [name.strip() for name in manifest["fileSchema"].split(",")]
    if lacking := _NEEDED - set(fields):
        raise InventoryUnreadable(f"the inventory lacks {', '.join(sorted(lacking))}")
    return fields


def _is_current(row: dict[str, str]) -> bool:
    """An inventory of current versions only says so of none."""
    return row.get("IsLatest", "true") != "false" and row.get("IsDeleteMarker", "false") != "true"


def _is_folder(listed: ListedUpload) -> bool:
    """The S3 console makes an empty object for a folder."""
    return listed.upload.key.endswith("/") and listed.upload.size == 0


@contextmanager
def _inventory_errors(what: str) -> Iterator[None]:
    """What is not there or broken does not become better by trying again."""
    with served(f"S3 failed to {what}"):
        try:
            yield
        except ClientError as error:
            if code(error) not in {"NoSuchKey", "NoSuchBucket", "AccessDenied"}:
                raise
            raise InventoryUnreadable(
                f"S3 failed to {what} ({code(error)}); see InventoryBucket"
            ) from error
        except (OSError, ValueError, EOFError) as error:
            raise InventoryUnreadable(f"cannot {what}: {error}") from error
