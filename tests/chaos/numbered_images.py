"""Images that carry a number, so that a result can be matched with its very upload; and an engine
that keeps the number, quick enough for hundreds of images.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cutout_local.wavespeed.errors import BadMedia
from cutout_local.wavespeed.worker import EncodedCutout, Engine

_BITS = 24
_COLUMNS, _ROWS = 8, 6  # cells: the number's bits, and their complement to tell damage
_CELL = 8


def cells(number: int) -> NDArray[np.bool_]:
    """Which of an image's cells (rows, columns) are white; they stand for a number of 24 bits."""
    value = number << _BITS | ~number & (1 << _BITS) - 1
    bits = [value >> place & 1 for place in range(2 * _BITS)]
    return np.array(bits, bool).reshape(_ROWS, _COLUMNS)


def numbered(number: int) -> Image.Image:
    """The image of a number."""
    pixels = np.kron(cells(number), np.full((_CELL, _CELL), 255, np.uint8))
    return Image.fromarray(pixels).convert("RGB")


def number_in(file: bytes) -> int | None:
    """The number that an image file carries; None if it carries none."""
    try:
        grey = np.asarray(Image.open(io.BytesIO(file)).convert("RGB").convert("L"))
    except (UnidentifiedImageError, OSError):
        return None
    cell = len(grey) // _ROWS
    if not cell or grey.shape != (_ROWS * cell, _COLUMNS * cell):
        return None
    bits = grey[cell // 2 :: cell, cell // 2 :: cell].ravel() > 127
    value = sum(1 << place for place, bit in enumerate(bits.tolist()) if bit)
    number, complement = divmod(value, 1 << _BITS)
    return number if number ^ complement == (1 << _BITS) - 1 else None


def keep_colours() -> Engine:
    """An engine that makes the margin transparent and keeps every colour."""
    return _cut_margin


def _cut_margin(data: bytes) -> EncodedCutout:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        raise BadMedia("the image cannot be read") from error
    alpha = Image.new("L", image.size)
    alpha.paste(255, (1, 1, image.width - 1, image.height - 1))
    image.putalpha(alpha)
    file = io.BytesIO()
    image.save(file, "PNG")
    return EncodedCutout(file.getvalue(), confidence=1, level="high")
