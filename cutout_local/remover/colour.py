"""The subject's own colour at soft edges.

Forte: "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur-fusion, two passes).
"""

import cv2
import numpy as np

from cutout_local.remover.result import Floats, Image

RADII = (90, 6)
HALO = sum(radius // 2 for radius in RADII)
STRIP = 512  # rows at a time: a 12-megapixel photo would otherwise need a gigabyte
OPAQUE = 0.999


def estimate_foreground(rgb: Image, alpha: Floats) -> Image:
    """Return (H, W, 3) colours without the background's share; opaque pixels stay as they are.

    A row depends only on the `HALO` rows above and below, so strips give the same result
    as the whole.
    """
    result = np.empty_like(rgb)
    for top in range(0, len(rgb), STRIP):
        bottom = min(top + STRIP, len(rgb))
        above = max(top - HALO, 0)
        rows = slice(above, bottom + HALO)
        result[top:bottom] = _blur_fusion(rgb[rows], alpha[rows])[top - above : bottom - above]
    return result


def _blur_fusion(rgb: Image, alpha: Floats) -> Image:
    image: Floats = rgb.astype(np.float32) / np.float32(255)
    weight = alpha[..., None]
    foreground = background = image
    for radius in RADII:
        foreground, background = _pass(image, weight, foreground, background, radius)
    result = np.where(weight > OPAQUE, image, foreground)
    return (result * 255 + 0.5).astype(np.uint8)


def _pass(
    image: Floats, alpha: Floats, foreground: Floats, background: Floats, radius: int
) -> tuple[Floats, Floats]:
    """Blur both layers with their own weights, then explain the rest by the foreground."""
    share = _blur(alpha, radius)[..., None]
    near = _blur(foreground * alpha, radius) / (share + 1e-5)
    far = _blur(background * (1 - alpha), radius) / ((1 - share) + 1e-5)
    rest = image - alpha * near - (1 - alpha) * far
    return np.clip(near + alpha * rest, 0.0, 1.0), far


def _blur(values: Floats, radius: int) -> Floats:
    side = 2 * (radius // 2) + 1
    return np.asarray(cv2.blur(values, (side, side)), np.float32)
