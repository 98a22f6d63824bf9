import pytest

from cutout.domain.errors import ServiceError, StatusChanged
from cutout.domain.messages import Closed, Execution, ExecutionEnded
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from tests.support.harness import PipelineHarness, accepted
from tests.support.images import jpeg


@pytest.fixture
def upload(harness: PipelineHarness) -> Upload:
    """An upload that the vendor is processing."""
    upload = harness.upload(jpeg())
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    return upload


def close(harness: PipelineHarness, name: str, status: str = "ABORTED", **more: object) -> None:
    event = {"source": "aws.states", "detail": {"name": name, "status": status, **more}}
    harness.backstop().close(ExecutionEnded.model_validate(event).detail)


@pytest.mark.parametrize(
    ("status", "cause", "reason"),
    [
        ("ABORTED", None, "the wait loop aborted: no cause was given"),
        ("TIMED_OUT", None, "the wait loop timed out: no cause was given"),
        ("FAILED", "the state machine is gone", "the wait loop failed: the state machine is gone"),
    ],
)
def test_an_open_task_is_failed_and_published(
    harness: PipelineHarness, upload: Upload, status: str, cause: str | None, reason: str
) -> None:
    harness.pass_time(90)

    close(harness, harness.task(upload).execution_name, status, cause=cause)

    task = harness.task(upload)
    assert (task.status, task.code, task.reason) == (Status.FAILED, "execution_ended", reason)
    assert task.entered_at[Status.FAILED] == harness.now
    (event,) = harness.published()
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
    harness: PipelineHarness, upload: Upload, cause: str | None, reason: str
) -> None:
    name = harness.task(upload).execution_name
    execution = Execution(name=name, status="FAILED", error="TimedOut", cause=cause)

    assert harness.backstop().close(execution) == Closed(reason=reason)

    task = harness.task(upload)
    assert (task.status, task.code, task.reason) == (Status.FAILED, "timed_out", reason)
    (event,) = harness.published()
    assert event["detail"]["code"] == "timed_out"


def test_a_failure_is_counted(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Status] = []
    monkeypatch.setattr("cutout.close.count_task", counted.append)

    close(harness, harness.task(upload).execution_name, "FAILED", error="BadOutput")
    close(harness, harness.task(upload).execution_name, "FAILED", error="BadOutput")

    assert counted == [Status.FAILED]


def test_what_has_moved_on_is_not_counted(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Status] = []
    monkeypatch.setattr("cutout.close.count_task", counted.append)
    before = harness.task(upload)
    harness.ledger.move(before, Status.COMPLETED, harness.now)

    with pytest.raises(StatusChanged):
        harness.closer().close(before, Status.FAILED, "code", "reason")

    assert counted == []


def test_an_event_delivered_twice_publishes_once(harness: PipelineHarness, upload: Upload) -> None:
    name = harness.task(upload).execution_name

    close(harness, name)
    close(harness, name)

    assert len(harness.published()) == 1


@pytest.mark.parametrize("ended", [Status.COMPLETED, Status.FAILED, Status.SUPERSEDED])
def test_a_task_that_has_ended_is_left_as_it_is(
    harness: PipelineHarness, upload: Upload, ended: Status
) -> None:
    before = harness.ledger.move(harness.task(upload), ended, harness.now, code="c", reason="r")

    close(harness, before.execution_name)

    assert harness.task(upload) == before
    assert harness.published() == []


def test_the_execution_of_another_attempt_does_not_count(
    harness: PipelineHarness, upload: Upload
) -> None:
    close(harness, f"{upload.task_id}-2")
    close(harness, f"{upload.task_id}-01")

    assert harness.task(upload).status is Status.PROCESSING
    assert harness.published() == []


@pytest.mark.parametrize("name", ["started-by-hand-1", "byhand", "0" * 32 + "-1"])
def test_an_execution_of_no_task_is_nobodys(harness: PipelineHarness, name: str) -> None:
    close(harness, name)

    assert harness.published() == []


def test_what_could_not_be_published_is_not_written_either(
    harness: PipelineHarness, upload: Upload
) -> None:
    backstop = harness.backstop("no-bus")
    detail = {"name": harness.task(upload).execution_name, "status": "FAILED"}

    with pytest.raises(ServiceError):
        backstop.close(ExecutionEnded.model_validate({"detail": detail}).detail)
    assert harness.task(upload).status is Status.PROCESSING

    close(harness, harness.task(upload).execution_name)
    assert len(harness.published()) == 1


def test_a_crash_between_the_two_publishes_again(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> Task:
        raise KeyboardInterrupt

    name = harness.task(upload).execution_name
    with monkeypatch.context() as patch:
        patch.setattr(type(harness.ledger), "move", die)
        with pytest.raises(KeyboardInterrupt):
            close(harness, name)

    close(harness, name)

    assert len(harness.published()) == 2
    assert harness.task(upload).status is Status.FAILED


def test_who_is_overtaken_leaves_the_task_alone(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*_: object, **__: object) -> Task:
        raise StatusChanged("completed meanwhile")

    monkeypatch.setattr(type(harness.ledger), "move", overtaken)

    close(harness, harness.task(upload).execution_name)

    assert harness.task(upload).status is Status.PROCESSING
