"""Sizes, colour spaces and image frames."""

import cv2
import numpy as np

from cutout_local.remover.result import Floats, Image

MIN_SIDE = 8  # the filters and the superpixels need a few pixels on either side
PLAIN_SPREAD = 5.0  # Lab units
BUSY_SPREAD = 8.0
BLANK_SPREAD = 2.0  # grey levels
BAR_COLOUR = 6.0  # Lab units around a bar's own colour


def fit(rgb: Image, side: int) -> Image:
    """Shrink to `side` pixels on the longest side; no side is left below `MIN_SIDE`."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(MIN_SIDE, round(width * scale)), max(MIN_SIDE, round(height * scale)))
    if size == (width, height):
        return rgb
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def to_lab(rgb: Image) -> Floats:
    """Return CIE Lab, L in 0..100, as (H, W, 3)."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def is_blank(rgb: Image) -> bool:
    """Tell whether no subject was found: the image is one plain colour."""
    return bool(rgb.reshape(-1, 3).std(axis=0).max() <= BLANK_SPREAD)


def letterbox(rgb: Image) -> tuple[slice, slice]:
    """Rows and columns between the bars, if plain bars of one colour lie along opposite sides."""
    lab = to_lab(rgb)
    return _between_bars(lab), _between_bars(lab.swapaxes(0, 1))


def _between_bars(lab: Floats) -> slice:
    top, bottom = _bar(lab), _bar(lab[::-1])
    alike = np.linalg.norm(np.median(lab[0], axis=0) - np.median(lab[-1], axis=0)) < BAR_COLOUR
    enough = len(lab) - top - bottom >= MIN_SIDE
    between = slice(top, len(lab) - bottom)
    return between if top and bottom and alike and enough else slice(0, len(lab))


def _bar(lab: Floats) -> int:
    """Rows of a plain bar at the top, 0 if there is none.

    A bar ends at once and everywhere; a backdrop ends where the subject stands, a sky slowly.
    Its last rows are mixed with the photo, since the image was shrunk.
    """
    distance = np.linalg.norm(lab - np.median(lab[0], axis=0), axis=2)
    other = np.flatnonzero((distance < BAR_COLOUR).mean(axis=1) < 0.98)
    end = int(other[0]) + 2 if len(other) else len(lab)
    if end == 2 or end >= len(lab) // 2:
        return 0
    differs = distance[end] > 1.5 * BAR_COLOUR
    corner = max(1, len(differs) // 10)
    corners = max(differs[:corner].mean(), differs[-corner:].mean())
    return end if min(differs.mean(), corners) > 0.4 else 0


def frame_width(rgb: Image) -> int:
    """Width in pixels of a near-uniform frame on all four sides, 0 if there is none.

    A plain border whose colour goes on inwards is a backdrop and not a frame.
    """
    lab = to_lab(rgb)
    limit = int(0.05 * min(lab.shape[:2]))
    width = 0
    while width < limit and max(_spread_of_ring(lab, width)) < PLAIN_SPREAD:
        width += 1
    if width == 0:
        return 0
    inside = _spread_of_ring(lab, min(width + 2, limit))
    return width + 2 if np.median(inside) > BUSY_SPREAD else 0


def _spread_of_ring(lab: Floats, depth: int) -> list[float]:
    """Largest standard deviation over the channels of each side's line, corners left out."""
    height, width = lab.shape[:2]
    rows = slice(int(0.1 * height), int(0.9 * height))
    columns = slice(int(0.1 * width), int(0.9 * width))
    lines = (
        lab[depth, columns],
        lab[height - 1 - depth, columns],
        lab[rows, depth],
        lab[rows, width - 1 - depth],
    )
    return [float(line.std(axis=0).max()) for line in lines]
