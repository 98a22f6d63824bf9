"""The vendor takes longer than the stack's deadline."""

from collections.abc import Iterator

import pytest

from cutout.domain.tasks import Status
from cutout_cli.retry import Cost
from tests.e2e.conftest import photo, retry, running
from tests.support.stack_client import StackClient

DEADLINE = 10  # seconds; the shortest that the template allows


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClient]:
    with running(DeadlineSeconds=str(DEADLINE)) as stack:
        yield stack


def test_a_prediction_that_never_ends_runs_into_our_deadline(stack: StackClient) -> None:
    stack.ask_for_fault("task-never-ends", "endless.jpg")
    upload = stack.upload(photo(), "endless.jpg")

    task = stack.ended(upload)

    assert (task.status, task.code) == (Status.FAILED, "timed_out")
    spent = task.entered_at[Status.FAILED] - task.entered_at[Status.PROCESSING]
    assert spent.total_seconds() >= DEADLINE
    assert 3 <= task.polls <= DEADLINE


def test_a_result_that_came_after_the_deadline_is_fetched_for_nothing(stack: StackClient) -> None:
    stack.ask_for_fault("task-slow", "late.jpg", seconds=DEADLINE + 10)
    upload = stack.upload(photo(), "late.jpg")
    assert stack.ended(upload).code == "timed_out"

    assert retry(stack, "late.jpg").cost is Cost.NOTHING

    task = stack.reached(upload, Status.COMPLETED)
    assert task.attempt == 2
    assert len(stack.billed("late.jpg")) == 1
    assert stack.image("late.jpg.png").mode == "RGBA"
