"""What goes into a remover and what comes out of it."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.floating]
Level: TypeAlias = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Cutout:
    """A subject without its background.

    `rgba` is (H, W, 4) uint8 with straight alpha. `confidence` lies in 0..1; it and
    `level` are None for engines that give no score.
    """

    rgba: Image
    confidence: float | None = None
    level: Level | None = None


class Remover(Protocol):
    """A background remover: (H, W, 3) uint8 sRGB in, a cutout of the same size out.

    Raises `NoSubject` when there is nothing to cut out.
    """

    def __call__(self, rgb: Image, /) -> Cutout: ...
