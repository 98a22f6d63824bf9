"""What the pipeline uses of the WaveSpeedAI HTTP contract, as pydantic models.

The local server speaks the rest too: `cutout_local/wavespeed/contract.py`.

Answers of the live API vary (null lists, objects where strings are documented, unknown statuses).
What decides (id, status, outputs, price, secret) is parsed strictly, everything else reads as
empty where it makes no sense; what the models give out is always the documented form.
Source: https://wavespeed.ai/docs and the model page of `wavespeed-ai/image-background-remover`.
"""

import hmac
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from reprlib import Repr
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from cutout.wavespeed.texts import scrubbed

MOST_ON_A_PAGE = 100  # of the history
WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"
# The local server's own, of an output: high, medium or low.
CONFIDENCE = "x-cutout-confidence-level"


class PredictionStatus(StrEnum):
    """Where a prediction is; a status that the contract does not know reads as `UNKNOWN`."""

    CREATED = "created"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    DELETED = "deleted"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, _value: object) -> Self:
        return cls("unknown")

    @property
    def ended(self) -> bool:
        """Whether the vendor will change nothing any more; an unknown status has not ended."""
        return self in _ENDED


_ENDED = {
    PredictionStatus.COMPLETED,
    PredictionStatus.FAILED,
    PredictionStatus.CANCELLED,
    PredictionStatus.TIMEOUT,
    PredictionStatus.DELETED,
}


_LONGEST_MS = 7 * 24 * 3600 * 1000  # the vendor forgets a prediction after a week


def or_empty(value: Any) -> Any:
    """A list that may come as null."""
    return [] if value is None else value


def _outputs(value: Any) -> Any:
    """A list that may come as null, or as its one item; items may be objects."""
    items = value if isinstance(value, list) else or_empty(value and [value])
    return [item.get("url") if isinstance(item, dict) else item for item in items]


def _whole(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value or 0


def _words(value: Any) -> str:
    """What a text says that may come as an object; of others, what is in them, in short."""
    if isinstance(value, dict):
        value = value.get("message") or value.get("error") or value
    return value if isinstance(value, str) else _in_short.repr(value) if value else ""


_in_short = Repr()
_in_short.maxstring = _in_short.maxother = 1000


def _vendor_text(value: Any, info: ValidationInfo) -> str:
    return scrubbed(_words(value), info.context or "")


def or_default(default: Any) -> WrapValidator:
    """For what decides nothing: a value that makes no sense is none."""

    def read(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValueError, OverflowError):  # the latter from rounding the infinite
            return default

    return WrapValidator(read)


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_aware)]
"""A point in time; without a zone it is read as UTC."""
VendorText = Annotated[str, BeforeValidator(_vendor_text)]
"""Words of the vendor's, scrubbed; the validation's context is the key to keep out of them."""


class Answer(BaseModel):
    """Of the vendor: what is wrong with it is told without what it says, which may be a secret."""

    model_config = ConfigDict(hide_input_in_errors=True)


class Links(Answer):
    """Where to ask for the result."""

    get: str = ""


class Timings(Answer):
    """How long the model ran, in milliseconds."""

    inference: Annotated[
        int, Field(ge=0, le=_LONGEST_MS), BeforeValidator(_whole), or_default(0)
    ] = 0


class Prediction(Answer):
    """One task at the vendor: what the submit, the result and the webhook carry."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")  # it goes into URLs, logs and metadata
    model: Annotated[str, or_default("")] = ""
    status: PredictionStatus
    outputs: Annotated[list[str], BeforeValidator(_outputs)] = Field(default_factory=list)
    urls: Annotated[Links, or_default(Links())] = Links()
    has_nsfw_contents: Annotated[list[bool], or_default([])] = Field(default_factory=list)
    created_at: Annotated[Moment | None, or_default(None)] = None
    error: VendorText = ""
    code: Annotated[int | None, or_default(None)] = None
    timings: Annotated[Timings, or_default(Timings())] = Timings()


class SubmitRequest(BaseModel):
    """The body of a submit: `image` is its URL."""

    image: str
    enable_base64_output: bool = False
    enable_sync_mode: bool = False


class HistoryRequest(BaseModel):
    """Which predictions of the last seven days to list, newest first."""

    page: int = Field(default=1, ge=1)
    page_size: int = Field(default=20, ge=1, le=MOST_ON_A_PAGE)
    model: str | None = None
    status: PredictionStatus | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class History(Answer):
    """One page of predictions; they carry no input and no caller's reference.

    One that cannot be read makes the page unreadable: what it leaves out would count as not there.
    """

    page: int
    total: Annotated[int | None, or_default(None)] = None
    items: Annotated[list[Prediction], BeforeValidator(or_empty)]


class PriceRequest(BaseModel):
    """Which call to price: the model and what would be submitted."""

    model_id: str
    inputs: dict[str, Any] = Field(default_factory=dict)


def _usd(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a price is a number")  # noqa: TRY004 (pydantic wants ValueErrors)
    return value


Usd = Annotated[float, BeforeValidator(_usd), Field(ge=0.000_001, le=100, allow_inf_nan=False)]
"""A price; the budget counts in millionths, and no image costs more than PricePerImage may be."""


class Price(Answer):
    """What one call costs, before and after the account's discount."""

    model_id: Annotated[str, or_default("")] = ""
    price: Usd
    discounted_price: Usd | None = None
    discount_rate: Annotated[float | None, or_default(None)] = None
    currency: Annotated[str, or_default("USD")] = "USD"

    @property
    def charged(self) -> Decimal:
        """What the account pays, in USD."""
        paid = self.price if self.discounted_price is None else self.discounted_price
        return Decimal(str(paid))


class Balance(Answer):
    """The account's credits, in USD."""

    balance: float = Field(allow_inf_nan=False)


class DeleteRequest(BaseModel):
    """Which predictions to delete."""

    ids: list[str]


class Deleted(Answer):
    """How many predictions a delete removed."""

    deleted_count: int = Field(ge=0)


class WebhookSecret(Answer):
    """The key that webhooks are signed with, `whsec_` in front."""

    secret: str = Field(min_length=len("whsec_") + 1)  # anybody can sign with an empty key


def sign_webhook(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` of a raw body; `timestamp` in Unix seconds.

    The key is the secret's text after `whsec_`, not base64-decoded, unlike Standard Webhooks.
    Source: https://wavespeed.ai/docs/verify-webhooks
    """
    key = secret.removeprefix("whsec_").encode()
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v3," + hmac.digest(key, signed, "sha256").hex()
