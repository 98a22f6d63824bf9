"""A task: one revision of one object on its way from upload to PNG."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self, TypedDict

from pydantic import BaseModel, Field

from cutout.domain.errors import IllegalTransition
from cutout.domain.uploads import ObjectRevision, Upload

_SEQUENCER_LENGTH = 64  # today's have 18 characters


class Status(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    UNCERTAIN = "uncertain"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"

    @property
    def ended(self) -> bool:
        """Whether a task stays here, unless a person asks for a retry."""
        return not TRANSITIONS[self]

    @property
    def open(self) -> bool:
        """Whether a task goes on from here by itself; an uncertain one may wait for a person."""
        return not self.ended and self is not Status.UNCERTAIN


class OnUncertain(StrEnum):
    """What becomes of a task whose submit may or may not have been accepted."""

    HOLD = "hold"
    SETTLE = "settle"
    RESUBMIT = "resubmit"


class Confidence(StrEnum):
    """How sure a remover is that it found the subject."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


# From queued to processing goes a retry whose result the vendor has, and what is not sent because
# an equal upload was; back goes the latter if that came to nothing.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.SUBMITTING, Status.REJECTED, Status.PROCESSING}),
    Status.SUBMITTING: frozenset(
        {Status.PROCESSING, Status.QUEUED, Status.UNCERTAIN, Status.FAILED}
    ),
    Status.UNCERTAIN: frozenset({Status.PROCESSING, Status.QUEUED, Status.FAILED}),
    Status.PROCESSING: frozenset(
        {Status.COMPLETED, Status.FAILED, Status.SUPERSEDED, Status.QUEUED}
    ),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.SUPERSEDED: frozenset(),
}

# Ended, but a person may have them queued again: to fetch a result that came late, or to send anew.
REOPENABLE = frozenset({Status.FAILED, Status.REJECTED, Status.UNCERTAIN})

# Nobody needs what the vendor has of these: the PNG is saved, or a newer revision's is.
SAVED = frozenset({Status.COMPLETED, Status.SUPERSEDED})

# What the clock wakes or an operator may have to look at; only these are in the index `by-status`.
WATCHED = frozenset(
    {Status.QUEUED, Status.SUBMITTING, Status.UNCERTAIN, Status.PROCESSING, Status.FAILED}
)
# How soon a task is looked at whose wait loop has not ended it. Most have ended long before.
EXECUTION_CHECK = timedelta(minutes=10)


def check_transition(before: Status, after: Status) -> None:
    """Raise `IllegalTransition` unless the table has this step."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a task cannot go from {before} to {after}")


def check_reopening(before: Status) -> None:
    """Raise `IllegalTransition` unless a person may have a task queued again."""
    if before not in REOPENABLE:
        raise IllegalTransition(f"a task that is {before} cannot be queued again")


def default_due_at(status: Status, now: datetime) -> datetime | None:
    """When a task is due that enters a status now, unless who writes it knows better."""
    if status not in WATCHED:
        return None
    return now + EXECUTION_CHECK if status is Status.PROCESSING else now


class AttemptId(NamedTuple):
    """One submit of one task; as text it names the execution and begins the callback's path."""

    task_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.task_id}-{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The attempt that a text names, None if it names none."""
        found = _ATTEMPT_ID.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


_ATTEMPT_ID = re.compile(r"([0-9a-f]{32})-(0|[1-9]\d{0,8})")


class UnansweredSubmit(BaseModel):
    """A submit of which nobody knows whether it was accepted; it was between these two times."""

    owner: str = Field(description="The task's id.")
    attempt: int
    model: str
    sent_at: datetime
    lease_until: datetime


class Task(ObjectRevision):
    """One item of the ledger: an object revision and what became of it.

    Times are UTC; `code` and `reason` say why it is where it is. At `due_at` somebody has to look
    at it if nothing has happened by then: no message, event or execution is relied on.
    """

    task_id: str
    status: Status = Status.QUEUED
    output_bucket: str
    output_key: str
    model: str
    created_at: datetime
    entered_at: dict[Status, datetime] = Field(default_factory=dict)
    retention_days: int = Field(default=90, description="For how long it is remembered.")
    attempt: int = 0
    lease_until: datetime | None = None
    slot_at: datetime | None = Field(default=None, description="The governor's; None: has none.")
    submit_after: datetime | None = None
    due_at: datetime | None = None
    prediction_id: str | None = None
    earlier_predictions: list[str] | None = Field(
        default=None, description="Of attempts before this one, whose results are at the vendor."
    )
    erased_at: datetime | None = Field(
        default=None, description="With EraseAtVendor: when the vendor had deleted all."
    )
    candidate: str | None = Field(
        default=None, description="While uncertain: the prediction that is probably its own."
    )
    callback_expected: bool = False
    callback_token: str | None = Field(default=None, description="In the attempt's callback URL.")
    called_back_at: datetime | None = None
    task_token: str | None = Field(default=None, description="Wakes the wait loop.")
    inference_ms: int | None = None
    confidence: Confidence | None = Field(default=None, description="None: the vendor gave none.")
    polls: int = 0
    converted: bool = Field(default=False, description="The vendor was given a converted copy.")
    content_sha256: str | None = Field(default=None, description="Hex; with ReuseResults alone.")
    reused_from: str | None = Field(default=None, description="The task whose PNG is copied.")
    output_version_id: str | None = None
    output_etag: str | None = Field(default=None, description="With ReuseResults alone.")
    code: str | None = None
    reason: str | None = None
    write_id: str | None = Field(default=None, description="Of the last conditional write.")

    @property
    def upload(self) -> Upload:
        """The upload that this task is about."""
        return Upload.model_validate(self, from_attributes=True)

    @property
    def expires_at(self) -> int:
        """When to forget it if nothing more happens, in Unix seconds; while it is open, never."""
        last_step = max(self.entered_at.values(), default=self.created_at)
        return int((last_step + timedelta(days=self.retention_days)).timestamp())

    @property
    def awaits_callback(self) -> bool:
        """Whether the wait loop may rely on being woken."""
        return self.callback_expected and self.called_back_at is None

    @property
    def is_sent(self) -> bool:
        """Whether a PNG is on its way."""
        return self.status in {Status.SUBMITTING, Status.PROCESSING}

    @property
    def png_is_known(self) -> bool:
        """Whether the very object is known that was saved."""
        return self.status is Status.COMPLETED and self.output_etag is not None

    @property
    def predictions(self) -> list[str]:
        """What the vendor was told of this task under, in the order of the attempts."""
        return [*(self.earlier_predictions or ()), *filter(None, [self.prediction_id])]

    @property
    def revision(self) -> str:
        """Sorts the revisions of one object by when they were made.

        Sequencers compare as strings once the shorter one is filled up with zeros.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        """
        return (self.sequencer or "").ljust(_SEQUENCER_LENGTH, "0")

    @property
    def attempt_id(self) -> AttemptId:
        return AttemptId(self.task_id, self.attempt)

    @property
    def execution_name(self) -> str:
        """One execution per attempt: starting it twice is the same execution."""
        return str(self.attempt_id)

    @property
    def unanswered_submit(self) -> UnansweredSubmit:
        """Of a task that is submitting or uncertain."""
        sent_at = self.entered_at[Status.SUBMITTING]
        return UnansweredSubmit(
            owner=self.task_id,
            attempt=self.attempt,
            model=self.model,
            sent_at=sent_at,
            lease_until=self.lease_until or sent_at,
        )

    def deadline(self, seconds: int) -> datetime:
        """When to stop waiting for the vendor, counted from the submit."""
        return self.entered_at[Status.PROCESSING] + timedelta(seconds=seconds)


class TaskChanges(TypedDict, total=False):
    """The fields of a `Task` that a step may write; `ledger` enters status and times by itself."""

    attempt: int
    lease_until: datetime
    slot_at: datetime | None
    submit_after: datetime | None
    due_at: datetime
    model: str
    prediction_id: str | None
    earlier_predictions: list[str]
    erased_at: datetime
    candidate: str | None
    callback_expected: bool
    callback_token: str | None
    called_back_at: datetime | None
    task_token: str | None
    inference_ms: int
    confidence: Confidence | None
    converted: bool
    content_sha256: str
    reused_from: str | None
    output_version_id: str | None
    output_etag: str | None
    code: str | None
    reason: str | None


def new_task(
    upload: Upload,
    output_bucket: str,
    output_key: str,
    model: str,
    now: datetime,
    retention_days: int,
    due_at: datetime | None = None,
) -> Task:
    """The task for an upload that nobody has seen yet; it is due now, unless a time is given."""
    return Task(
        **upload.model_dump(),
        task_id=upload.task_id,
        output_bucket=output_bucket,
        output_key=output_key,
        model=model,
        created_at=now,
        entered_at={Status.QUEUED: now},
        due_at=due_at or now,
        retention_days=retention_days,
    )
