"""What the key may spend: credits, and images by the plan."""

from datetime import datetime
from decimal import Decimal

from cutout_local.wavespeed.errors import LimitReached, NoCredits
from cutout_local.wavespeed.settings import Tier


class Account:
    """The balance in USD, and the images of the current clock minute."""

    def __init__(self, balance: Decimal, tier: Tier | None) -> None:
        self.balance = balance
        self._tier = tier
        self._minute = 0
        self._images = 0

    def charge(self, price: Decimal, open_tasks: int, now: datetime) -> None:
        """Take one image's price; raise `LimitReached` or `NoCredits` and take nothing."""
        minute = int(now.timestamp()) // 60
        if minute != self._minute:
            self._minute, self._images = minute, 0
        if self._tier and open_tasks >= self._tier.concurrent:
            raise LimitReached
        if self._tier and self._images >= self._tier.images_per_minute:
            raise LimitReached("You have reached your rate limit of images per minute")
        if self.balance < price:
            raise NoCredits
        self._images += 1
        self.balance -= price

    def refund(self, price: Decimal) -> None:
        """Give back what a failed task cost."""
        self.balance += price
