"""The story of an upload, and what to do about each code."""

import json
from datetime import timedelta
from typing import Any

import pytest

from cutout.domain import errors
from cutout.domain.tasks import Status
from cutout_cli.advice import ADVICE
from tests.support.harness import NOW, PipelineHarness
from tests.unit.cli.conftest import (
    FAILED,
    WAITING,
    Cutout,
    FakeStack,
    vendor_says,
)


def test_a_story_has_what_happened_what_it_cost_and_what_to_do(
    cutout: Cutout, upload: Any, harness: PipelineHarness
) -> None:
    task = upload("a cat.jpg", *FAILED)
    vendor_says(harness, "completed")

    told = cutout("explain", "a cat.jpg").stdout

    assert told.startswith(f"a cat.jpg: task {task.task_id} is failed\n")
    assert f"12:00:02 UTC  accepted by the vendor as prediction {task.prediction_id}" in told
    assert "12:00:05 UTC  failed: the vendor had no result (timed_out)" in told
    assert "an image that the vendor completes costs $0.01" in told
    assert f"the vendor now: prediction {task.prediction_id} is completed" in told
    assert "fetched for nothing: cutout retry 'a cat.jpg'\n" in told


def test_a_wait_is_explained_with_its_end(
    cutout: Cutout, upload: Any, harness: PipelineHarness
) -> None:
    task = upload("c.jpg", *WAITING)
    harness.ledger.update(task, submit_after=NOW + timedelta(minutes=30))

    told = cutout("explain", task.task_id).stdout

    assert "it waits, until 2026-11-20 12:30:00 UTC: its turn comes at 12:30" in told
    assert "nothing was paid: it was never sent" in told


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("hold", "it waits for a callback or for a person; OnUncertain is hold"),
        ("settle", "the vendor's history is looked into at 2026-11-20 12:10:00 UTC, unless"),
        ("resubmit", "it is sent again at 2026-11-20 12:10:00 UTC, unless a callback comes"),
    ],
)
def test_what_becomes_of_an_uncertain_task_is_explained(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack, policy: str, told: str
) -> None:
    stack.parameters["OnUncertain"] = policy
    task = upload("lost.jpg", Status.UNCERTAIN, "answer_lost", "nobody knows")
    harness.ledger.update(task, due_at=NOW + timedelta(minutes=10))

    story = cutout("explain", "lost.jpg").stdout

    assert told in story
    assert "it may have been paid: $0.01" in story


def test_a_copy_is_told_as_one(cutout: Cutout, upload: Any, harness: PipelineHarness) -> None:
    first, task = upload("first.jpg"), upload("copy.jpg", Status.PROCESSING, "", "")
    harness.ledger.update(task, reused_from=first.task_id, prediction_id=None)

    story = cutout("explain", "copy.jpg").stdout
    assert f"to be a copy of the PNG of task {first.task_id}" in story
    assert "nothing is paid: an upload with the same content was" in story
    told = cutout("status", "copy.jpg").stdout
    assert f"copy.jpg: a copy of the PNG of task {first.task_id}" in told
    assert json.loads(cutout("status", "copy.jpg", "--json").stdout)["reused_from"] == first.task_id


def test_a_story_is_found_by_the_vendors_id(cutout: Cutout, upload: Any, stack: FakeStack) -> None:
    stack.asks_vendor = False
    task = upload("a.jpg")

    told = json.loads(cutout("explain", "--prediction", task.prediction_id, "--json").stdout)

    assert (told["task_id"], told["status"]) == (task.task_id, "completed")
    assert told["steps"][-1]["text"] == "the PNG was saved as s3://cutouts/a.jpg.png"
    assert "the vendor was not asked: WAVESPEED_API_KEY is not set" in told["now"]


def test_a_failed_call_of_the_wait_loop_is_part_of_the_story(
    cutout: Cutout, upload: Any, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = upload("a.jpg", *FAILED)
    stack.asks_vendor = False
    failed = {"error": "TimedOut", "cause": '{"errorMessage": "no result within 10 s"}'}
    events = [
        {"type": "ExecutionStarted", "timestamp": NOW, "executionStartedEventDetails": {}},
        {"type": "TaskFailed", "timestamp": NOW, "taskFailedEventDetails": failed},
        {"type": "ExecutionFailed", "timestamp": NOW, "executionFailedEventDetails": failed},
    ]
    states = stack.client("stepfunctions")
    paginator = states.get_paginator("get_execution_history")

    def paginate(executionArn: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's
        assert executionArn.endswith(f":{task.task_id}-1")
        return [{"events": events}]

    monkeypatch.setattr(paginator, "paginate", paginate)
    monkeypatch.setattr(states, "get_paginator", lambda _operation: paginator)

    told = cutout("explain", "a.jpg").stdout
    assert "wait loop 1: a call failed: TimedOut: no result within 10 s" in told
    assert "wait loop 1 failed: TimedOut: no result within 10 s" in told


def codes() -> set[str]:
    """Every code that an error of ours can write into the ledger."""
    kinds = (errors.Rejected, errors.NotNow, errors.Failed)
    found = {kind for parent in kinds for kind in parent.__subclasses__()}
    ours = {kind for kind in found if kind.__module__ == errors.__name__}
    return {errors.code_of(kind.__name__) for kind in ours} | {"answer_lost", "superseded"}


@pytest.mark.parametrize(
    "code", sorted(codes() | {"waits_for_slot", "waits_for_turn", "execution_ended"})
)
def test_there_is_advice_about_every_code(code: str) -> None:
    assert code in ADVICE, "say what to do about it in cutout_cli/advice.py"
