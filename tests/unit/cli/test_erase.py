"""What the vendor keeps is deleted, and only what nobody needs."""

import json
from typing import Any

import pytest

from cutout.domain.tasks import Status
from tests.support.harness import NOW, PipelineHarness, answer
from tests.unit.cli.conftest import Cutout, FakeStack

NEEDED = [
    (Status.FAILED, "timed_out", "the vendor had no result"),
    (Status.PROCESSING, "", ""),
]


def test_a_saved_result_is_deleted_at_the_vendor(
    cutout: Cutout, harness: PipelineHarness, upload: Any
) -> None:
    task = upload("a.jpg")
    harness.answers = [answer(deleted_count=1)]

    done = cutout("erase", "a.jpg")

    assert done.stdout == "a.jpg: deleted 1 of 1 result at the vendor\n"
    (request,) = harness.requests
    assert (request.method, request.url.path) == ("POST", "/api/v3/predictions/delete")
    assert json.loads(request.content) == {"ids": [task.prediction_id]}


def test_explain_tells_of_what_is_deleted(
    cutout: Cutout, harness: PipelineHarness, upload: Any
) -> None:
    harness.ledger.update(upload("a.jpg"), erased_at=NOW)

    told = cutout("explain", "a.jpg").stdout

    assert "its results were deleted at the vendor" in told
    assert (harness.requests, "the vendor now" in told) == ([], False)


def test_the_results_of_all_attempts_are_deleted(
    cutout: Cutout, harness: PipelineHarness, upload: Any
) -> None:
    task = upload("a.jpg", Status.FAILED, "bad_output", "no PNG")
    again = harness.ledger.reopen(task, NOW, prediction_id=None)
    again = harness.ledger.move(again, Status.SUBMITTING, NOW, attempt=2)
    again = harness.ledger.move(again, Status.PROCESSING, NOW, prediction_id="p2")
    harness.ledger.move(again, Status.COMPLETED, NOW)
    harness.answers = [answer(deleted_count=1)]

    told = json.loads(cutout("erase", "a.jpg", "--json").stdout)

    ids = [task.prediction_id, "p2"]
    assert json.loads(harness.requests[-1].content) == {"ids": ids}
    key = {"key": "a.jpg", "task_id": task.task_id}
    assert told == key | {"predictions": ids, "deleted": 1}
    harness.answers = [answer(deleted_count=0)]
    assert (
        "deleted 0 of 2 results at the vendor; the vendor had no more"
        in cutout("erase", "a.jpg").stdout
    )


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
    harness.ledger.update(upload("a.jpg"), reused_from="0" * 32, prediction_id=None)

    assert "its PNG is a copy" in cutout("erase", "a.jpg").stderr
    assert harness.requests == []


def test_what_was_never_sent_has_nothing_at_the_vendor(cutout: Cutout, upload: Any) -> None:
    upload("a.txt", Status.REJECTED, "unsupported_format", "no image")

    assert "the vendor has no result of it: it was not sent" in cutout("erase", "a.txt").stderr


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
