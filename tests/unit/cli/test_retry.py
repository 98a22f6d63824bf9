"""Failed tasks are taken up again, after it was said what that costs."""

import json
from typing import Any

import pytest

from cutout.domain.messages import RetryRequest
from cutout.domain.tasks import Status
from tests.support.harness import PipelineHarness
from tests.unit.cli.conftest import (
    FAILED,
    Cutout,
    FakeStack,
    messages,
    vendor_says,
)


def test_a_result_that_the_vendor_has_is_fetched_for_nothing(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack
) -> None:
    task = upload("a.jpg", *FAILED)
    vendor_says(harness, "completed")

    done = cutout("retry", "a.jpg")

    assert "is fetched for nothing: it is completed" in done.stdout
    assert done.stderr == "1 fetched for nothing\n"
    assert messages(harness, stack) == [json.loads(RetryRequest.body(task.task_id, attempt=1))]


def test_many_are_retried_after_their_price_was_told(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack
) -> None:
    upload("a/1.jpg", *FAILED)
    upload("a/2.jpg", *FAILED)
    upload("a/3.jpg", Status.FAILED, "prediction_failed", "no subject")
    upload("b.jpg", *FAILED)
    some = ("retry", "--prefix", "a/", "--code", "timed_out")

    vendor_says(harness, "failed", "processing")
    dry = cutout(*some, "--dry-run", "--json")
    assert sorted(json.loads(line)["cost"] for line in dry.stdout.splitlines()) == [
        "nothing",
        "paid",
    ]
    assert dry.stderr == "1 fetched for nothing, 1 paid ($0.01)\n"
    vendor_says(harness, "failed", "processing")
    unasked = cutout(*some)
    assert unasked.exit_code == 1
    assert "There is nobody to ask; add --yes" in unasked.stderr
    assert messages(harness, stack) == []

    vendor_says(harness, "failed", "processing")
    assert cutout(*some, "--yes").exit_code == 0
    assert len(messages(harness, stack)) == 2


@pytest.mark.parametrize(
    ("fate", "refusal"),
    [
        (
            (Status.COMPLETED, "", ""),
            "completed, is left as it is: it has its PNG, s3://cutouts/a.jpg.png",
        ),
        ((Status.UNCERTAIN, "answer_lost", "?"), "may have accepted and billed it"),
    ],
)
def test_what_would_do_nothing_or_pay_twice_is_refused(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack, fate: Any, refusal: str
) -> None:
    upload("a.jpg", *fate)

    done = cutout("retry", "a.jpg")

    assert done.exit_code == 1
    assert refusal in done.stderr
    assert messages(harness, stack) == []


def test_a_status_that_there_is_not_is_a_usage_error(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("retry", "--status", "stuck")

    assert done.exit_code == 2
    assert "'stuck' is not a valid Status; there are queued, submitting" in done.stderr


def test_what_is_not_there_is_told_with_the_way_to_others(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("retry", "--code", "too_many_pixels")

    assert done.exit_code == 1
    assert "no task is failed with the code too_many_pixels; other statuses" in done.stderr


def test_what_was_rejected_is_checked_again_before_it_is_paid(cutout: Cutout, upload: Any) -> None:
    upload("a.jpg", Status.REJECTED, "upload_too_large", "it has 60 MB")

    told = cutout("retry", "a.jpg", "--dry-run").stdout
    assert "is checked again and, if it passes now, sent and paid" in told


def test_without_the_vendors_key_the_price_is_unknown(
    cutout: Cutout, upload: Any, stack: FakeStack
) -> None:
    stack.asks_vendor = False
    upload("a.jpg", *FAILED)

    done = cutout("retry", "a.jpg", "--dry-run")

    assert "if the vendor has a result, else paid again (the vendor is not asked" in done.stdout
    assert done.stderr == "1 fetched if the vendor has a result, else paid\n"


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--failed"]])
def test_a_retry_needs_to_know_of_what(
    cutout: Cutout, stack: FakeStack, arguments: list[str]
) -> None:
    assert cutout("retry", *arguments).exit_code == 2
