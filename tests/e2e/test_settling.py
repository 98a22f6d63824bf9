"""The vendor's history settles what became of a submit whose answer was lost."""

from collections.abc import Iterator

import pytest

from cutout.domain.tasks import Status
from tests.e2e.conftest import photo, running
from tests.support.stack_client import StackClient

SOON = {"LEASE_SECONDS": "3", "UNCERTAIN_GRACE_SECONDS": "1"}  # instead of 210 and 10 at least


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClient]:
    with running(schedule_scale=1 / 30, OnUncertain="settle", KeyIsDedicated="true") as stack:
        stack.change_environment("SubmitFunction", SOON)
        yield stack


def test_what_the_vendor_has_is_taken_and_what_it_has_not_is_sent_again(
    stack: StackClient,
) -> None:
    stack.ask_for_fault("submit-accepted-dropped", "taken.jpg")
    taken = stack.reached(stack.upload(photo(), "taken.jpg"), Status.COMPLETED)
    assert (taken.attempt, len(stack.billed("taken.jpg"))) == (1, 1)
    assert Status.UNCERTAIN in taken.entered_at

    stack.ask_for_fault("submit-dropped", "sent.jpg", times=1)
    sent = stack.reached(stack.upload(photo(), "sent.jpg"), Status.COMPLETED)
    assert (sent.attempt, len(stack.billed("sent.jpg"))) == (2, 1)
    assert Status.UNCERTAIN in sent.entered_at
