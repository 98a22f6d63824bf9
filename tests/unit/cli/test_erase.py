"""What the vendor keeps is deleted, and only what nobody needs."""

import json
from typing import Any

import pytest

from cutout.domain.tasks import Status
from tests.support.harness import PipelineHarness, answer
from tests.unit.cli.conftest import Cutout, FakeStack

NEEDED = [
    (Status.FAILED, "timed_out", "the vendor had no result"),
    (Status.PROCESSING, "", ""),
    (Status.REJECTED, "unsupported_format", "it is a PDF"),
]


@pytest.mark.parametrize(("deleted", "erased"), [(1, True), (0, False)])
def test_a_saved_result_is_deleted_at_the_vendor(
    cutout: Cutout, harness: PipelineHarness, upload: Any, deleted: int, erased: bool
) -> None:
    task = upload("a.jpg")
    harness.answers = [lambda _: answer(deleted_count=deleted)]

    told = json.loads(cutout("erase", "a.jpg", "--json").stdout)

    assert told == {"key": "a.jpg", "task_id": task.task_id, "erased": erased}
    (request,) = harness.requests
    assert (request.method, request.url.path) == ("POST", "/api/v3/predictions/delete")
    assert json.loads(request.content) == {"ids": [task.prediction_id]}


@pytest.mark.parametrize("fate", NEEDED)
def test_a_result_that_is_not_saved_is_not_deleted(
    cutout: Cutout, harness: PipelineHarness, upload: Any, fate: Any
) -> None:
    upload("a.jpg", *fate)

    done = cutout("erase", "a.jpg")

    assert done.exit_code == 1
    assert f"the task is {fate[0]}: its result is not saved" in done.stderr
    assert harness.requests == []


def test_a_copy_has_nothing_at_the_vendor(
    cutout: Cutout, harness: PipelineHarness, upload: Any
) -> None:
    harness.ledger.update(upload("a.jpg"), reused_from="0" * 32)

    assert "its PNG is a copy" in cutout("erase", "a.jpg").stderr
    assert harness.requests == []


def test_nothing_is_deleted_while_a_task_is_uncertain(
    cutout: Cutout, harness: PipelineHarness, upload: Any
) -> None:
    upload("a.jpg")
    upload("b.jpg", Status.UNCERTAIN, "answer_lost", "nobody knows")

    done = cutout("erase", "a.jpg")

    assert (done.exit_code, harness.requests) == (1, [])
    assert "a task is uncertain" in done.stderr


def test_without_the_vendors_key_it_says_what_it_needs(
    cutout: Cutout, stack: FakeStack, upload: Any
) -> None:
    upload("a.jpg")
    stack.asks_vendor = False

    assert "set WAVESPEED_API_KEY" in cutout("erase", "a.jpg").stderr


def test_an_answer_that_says_nothing_is_an_error(
    cutout: Cutout, harness: PipelineHarness, upload: Any
) -> None:
    upload("a.jpg")
    harness.answers = [lambda _: answer(id="p")]

    done = cutout("erase", "a.jpg")

    assert done.exit_code == 1
    assert "does not say what it deleted" in done.stderr
