"""The account and the models: balance, price, models, webhook secret."""

from fastapi import APIRouter, Depends

from cutout.wavespeed.contract import (
    Balance,
    Price,
    PriceRequest,
    SubmitRequest,
    WebhookSecret,
)
from cutout_local.wavespeed.contract import Envelope, ModelInfo, UnitPrice
from cutout_local.wavespeed.routing import (
    REFUSED,
    UNAUTHORIZED,
    BackendDep,
    FaultsDep,
    require_key,
    success,
)
from cutout_local.wavespeed.settings import Model

router = APIRouter(
    prefix="/api/v3",
    tags=["account"],
    dependencies=[Depends(require_key)],
    responses=UNAUTHORIZED,
)


@router.get("/balance")
async def balance(backend: BackendDep) -> Envelope[Balance]:
    """Tell the credits left, in USD."""
    return success(Balance(balance=float(backend.account.balance)))


@router.post("/model/price", responses=REFUSED)
async def price(body: PriceRequest, backend: BackendDep, asked: FaultsDep) -> Envelope[Price]:
    """Tell what one image costs, in USD."""
    model = backend.model(body.model_id)
    told_less = backend.faults.first("price", "", asked)
    cost = float(model.price) / (1000 if told_less else 1)
    return success(Price(model_id=model.id, price=cost, discounted_price=cost, discount_rate=0))


@router.post("/model/pricing", responses=REFUSED)
async def pricing(body: PriceRequest, backend: BackendDep) -> Envelope[UnitPrice]:
    """Tell what one image costs, in the older form."""
    model = backend.model(body.model_id)
    return success(UnitPrice(model_id=model.id, unit_price=float(model.price)))


@router.get("/models")
async def models(backend: BackendDep) -> Envelope[list[ModelInfo]]:
    """List the models that can be submitted to."""
    infos = [_info(model, order) for order, model in enumerate(backend.models.values())]
    return success(infos)


@router.get("/webhook/secret")
async def webhook_secret(backend: BackendDep) -> Envelope[WebhookSecret]:
    """Tell the key that webhooks are signed with."""
    return success(WebhookSecret(secret=backend.settings.webhook_secret))


def _info(model: Model, order: int) -> ModelInfo:
    return ModelInfo(
        model_id=model.id,
        name=model.name,
        description="Removes the background of an image.",
        type="image-to-image",
        base_price=float(model.price),
        formula=f"{model.price} for each image",
        sort_order=order,
        api_schema=SubmitRequest.model_json_schema(),
    )
