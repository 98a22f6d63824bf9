"""PNGs of every kind that the specification has, and broken ones, byte by byte.

Pillow writes only some colour types, depths and filters, and nothing that is broken.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tests.support.images import END, SIGNATURE, chunk

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_ADAM7 += [(0, 1, 1, 2)]

Samples = NDArray[np.uint16]


@dataclass(frozen=True)
class Png:
    """Height x width x samples, with the filters taken in turn; `chunks` come before the pixels."""

    samples: Samples
    colour: int = 6
    depth: int = 8
    interlace: int = 0
    filters: Sequence[int] = (0,)
    chunks: bytes = b""
    width: int | None = None
    height: int | None = None
    piece: int = 100

    @classmethod
    def random(
        cls, seed: int, width: int, height: int, colour: int, depth: int, **more: Any
    ) -> Self:
        """Random samples, and the chunks that the colour type needs to have transparency."""
        size = (height, width, SAMPLES[colour])
        samples = np.random.default_rng(seed).integers(0, 2**depth, size, dtype=np.uint16)
        made = cls(samples, colour, depth, chunks=_transparency(colour, depth))
        return replace(made, **more)

    def with_alpha(self, alpha: int) -> Self:
        """The same image, equally transparent everywhere."""
        samples = self.samples.copy()
        samples[:, :, -1] = alpha
        return replace(self, samples=samples)

    @property
    def header(self) -> bytes:
        height, width = self.samples.shape[:2]
        sides = struct.pack(">II", self.width or width, self.height or height)
        return chunk(b"IHDR", sides + bytes([self.depth, self.colour, 0, 0, self.interlace]))

    def rows(self) -> bytes:
        """What is compressed: filtered rows, each after the number of its filter."""
        return b"".join(self._filtered(samples) for samples in self._passes())

    def idat(self, rows: bytes | None = None) -> bytes:
        """The pixels, in chunks of `piece` bytes."""
        packed = zlib.compress(self.rows() if rows is None else rows, 1)
        parts = (packed[i : i + self.piece] for i in range(0, len(packed), self.piece))
        return b"".join(chunk(b"IDAT", part) for part in parts)

    def encode(self) -> bytes:
        """The file."""
        return SIGNATURE + self.header + self.chunks + self.idat() + END

    def _passes(self) -> Iterator[Samples]:
        if not self.interlace:
            yield self.samples
            return
        for x, y, dx, dy in _ADAM7:
            samples = self.samples[y::dy, x::dx]
            if samples.size:
                yield samples

    def _filtered(self, samples: Samples) -> bytes:
        step = max(1, SAMPLES[self.colour] * self.depth // 8)
        rows, above = [self._packed(row) for row in samples], b""
        out = bytearray()
        for row, number in zip(rows, islice(cycle(self.filters), len(rows)), strict=True):
            out.append(number)
            out += _filter(number, row, above or bytes(len(row)), step)
            above = row
        return bytes(out)

    def _packed(self, row: Samples) -> bytes:
        if self.depth == 16:
            return row.astype(">u2").tobytes()
        bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - self.depth :]
        return np.packbits(bits.reshape(-1)).tobytes()


def _transparency(colour: int, depth: int) -> bytes:
    tables = {
        0: chunk(b"tRNS", b"\0\1"),
        2: chunk(b"tRNS", b"\0\1\0\2\0\3"),
        3: chunk(b"PLTE", bytes(3 * 2**depth)) + chunk(b"tRNS", b"\0\x80"),
    }
    return tables.get(colour, b"")


def _filter(number: int, row: bytes, above: bytes, step: int) -> bytes:
    out = bytearray()
    for i, value in enumerate(row):
        left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
        up = above[i]
        taken = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[number % 5]
        out.append((value - taken) % 256)
    return bytes(out)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


GOOD = Png.random(1, 9, 7, 6, 8, filters=(0, 1, 2, 3, 4))


def _with_header(**fields: int) -> bytes:
    values = {"width": 9, "height": 7, "depth": 8, "colour": 6, "zip": 0, "filter": 0, "lace": 0}
    body = struct.pack(">IIBBBBB", *(values | fields).values())
    return SIGNATURE + chunk(b"IHDR", body) + GOOD.idat() + END


def _text_bomb(kind: bytes, before: bytes) -> bytes:
    bomb = zlib.compress(bytes(10_000_000), 1)
    return replace(GOOD, chunks=chunk(kind, before + bomb)).encode()


_FILE = GOOD.encode()
_ROWS = GOOD.rows()
_STRIDE = 1 + 9 * 4

# PngSuite's corrupt files (http://www.schaik.com/pngsuite/#corrupted), by their names there.
SUITE = {
    "xs1n0g01 signature byte 1 MSBit reset to zero": bytes([_FILE[0] & 0x7F]) + _FILE[1:],
    "xs2n0g01 signature byte 2 is a Q": _FILE[:1] + b"Q" + _FILE[2:],
    "xs4n0g01 signature byte 4 lowercase": _FILE[:3] + b"g" + _FILE[4:],
    "xs7n0g01 7th byte a space instead of control-Z": _FILE[:6] + b" " + _FILE[7:],
    "xcrn0g04 added cr bytes": _FILE.replace(b"\n", b"\r\n"),
    "xlfn0g04 added lf bytes": _FILE.replace(b"\r", b"\r\n"),
    "xhdn0g08 incorrect IHDR checksum": _FILE[:29] + b"\0\0\0\0" + _FILE[33:],
    "xcsn0g01 incorrect IDAT checksum": _FILE[:-20] + bytes([_FILE[-20] ^ 255]) + _FILE[-19:],
    "xc1n0g08 color type 1": _with_header(colour=1),
    "xc9n2c08 color type 9": _with_header(colour=9),
    "xd0n2c08 bit-depth 0": _with_header(depth=0),
    "xd3n2c08 bit-depth 3": _with_header(depth=3),
    "xd9n2c08 bit-depth 99": _with_header(depth=99),
    "xdtn0g01 missing IDAT chunk": SIGNATURE + GOOD.header + END,
}
BROKEN = SUITE | {
    "pixels that are no zlib": SIGNATURE + GOOD.header + chunk(b"IDAT", b"garbage!" * 20) + END,
    "no byte of pixels": SIGNATURE + GOOD.header + chunk(b"IDAT", b"") + END,
    "a row too few": SIGNATURE + GOOD.header + GOOD.idat(_ROWS[:-_STRIDE]) + END,
    "a byte too few": SIGNATURE + GOOD.header + GOOD.idat(_ROWS[:-1]) + END,
    "a byte too many": SIGNATURE + GOOD.header + GOOD.idat(_ROWS + b"\0") + END,
    "a bomb of pixels": SIGNATURE + GOOD.header + GOOD.idat(_ROWS + bytes(50_000_000)) + END,
    "rows packed without an end": SIGNATURE
    + GOOD.header
    + chunk(b"IDAT", zlib.compress(_ROWS)[:-4])
    + END,
    "a wrong checksum of the pixels": SIGNATURE
    + GOOD.header
    + chunk(b"IDAT", zlib.compress(_ROWS)[:-4] + b"\0\0\0\0")
    + END,
    "filter 5": SIGNATURE + GOOD.header + GOOD.idat(b"\5" + _ROWS[1:]) + END,
    "filter 255 in the last row": SIGNATURE
    + GOOD.header
    + GOOD.idat(_ROWS[:-_STRIDE] + b"\xff" + _ROWS[1 - _STRIDE :])
    + END,
    "60000 x 60000 in 300 bytes": _with_header(width=60_000, height=60_000),
    "500 x 500 with 10 bytes": SIGNATURE
    + replace(GOOD, width=500, height=500).header
    + GOOD.idat(bytes(10))
    + END,
    "a side of 2**31": _with_header(width=2**31, height=1),
    "a side longer than libpng takes": _with_header(width=1_000_001, height=1),
    "compression 1": _with_header(zip=1),
    "filter method 1": _with_header(filter=1),
    "interlace 2": _with_header(lace=2),
    "interlaced, says the header alone": _with_header(lace=1),
    "an unknown critical chunk": replace(GOOD, chunks=chunk(b"ABCD", b"x")).encode(),
    "a chunk without a name": replace(GOOD, chunks=chunk(b"\0\1\2\3", b"x")).encode(),
    "pixels in two places": SIGNATURE
    + GOOD.header
    + GOOD.idat()[:112]
    + chunk(b"tIME", bytes(7))
    + GOOD.idat()[112:]
    + END,
    "transparency after the pixels": SIGNATURE
    + Png.random(1, 9, 7, 0, 8).header
    + Png.random(1, 9, 7, 0, 8).idat()
    + chunk(b"tRNS", b"\0\1")
    + END,
    "no palette": replace(Png.random(1, 9, 7, 3, 8), chunks=chunk(b"tRNS", b"\0")).encode(),
    "a palette of 4 bytes": replace(
        Png.random(1, 9, 7, 3, 8), chunks=chunk(b"PLTE", b"1234") + chunk(b"tRNS", b"\0")
    ).encode(),
    "more transparency than palette": replace(
        Png.random(1, 9, 7, 3, 8), chunks=chunk(b"PLTE", b"123") + chunk(b"tRNS", b"\0\0")
    ).encode(),
    "half a transparent colour": replace(
        Png.random(1, 9, 7, 2, 8), chunks=chunk(b"tRNS", b"\0\0")
    ).encode(),
    "an end with something in it": SIGNATURE + GOOD.header + GOOD.idat() + chunk(b"IEND", b"x"),
    "a short gamma": replace(GOOD, chunks=chunk(b"gAMA", b"123")).encode(),
    "short chromaticities": replace(GOOD, chunks=chunk(b"cHRM", b"123")).encode(),
    "no rendering intent": replace(GOOD, chunks=chunk(b"sRGB", b"")).encode(),
    "short sides of a pixel": replace(GOOD, chunks=chunk(b"pHYs", b"123")).encode(),
    "an unknown compression of a profile": replace(
        GOOD, chunks=chunk(b"iCCP", b"name\0\7data")
    ).encode(),
    "a profile without its name": replace(GOOD, chunks=chunk(b"iCCP", b"name")).encode(),
    "an unknown compression of a text": replace(
        GOOD, chunks=chunk(b"zTXt", b"name\0\7data")
    ).encode(),
    "a bomb of a text": _text_bomb(b"zTXt", b"name\0\0"),
    "a bomb of an international text": _text_bomb(b"iTXt", b"name\0\1\0en\0name\0"),
    "a bomb of a profile": _text_bomb(b"iCCP", b"name\0\0"),
    "a hundred texts": replace(GOOD, chunks=chunk(b"tEXt", b"a\0b") * 100).encode(),
    "too many empty chunks": SIGNATURE + GOOD.header + chunk(b"prVt", b"") * 200_001,
    "an animation": replace(GOOD, chunks=chunk(b"acTL", b"12345678")).encode(),
}
