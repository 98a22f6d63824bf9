from typing import get_type_hints

import pytest

from cutout.domain.errors import IllegalTransition
from cutout.domain.tasks import (
    TRANSITIONS,
    WATCHED,
    Status,
    Task,
    TaskChanges,
    check_transition,
    default_due_at,
)
from tests.support.factories import NOON, make_task, make_upload

ENDED = [Status.COMPLETED, Status.FAILED, Status.REJECTED, Status.SUPERSEDED]


def test_a_status_is_open_or_ended_or_uncertain() -> None:
    assert [status for status in Status if status.ended] == ENDED
    assert {status for status in Status if status.open} == set(Status) - {
        *ENDED,
        Status.UNCERTAIN,
    }


@pytest.mark.parametrize(("name", "kind"), get_type_hints(TaskChanges).items())
def test_what_a_step_may_write_is_a_field_of_the_task(name: str, kind: type) -> None:
    assert kind | None == get_type_hints(Task)[name] | None


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize("ended", ENDED)
@pytest.mark.parametrize("after", Status)
def test_an_ended_task_never_moves(ended: Status, after: Status) -> None:
    with pytest.raises(IllegalTransition, match=f"from {ended} to {after}"):
        check_transition(ended, after)


def test_every_status_is_reached_from_queued() -> None:
    reached, ahead = set(), {Status.QUEUED}
    while ahead:
        reached |= ahead
        ahead = {after for status in ahead for after in TRANSITIONS[status]} - reached

    assert reached == set(Status)


def test_only_what_was_submitted_before_is_processing() -> None:
    """A queued task is so by a retry, for a prediction that it has from an earlier attempt."""
    before = {status for status in Status if Status.PROCESSING in TRANSITIONS[status]}

    assert before == {Status.SUBMITTING, Status.UNCERTAIN, Status.QUEUED}


@pytest.mark.parametrize("status", Status)
def test_what_somebody_has_to_look_at_has_a_time_for_it(status: Status) -> None:
    due_at = default_due_at(status, NOON)

    assert (due_at is not None) == (status in WATCHED)
    assert due_at is None or due_at >= NOON
    assert not status.open or due_at


def test_sequencers_compare_as_if_the_shorter_one_ended_in_zeros() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""

    def revision(sequencer: str) -> str:
        return make_task(make_upload(sequencer=sequencer)).revision

    assert revision("0055AED6DCD90281E5") == revision("0055AED6DCD90281E500")
    assert revision("0055AED6DCD90281E5") < revision("0055AED6DCD90281E501")
