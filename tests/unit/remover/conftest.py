"""A scene whose alpha is known: a textured disc before a gradient."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scene:
    """An image (H, W, 3) uint8 and its true alpha (H, W) in 0..1."""

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.float64]


@pytest.fixture(scope="session")
def disc() -> Scene:
    height, width, radius = 240, 320, 70
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2, y - height / 2)
    alpha = np.clip(radius + 0.5 - distance, 0, 1)
    texture = np.random.default_rng(7).normal(0, 25, (height, width, 1))
    subject = np.array([200.0, 70.0, 40.0]) + texture
    backdrop = np.stack([60 + x / 8, 90 + y / 8, 150 + x / 16], axis=2)
    mixed = alpha[..., None] * subject + (1 - alpha[..., None]) * backdrop
    return Scene(np.clip(mixed, 0, 255).astype(np.uint8), alpha)
