"""What goes into a remover and what comes out of it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.floating]
Level: TypeAlias = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Cutout:
    """A subject without its background.

    `rgba` is (H, W, 4) uint8 with straight alpha; `confidence` lies in 0..1.
    """

    rgba: Image
    confidence: float
    level: Level
