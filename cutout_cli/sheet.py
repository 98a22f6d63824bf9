"""A contact sheet: each photo beside its PNG, which lies on a chequered ground."""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path

import numpy as np
from pi_heif import register_heif_opener
from PIL import Image, ImageDraw, ImageFont, ImageOps

from cutout_cli.text import shown
from cutout_cli.uploads import Job

CELL, GAP, CAPTION = 300, 12, 34  # pixels
_CHEQUER = 12

register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # the pipeline has a limit, and these have passed it


def draw(jobs: Sequence[Job], target: Path) -> None:
    """Save the sheet of the photos whose PNGs were saved; the target's name says the format."""
    done = [job for job in jobs if job.saved_to]
    columns = min(max(2, isqrt(len(done) // 2)), len(done))  # no side is too long for a JPEG
    rows = -(-len(done) // columns)
    width, height = 2 * CELL + 3 * GAP, CELL + CAPTION + GAP
    sheet = Image.new("RGB", (columns * width, rows * height + GAP), "white")
    for number, job in enumerate(done):
        row, column = divmod(number, columns)
        _pair(sheet, job, column * width + GAP, row * height + GAP)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)


def _pair(sheet: Image.Image, job: Job, left: int, top: int) -> None:
    if job.saved_to:
        sheet.paste(_before(job.photo.path), (left, top))
        sheet.paste(_after(job.saved_to), (left + CELL + GAP, top))
    sure = f" - confidence {job.confidence}" if job.confidence else ""
    font = ImageFont.load_default(15)
    draw = ImageDraw.Draw(sheet)
    text = _shortened(f"{shown(job.photo.path)}{sure}", draw, font, 2 * CELL + GAP)
    draw.text((left, top + CELL + 6), text, fill="black", font=font)


def _before(path: Path) -> Image.Image:
    try:
        with Image.open(path) as photo:
            return _cell(ImageOps.exif_transpose(photo).convert("RGBA"), _plain())
    except (OSError, SyntaxError, ValueError):  # the vendor reads what Pillow may not
        return _plain()


def _after(path: Path) -> Image.Image:
    with Image.open(path) as output:
        return _cell(output.convert("RGBA"), _chequered())


def _cell(image: Image.Image, ground: Image.Image) -> Image.Image:
    image.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    place = ((CELL - image.width) // 2, (CELL - image.height) // 2)
    ground.paste(image, place, image)
    return ground


def _plain() -> Image.Image:
    return Image.new("RGB", (CELL, CELL), "#f4f4f4")


def _chequered() -> Image.Image:
    y, x = np.indices((CELL, CELL)) // _CHEQUER
    shades = np.where((x + y) % 2, 205, 240).astype(np.uint8)
    return Image.fromarray(shades).convert("RGB")


def _shortened(
    text: str,
    draw: ImageDraw.ImageDraw,
    font: "ImageFont.FreeTypeFont | ImageFont.ImageFont",
    width: int,
) -> str:
    """The end of a text that fits; of a path, the end tells most."""
    if draw.textlength(text, font) <= width:
        return text
    while draw.textlength(f"...{text}", font) > width:
        text = text[1:]
    return f"...{text}"
