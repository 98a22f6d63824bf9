"""Every message that the functions get or send, parsed and written here and nowhere else.

The upload queue brings `ObjectCreated`, `TaskDue` and `RetryRequest`, Step Functions `PollRequest`,
`PageRequest` and `ExecutionEnded`, the vendor's callback its path. `WaitLoopState`, `PageAnswer`,
`Closed` and `BusEvent` go out, and `ConvertRequest` and `ConvertAnswer`, `VendorQuestion` and
`VendorAnswer` to and fro.
"""

import json
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cutout.domain.errors import code_of
from cutout.domain.tasks import AttemptId, Status, Task
from cutout.domain.uploads import ConvertedImage, ObjectRevision, Upload

# ------------------------------------------------------------------ the upload queue


class QueueMessage(BaseModel):
    """A message as SQS gives it to a function."""

    class Attributes(BaseModel):
        receives: int = Field(alias="ApproximateReceiveCount")

    message_id: str = Field(alias="messageId")
    receipt_handle: str = Field(alias="receiptHandle")
    attributes: Attributes
    body: str


class QueueBatch(BaseModel):
    """What SQS invokes a function with.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    messages: list[QueueMessage] = Field(alias="Records")


def batch_report(failed: list[QueueMessage]) -> dict[str, list[dict[str, str]]]:
    """The answer that sends what failed, and only that, back to the queue."""
    return {"batchItemFailures": [{"itemIdentifier": one.message_id} for one in failed]}


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str = Field(min_length=1)
    size: int
    etag: str
    version_id: str | None = Field(default=None, alias="version-id")
    sequencer: str | None = None


class ObjectCreated(BaseModel):
    """The "Object Created" event as EventBridge delivers it; its keys are not URL-encoded.

    A backfill writes the same, without a time and a sequencer, which no listing tells.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """

    class Detail(BaseModel):
        bucket: _Bucket
        object: _Object

    time: datetime | None = None
    detail: Detail

    @property
    def upload(self) -> Upload:
        return Upload(bucket=self.detail.bucket.name, **self.detail.object.model_dump())

    @classmethod
    def body(cls, upload: Upload) -> str:
        """The message as it is sent to the queue."""
        found = _Object.model_validate(upload, from_attributes=True, by_name=True)
        detail = cls.Detail(bucket=_Bucket(name=upload.bucket), object=found)
        return cls(detail=detail).model_dump_json(by_alias=True, exclude_none=True)


class RetryRequest(BaseModel):
    """A person asks for a task to be taken up again; sent to the upload queue like an event."""

    class Detail(BaseModel):
        task_id: str = Field(pattern=r"^[0-9a-f]{32}$")
        pay_again: bool = False
        attempt: int | None = Field(default=None, description="The one to retry; None: the last.")

    detail_type: Literal["Cutout Retry"] = Field(default="Cutout Retry", alias="detail-type")
    detail: Detail

    @classmethod
    def body(cls, task_id: str, *, pay_again: bool = False, attempt: int | None = None) -> str:
        """The message as it is sent to the queue."""
        detail = cls.Detail(task_id=task_id, pay_again=pay_again, attempt=attempt)
        return cls(detail=detail).model_dump_json(by_alias=True)


class TaskDue(BaseModel):
    """A task's time has come: its turn, the end of a wait, or that of a sender who never ended."""

    class Detail(BaseModel):
        task_id: str = Field(pattern=r"^[0-9a-f]{32}$")

    detail_type: Literal["Cutout Task Due"] = Field(default="Cutout Task Due", alias="detail-type")
    detail: Detail

    @classmethod
    def body(cls, task_id: str) -> str:
        """The message as it is sent to the queue."""
        return cls(detail=cls.Detail(task_id=task_id)).model_dump_json(by_alias=True)


UploadMessage = TaskDue | RetryRequest | ObjectCreated
_upload_message: TypeAdapter[UploadMessage] = TypeAdapter(
    UploadMessage, config=ConfigDict(hide_input_in_errors=True)
)


def upload_message(body: str) -> UploadMessage:
    """A message of the upload queue. Raises `ValidationError`, which does not repeat the body."""
    return _upload_message.validate_json(body)


# ------------------------------------------------------------------ the wait loop


class WaitLoopState(BaseModel):
    """What the wait loop decides on: from the submit function at first, then from each poll.

    With `await_callback` the webhook may end the wait.
    """

    task_id: str
    status: Status
    wait_seconds: int = 0
    await_callback: bool = False


class PollRequest(BaseModel):
    """What the wait loop sends to the poll function."""

    task_id: str


class Execution(BaseModel):
    """An execution that ended or is about to; its name is that of the attempt.

    `error` and `cause` are those of its Fail state, or of whoever stopped it.
    """

    name: str
    status: str
    error: str | None = None
    cause: str | None = None

    @property
    def code(self) -> str:
        """Why there is no PNG, for the ledger."""
        return code_of(self._error) if self._error else "execution_ended"

    @property
    def reason(self) -> str:
        """The same for people: a function's error comes as JSON with the message in it."""
        why = plain_cause(self.cause or "no cause was given")
        ended = self.status.lower().replace("_", " ")
        return why if self._error else f"the wait loop {ended}: {why}"

    @property
    def _error(self) -> str | None:
        return self.error if self.status == "FAILED" else None


def plain_cause(cause: str) -> str:
    """Why an execution or a call failed; that of a function comes as JSON with its message."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, TypeError, KeyError):  # the engine's own causes are plain text
        return cause


class ExecutionEnded(BaseModel):
    """The "Step Functions Execution Status Change" event; the wait loop's Close sends the same.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    detail: Execution


class Closed(BaseModel):
    """What the wait loop's Fail state reads."""

    reason: str


# ------------------------------------------------------------------ the pages of a bucket


class Pages(StrEnum):
    """What is gone through: two buckets, the ledger's failed tasks, the vendor's history."""

    UPLOADS = "uploads"
    OUTPUTS = "outputs"
    FAILED = "failed"
    HISTORY = "history"


class Cursor(BaseModel):
    """Where to read on: after a key, a time of the history, or a line of an inventory's file.

    Several cursors read the files of one inventory side by side, each every `step`th.
    """

    pages: Pages = Pages.UPLOADS
    prefix: str = ""
    after_key: str | None = None
    after_version: str | None = None
    manifest: str | None = Field(default=None, description="s3://BUCKET/KEY of an S3 Inventory.")
    file: int = 0
    step: int = Field(default=1, ge=1)
    line: int = 0


class PageRequest(BaseModel):
    """What the state machine of the pages sends to its function."""

    cursor: Cursor
    page_size: int = Field(ge=1, le=1000)
    dry_run: bool = False
    run: str = Field(default="", description="Names the lines in the log.")


class PageAnswer(BaseModel):
    """What was on a page, by kind, and where the next one begins; without one, it was the last."""

    counts: dict[str, int]
    cursor: Cursor | None = None


class FindingKind(StrEnum):
    """What bucket, ledger, outputs and vendor do not agree about."""

    MISSING = "missing"
    OUTPUT_MISSING = "output_missing"
    OUTPUT_LEFT = "output_left"
    NOT_FETCHED = "not_fetched"
    UNUSABLE = "unusable"
    UNCLAIMED = "unclaimed"


class Finding(BaseModel):
    """One of them, as it is logged; what is not known is null."""

    kind: FindingKind
    key: str | None = None
    task_id: str | None = None
    code: str | None = None
    output_key: str | None = None
    prediction_id: str | None = None


# ------------------------------------------------------------------ the convert function


class ConvertRequest(BaseModel):
    """An upload that the vendor cannot read, and the task that it belongs to."""

    task_id: str
    upload: ObjectRevision


class ConvertAnswer(BaseModel):
    """The copy, or why there is none: the class of the error and what it says."""

    image: ConvertedImage | None = None
    error: str = ""
    reason: str = ""


# ------------------------------------------------------------------ the clock function


class VendorQuestion(BaseModel):
    """An operator asks how the vendor answers this stack; anything else is a tick of the clock.

    `prediction_id`, created since a time: is it in the vendor's history yet?
    """

    class Detail(BaseModel):
        prediction_id: str | None = None
        since: datetime | None = None

    detail_type: Literal["Cutout Vendor Question"] = Field(
        default="Cutout Vendor Question", alias="detail-type"
    )
    detail: Detail = Detail()

    @classmethod
    def of(cls, event: dict[str, Any]) -> Self | None:
        """The question that an event is, if it is one."""
        asked = event.get("detail-type") == cls.model_fields["detail_type"].default
        return cls.model_validate(event) if asked else None


class VendorAnswer(BaseModel):
    """What the vendor says to the stack's own key, in USD; or why it said nothing."""

    balance: Decimal | None = None
    price: Decimal | None = None
    listed: bool | None = Field(default=None, description="None: was not asked.")
    code: str | None = None
    reason: str | None = None


# ------------------------------------------------------------------ the vendor's callback


class Callback(NamedTuple):
    """Which attempt the vendor calls back about, and the token that only the vendor was told."""

    attempt: AttemptId
    token: str

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """What a path names, if it is one of ours."""
        attempt_id, _, token = path.removeprefix("/").rpartition("-")
        attempt = AttemptId.parse(attempt_id)
        return cls(attempt, token) if attempt and path.startswith("/") else None


def callback_url(base_url: str, task: Task) -> str:
    """Where the vendor calls back about a task's attempt. All that is needed is in the path.

    Whether the vendor keeps a query string is not known.
    """
    return f"{base_url.rstrip('/')}/{task.attempt_id}-{task.callback_token}"


# ------------------------------------------------------------------ the event bus


class _Ended(BaseModel):
    """What every event tells; `events/schemas` publishes the schemas of all of them."""

    # What is published has every field, those with a default, too.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    version: Literal["1"] = Field(
        default="1", description="Changes when a field goes or means something else."
    )
    task_id: str = Field(description="The same for every event about this revision of the object.")
    bucket: str = Field(description="Where the upload is.")
    key: str = Field(description="The upload's key, not URL-encoded.")


class CutoutCompleted(_Ended):
    """The PNG of an upload is in the output bucket."""

    detail_type: ClassVar = "Cutout Completed"

    output_bucket: str
    output_key: str
    reused_from: str | None = Field(
        default=None, description="The task whose PNG this is a copy of; null if it is none."
    )

    @classmethod
    def of(cls, task: Task) -> Self:
        return cls.model_validate(task, from_attributes=True)


class _WithoutPng(_Ended):
    code: str = Field(description="For programs; docs/operations.md lists all.")
    reason: str = Field(description="The same for people.")

    @classmethod
    def of(cls, task: Task, code: str, reason: str) -> Self:
        return cls(task_id=task.task_id, bucket=task.bucket, key=task.key, code=code, reason=reason)


class CutoutFailed(_WithoutPng):
    """An upload has no PNG, though it may be good: `cutout retry` takes it up again."""

    detail_type: ClassVar = "Cutout Failed"


class CutoutRejected(_WithoutPng):
    """An upload cannot be processed as it is, and was not sent to the vendor."""

    detail_type: ClassVar = "Cutout Rejected"


BusEvent = CutoutCompleted | CutoutFailed | CutoutRejected
