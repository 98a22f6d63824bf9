"""Every error that Cutout raises, one class per situation.

CutoutError
├── Rejected                the upload can never be processed; no money was spent
│   ├── UnsupportedFormat
│   ├── UploadTooLarge
│   ├── TooFewPixels
│   ├── TooManyPixels
│   ├── KeyTooLong
│   ├── BadOverride
│   ├── ConversionFailed
│   └── SourceGone
├── NotNow                  the vendor accepted nothing; the upload waits and is sent later
│   ├── RateLimited
│   ├── InsufficientCredits
│   ├── Unauthorized
│   ├── ApiKeyUnavailable
│   ├── UploadForbidden
│   ├── ConversionInterrupted
│   ├── OverBudget
│   ├── VendorRedirects
│   └── VendorUnreachable
├── AnswerLost              the request was sent and nobody knows whether it was accepted
│   └── PredictionTaken
├── VendorUnavailable       a question to the vendor got no usable answer; asking again is free
├── OutputUnavailable       the output could not be downloaded this time
├── Failed                  the task is over without an output
│   ├── RequestRefused
│   ├── PredictionFailed
│   ├── PredictionNotFound
│   ├── PredictionMissing
│   ├── OutputGone
│   ├── OutputBlocked
│   ├── BadOutput
│   ├── EmptyCutout
│   ├── OpaqueCutout
│   └── TimedOut
├── ForgedCallback          a webhook that the vendor did not sign, or not lately
├── Superseded              a newer revision of the same object was saved first
├── OutputBusy              another revision is being saved under the same key right now
├── StatusChanged           somebody else moved the task first
├── InventoryUnreadable     an S3 Inventory is not of this bucket, or lacks a column
├── ConditionFailed         a conditional write to the table lost
├── IllegalTransition
├── TaskNotFound
└── ServiceError            an AWS service answered with an error; trying again may help
    └── MetadataRefused     S3 would not save an output with its source's metadata and tags

The snake-case name of a class is its code in the ledger, and the class name is what the state
machine sees as `Error`.
"""

import re


def code_of(error_name: str) -> str:
    """The ledger's code for an error's class name: `TimedOut` is `timed_out`."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", error_name).lower()


class CutoutError(Exception):
    """The root of all errors of this project."""

    @property
    def code(self) -> str:
        return code_of(type(self).__name__)


class Rejected(CutoutError):
    """The upload can never be processed."""


class UnsupportedFormat(Rejected):
    """The object is not an image in a format that the vendor takes."""


class UploadTooLarge(Rejected):
    """The object has more bytes than the stack allows."""


class TooFewPixels(Rejected):
    """The image is too small to hold a subject and a background."""


class TooManyPixels(Rejected):
    """The image has more pixels than the stack allows."""


class KeyTooLong(Rejected):
    """The output's key would be longer than S3 allows."""


class BadOverride(Rejected):
    """The object's metadata asks for what the stack does not allow."""


class ConversionFailed(Rejected):
    """Converting the image takes more memory or time than the convert function has."""


class SourceGone(Rejected):
    """The object was deleted or replaced before it was sent."""


class NotNow(CutoutError):
    """Nothing was accepted and nothing billed; `wait_seconds` says when to send again."""

    wait_seconds = 60

    def __init__(self, message: str, wait_seconds: int | None = None) -> None:
        super().__init__(message)
        if wait_seconds is not None:
            self.wait_seconds = wait_seconds


class RateLimited(NotNow):
    """The vendor's rate or concurrency limit is reached; its windows reset each minute."""


class InsufficientCredits(NotNow):
    """The vendor's account is empty."""

    wait_seconds = 900


class Unauthorized(NotNow):
    """The vendor refuses the API key."""

    wait_seconds = 900


class ApiKeyUnavailable(NotNow):
    """The secret with the API key cannot be read."""


class UploadForbidden(NotNow):
    """S3 does not let this stack read the upload."""

    wait_seconds = 900


class ConversionInterrupted(NotNow):
    """The convert function was killed, or failed; nothing was sent."""

    wait_seconds = 10


class OverBudget(NotNow):
    """The day's budget is spent."""


class VendorRedirects(NotNow):
    """The vendor's base URL leads elsewhere, where the API key is not sent."""

    wait_seconds = 900


class VendorUnreachable(NotNow):
    """Could not connect to the vendor, so nothing was sent."""


class AnswerLost(CutoutError):
    """A submit was sent and its answer never came, or said nothing about acceptance."""


class PredictionTaken(AnswerLost):
    """The vendor named a prediction that belongs to another task."""


class VendorUnavailable(CutoutError):
    """A read from the vendor failed for now; `wait_seconds` says when to ask again."""

    wait_seconds = 60


class OutputUnavailable(CutoutError):
    """The output could not be downloaded, or not to its end, for now."""


class Failed(CutoutError):
    """The task is over without an output."""


class RequestRefused(Failed):
    """The vendor refuses this request for good."""


class PredictionFailed(Failed):
    """The vendor ended the prediction without an output."""


class PredictionNotFound(Failed):
    """The vendor does not know the prediction (any more)."""


class PredictionMissing(Failed):
    """The ledger says that the vendor has the task, and not under which prediction."""


class OutputGone(Failed):
    """The output's URL was not found or has expired."""


class OutputBlocked(Failed):
    """The output's URL leads where this stack must not go."""


class BadOutput(Failed):
    """The output is not a complete PNG with transparency, or is too large."""


class EmptyCutout(Failed):
    """The output is wholly transparent."""


class OpaqueCutout(Failed):
    """The output is wholly opaque, and the stack does not want such."""


UNUSABLE = frozenset(code_of(kind.__name__) for kind in (EmptyCutout, OpaqueCutout))
"""Codes of tasks whose result was fetched, is a good PNG, and would be refused again."""


class TimedOut(Failed):
    """The deadline passed before the vendor had a result."""


class ForgedCallback(CutoutError):
    """A webhook's signature or timestamp is wrong."""


class Superseded(CutoutError):
    """The task's output would replace that of a newer revision."""


class OutputBusy(CutoutError):
    """Another task is writing the same output key."""


class StatusChanged(CutoutError):
    """A conditional write lost: the task is no longer in the state it was read in."""


class InventoryUnreadable(CutoutError):
    """An S3 Inventory is not there, not of the input bucket, not in CSV, or lacks a column."""


class ConditionFailed(CutoutError):
    """The table's item was not as the write's condition wants it."""


class IllegalTransition(CutoutError):
    """The transition table has no such step."""


class TaskNotFound(CutoutError):
    """The ledger has no such task."""


class ServiceError(CutoutError):
    """An AWS service answered with an error that this project gives no meaning."""


class MetadataRefused(ServiceError):
    """S3 refused an output with the metadata and tags of its source; without, it may take it."""
