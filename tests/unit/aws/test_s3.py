import contextlib
import io
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from PIL import Image

from cutout.aws.clients import S3_CONFIG
from cutout.aws.s3 import Storage
from cutout.domain.errors import (
    BadOutput,
    MetadataRefused,
    OutputUnavailable,
    ServiceError,
    SourceGone,
    Superseded,
    UploadForbidden,
)
from cutout.domain.images import identify
from cutout.domain.png import PngCheck
from cutout.domain.tasks import Task
from cutout.domain.uploads import Upload
from tests.support import images
from tests.support.factories import INPUT, OUTPUT, make_task, make_upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODEL = "wavespeed-ai/image-background-remover"
KEY = "up/a+b%20c ü 🐈.jpg"
PNG = images.png()
# Noise does not compress: this is more than one part, and not a whole number of parts.
LARGE_PNG = images.png(1600, 1600)
PLENTY = 100_000_000


@pytest.fixture
def s3(aws: boto3.Session) -> "S3Client":
    # The project's own configuration, without the pauses between tries.
    client = aws.client("s3", config=S3_CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    for bucket in (INPUT, OUTPUT):
        client.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
    versioning(client, "Enabled")
    return client


@pytest.fixture
def storage(s3: "S3Client") -> Storage:
    return Storage(s3)


def versioning(s3: "S3Client", status: Any) -> None:
    s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": status})


def put(s3: "S3Client", body: bytes, **options: Any) -> Upload:
    """Put an object and return what S3 would announce of it."""
    answer = s3.put_object(Bucket=INPUT, Key=KEY, Body=body, **options)
    return make_upload(
        bucket=INPUT,
        key=KEY,
        version_id=answer.get("VersionId"),
        etag=answer["ETag"].strip('"'),
        size=len(body),
    )


def put_without_version(s3: "S3Client", body: bytes, **options: Any) -> Upload:
    return put(s3, body, **options).model_copy(update={"version_id": None})


# ------------------------------------------------------------------ open


@pytest.mark.parametrize("name", images.FORMATS)
def test_an_image_is_read_as_from_a_file(s3: "S3Client", storage: Storage, name: str) -> None:
    image = images.FORMATS[name](300, 200)
    with (
        Image.open(io.BytesIO(image)) as here,
        Image.open(storage.open(put(s3, image))) as there,
    ):
        assert there.format == here.format
        assert there.tobytes() == here.tobytes()


def test_any_place_can_be_read(s3: "S3Client", storage: Storage) -> None:
    data = bytes(range(256)) * 1000
    file, there = io.BytesIO(data), storage.open(put(s3, data))
    steps = [(0, 0), (200_000, 0), (-100, 2), (0, 2), (-70_000, 1), (5, 1), (999_999, 0), (-3, 2)]
    for offset, whence in steps:
        assert there.seek(offset, whence) == file.seek(offset, whence)
        assert there.read(300) == file.read(300)
        assert there.tell() == file.tell()
    there.seek(0)
    assert there.read() == data


def test_a_header_is_found_without_fetching_the_image(s3: "S3Client", storage: Storage) -> None:
    upload = put(s3, images.tiff(1000, 1000))
    fetched: list[int] = []
    s3.meta.events.register(
        "after-call.s3.GetObject", lambda parsed, **_: fetched.append(parsed["ContentLength"])
    )
    assert identify(storage.open(upload)).width == 1000
    assert sum(fetched) < 200_000 < upload.size


def test_an_empty_object_has_nothing_to_read(s3: "S3Client", storage: Storage) -> None:
    assert storage.open(put(s3, b"")).read() == b""


def test_the_announced_version_is_read(s3: "S3Client", storage: Storage) -> None:
    upload = put(s3, b"first")
    put(s3, b"second")
    assert storage.open(upload).read() == b"first"


def test_a_version_under_a_delete_marker_is_still_read(s3: "S3Client", storage: Storage) -> None:
    upload = put(s3, b"first")
    s3.delete_object(Bucket=INPUT, Key=KEY)
    assert storage.open(upload).read() == b"first"


def test_a_deleted_version_is_gone(s3: "S3Client", storage: Storage) -> None:
    upload = put(s3, b"first")
    assert upload.version_id
    s3.delete_object(Bucket=INPUT, Key=KEY, VersionId=upload.version_id)
    with pytest.raises(SourceGone, match="deleted or replaced"):
        storage.open(upload).read()


def test_a_deleted_object_without_versions_is_gone(s3: "S3Client", storage: Storage) -> None:
    versioning(s3, "Suspended")
    upload = put_without_version(s3, b"first")
    s3.delete_object(Bucket=INPUT, Key=KEY)
    with pytest.raises(SourceGone):
        storage.open(upload).read()


@pytest.mark.parametrize("other", [b"other", b"x", b"something much longer"])
def test_a_replaced_object_without_versions_is_gone(
    s3: "S3Client", storage: Storage, other: bytes
) -> None:
    versioning(s3, "Suspended")
    upload = put_without_version(s3, b"first")
    put_without_version(s3, other)
    with pytest.raises(SourceGone):
        storage.open(upload).read()


def test_a_replaced_object_with_the_null_version_is_gone(s3: "S3Client", storage: Storage) -> None:
    versioning(s3, "Suspended")
    upload = put(s3, b"first").model_copy(update={"version_id": "null"})
    assert storage.open(upload).read() == b"first"
    put(s3, b"other")
    with pytest.raises(SourceGone):
        storage.open(upload).read()


def test_a_bucket_that_is_not_there_is_gone(storage: Storage) -> None:
    with pytest.raises(SourceGone):
        storage.open(make_upload(bucket="no-such-bucket")).read()


def unreachable(**_: Any) -> None:
    raise EndpointConnectionError(endpoint_url="https://s3")


def test_a_read_without_an_answer_is_a_service_error(s3: "S3Client", storage: Storage) -> None:
    upload = put(s3, b"first")
    s3.meta.events.register("before-send.s3.GetObject", unreachable)
    with pytest.raises(ServiceError, match="failed to read the upload"):
        storage.open(upload).read()


def test_an_upload_that_may_not_be_read_says_what_to_look_at(
    s3: "S3Client", storage: Storage
) -> None:
    upload = put(s3, b"first")
    s3.meta.events.register_first("before-send.s3.GetObject", denied)
    with pytest.raises(UploadForbidden, match=r"\(AccessDenied\): see the bucket's policy"):
        storage.open(upload).read()


def test_metadata_that_may_not_be_read_is_the_same_trouble(
    s3: "S3Client", storage: Storage
) -> None:
    upload = put(s3, b"first")
    s3.meta.events.register_first("before-send.s3.HeadObject", denied)
    with pytest.raises(UploadForbidden, match="does not let this stack read"):
        storage.metadata(upload)


def denied(request: Any, **_: Any) -> Any:
    content = b"" if request.method == "HEAD" else b"<Error><Code>AccessDenied</Code></Error>"
    return AWSResponse("https://s3", 403, HTTPHeaders(), Body(content))


class Body(io.BytesIO):
    """A raw answer as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


# ------------------------------------------------------------------ presign


def test_a_presigned_url_names_the_revision_and_is_signed_for_the_region(storage: Storage) -> None:
    url = urlsplit(storage.presign(make_upload(key=KEY, version_id="v.1"), 3600, "image/webp"))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert url.scheme == "https"
    assert url.netloc == f"{INPUT}.s3.eu-central-1.amazonaws.com"
    assert unquote(url.path) == f"/{KEY}"
    assert query["versionId"] == "v.1"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == "3600"
    assert query["response-content-type"] == "image/webp"
    assert query["X-Amz-Credential"].endswith("/eu-central-1/s3/aws4_request")


def test_a_url_without_a_version_names_none(storage: Storage) -> None:
    assert "versionId" not in storage.presign(make_upload(version_id=None), 60, "image/png")


# ------------------------------------------------------------------ save_png


def in_blocks(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def save(
    storage: Storage,
    task: Task,
    blocks: Iterator[bytes],
    max_bytes: int = PLENTY,
    **options: bool,
) -> None:
    storage.save_png(task, blocks, PngCheck(max_bytes, 10**9), **options)


def saved(s3: "S3Client", task: Task) -> bytes:
    return s3.get_object(Bucket=OUTPUT, Key=task.output_key)["Body"].read()


def test_a_png_is_saved_with_its_type(s3: "S3Client", storage: Storage) -> None:
    task = make_task(put(s3, b"source"))
    save(storage, task, in_blocks(PNG))
    assert saved(s3, task) == PNG
    assert s3.head_object(Bucket=OUTPUT, Key=f"{KEY}.png")["ContentType"] == "image/png"


def test_metadata_and_tags_are_carried_over(s3: "S3Client", storage: Storage) -> None:
    upload = put(s3, b"source", Metadata={"author": "Ada"}, Tagging="team=a%20b&sum=1%2B1%3D2")
    task = make_task(upload, prediction_id="p1")
    save(storage, task, in_blocks(PNG))
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    assert metadata == {
        "author": "Ada",
        "cutout-task-id": task.task_id,
        "cutout-prediction-id": "p1",
        "cutout-model": MODEL,
        "cutout-source-bucket": INPUT,
        "cutout-source-version": upload.version_id,
        "cutout-source-key": "up/a%2Bb%2520c%20%C3%BC%20%F0%9F%90%88.jpg",
    }
    assert unquote(metadata["cutout-source-key"]) == KEY
    tags = s3.get_object_tagging(Bucket=OUTPUT, Key=task.output_key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "a b", "sum": "1+1=2"}


def test_the_source_is_left_alone(s3: "S3Client", storage: Storage) -> None:
    save(storage, make_task(put(s3, b"source", Metadata={"author": "Ada"})), in_blocks(PNG))
    (version,) = s3.list_object_versions(Bucket=INPUT)["Versions"]
    assert s3.get_object(Bucket=INPUT, Key=KEY)["Body"].read() == b"source"
    assert version["IsLatest"]


@pytest.mark.parametrize("length", [1700, 2010, 2048 - len("note")])
def test_the_users_metadata_goes_before_the_lineage(
    s3: "S3Client", storage: Storage, length: int
) -> None:
    task = make_task(put(s3, b"source", Metadata={"note": "n" * length}))
    save(storage, task, in_blocks(PNG))
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    assert metadata["note"] == "n" * length
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert ("cutout-task-id" in metadata) == (length == 1700)


def test_a_long_key_is_left_out_of_the_lineage(s3: "S3Client", storage: Storage) -> None:
    key = "猫" * 340
    etag = s3.put_object(Bucket=INPUT, Key=key, Body=b"source")["ETag"].strip('"')
    task = make_task(make_upload(key=key, version_id=None, etag=etag))
    save(storage, task, in_blocks(PNG))
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    assert "cutout-source-key" not in metadata
    assert metadata["cutout-source-bucket"] == INPUT


@pytest.mark.parametrize("deletes", ["version", "object", "bucket"])
def test_a_png_is_saved_although_its_source_is_gone(
    s3: "S3Client", storage: Storage, deletes: str
) -> None:
    upload = put(s3, b"source")
    assert upload.version_id
    s3.delete_object(Bucket=INPUT, Key=KEY, VersionId=upload.version_id)
    if deletes == "object":
        upload = upload.model_copy(update={"version_id": None})
    if deletes == "bucket":
        s3.delete_bucket(Bucket=INPUT)
    task = make_task(upload)
    save(storage, task, in_blocks(PNG))
    assert saved(s3, task) == PNG
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    assert metadata["cutout-task-id"] == task.task_id


def test_a_source_that_was_replaced_meanwhile_is_not_saved_for(
    s3: "S3Client", storage: Storage
) -> None:
    upload = put_without_version(s3, b"source")
    put_without_version(s3, b"another")
    with pytest.raises(Superseded, match="was replaced while it was processed"):
        save(storage, make_task(upload), in_blocks(PNG))
    assert "Contents" not in s3.list_objects_v2(Bucket=OUTPUT)


@pytest.mark.parametrize(("version", "replaceable"), [(None, True), ("null", True), ("v1", False)])
def test_only_what_has_no_version_can_be_replaced(
    s3: "S3Client",
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    replaceable: bool,
) -> None:
    other = {"ETag": '"other"', "Metadata": dict[str, str]()}
    monkeypatch.setattr(s3, "head_object", lambda **_: other)
    monkeypatch.setattr(s3, "get_object_tagging", lambda **_: {"TagSet": []})
    task = make_task(make_upload(version_id=version))
    with pytest.raises(Superseded) if replaceable else contextlib.nullcontext():
        save(storage, task, in_blocks(PNG))


def test_a_source_that_is_the_same_is_saved_for(s3: "S3Client", storage: Storage) -> None:
    task = make_task(put_without_version(s3, b"source", Metadata={"author": "Ada"}))
    save(storage, task, in_blocks(PNG))
    assert s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]["author"] == "Ada"


@pytest.mark.parametrize(
    ("call", "what"), [("HeadObject", "metadata"), ("GetObjectTagging", "tags")]
)
def test_a_png_is_saved_without_what_may_not_be_read(
    s3: "S3Client", storage: Storage, call: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task(put(s3, b"source", Metadata={"author": "Ada"}, Tagging="team=a"))
    s3.meta.events.register_first(f"before-send.s3.{call}", denied)
    save(storage, task, in_blocks(PNG))
    s3.meta.events.unregister(f"before-send.s3.{call}", denied)
    assert saved(s3, task) == PNG
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    tags = s3.get_object_tagging(Bucket=OUTPUT, Key=task.output_key)["TagSet"]
    assert ("author" in metadata, bool(tags)) == (what == "tags", what == "metadata")
    assert f"saved without the {what} of its source" in caplog.text


@pytest.mark.parametrize("image", [PNG, LARGE_PNG], ids=["small", "large"])
@pytest.mark.parametrize("code", ["AccessDenied", "InvalidTag", "MetadataTooLarge"])
def test_what_s3_refuses_with_the_sources_metadata_and_tags_it_may_take_without(
    s3: "S3Client", storage: Storage, image: bytes, code: str
) -> None:
    task = make_task(put(s3, b"source", Metadata={"author": "Ada"}, Tagging="team=a"))
    for call in ("PutObject", "CreateMultipartUpload"):
        s3.meta.events.register(f"provide-client-params.s3.{call}", refusing_tags(code))
    with pytest.raises(MetadataRefused, match=f"failed to save the output of task {task.task_id}"):
        save(storage, task, in_blocks(image))
    assert "Contents" not in s3.list_objects_v2(Bucket=OUTPUT)
    save(storage, task, in_blocks(image), carry_over=False)
    assert saved(s3, task) == image
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    assert (metadata["cutout-task-id"], "author" in metadata) == (task.task_id, False)


def test_a_bucket_that_takes_nothing_is_trouble_of_the_service(
    s3: "S3Client", storage: Storage
) -> None:
    task = make_task(put(s3, b"source"))
    s3.meta.events.register_first("before-send.s3.PutObject", denied)
    with pytest.raises(ServiceError) as raised:
        save(storage, task, in_blocks(PNG), carry_over=False)
    assert raised.type is ServiceError


def test_without_its_sources_metadata_a_png_is_not_saved_for_a_source_that_was_replaced(
    s3: "S3Client", storage: Storage
) -> None:
    upload = put_without_version(s3, b"source")
    put_without_version(s3, b"another")
    with pytest.raises(Superseded):
        save(storage, make_task(upload), in_blocks(PNG), carry_over=False)


def refusing_tags(code: str) -> Any:
    """S3 as it answers requests that have tags."""
    status: Any = {"HTTPStatusCode": 403 if code == "AccessDenied" else 400}

    def refuse(params: Any, **_: Any) -> None:
        if "Tagging" in params:
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": status}, "PutObject")

    return refuse


def test_metadata_that_no_header_takes_is_left_out(
    s3: "S3Client", storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task(put(s3, b"source", Metadata={"author": "Ada"}))
    s3.meta.events.register(
        "after-call.s3.HeadObject",
        lambda parsed, **_: parsed["Metadata"].update(place="Köln", note="a\x00b"),
    )
    save(storage, task, in_blocks(PNG))
    metadata = s3.head_object(Bucket=OUTPUT, Key=task.output_key)["Metadata"]
    assert (metadata["author"], metadata["cutout-task-id"]) == ("Ada", task.task_id)
    assert "saved without metadata that is not ASCII" in caplog.text


def test_tags_that_vouch_for_the_source_stay_with_it(s3: "S3Client", storage: Storage) -> None:
    task = make_task(
        put(s3, b"source", Tagging="team=a&GuardDutyMalwareScanStatus=NO_THREATS_FOUND")
    )
    s3.meta.events.register(
        "after-call.s3.GetObjectTagging",
        lambda parsed, **_: parsed["TagSet"].append({"Key": "aws:made-by", "Value": "a stack"}),
        unique_id="aws",
    )
    save(storage, task, in_blocks(PNG))
    s3.meta.events.unregister("after-call.s3.GetObjectTagging", unique_id="aws")
    found = s3.get_object_tagging(Bucket=OUTPUT, Key=task.output_key)["TagSet"]
    assert found == [{"Key": "team", "Value": "a"}]


def parts_taken(s3: "S3Client") -> list[int]:
    numbers: list[int] = []
    s3.meta.events.register(
        "provide-client-params.s3.UploadPart",
        lambda params, **_: numbers.append(params["PartNumber"]),
    )
    return numbers


def test_a_large_png_goes_in_parts(s3: "S3Client", storage: Storage) -> None:
    parts = parts_taken(s3)
    task = make_task(put(s3, b"source", Metadata={"author": "Ada"}, Tagging="team=a"))
    save(storage, task, in_blocks(LARGE_PNG))
    assert parts == [1, 2]
    assert saved(s3, task) == LARGE_PNG
    head = s3.head_object(Bucket=OUTPUT, Key=task.output_key)
    assert (head["ContentType"], head["Metadata"]["author"]) == ("image/png", "Ada")
    tags = s3.get_object_tagging(Bucket=OUTPUT, Key=task.output_key)["TagSet"]
    assert tags == [{"Key": "team", "Value": "a"}]


def broken_download(data: bytes) -> Iterator[bytes]:
    yield from in_blocks(data)
    raise OutputUnavailable("the connection was reset")


@pytest.mark.parametrize("image", [PNG, LARGE_PNG], ids=["small", "large"])
@pytest.mark.parametrize("before", [None, b"an older image"], ids=["new", "replaced"])
@pytest.mark.parametrize("fault", ["truncated", "damaged", "trailing", "opaque", "large", "broken"])
def test_a_bad_output_changes_nothing(
    s3: "S3Client", storage: Storage, image: bytes, before: bytes | None, fault: str
) -> None:
    task = make_task(put(s3, b"source"))
    if before:
        s3.put_object(Bucket=OUTPUT, Key=task.output_key, Body=before)
    damaged = bytearray(image)
    damaged[-20] ^= 1
    blocks = {
        "truncated": in_blocks(image[:-1]),
        "damaged": in_blocks(bytes(damaged)),
        "trailing": in_blocks(image + b"\n"),
        "opaque": in_blocks(opaque(image)),
        "large": in_blocks(image),
        "broken": broken_download(image[:-5]),
    }[fault]
    limit = len(image) - 1 if fault == "large" else PLENTY
    with pytest.raises(OutputUnavailable if fault == "broken" else BadOutput):
        save(storage, task, blocks, limit)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=OUTPUT)
    listed = s3.list_objects_v2(Bucket=OUTPUT).get("Contents", [])
    assert [found["Key"] for found in listed] == ([task.output_key] if before else [])
    if before:
        assert saved(s3, task) == before


@cache
def opaque(image: bytes) -> bytes:
    """An image without transparency that goes to S3 in as many requests."""
    return images.png(alpha=False) if image == PNG else images.png(1800, 1800, alpha=False)


@pytest.mark.parametrize("call", ["HeadObject", "GetObjectTagging", "PutObject"])
def test_a_save_without_an_answer_is_a_service_error(
    s3: "S3Client", storage: Storage, call: str
) -> None:
    task = make_task(put(s3, b"source"))
    s3.meta.events.register(f"before-send.s3.{call}", unreachable)
    with pytest.raises(ServiceError, match=f"failed to save the output of task {task.task_id}"):
        save(storage, task, in_blocks(PNG))


@pytest.mark.parametrize("call", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_save_that_stops_between_parts_leaves_nothing(
    s3: "S3Client", storage: Storage, call: str
) -> None:
    task = make_task(put(s3, b"source"))
    s3.meta.events.register(f"before-send.s3.{call}", unreachable)
    with pytest.raises(ServiceError):
        save(storage, task, in_blocks(LARGE_PNG))
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=OUTPUT)
    assert "Contents" not in s3.list_objects_v2(Bucket=OUTPUT)


def test_an_output_bucket_that_is_not_there_is_a_service_error(
    s3: "S3Client", storage: Storage
) -> None:
    task = make_task(put(s3, b"source"), output_bucket="no-such-bucket")
    with pytest.raises(ServiceError):
        save(storage, task, in_blocks(PNG))
