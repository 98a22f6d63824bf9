import pytest

from cutout.domain.errors import ServiceError, StatusChanged
from cutout.domain.messages import Closed, Execution, ExecutionEnded
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from tests.support.images import jpeg
from tests.support.world import World, accepted


@pytest.fixture
def upload(world: World) -> Upload:
    """An upload that the vendor is processing."""
    upload = world.upload(jpeg())
    world.answers = [accepted("p1")]
    world.submitter().submit(upload)
    return upload


def close(world: World, name: str, status: str = "ABORTED", **more: object) -> None:
    event = {"source": "aws.states", "detail": {"name": name, "status": status, **more}}
    world.backstop().close(ExecutionEnded.model_validate(event).detail)


@pytest.mark.parametrize(
    ("status", "cause", "reason"),
    [
        ("ABORTED", None, "the wait loop aborted: no cause was given"),
        ("TIMED_OUT", None, "the wait loop timed out: no cause was given"),
        ("FAILED", "the state machine is gone", "the wait loop failed: the state machine is gone"),
    ],
)
def test_an_open_task_is_failed_and_published(
    world: World, upload: Upload, status: str, cause: str | None, reason: str
) -> None:
    world.pass_time(90)

    close(world, world.task(upload).execution_name, status, cause=cause)

    task = world.task(upload)
    assert (task.status, task.code, task.reason) == (Status.FAILED, "execution_ended", reason)
    assert task.entered_at[Status.FAILED] == world.now
    (event,) = world.published()
    assert event["detail-type"] == "Cutout Failed"
    assert event["detail"]["task_id"] == task.task_id
    assert event["detail"]["reason"] == reason


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ('{"errorMessage": "too late", "errorType": "TimedOut", "stackTrace": []}', "too late"),
        ("the engine's own words", "the engine's own words"),
        ('{"no": "message"}', '{"no": "message"}'),
        ("[1]", "[1]"),
        (None, "no cause was given"),
    ],
)
def test_an_execution_that_fails_says_why_in_plain_words(
    world: World, upload: Upload, cause: str | None, reason: str
) -> None:
    name = world.task(upload).execution_name
    execution = Execution(name=name, status="FAILED", error="TimedOut", cause=cause)

    assert world.backstop().close(execution) == Closed(reason=reason)

    task = world.task(upload)
    assert (task.status, task.code, task.reason) == (Status.FAILED, "timed_out", reason)
    (event,) = world.published()
    assert event["detail"]["code"] == "timed_out"


def test_a_failure_is_counted(
    world: World, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Status] = []
    monkeypatch.setattr("cutout.close.count_task", counted.append)

    close(world, world.task(upload).execution_name, "FAILED", error="BadOutput")
    close(world, world.task(upload).execution_name, "FAILED", error="BadOutput")

    assert counted == [Status.FAILED]


def test_an_event_delivered_twice_publishes_once(world: World, upload: Upload) -> None:
    name = world.task(upload).execution_name

    close(world, name)
    close(world, name)

    assert len(world.published()) == 1


@pytest.mark.parametrize("ended", [Status.COMPLETED, Status.FAILED, Status.SUPERSEDED])
def test_a_task_that_has_ended_is_left_as_it_is(
    world: World, upload: Upload, ended: Status
) -> None:
    before = world.ledger.move(world.task(upload), ended, world.now, code="c", reason="r")

    close(world, before.execution_name)

    assert world.task(upload) == before
    assert world.published() == []


def test_the_execution_of_another_attempt_does_not_count(world: World, upload: Upload) -> None:
    close(world, f"{upload.task_id}-2")
    close(world, f"{upload.task_id}-01")

    assert world.task(upload).status is Status.PROCESSING
    assert world.published() == []


@pytest.mark.parametrize("name", ["started-by-hand-1", "byhand", "0" * 32 + "-1"])
def test_an_execution_of_no_task_is_nobodys(world: World, name: str) -> None:
    close(world, name)

    assert world.published() == []


def test_what_could_not_be_published_is_not_written_either(world: World, upload: Upload) -> None:
    backstop = world.backstop("no-bus")
    detail = {"name": world.task(upload).execution_name, "status": "FAILED"}

    with pytest.raises(ServiceError):
        backstop.close(ExecutionEnded.model_validate({"detail": detail}).detail)
    assert world.task(upload).status is Status.PROCESSING

    close(world, world.task(upload).execution_name)
    assert len(world.published()) == 1


def test_a_crash_between_the_two_publishes_again(
    world: World, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> Task:
        raise KeyboardInterrupt

    name = world.task(upload).execution_name
    with monkeypatch.context() as patch:
        patch.setattr(type(world.ledger), "move", die)
        with pytest.raises(KeyboardInterrupt):
            close(world, name)

    close(world, name)

    assert len(world.published()) == 2
    assert world.task(upload).status is Status.FAILED


def test_who_is_overtaken_leaves_the_task_alone(
    world: World, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*_: object, **__: object) -> Task:
        raise StatusChanged("completed meanwhile")

    monkeypatch.setattr(type(world.ledger), "move", overtaken)

    close(world, world.task(upload).execution_name)

    assert world.task(upload).status is Status.PROCESSING
