"""Find out whether a submit was accepted whose answer was lost, from the vendor's own history.

The history tells of no prediction whose it is. But the ledger knows each of which any task was
told, so that what is left over belongs to a submit whose answer was lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from cutout.domain.tasks import Task, UnansweredSubmit
from cutout.store.ledger import Ledger
from cutout.wavespeed.client import WaveSpeed
from cutout.wavespeed.contract import Prediction

_CLOCK_SKEW = timedelta(seconds=5)  # between this account and the vendor
_HISTORY = timedelta(days=6)  # the vendor says seven; what it has forgotten must not look unsent
_MOST_LISTED = 2000  # what one run of the submit function can look through
_MOST_NAMED = 5


@dataclass(frozen=True)
class Accepted:
    """The vendor has it under this prediction."""

    prediction_id: str


@dataclass(frozen=True)
class NotAccepted:
    """The vendor never took it, and nothing was paid."""


@dataclass(frozen=True)
class Unclear:
    """Nobody can tell yet; `candidate` is a prediction that a second look may confirm."""

    reason: str
    candidate: str | None = None


@dataclass(frozen=True)
class Settler:
    """Everything that settling needs.

    With `key_is_dedicated`, nobody else has images processed with this API key and model, so that
    an unknown prediction must be of a task in the ledger.
    """

    ledger: Ledger
    wavespeed: WaveSpeed
    key_is_dedicated: bool

    def look_up(self, task: Task, now: datetime) -> Accepted | NotAccepted | Unclear:
        """What the history says about an uncertain task, at a time when it must be complete.

        Raises what `WaveSpeed.history` and the ledger do.
        """
        submit = task.unanswered_submit
        if submit.sent_at < now - _HISTORY:
            return Unclear("the vendor's history does not reach back to the submit")
        listed = list(islice(self._listed(submit), _MOST_LISTED + 1))
        if len(listed) > _MOST_LISTED:
            return Unclear(f"the vendor's history has over {_MOST_LISTED} predictions of that time")
        claimants = [(prediction, self.ledger.claimant(prediction.id)) for prediction in listed]
        for prediction, claimant in claimants:
            if claimant == task.attempt_id:  # its sender was killed before it wrote the rest
                return Accepted(prediction.id)
        unknown = [prediction for prediction, claimant in claimants if claimant is None]
        return self._judge(task, unknown) if unknown else NotAccepted()

    def _listed(self, submit: UnansweredSubmit) -> Iterator[Prediction]:
        return self.wavespeed.history(
            submit.model, submit.sent_at - _CLOCK_SKEW, submit.lease_until + _CLOCK_SKEW
        )

    def _judge(self, task: Task, unknown: list[Prediction]) -> Accepted | Unclear:
        """Only one that can be nobody else's is its own, and that only at a second look.

        Whoever might own it too is found by an index, which is a moment behind.
        """
        only = unknown[0]
        if len(unknown) > 1 or not self._must_be_of(task, only):
            return Unclear(f"the vendor's history has what may be its own: {_named(unknown)}")
        if task.candidate == only.id:
            return Accepted(only.id)
        return Unclear(f"the vendor's history has what seems to be its own: {only.id}", only.id)

    def _must_be_of(self, task: Task, prediction: Prediction) -> bool:
        if not (self.key_is_dedicated and _fits(task.unanswered_submit, prediction)):
            return False
        others = (s for s in self.ledger.unanswered_submits() if s.owner != task.task_id)
        return not any(_fits(submit, prediction) for submit in others)


def _fits(submit: UnansweredSubmit, prediction: Prediction) -> bool:
    """Whether a prediction may be of a submit, by its model and its time."""
    return (
        prediction.model == submit.model
        and prediction.created_at is not None
        and submit.sent_at - _CLOCK_SKEW <= prediction.created_at
        and prediction.created_at <= submit.lease_until + _CLOCK_SKEW
    )


def _named(predictions: list[Prediction]) -> str:
    names = ", ".join(prediction.id for prediction in predictions[:_MOST_NAMED])
    more = len(predictions) - _MOST_NAMED
    return f"{names} and {more} more" if more > 0 else names
