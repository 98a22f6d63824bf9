"""What an image costs, by the vendor's own word."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from cutout.domain.errors import RateLimited, VendorUnavailable
from cutout.observability import logger
from cutout.wavespeed.client import WaveSpeed

MAX_AGE = timedelta(hours=1)


@dataclass
class Prices:
    """Asks for a model's price once an hour.

    `least` (USD) is what the operator says: it stands in when there is no answer, and no answer
    goes below it, for the day's budget must not hang on the vendor's word alone.
    """

    wavespeed: WaveSpeed
    least: Decimal
    clock: Callable[[], datetime]
    _known: dict[str, tuple[Decimal, datetime]] = field(default_factory=dict)

    def of(self, model: str) -> Decimal:
        """One image's price in USD. Raises a `NotNow` when the key is missing or refused."""
        now = self.clock()
        if model not in self._known or now - self._known[model][1] >= MAX_AGE:
            self._known[model] = (self._ask(model), now)
        return self._known[model][0]

    def _ask(self, model: str) -> Decimal:
        try:
            price = self.wavespeed.price(model)
        except (VendorUnavailable, RateLimited) as error:
            logger.warning(
                "the price could not be read, PricePerImage is used",
                reason=str(error),
                price_per_image=str(self.least),
            )
            return self.least
        return max(price.charged, self.least)
