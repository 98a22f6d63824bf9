"""What an operator or a test may set on the server."""

import os
import secrets
from datetime import timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Tier(_Frozen):
    """A plan's limits: submits per clock minute, and tasks open at once."""

    images_per_minute: int = Field(gt=0)
    concurrent: int = Field(gt=0)


TIERS = {
    "bronze": Tier(images_per_minute=2, concurrent=2),
    "silver": Tier(images_per_minute=500, concurrent=300),
    "gold": Tier(images_per_minute=3_000, concurrent=3_000),
    "ultra": Tier(images_per_minute=5_000, concurrent=10_000),
}
"""The vendor's plans by name, from the newer of its two tables."""


class Model(_Frozen):
    """A model that can be submitted to; `price` in USD for each image."""

    id: str
    name: str
    price: Decimal


MODELS = (
    Model(
        id="wavespeed-ai/image-background-remover",
        name="Image Background Remover",
        price=Decimal("0.01"),
    ),
    Model(id="wavespeed-ai/feynobg", name="FeynoBG", price=Decimal("0.001")),
)


WORKER_BYTES = 2 * 1024**3
"""What a worker needs for a photo of 12 megapixels (1.4 GB), and some room."""


def _default_workers() -> int:
    """Every core that this process may use, as far as memory goes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // WORKER_BYTES))


def _new_secret() -> str:
    return f"whsec_{secrets.token_hex(24)}"


class Settings(_Frozen):
    """Sizes in bytes, times in seconds unless the type says otherwise.

    Attributes:
        workers: processes that cut out, one image each at a time.
        max_image_pixels: as many as the pipeline's `MaxMegapixels` may allow.
        fetch_link_local: whether images and webhooks may have link-local addresses, those of
            clouds' metadata services included.
        sync_wait: how long a submit with `enable_sync_mode` waits for its result.
        retention: how long tasks, outputs and uploads are kept.
        max_tasks: the oldest ended tasks go when there are more.
        max_stored_bytes: the oldest outputs and uploads go when they take more.
        tier: None sets no limit.
        balance: credits in USD.
        ca_file: of an authority (PEM) that images' and webhooks' servers may have their
            certificate from, besides the system's.
        webhook_backoff: the wait before the first retry; it doubles with each.
    """

    api_key: str = Field(default_factory=secrets.token_hex, min_length=1, repr=False)
    workers: int = Field(default_factory=_default_workers, gt=0)
    max_image_bytes: int = Field(default=200 * 1024**2, gt=0)
    max_image_pixels: int = Field(default=1_000_000_000, gt=0)
    fetch_timeout: float = Field(default=60, gt=0)
    fetch_link_local: bool = False
    max_redirects: int = Field(default=5, ge=0)
    sync_wait: float = Field(default=90, gt=0)
    retention: timedelta = timedelta(days=7)
    max_tasks: int = Field(default=100_000, gt=0)
    max_stored_bytes: int = Field(default=20 * 1024**3, gt=0)
    models: tuple[Model, ...] = MODELS
    tier: Tier | None = None
    balance: Decimal = Decimal(1_000)
    webhook_secret: str = Field(default_factory=_new_secret, repr=False)
    webhook_timeout: float = Field(default=10, gt=0)
    webhook_backoff: float = Field(default=1, gt=0)
    ca_file: str | None = None
