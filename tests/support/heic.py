"""HEIC files made without an HEVC encoder, which would be GPL."""

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Pixels of a tile."""

# What x265 makes of 64 x 64 white and black pixels; the decoder's settings are the same for both.
_SETTINGS = bytes.fromhex(
    "0103700000009000000000001ef000fcfdf8f800000f03600001001840010c01ffff0370000003009000000300000300"
    "1eba0240610001002b42010103700000030090000003000003001ea020810596ea4929ae6e021a0c0800000300c80000"
    "0300084062000100074401c172b02240"
)
_BLACK = bytes.fromhex("000000122801af06385b88e5edbff0970d559ac2467c")
_WHITE = bytes.fromhex("000000122801af06385b88e5e2bff0734d559ac2467c")
_GRID = 1  # its item; those of the tiles follow


def tiled(white: NDArray[np.bool_]) -> bytes:
    """A HEIC of tiles, white where `white` (rows, columns) is set and black elsewhere.

    As iPhones make them: an image of the type `grid` that is derived from images of the type `hvc1`
    (ISO/IEC 23008-12, 6.6.2.3).
    """
    rows, columns = white.shape
    grid = struct.pack(">4B2H", 0, 0, rows - 1, columns - 1, columns * SIDE, rows * SIDE)
    kind = _box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    size = len(_meta(white, at=0))  # wherever the data are
    data = _box(b"mdat", grid, _BLACK, _WHITE)
    return kind + _meta(white, at=len(kind) + size + 8) + data


def _box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


def _full(name: bytes, *content: bytes, version: int = 0) -> bytes:
    return _box(name, bytes([version, 0, 0, 0]), *content)


def _meta(white: NDArray[np.bool_], at: int) -> bytes:
    """What is in the file whose data begin `at`: the grid's, a black tile's, a white one's."""
    tiles = range(_GRID + 1, _GRID + 1 + white.size)
    black_at = at + 8
    places = [(at, 8)] + [
        (black_at + len(_BLACK), len(_WHITE)) if is_white else (black_at, len(_BLACK))
        for is_white in white.ravel()
    ]
    types = {_GRID: b"grid"} | dict.fromkeys(tiles, b"hvc1")
    infos = [
        _full(b"infe", struct.pack(">HH4sx", item, 0, name), version=2)
        for item, name in types.items()
    ]
    return _full(
        b"meta",
        _full(b"hdlr", bytes(4), b"pict", bytes(13)),
        _full(b"pitm", struct.pack(">H", _GRID)),
        _full(b"iloc", struct.pack(">BBH", 0x44, 0, len(places)), *_locations(places)),
        _full(b"iinf", struct.pack(">H", len(infos)), *infos),
        _full(b"iref", _box(b"dimg", struct.pack(f">HH{white.size}H", _GRID, white.size, *tiles))),
        _properties(white, tiles),
    )


def _locations(places: Iterable[tuple[int, int]]) -> Iterable[bytes]:
    for item, (offset, length) in enumerate(places, start=_GRID):
        yield struct.pack(">HHHII", item, 0, 1, offset, length)


def _properties(white: NDArray[np.bool_], tiles: Iterable[int]) -> bytes:
    """The decoder's settings and the sizes, and which are whose."""
    rows, columns = white.shape
    known = _box(
        b"ipco",
        _box(b"hvcC", _SETTINGS),
        _full(b"ispe", struct.pack(">II", SIDE, SIDE)),
        _full(b"ispe", struct.pack(">II", columns * SIDE, rows * SIDE)),
    )
    # One is essential (0x80): without its settings a tile cannot be decoded.
    whose = [struct.pack(">HBB", _GRID, 1, 3)]
    whose += [struct.pack(">HBBB", tile, 2, 0x80 | 1, 2) for tile in tiles]
    return _box(b"iprp", known, _full(b"ipma", struct.pack(">I", len(whose)), *whose))
