"""What is in the bucket and not in the ledger is found, sent as its event is, and paid once."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cutout.aws.listing import Listing
from cutout.backfill import Backfill, Missing
from cutout.domain.errors import InventoryUnreadable, ServiceError
from cutout.domain.messages import Cursor, ObjectCreated, PageRequest, upload_message
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from cutout.settings import BackfillSettings
from tests.support.harness import NOW, TABLE, PipelineHarness, accepted, refused
from tests.support.images import jpeg

SETTINGS = {
    "tasks_table": TABLE,
    "upload_queue_url": "unused",
    "input_bucket": "uploads",
    "input_prefix": "",
    "output_bucket": "cutouts",
    "output_prefix": "",
    "output_naming": "append",
}
UPLOADS = {"Bucket": "uploads", "VersioningConfiguration": {"Status": "Suspended"}}


@pytest.fixture
def backfill(harness: PipelineHarness) -> Callable[..., Backfill]:
    def make(**settings: str) -> Backfill:
        env = BackfillSettings.model_validate(SETTINGS | settings)
        missing = Missing(env, harness.storage, harness.ledger)
        return Backfill(Listing(harness.s3, "uploads"), missing, harness.upload_queue)

    return make


@pytest.fixture
def run(backfill: Callable[..., Backfill], harness: PipelineHarness) -> Callable[..., list[Upload]]:
    """Every page from a cursor on; what was sent."""

    def every_page(page_size: int = 1000, **given: Any) -> list[Upload]:
        settings = {name: given.pop(name) for name in SETTINGS if name in given}
        dry_run, cursor = given.pop("dry_run", False), Cursor(**given)
        pages = backfill(**settings)
        while cursor:
            request = PageRequest(cursor=cursor, page_size=page_size, dry_run=dry_run)
            cursor = pages.page(request).cursor  # type: ignore[assignment]
        return list(sent(harness))

    return every_page


def sent(harness: PipelineHarness) -> Iterator[Upload]:
    """What is in the upload queue, which is empty after that."""
    while found := harness.sqs.receive_message(QueueUrl=harness.queue_url, MaxNumberOfMessages=10):
        if not found.get("Messages"):
            return
        for message in found["Messages"]:
            harness.sqs.delete_message(
                QueueUrl=harness.queue_url, ReceiptHandle=message["ReceiptHandle"]
            )
            created = upload_message(message["Body"])
            assert isinstance(created, ObjectCreated)
            yield created.upload


def event(upload: Upload, sequencer: str, at: datetime) -> tuple[Upload, datetime]:
    """What EventBridge tells of an upload without a version."""
    return upload.model_copy(update={"sequencer": sequencer, "version_id": None}), at


def test_what_no_task_has_is_sent_with_the_identity_of_its_event(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    known, missed = harness.upload(jpeg(), "known.jpg"), harness.upload(jpeg(), 'ü "+%.jpg')
    harness.answers = [accepted()]
    harness.submitter().submit(known)

    (found,) = run()

    assert found == missed
    assert found.task_id == missed.task_id
    harness.answers = [accepted("p2")]
    harness.submitter().submit(found)
    assert harness.task(missed).status is Status.PROCESSING
    assert run() == []


def test_a_page_is_read_after_the_other_and_every_prefix_for_itself(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    for number in range(7):
        harness.upload(jpeg(), f"a/{number}.jpg")
    harness.upload(jpeg(), "b/0.jpg")

    assert len(run(page_size=2, prefix="a/")) == 7
    assert [upload.key for upload in run(page_size=1, prefix="b/")] == ["b/0.jpg"]
    assert len(run(page_size=3)) == 8


def test_a_dry_run_counts_and_sends_nothing(
    harness: PipelineHarness, backfill: Callable[..., Backfill]
) -> None:
    harness.upload(jpeg())

    answer = backfill().page(PageRequest(cursor=Cursor(), page_size=10, dry_run=True))

    assert answer.counts == {"objects": 1, "missing": 1}
    assert answer.cursor is None
    assert list(sent(harness)) == []


def test_replaced_deleted_and_folders_are_no_uploads(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    harness.upload(jpeg(10, 10), "cat.jpg")
    newest = harness.upload(jpeg(20, 10), "cat.jpg")
    harness.upload(jpeg(), "gone.jpg")
    harness.s3.delete_object(Bucket="uploads", Key="gone.jpg")
    harness.upload(b"", "album/")
    empty = harness.upload(b"", "album/empty.jpg")

    assert run(page_size=1) == [empty, newest]


def test_only_what_the_stack_watches_is_sent(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    harness.upload(jpeg(), "other/cat.jpg")
    watched = harness.upload(jpeg(), "photos/cat.jpg")

    assert run(input_prefix="photos/") == [watched]


def test_what_the_ledger_has_forgotten_is_known_by_its_png(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    done, other = harness.upload(jpeg(), "done.jpg"), harness.upload(jpeg(), "other.jpg")
    for upload, task_id in ((done, done.task_id), (other, "0" * 32)):
        harness.s3.put_object(
            Bucket="cutouts",
            Key=f"out/{upload.key}.png",
            Body=b"png",
            Metadata={"cutout-task-id": task_id},
        )

    assert run(output_prefix="out/") == [other]  # its PNG is an older revision's


def test_a_page_that_s3_or_sqs_does_not_serve_is_tried_again_by_the_machine(
    harness: PipelineHarness, backfill: Callable[..., Backfill], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.upload(jpeg())
    request = PageRequest(cursor=Cursor(), page_size=10)
    refused = {"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False}]}
    with monkeypatch.context() as patched:
        patched.setattr(harness.sqs, "send_message_batch", lambda **_: refused)
        with pytest.raises(ServiceError, match="InternalError"):
            backfill().page(request)
    harness.s3.delete_bucket(Bucket="cutouts")

    with pytest.raises(ServiceError):
        Backfill(Listing(harness.s3, "nobodys"), backfill().missing, harness.upload_queue).page(
            request
        )


# ------------------------------------------------------------------ without versions


@pytest.fixture
def unversioned(harness: PipelineHarness) -> Upload:
    """An upload to a bucket whose versioning is suspended."""
    harness.s3.put_bucket_versioning(**UPLOADS)
    harness.s3.put_object(Bucket="uploads", Key="cat.jpg", Body=jpeg())
    head = harness.s3.head_object(Bucket="uploads", Key="cat.jpg")
    size, etag = head["ContentLength"], head["ETag"].strip('"')
    return Upload(bucket="uploads", key="cat.jpg", version_id=None, etag=etag, size=size)


def test_without_a_version_an_event_and_a_listing_are_one_task_whichever_comes_first(
    harness: PipelineHarness, unversioned: Upload, run: Callable[..., list[Upload]]
) -> None:
    created = event(unversioned, "0A1", NOW - timedelta(minutes=1))
    harness.answers = [accepted()]
    harness.submitter().submit(*created)
    assert run() == []

    listed = unversioned.model_copy(update={"key": "dog.jpg"})
    harness.s3.put_object(Bucket="uploads", Key="dog.jpg", Body=jpeg())
    (found,) = run()
    assert found.task_id == listed.task_id
    harness.answers = [accepted("p2")]
    harness.submitter().submit(found)
    late, at = event(listed, "0A2", NOW)
    harness.submitter().submit(late, at)

    assert harness.task(listed).status is Status.PROCESSING
    assert harness.ledger.find(late.task_id) is None
    assert harness.answers == []


def test_a_listed_object_whose_message_comes_again_goes_on(
    harness: PipelineHarness, unversioned: Upload
) -> None:
    harness.answers = [refused(429), accepted()]
    harness.submitter().submit(unversioned)
    harness.pass_time(60)
    harness.submitter().submit(unversioned)

    assert harness.task(unversioned).status is Status.PROCESSING


def test_a_claim_that_expires_while_it_is_looked_at_is_nobodys(
    harness: PipelineHarness, unversioned: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.answers = [accepted(), accepted("p2")]
    created = event(unversioned, "0A1", NOW)
    harness.submitter().submit(*created)
    read = harness.table.get

    def expired(key: str) -> Any:
        return None if key.startswith("#unversioned#") else read(key)

    monkeypatch.setattr(harness.table, "get", expired)
    harness.submitter().submit(unversioned)

    assert harness.task(unversioned).status is Status.PROCESSING


def test_a_listing_that_was_read_before_the_event_came_is_no_second_task(
    harness: PipelineHarness, unversioned: Upload, run: Callable[..., list[Upload]]
) -> None:
    (found,) = run()
    harness.answers = [accepted()]
    created = event(unversioned, "0A1", NOW)
    for _ in range(2):  # delivered twice
        harness.submitter().submit(*created)
    harness.submitter().submit(found)

    assert harness.ledger.find(found.task_id) is None
    assert harness.task(created[0]).attempt == 1


def test_the_same_bytes_uploaded_twice_at_once_are_two_tasks(
    harness: PipelineHarness, unversioned: Upload
) -> None:
    first = event(unversioned, "0A1", NOW - timedelta(seconds=2))
    second = event(unversioned, "0A2", NOW - timedelta(seconds=1))
    harness.answers = [accepted(), accepted("p2")]

    for one in (first, second):
        harness.submitter().submit(*one)

    assert harness.task(second[0]).status is Status.PROCESSING


def test_the_same_bytes_uploaded_again_are_another_task(
    harness: PipelineHarness, unversioned: Upload, run: Callable[..., list[Upload]]
) -> None:
    (found,) = run()
    harness.answers = [accepted(), accepted("p2"), accepted("p3")]
    harness.submitter().submit(found)
    again = event(unversioned, "0A1", NOW + timedelta(minutes=1))
    harness.submitter().submit(*again)
    once_more = event(unversioned, "0A2", NOW + timedelta(minutes=2))
    harness.submitter().submit(*once_more)

    tasks = [harness.task(upload) for upload in (found, again[0], once_more[0])]
    assert len({task.task_id for task in tasks}) == 3
    assert {task.status for task in tasks} == {Status.PROCESSING}


def test_without_a_version_a_png_that_is_newer_than_the_object_is_its_own(
    harness: PipelineHarness, unversioned: Upload, run: Callable[..., list[Upload]]
) -> None:
    made = {"cutout-task-id": "1" * 32, "cutout-source-key": "cat.webp"}
    harness.s3.put_object(Bucket="cutouts", Key="cat.png", Body=b"png", Metadata=made)
    assert run(output_naming="replace") == [unversioned]  # another key's

    made["cutout-source-key"] = "cat.jpg"
    harness.s3.put_object(Bucket="cutouts", Key="cat.png", Body=b"png", Metadata=made)
    assert run(output_naming="replace") == []


# ------------------------------------------------------------------ from an inventory

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
Row = dict[str, Any]


def row(upload: Upload, **changes: str) -> Row:
    return {
        "Bucket": upload.bucket,
        "Key": upload.key.replace(" ", "+"),
        "VersionId": upload.version_id,
        "IsLatest": "true",
        "IsDeleteMarker": "false",
        "Size": upload.size,
        "LastModifiedDate": datetime.now(UTC).isoformat(),
        "ETag": upload.etag,
    } | changes


def inventory(
    harness: PipelineHarness, *files: list[Row], schema: str = SCHEMA, **changes: str
) -> str:
    """The manifest's URL of an inventory with these files."""
    here: Any = {"LocationConstraint": harness.s3.meta.region_name}
    harness.s3.create_bucket(Bucket="inventories", CreateBucketConfiguration=here)
    keys = [f"data/{number}.csv.gz" for number in range(len(files))]
    for key, rows in zip(keys, files, strict=True):
        text = io.StringIO()
        writer = csv.DictWriter(text, schema.split(", "), extrasaction="ignore", quoting=1)
        writer.writerows(rows)
        body = gzip.compress(text.getvalue().encode())
        harness.s3.put_object(Bucket="inventories", Key=key, Body=body)
    manifest = {
        "sourceBucket": "uploads",
        "destinationBucket": "arn:aws:s3:::inventories",
        "fileFormat": "CSV",
        "fileSchema": schema,
        "files": [{"key": key} for key in keys],
    }
    body = json.dumps(manifest | changes).encode()
    harness.s3.put_object(Bucket="inventories", Key="manifest.json", Body=body)
    return "s3://inventories/manifest.json"


def test_an_inventory_is_read_by_several_file_by_file_and_line_by_line(
    harness: PipelineHarness, run: Callable[..., list[Upload]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutout.aws.listing._LINES_FOR_A_KEY", 2)
    uploads = [harness.upload(jpeg(), f"a/{number} x.jpg") for number in range(7)]
    rows = [row(upload) for upload in uploads]
    deleted = row(uploads[0], IsDeleteMarker="true", Size="")
    manifest = inventory(harness, [*rows[:3], deleted], rows[3:5], rows[5:])

    first = run(page_size=1, manifest=manifest, file=0, step=2)
    second = run(page_size=1, manifest=manifest, file=1, step=2)

    assert first == [*uploads[:3], *uploads[5:]]
    assert second == uploads[3:5]
    assert run(page_size=1, manifest=manifest, file=3, step=4) == []


def test_what_an_inventory_says_is_asked_of_the_bucket_anew(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    replaced, gone = harness.upload(jpeg(10, 10), "cat.jpg"), harness.upload(jpeg(), "gone.jpg")
    known = harness.upload(jpeg(20, 10), "known.jpg")
    manifest = inventory(harness, [row(replaced), row(gone), row(known)])
    newest = harness.upload(jpeg(30, 10), "cat.jpg")
    harness.s3.delete_object(Bucket="uploads", Key="gone.jpg")
    harness.answers = [accepted()]
    harness.submitter().submit(harness.upload(jpeg(40, 10), "known.jpg"))

    assert run(manifest=manifest) == [newest]


def test_an_inventory_of_current_versions_only_does_as_well(
    harness: PipelineHarness, run: Callable[..., list[Upload]]
) -> None:
    upload = harness.upload(jpeg())
    schema = "Bucket, Key, Size, LastModifiedDate, ETag"

    assert run(manifest=inventory(harness, [row(upload)], schema=schema)) == [upload]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": "Bucket, Key"}, "lacks ETag, LastModifiedDate, Size"),
        ({"sourceBucket": "another"}, "no inventory of uploads in CSV"),
        ({"fileFormat": "ORC"}, "no inventory of uploads in CSV"),
    ],
)
def test_an_inventory_that_cannot_be_read_says_why(
    harness: PipelineHarness, run: Callable[..., list[Upload]], changes: dict[str, str], why: str
) -> None:
    with pytest.raises(InventoryUnreadable, match=why):
        run(manifest=inventory(harness, [], **changes))


@pytest.mark.parametrize(
    "broken", [b"no gzip", gzip.compress(b"x", mtime=0)[:-9]], ids=["text", "cut"]
)
def test_a_file_of_an_inventory_that_is_broken_or_gone_is_an_error(
    harness: PipelineHarness, run: Callable[..., list[Upload]], broken: bytes
) -> None:
    manifest = inventory(harness, [row(harness.upload(jpeg()))])
    harness.s3.put_object(Bucket="inventories", Key="data/0.csv.gz", Body=broken)
    with pytest.raises(InventoryUnreadable):
        run(manifest=manifest)

    harness.s3.delete_object(Bucket="inventories", Key="data/0.csv.gz")
    with pytest.raises(InventoryUnreadable, match="see InventoryBucket"):
        run(manifest=manifest)
