"""What the pipeline uses of the WaveSpeedAI HTTP contract, as pydantic models.

The local server speaks the rest too: `cutout_local/wavespeed/contract.py`.

Answers of the live API vary (null lists, objects where strings are documented, unknown statuses),
so parsing is tolerant; what the models give out is always the documented form.
Source: https://wavespeed.ai/docs and the model page of `wavespeed-ai/image-background-remover`.
"""

import hmac
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"


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


def or_empty(value: Any) -> Any:
    """A list that may come as null."""
    return [] if value is None else value


def _output(value: Any) -> Any:
    return value.get("url") if isinstance(value, dict) else value


def _whole(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value or 0


def _error_text(value: Any) -> Any:
    if isinstance(value, dict):
        return str(value.get("message") or value.get("error") or value)
    return value or ""


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Output = Annotated[str, BeforeValidator(_output)]
Moment = Annotated[datetime, AfterValidator(_aware)]
"""A point in time; without a zone it is read as UTC."""


class Links(BaseModel):
    """Where to ask for the result."""

    get: str = ""


class Timings(BaseModel):
    """How long the model ran, in milliseconds."""

    inference: Annotated[int, BeforeValidator(_whole)] = 0


class Prediction(BaseModel):
    """One task at the vendor: what the submit, the result and the webhook carry."""

    id: str
    model: str = ""
    status: PredictionStatus
    outputs: Annotated[list[Output], BeforeValidator(or_empty)] = Field(default_factory=list)
    urls: Annotated[Links, BeforeValidator(lambda v: v or {})] = Links()
    has_nsfw_contents: Annotated[list[bool], BeforeValidator(or_empty)] = Field(
        default_factory=list
    )
    created_at: Moment | None = None
    error: Annotated[str, BeforeValidator(_error_text)] = ""
    code: int | None = None
    timings: Annotated[Timings, BeforeValidator(lambda v: v or {})] = Timings()


class SubmitRequest(BaseModel):
    """The body of a submit: `image` is its URL."""

    image: str
    enable_base64_output: bool = False
    enable_sync_mode: bool = False


class PriceRequest(BaseModel):
    """Which call to price: the model and what would be submitted."""

    model_id: str
    inputs: dict[str, Any] = Field(default_factory=dict)


class Price(BaseModel):
    """What one call costs, before and after the account's discount."""

    model_id: str = ""
    price: float
    discounted_price: float | None = None
    discount_rate: float | None = None
    currency: str = "USD"


class WebhookSecret(BaseModel):
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
