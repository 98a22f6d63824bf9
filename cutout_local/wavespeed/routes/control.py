"""What the vendor does not have: this server's faults, its billing, and the rotation of its key."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, Field

from cutout.wavespeed.contract import PredictionStatus
from cutout_local.wavespeed.faults import FaultReport, FaultRule, image_path
from cutout_local.wavespeed.routing import REFUSED, UNAUTHORIZED, BackendDep, require_key
from cutout_local.wavespeed.tasks import Task

router = APIRouter(
    tags=["control"],
    dependencies=[Depends(require_key)],
    responses=UNAUTHORIZED,
)


class BilledTask(BaseModel):
    """An accepted task; `image` is its URL's path, `billed` in USD before any refund."""

    id: str
    model: str
    image: str
    status: PredictionStatus
    billed: float
    refunded: bool
    created_at: datetime


class Billing(BaseModel):
    """Every task the server accepted, oldest first, and the credits left, in USD."""

    balance: float
    tasks: list[BilledTask]


@router.get("/_billing")
async def billing(backend: BackendDep) -> Billing:
    """Tell every accepted task and what it cost."""
    entries = [_entry(task) for task in backend.tasks.all()]
    return Billing(balance=float(backend.account.balance), tasks=entries)


class Key(BaseModel):
    """What the server takes for its API key."""

    api_key: str = Field(min_length=1)


@router.put("/_key", status_code=204, responses=REFUSED)
async def rotate_key(key: Key, backend: BackendDep) -> None:
    """Take this key from now on, and no longer the one before."""
    backend.settings = backend.settings.model_copy(update={"api_key": key.api_key})


@router.get("/_faults")
async def faults(backend: BackendDep) -> list[FaultReport]:
    """Tell the rules, and how often each has fired."""
    return backend.faults.report()


@router.put("/_faults", responses=REFUSED)
async def set_faults(
    rules: Annotated[list[FaultRule], Body()], backend: BackendDep
) -> list[FaultReport]:
    """Replace all rules. Without rules the server works."""
    backend.faults.replace(rules)
    return backend.faults.report()


def _entry(task: Task) -> BilledTask:
    return BilledTask(
        id=task.id,
        model=task.model,
        image=image_path(task.request.image),
        status=task.status,
        billed=float(task.price),
        refunded=task.refunded,
        created_at=task.created_at,
    )
