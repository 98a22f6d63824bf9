"""The background remover: bytes in, a cutout with straight alpha out.

cutout = remove(decode(data, max_pixels=50_000_000))
png = encode_png(cutout.rgba)
"""

from cutout_local.remover.decode import decode, encode_png
from cutout_local.remover.errors import (
    ImageTooLarge,
    NoSubject,
    RemoverError,
    RemoverUnavailable,
    UnreadableImage,
)
from cutout_local.remover.result import Cutout, Level
from cutout_local.remover.saliency import load_network
from cutout_local.remover.u2netp import remove

__all__ = [
    "Cutout",
    "ImageTooLarge",
    "Level",
    "NoSubject",
    "RemoverError",
    "RemoverUnavailable",
    "UnreadableImage",
    "decode",
    "encode_png",
    "load_network",
    "remove",
]
