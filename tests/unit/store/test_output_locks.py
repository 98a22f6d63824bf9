"""Who may write an output key, and what that means for two revisions on their way."""

from contextlib import suppress

import httpx
import pytest

from cutout.domain.errors import BadOutput, OutputBusy, Superseded
from cutout.domain.messages import WaitLoopState
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import ObjectRevision, Upload
from cutout.store.output_locks import OutputLocks
from cutout.store.table import Table
from tests.support.factories import make_task, make_upload
from tests.support.harness import BASE_URL, NOW, PipelineHarness, accepted, answer, download
from tests.support.images import jpeg, png

UNTIL = NOW.replace(minute=5)


@pytest.fixture
def locks(harness: PipelineHarness) -> OutputLocks:
    return OutputLocks(harness.table, harness.storage.is_current)


def revision(sequencer: str | None, version: str = "v") -> Task:
    return make_task(make_upload(sequencer=sequencer, version_id=f"{version}{sequencer}"))


OLDER, NEWER = revision("0A1"), revision("0A2")


def test_one_revision_saves_at_a_time(locks: OutputLocks) -> None:
    locks.acquire(OLDER, NOW, UNTIL)

    with pytest.raises(OutputBusy, match="is being saved"):
        locks.acquire(NEWER, NOW, UNTIL)
    locks.release(OLDER)
    locks.acquire(NEWER, NOW, UNTIL)


def test_the_owner_may_take_it_again(locks: OutputLocks) -> None:
    locks.acquire(OLDER, NOW, UNTIL)
    locks.acquire(OLDER, NOW, UNTIL)


@pytest.mark.parametrize("released", [True, False])
def test_an_older_revision_never_comes_after_a_newer_one(
    locks: OutputLocks, released: bool
) -> None:
    locks.acquire(NEWER, NOW, UNTIL)
    if released:
        locks.release(NEWER)

    with pytest.raises(Superseded, match="a newer revision"):
        locks.acquire(OLDER, UNTIL.replace(minute=30), UNTIL.replace(minute=35))


def test_of_revisions_that_have_an_order_the_bucket_is_not_asked(harness: PipelineHarness) -> None:
    locks = OutputLocks(harness.table, lambda _task: True)
    locks.acquire(NEWER, NOW, UNTIL)
    locks.release(NEWER)

    with pytest.raises(Superseded):
        locks.acquire(OLDER, NOW, UNTIL)


def test_a_lock_of_a_function_that_died_runs_out(locks: OutputLocks) -> None:
    locks.acquire(OLDER, NOW, UNTIL)

    with pytest.raises(OutputBusy):
        locks.acquire(NEWER, UNTIL, UNTIL.replace(minute=10))
    locks.acquire(NEWER, UNTIL.replace(second=1), UNTIL.replace(minute=10))


def test_who_comes_back_after_its_lock_ran_out_releases_nobody_elses(locks: OutputLocks) -> None:
    locks.acquire(OLDER, NOW, UNTIL)
    locks.acquire(NEWER, UNTIL.replace(second=1), UNTIL.replace(minute=10))

    locks.release(OLDER)

    with pytest.raises(OutputBusy):
        locks.acquire(revision("0A3"), UNTIL.replace(second=1), UNTIL.replace(minute=10))


def test_releasing_what_was_never_taken_does_no_harm(locks: OutputLocks) -> None:
    locks.release(OLDER)
    locks.acquire(OLDER, NOW, UNTIL)


def test_of_equal_sequencers_the_later_one_writes(locks: OutputLocks) -> None:
    one, other = revision("0A1", "one"), revision("0A1", "other")
    locks.acquire(one, NOW, UNTIL)

    with pytest.raises(OutputBusy):
        locks.acquire(other, NOW, UNTIL)
    locks.release(one)
    locks.acquire(other, NOW, UNTIL)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0A", "0A01"), ("0A1", "0B"), ("009", "01"), (None, "0001"), ("0", "00000000000000000001")],
)
def test_sequencers_of_different_lengths_have_an_order(
    locks: OutputLocks, older: str | None, newer: str
) -> None:
    locks.acquire(revision(newer), NOW, UNTIL)
    locks.release(revision(newer))

    with pytest.raises(Superseded):
        locks.acquire(revision(older), NOW, UNTIL)


def test_keys_and_buckets_are_locked_by_themselves(locks: OutputLocks) -> None:
    locks.acquire(NEWER, NOW, UNTIL)

    locks.acquire(OLDER.model_copy(update={"output_key": "b.png"}), NOW, UNTIL)
    locks.acquire(OLDER.model_copy(update={"output_bucket": "another"}), NOW, UNTIL)


def test_a_lock_that_is_gone_when_it_is_looked_at_was_busy(
    harness: PipelineHarness, locks: OutputLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks.acquire(OLDER, NOW, UNTIL)
    monkeypatch.setattr(harness.table, "get", lambda _key: None)

    with pytest.raises(OutputBusy):
        locks.acquire(NEWER, NOW, UNTIL)


def test_what_is_released_keeps_its_revision_alone(
    harness: PipelineHarness, locks: OutputLocks
) -> None:
    locks.acquire(NEWER, NOW, UNTIL)
    locks.release(NEWER)

    item = harness.table.get("#output#images-out/a/cat.jpg.png") or {}
    assert set(item) == {"task_id", "revision", "expires_at"}


def test_a_lock_expires_with_the_task(harness: PipelineHarness, locks: OutputLocks) -> None:
    locks.acquire(NEWER, NOW, UNTIL)

    item = harness.table.get("#output#images-out/a/cat.jpg.png")
    assert item is not None
    assert item["expires_at"] == NEWER.expires_at


# ---------------------------------------------------------------- what a backfill found


class Bucket:
    """What is under the key now."""

    def __init__(self, table: Table) -> None:
        self.current = ""
        self.locks = OutputLocks(table, lambda upload: upload.version_id == self.current)

    def save(self, task: Task) -> bool:
        """Whether the task's revision may be saved."""
        try:
            self.locks.acquire(task, NOW, UNTIL)
        except Superseded:
            return False
        self.locks.release(task)
        return True


@pytest.fixture
def bucket(harness: PipelineHarness) -> Bucket:
    return Bucket(harness.table)


LISTED = make_task(make_upload(version_id="listed"))


@pytest.mark.parametrize("current", ["listed", "v0A1"])
def test_of_two_revisions_the_one_in_the_bucket_is_saved_if_a_listing_found_the_other(
    bucket: Bucket, current: str
) -> None:
    bucket.current = current
    assert bucket.save(OLDER)
    assert bucket.save(LISTED) is (current == "listed")
    assert bucket.save(OLDER) is (current != "listed")


def test_what_a_listing_found_is_replaced_by_what_came_after(bucket: Bucket) -> None:
    bucket.current = "gone"
    assert bucket.save(LISTED)
    assert bucket.save(LISTED)  # the function was killed, and tries again
    bucket.current = "v0A2"
    assert not bucket.save(OLDER)
    assert bucket.save(NEWER)
    assert not bucket.save(OLDER)


def test_of_two_that_listings_found_the_one_in_the_bucket_is_saved(bucket: Bucket) -> None:
    other = make_task(make_upload(version_id="other"))
    bucket.current = "other"

    assert bucket.save(LISTED)
    assert bucket.save(other)
    assert not bucket.save(LISTED)


def test_what_a_listing_found_waits_while_another_is_being_saved(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.current = "listed"
    bucket.locks.acquire(OLDER, NOW, UNTIL)
    with pytest.raises(OutputBusy):
        bucket.locks.acquire(LISTED, NOW, UNTIL)
    bucket.locks.release(OLDER)

    def overtaken(_upload: ObjectRevision) -> bool:
        bucket.locks.acquire(NEWER, NOW, UNTIL)
        return True

    monkeypatch.setattr(bucket.locks, "_is_current", overtaken)
    with pytest.raises(OutputBusy):
        bucket.locks.acquire(LISTED, NOW, UNTIL)


# ---------------------------------------------------------------- two revisions on their way

OLD_IMAGE, NEW_IMAGE = png(10, 10), png(20, 10)


@pytest.fixture
def revisions(harness: PipelineHarness) -> tuple[Upload, Upload]:
    """Two revisions of one object, both with the vendor."""
    older = harness.upload(jpeg(40, 30)).model_copy(update={"sequencer": "0A1"})
    newer = harness.upload(jpeg(50, 30)).model_copy(update={"sequencer": "0A2"})
    harness.answers = [accepted("older"), accepted("newer")]
    harness.submitter().submit(older)
    harness.submitter().submit(newer)
    return older, newer


def completed(prediction_id: str) -> httpx.Response:
    return answer(id=prediction_id, status="completed", outputs=[f"{BASE_URL}/out.png"])


def save(harness: PipelineHarness, upload: Upload, image: bytes) -> WaitLoopState:
    """Poll a task whose image is ready."""
    harness.answers = [completed(str(harness.task(upload).prediction_id)), download(image)]
    return harness.poller().poll(upload.task_id)


def in_bucket(harness: PipelineHarness) -> bytes:
    body: bytes = harness.s3.get_object(Bucket="cutouts", Key="a/cat.jpg.png")["Body"].read()
    return body


def test_a_late_result_of_an_older_revision_replaces_nothing(
    harness: PipelineHarness, revisions: tuple[Upload, Upload]
) -> None:
    older, newer = revisions
    save(harness, newer, NEW_IMAGE)

    result = save(harness, older, OLD_IMAGE)

    assert result.status is Status.SUPERSEDED
    assert in_bucket(harness) == NEW_IMAGE
    task = harness.task(older)
    assert (task.status, task.code) == (Status.SUPERSEDED, "superseded")
    assert task.reason == "a newer revision of the object was saved first"
    assert len(harness.answers) == 1  # its image was not even fetched
    assert harness.poller().poll(older.task_id).status is Status.SUPERSEDED


def test_results_in_the_order_of_their_revisions_replace_each_other(
    harness: PipelineHarness, revisions: tuple[Upload, Upload]
) -> None:
    older, newer = revisions

    assert save(harness, older, OLD_IMAGE).status is Status.COMPLETED
    assert in_bucket(harness) == OLD_IMAGE
    assert save(harness, newer, NEW_IMAGE).status is Status.COMPLETED
    assert in_bucket(harness) == NEW_IMAGE


def test_a_newer_revision_waits_while_an_older_one_is_being_saved(
    harness: PipelineHarness, revisions: tuple[Upload, Upload]
) -> None:
    older, newer = revisions
    OutputLocks(harness.table, harness.storage.is_current).acquire(
        harness.task(older), harness.now, harness.now.replace(minute=5)
    )

    assert save(harness, newer, NEW_IMAGE).status is Status.PROCESSING
    harness.answers.clear()
    save(harness, older, OLD_IMAGE)

    assert save(harness, newer, NEW_IMAGE).status is Status.COMPLETED
    assert in_bucket(harness) == NEW_IMAGE


@pytest.mark.parametrize(
    "broken", [download(b"no image"), download(OLD_IMAGE[:-20]), httpx.Response(503)]
)
def test_a_revision_that_could_not_be_saved_holds_up_nobody(
    harness: PipelineHarness, revisions: tuple[Upload, Upload], broken: httpx.Response
) -> None:
    older, newer = revisions
    harness.answers = [completed("older"), broken]
    with suppress(BadOutput):
        harness.poller().poll(older.task_id)
    assert harness.task(older).status is Status.PROCESSING

    assert save(harness, newer, NEW_IMAGE).status is Status.COMPLETED
    assert in_bucket(harness) == NEW_IMAGE


def test_a_poll_that_died_before_its_end_was_written_holds_up_nobody(
    harness: PipelineHarness, revisions: tuple[Upload, Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = revisions
    poller = harness.poller()

    def die(*_: object, **__: object) -> Task:
        raise KeyboardInterrupt

    harness.answers = [completed("older"), download(OLD_IMAGE)]
    with monkeypatch.context() as patch:
        patch.setattr(type(poller.ledger), "move", die)
        with pytest.raises(KeyboardInterrupt):
            poller.poll(older.task_id)

    assert save(harness, newer, NEW_IMAGE).status is Status.COMPLETED
    assert save(harness, older, OLD_IMAGE).status is Status.SUPERSEDED
    assert in_bucket(harness) == NEW_IMAGE
