"""The WaveSpeedAI HTTP contract as pydantic models, shared by the client and the local server.

Answers of the live API vary (null lists, objects where strings are documented, unknown statuses),
so parsing is tolerant; what the models give out is always the documented form.
Source: https://wavespeed.ai/docs and the model page of `wavespeed-ai/image-background-remover`.
"""

import hmac
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

INSUFFICIENT_CREDITS = "Insufficient credits. Please top up your account to continue."
CONCURRENCY_LIMIT = "You have reached your concurrency limit"
MODEL_NOT_FOUND = "model not found"
PREDICTION_NOT_FOUND = "Prediction not found"
WEBHOOK_WITH_BASE64 = (
    "webhook callback does not support base64 output, "
    "please use the normal API to use base64 output"
)

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


class TaskCode:
    """Codes in `data.code`; the status, never the code, decides whether a prediction has ended."""

    MODERATION = 1200
    MISSING_PARAMETER = 1400
    INVALID_PARAMETER = 1401
    MEDIA_NOT_FETCHED = 1402
    EXECUTION = 1403
    CREDITS = 1407
    SERVER = 5000
    SYNC_TIMEOUT = 5004


def _list(value: Any) -> Any:
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

Data = TypeVar("Data")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Links(_Answer):
    """Where to ask for the result."""

    get: str = ""


class Timings(_Answer):
    """How long the model ran, in milliseconds."""

    inference: Annotated[int, BeforeValidator(_whole)] = 0


class Prediction(_Answer):
    """One task at the vendor: what the submit, the result and the webhook carry."""

    id: str
    model: str = ""
    status: PredictionStatus
    outputs: Annotated[list[Output], BeforeValidator(_list)] = Field(default_factory=list)
    urls: Annotated[Links, BeforeValidator(lambda v: v or {})] = Links()
    has_nsfw_contents: Annotated[list[bool], BeforeValidator(_list)] = Field(default_factory=list)
    created_at: Moment | None = None
    error: Annotated[str, BeforeValidator(_error_text)] = ""
    code: int | None = None
    timings: Annotated[Timings, BeforeValidator(lambda v: v or {})] = Timings()


class SubmitRequest(BaseModel):
    """The body of a submit: `image` is the URL of the picture."""

    image: str
    enable_base64_output: bool = False
    enable_sync_mode: bool = False


class Envelope(_Answer, Generic[Data]):
    """What every answer is wrapped in; `code` mirrors the HTTP status."""

    code: int = 200
    message: str = ""
    data: Data | None = None


class ErrorAnswer(_Answer):
    """The body of a refusal; `code` mirrors the HTTP status."""

    code: int
    message: str = ""


class BareError(_Answer):
    """The other known body of a refusal: a webhook asked for together with base64 output."""

    error: str


class HistoryRequest(BaseModel):
    """Which predictions of the last seven days to list, newest first."""

    page: int = Field(default=1, ge=1)
    page_size: int = Field(default=20, ge=1, le=100)
    model: str | None = None
    status: PredictionStatus | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class History(_Answer):
    """One page of predictions; they carry no input and no caller's reference."""

    page: int
    total: int | None = None
    items: Annotated[list[Prediction], BeforeValidator(_list)] = Field(default_factory=list)


class DeleteRequest(BaseModel):
    """Which predictions to delete."""

    ids: list[str]


class Deleted(_Answer):
    """How many predictions a delete removed."""

    deleted_count: int


class Balance(_Answer):
    """The account's credits, in USD."""

    balance: float


class PriceRequest(BaseModel):
    """Which call to price: the model and what would be submitted."""

    model_id: str
    inputs: dict[str, Any] = Field(default_factory=dict)


class Price(_Answer):
    """What one call costs, before and after the account's discount."""

    model_id: str = ""
    price: float
    discounted_price: float | None = None
    discount_rate: float | None = None
    currency: str = "USD"


class UnitPrice(_Answer):
    """What one call costs, as the older endpoint says it."""

    model_id: str = ""
    unit_price: float
    currency: str = "USD"


class ModelInfo(_Answer):
    """A model of the catalogue; `api_schema` holds the JSON schema of its request."""

    model_id: str
    name: str = ""
    description: str = ""
    type: str = ""
    base_price: float = 0
    formula: str = ""
    sort_order: int = 0
    api_schema: dict[str, Any] = Field(default_factory=dict)


class WebhookSecret(_Answer):
    """The key that webhooks are signed with, `whsec_` in front."""

    secret: str = Field(min_length=len("whsec_") + 1)  # anybody can sign with an empty key


class UploadRequest(BaseModel):
    """A file that is to be uploaded; `size` in bytes."""

    filename: str
    size: int = Field(ge=0)
    content_type: str | None = None


class UploadInstruction(_Answer):
    """How to send the bytes: exactly these headers, and no API key."""

    method: str
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    expires_at: Moment | None = None


class Media(_Answer):
    """An uploaded file; `download_url` can be the `image` of a submit, `size` is in bytes."""

    type: str = ""
    download_url: str
    filename: str = ""
    size: int = 0


class UploadTicket(Media):
    """A file whose bytes are still to be sent."""

    upload: UploadInstruction


def sign_webhook(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` of a raw body; `timestamp` in Unix seconds.

    The key is the secret's text after `whsec_`, not base64-decoded, unlike Standard Webhooks.
    Source: https://wavespeed.ai/docs/verify-webhooks
    """
    key = secret.removeprefix("whsec_").encode()
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v3," + hmac.digest(key, signed, "sha256").hex()
