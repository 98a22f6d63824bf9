"""What only the server needs of the WaveSpeedAI HTTP contract; the rest is the client's.

Source: https://wavespeed.ai/docs
"""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

from cutout.wavespeed.contract import Moment

INSUFFICIENT_CREDITS = "Insufficient credits. Please top up your account to continue."
CONCURRENCY_LIMIT = "You have reached your concurrency limit"
MODEL_NOT_FOUND = "model not found"
PREDICTION_NOT_FOUND = "Prediction not found"
WEBHOOK_WITH_BASE64 = (
    "webhook callback does not support base64 output, "
    "please use the normal API to use base64 output"
)

Data = TypeVar("Data")


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


class Envelope(BaseModel, Generic[Data]):
    """What every answer is wrapped in; `code` mirrors the HTTP status."""

    code: int = 200
    message: str = ""
    data: Data | None = None


class ErrorAnswer(BaseModel):
    """The body of a refusal; `code` mirrors the HTTP status."""

    code: int
    message: str = ""


class BareError(BaseModel):
    """The other known body of a refusal: a webhook asked for together with base64 output."""

    error: str


class UnitPrice(BaseModel):
    """What one call costs, as the older endpoint says it."""

    model_id: str = ""
    unit_price: float
    currency: str = "USD"


class ModelInfo(BaseModel):
    """A model of the catalogue; `api_schema` holds the JSON schema of its request."""

    model_id: str
    name: str = ""
    description: str = ""
    type: str = ""
    base_price: float = 0
    formula: str = ""
    sort_order: int = 0
    api_schema: dict[str, Any] = Field(default_factory=dict)


class UploadRequest(BaseModel):
    """A file that is to be uploaded; `size` in bytes."""

    filename: str
    size: int = Field(ge=0)
    content_type: str | None = None


class UploadInstruction(BaseModel):
    """How to send the bytes: exactly these headers, and no API key."""

    method: str
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    expires_at: Moment | None = None


class Media(BaseModel):
    """An uploaded file; `download_url` can be the `image` of a submit, `size` is in bytes."""

    type: str = ""
    download_url: str
    filename: str = ""
    size: int = 0


class UploadTicket(Media):
    """A file whose bytes are still to be sent."""

    upload: UploadInstruction
