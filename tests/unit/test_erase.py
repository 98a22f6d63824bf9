"""`EraseAtVendor`: what is saved is deleted at the vendor, and nothing is hurt by it."""

import json
from typing import Any

import httpx
import pytest

from cutout.domain.errors import ServiceError
from cutout.domain.tasks import Status, Task
from cutout.domain.uploads import Upload
from tests.support.harness import (
    NOW,
    PipelineHarness,
    accepted,
    answer,
    completed,
    download,
    refused,
)
from tests.support.images import jpeg, png

DELETE = "/api/v3/predictions/delete"


@pytest.fixture
def upload(harness: PipelineHarness) -> Upload:
    """One that the vendor is processing as p1."""
    upload = harness.upload(jpeg(40, 30))
    harness.answers = [accepted("p1")]
    harness.submitter().submit(upload)
    harness.requests.clear()
    return upload


def polled(harness: PipelineHarness, upload: Upload, *answers: Any, erase: bool = True) -> Task:
    harness.answers = list(answers)
    harness.poller(erase_at_vendor=erase).poll(upload.task_id)
    assert harness.answers == []
    return harness.task(upload)


def saved() -> list[httpx.Response]:
    """What the vendor answers until the PNG is there."""
    return [completed(), download(png(40, 30))]


def erased(harness: PipelineHarness) -> list[list[str]]:
    """The ids of each request to delete."""
    asked = [request for request in harness.requests if request.url.path == DELETE]
    return [json.loads(request.content)["ids"] for request in asked]


def test_a_result_is_deleted_once_it_is_saved(harness: PipelineHarness, upload: Upload) -> None:
    def delete(_: httpx.Request) -> httpx.Response:
        assert harness.task(upload).status is Status.COMPLETED
        return answer(deleted_count=1)

    task = polled(harness, upload, *saved(), delete)

    assert (erased(harness), task.erased_at) == ([["p1"]], NOW)


def test_by_default_nothing_is_deleted(harness: PipelineHarness, upload: Upload) -> None:
    assert polled(harness, upload, *saved(), erase=False).erased_at is None
    assert erased(harness) == []


def test_a_poll_that_comes_again_asks_nobody(harness: PipelineHarness, upload: Upload) -> None:
    task = polled(harness, upload, *saved(), answer(deleted_count=1))

    assert polled(harness, upload).erased_at == task.erased_at


@pytest.mark.parametrize("fate", [refused(401), *[httpx.ReadTimeout("slow")] * 2, refused(500)])
def test_a_vendor_that_does_not_delete_fails_no_image(
    harness: PipelineHarness, upload: Upload, fate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = 1 if isinstance(fate, httpx.Response) and fate.status_code == 401 else 3

    task = polled(harness, upload, *saved(), *[fate] * tries)

    assert (task.status, task.erased_at) == (Status.COMPLETED, None)
    assert "TasksNotErased" in capsys.readouterr().out
    again = polled(harness, upload, answer(deleted_count=1))
    assert again.erased_at == NOW


def test_a_function_that_was_killed_before_it_deletes_does_so_when_it_is_called_again(
    harness: PipelineHarness, upload: Upload
) -> None:
    with pytest.raises(KeyboardInterrupt):  # nothing catches it
        polled(harness, upload, *saved(), KeyboardInterrupt())

    assert polled(harness, upload, answer(deleted_count=1)).erased_at == NOW
    assert len(harness.published()) == 1


def test_a_table_that_does_not_take_the_note_fails_no_image(
    harness: PipelineHarness, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ServiceError("DynamoDB is throttled")

    def delete(_: httpx.Request) -> httpx.Response:
        monkeypatch.setattr(harness.table, "update", fail)
        return answer(deleted_count=1)

    task = polled(harness, upload, *saved(), delete)

    assert (task.status, task.erased_at) == (Status.COMPLETED, None)


def test_the_results_of_earlier_attempts_go_too(harness: PipelineHarness, upload: Upload) -> None:
    task = harness.task(upload)
    harness.ledger.move(task, Status.FAILED, NOW, code="bad_output", reason="no PNG")
    harness.answers = [accepted("p2")]
    harness.retrier().retry(task.task_id, pay_again=True)

    polled(harness, upload, completed("p2"), download(png(40, 30)), answer(deleted_count=2))

    assert erased(harness) == [["p1", "p2"]]


def test_a_result_that_is_not_saved_stays(harness: PipelineHarness, upload: Upload) -> None:
    """A retry would fetch it for nothing."""
    polled(harness, upload, answer(id="p1", status="processing"))
    harness.ledger.move(harness.task(upload), Status.FAILED, NOW, code="timed_out", reason="slow")

    polled(harness, upload)

    assert erased(harness) == []


def test_what_a_newer_revision_made_useless_is_deleted(
    harness: PipelineHarness, upload: Upload
) -> None:
    newer = harness.upload(jpeg(50, 30)).model_copy(update={"sequencer": "1"})
    harness.answers = [accepted("p2")]
    harness.submitter().submit(newer)
    polled(harness, newer, completed("p2"), download(png(50, 30)), answer(deleted_count=1))

    task = polled(harness, upload, completed(), answer(deleted_count=1))

    assert (task.status, task.erased_at) == (Status.SUPERSEDED, NOW)


def test_an_equal_upload_gets_its_copy_all_the_same(harness: PipelineHarness) -> None:
    first, second = (harness.upload(jpeg(40, 30), key) for key in ("a.jpg", "b.jpg"))
    settings = {"reuse_results": True, "erase_at_vendor": True}
    harness.answers = [accepted("p1"), *saved(), answer(deleted_count=1)]
    harness.submitter(reuse_results=True).submit(first)
    harness.poller(**settings).poll(first.task_id)
    harness.submitter(reuse_results=True).submit(second)
    harness.poller(**settings).poll(second.task_id)

    task = harness.task(second)

    assert (task.status, task.reused_from) == (Status.COMPLETED, first.task_id)
    assert (erased(harness), task.erased_at) == ([["p1"]], None)
