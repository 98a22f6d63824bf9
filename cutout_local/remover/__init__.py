"""Background removers: bytes in, a cutout with straight alpha out.

remove = load("u2netp")
cutout = remove(decode(data, max_pixels=50_000_000))
png = encode_png(cutout.rgba)
"""

from cutout_local.remover.decode import decode, encode_png
from cutout_local.remover.engines import load
from cutout_local.remover.errors import (
    ImageTooLarge,
    NoSubject,
    RemoverError,
    RemoverUnavailable,
    UnreadableImage,
)
from cutout_local.remover.result import Cutout, Level, Remover

__all__ = [
    "Cutout",
    "ImageTooLarge",
    "Level",
    "NoSubject",
    "Remover",
    "RemoverError",
    "RemoverUnavailable",
    "UnreadableImage",
    "decode",
    "encode_png",
    "load",
]
