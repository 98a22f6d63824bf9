"""Who may write an output key, and what that means for two revisions on their way."""

import httpx
import pytest

from cutout.domain.errors import BadOutput, OutputBusy, OutputUnavailable, Superseded
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from cutout.poll import PollResult
from cutout.store.holds import OutputHolds
from tests.factories import make_task, make_upload
from tests.pictures import jpeg, png
from tests.world import BASE_URL, NOW, World, accepted, answer, download

UNTIL = NOW.replace(minute=5)


@pytest.fixture
def holds(world: World) -> OutputHolds:
    return OutputHolds(world.table)


def revision(sequencer: str | None, version: str = "v") -> Task:
    return make_task(make_upload(sequencer=sequencer, version_id=f"{version}{sequencer}"))


OLDER, NEWER = revision("0A1"), revision("0A2")


def test_one_revision_saves_at_a_time(holds: OutputHolds) -> None:
    holds.take(OLDER, NOW, UNTIL)

    with pytest.raises(OutputBusy, match="is being saved"):
        holds.take(NEWER, NOW, UNTIL)
    holds.release(OLDER)
    holds.take(NEWER, NOW, UNTIL)


def test_the_holder_may_take_it_again(holds: OutputHolds) -> None:
    holds.take(OLDER, NOW, UNTIL)
    holds.take(OLDER, NOW, UNTIL)


@pytest.mark.parametrize("released", [True, False])
def test_an_older_revision_never_comes_after_a_newer_one(
    holds: OutputHolds, released: bool
) -> None:
    holds.take(NEWER, NOW, UNTIL)
    if released:
        holds.release(NEWER)

    with pytest.raises(Superseded, match="a newer revision"):
        holds.take(OLDER, UNTIL.replace(minute=30), UNTIL.replace(minute=35))


def test_a_hold_of_a_function_that_died_runs_out(holds: OutputHolds) -> None:
    holds.take(OLDER, NOW, UNTIL)

    with pytest.raises(OutputBusy):
        holds.take(NEWER, UNTIL, UNTIL.replace(minute=10))
    holds.take(NEWER, UNTIL.replace(second=1), UNTIL.replace(minute=10))


def test_who_comes_back_after_its_hold_ran_out_releases_nobody_elses(holds: OutputHolds) -> None:
    holds.take(OLDER, NOW, UNTIL)
    holds.take(NEWER, UNTIL.replace(second=1), UNTIL.replace(minute=10))

    holds.release(OLDER)

    with pytest.raises(OutputBusy):
        holds.take(revision("0A3"), UNTIL.replace(second=1), UNTIL.replace(minute=10))


def test_releasing_what_was_never_taken_does_no_harm(holds: OutputHolds) -> None:
    holds.release(OLDER)
    holds.take(OLDER, NOW, UNTIL)


@pytest.mark.parametrize("sequencer", [None, "0A1"])
def test_without_an_order_the_later_one_writes(holds: OutputHolds, sequencer: str | None) -> None:
    one, other = revision(sequencer, "one"), revision(sequencer, "other")
    holds.take(one, NOW, UNTIL)

    with pytest.raises(OutputBusy):
        holds.take(other, NOW, UNTIL)
    holds.release(one)
    holds.take(other, NOW, UNTIL)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0A", "0A01"), ("0A1", "0B"), ("009", "01"), (None, "0001"), ("0", "00000000000000000001")],
)
def test_sequencers_of_different_lengths_have_an_order(
    holds: OutputHolds, older: str | None, newer: str
) -> None:
    holds.take(revision(newer), NOW, UNTIL)
    holds.release(revision(newer))

    with pytest.raises(Superseded):
        holds.take(revision(older), NOW, UNTIL)


def test_keys_and_buckets_are_held_by_themselves(holds: OutputHolds) -> None:
    holds.take(NEWER, NOW, UNTIL)

    holds.take(OLDER.model_copy(update={"output_key": "b.png"}), NOW, UNTIL)
    holds.take(OLDER.model_copy(update={"output_bucket": "another"}), NOW, UNTIL)


def test_a_hold_expires_with_the_task(world: World, holds: OutputHolds) -> None:
    holds.take(NEWER, NOW, UNTIL)

    item = world.table.get("#output#pictures-out/a/cat.jpg.png")
    assert item is not None
    assert item["expires_at"] == NEWER.expires_at


# ---------------------------------------------------------------- two revisions on their way

OLD_PICTURE, NEW_PICTURE = png(10, 10), png(20, 10)


@pytest.fixture
def revisions(world: World) -> tuple[Upload, Upload]:
    """Two revisions of one object, both with the vendor."""
    older = world.upload(jpeg(40, 30)).model_copy(update={"sequencer": "0A1"})
    newer = world.upload(jpeg(50, 30)).model_copy(update={"sequencer": "0A2"})
    world.answers = [accepted("older"), accepted("newer")]
    world.submission().submit(older)
    world.submission().submit(newer)
    return older, newer


def completed(prediction_id: str) -> httpx.Response:
    return answer(id=prediction_id, status="completed", outputs=[f"{BASE_URL}/out.png"])


def save(world: World, upload: Upload, picture: bytes) -> PollResult:
    """Poll a task whose picture is ready."""
    world.answers = [completed(str(world.task(upload).prediction_id)), download(picture)]
    return world.polling().poll(upload.task_id)


def in_bucket(world: World) -> bytes:
    return world.s3.get_object(Bucket="cutouts", Key="a/cat.jpg.png")["Body"].read()


def test_a_late_result_of_an_older_revision_replaces_nothing(
    world: World, revisions: tuple[Upload, Upload]
) -> None:
    older, newer = revisions
    save(world, newer, NEW_PICTURE)

    result = save(world, older, OLD_PICTURE)

    assert result.status is Status.SUPERSEDED
    assert in_bucket(world) == NEW_PICTURE
    task = world.task(older)
    assert (task.status, task.code) == (Status.SUPERSEDED, "superseded")
    assert task.reason == "a newer revision of the object was saved first"
    assert len(world.answers) == 1  # its picture was not even fetched
    assert world.polling().poll(older.task_id).status is Status.SUPERSEDED


def test_results_in_the_order_of_their_revisions_replace_each_other(
    world: World, revisions: tuple[Upload, Upload]
) -> None:
    older, newer = revisions

    assert save(world, older, OLD_PICTURE).status is Status.COMPLETED
    assert in_bucket(world) == OLD_PICTURE
    assert save(world, newer, NEW_PICTURE).status is Status.COMPLETED
    assert in_bucket(world) == NEW_PICTURE


def test_a_newer_revision_waits_while_an_older_one_is_being_saved(
    world: World, revisions: tuple[Upload, Upload]
) -> None:
    older, newer = revisions
    OutputHolds(world.table).take(world.task(older), world.now, world.now.replace(minute=5))

    with pytest.raises(OutputBusy):
        save(world, newer, NEW_PICTURE)
    save(world, older, OLD_PICTURE)

    assert save(world, newer, NEW_PICTURE).status is Status.COMPLETED
    assert in_bucket(world) == NEW_PICTURE


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (download(b"no picture"), BadOutput),
        (download(OLD_PICTURE[:-20]), BadOutput),
        (httpx.Response(503), OutputUnavailable),
    ],
)
def test_a_revision_that_could_not_be_saved_holds_up_nobody(
    world: World, revisions: tuple[Upload, Upload], broken: httpx.Response, error: type[Exception]
) -> None:
    older, newer = revisions
    world.answers = [completed("older"), broken]
    with pytest.raises(error):
        world.polling().poll(older.task_id)

    assert save(world, newer, NEW_PICTURE).status is Status.COMPLETED
    assert in_bucket(world) == NEW_PICTURE


def test_a_poll_that_died_before_its_end_was_written_holds_up_nobody(
    world: World, revisions: tuple[Upload, Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = revisions
    polling = world.polling()

    def die(*_: object, **__: object) -> Task:
        raise KeyboardInterrupt

    world.answers = [completed("older"), download(OLD_PICTURE)]
    with monkeypatch.context() as patch:
        patch.setattr(type(polling.ledger), "move", die)
        with pytest.raises(KeyboardInterrupt):
            polling.poll(older.task_id)

    assert save(world, newer, NEW_PICTURE).status is Status.COMPLETED
    assert save(world, older, OLD_PICTURE).status is Status.SUPERSEDED
    assert in_bucket(world) == NEW_PICTURE
