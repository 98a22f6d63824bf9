"""Whether the image data of a PNG is exactly the rows that its header promises."""

import zlib
from dataclasses import dataclass

from cutout.domain.errors import BadOutput

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by colour type
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
HAS_ALPHA_CHANNEL = {4, 6}
# Adam7: where each pass begins and how far apart its pixels are, in x and in y.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_MAX_SIDE = 1_000_000  # libpng's own limit
_PIECE_BYTES = 256 * 1024
_FILTERS = range(5)
CLEAR, OPAQUE = 0, 255


@dataclass(frozen=True)
class Header:
    """A PNG's IHDR. https://www.w3.org/TR/png-3/#11IHDR"""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filter: int
    interlace: int

    @property
    def valid(self) -> bool:
        """Whether the specification and libpng's limits allow it."""
        return (
            0 < self.width <= _MAX_SIDE
            and 0 < self.height <= _MAX_SIDE
            and self.depth in _DEPTHS.get(self.colour, ())
            and (self.compression, self.filter) == (0, 0)
            and self.interlace in {0, 1}
        )

    @property
    def bits(self) -> int:
        """Of a pixel."""
        return self.depth * _SAMPLES[self.colour]

    def passes(self) -> list[tuple[int, int]]:
        """Width and height of each pass over the image; one, unless it is interlaced."""
        if not self.interlace:
            return [(self.width, self.height)]
        sizes = [
            ((self.width - x + dx - 1) // dx, (self.height - y + dy - 1) // dy)
            for x, y, dx, dy in _ADAM7
        ]
        return [(width, height) for width, height in sizes if width > 0 and height > 0]


class PixelCheck:
    """Inflates image data as it comes, and looks at each row without keeping it.

    `feed` what is in the IDAT chunks, then `finish`; either raises `BadOutput`. `alpha` is `CLEAR`
    or `OPAQUE` if all pixels are, else None; it is known for images with an alpha channel only.
    https://www.w3.org/TR/png-3/#9Filters
    """

    def __init__(self, header: Header) -> None:
        self._inflater = zlib.decompressobj()
        self._passes = [_Pass(header, width, height) for width, height in header.passes()]
        self._rows = bytearray()
        self._alphas = {CLEAR, OPAQUE} if header.colour in HAS_ALPHA_CHANNEL else set()

    @property
    def alpha(self) -> int | None:
        return next(iter(self._alphas), None)

    def feed(self, data: bytes | memoryview) -> None:
        while not self._inflater.eof:
            try:
                piece = self._inflater.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise BadOutput("the output is a PNG whose pixels cannot be unpacked") from error
            self._take(piece)
            data = self._inflater.unconsumed_tail
            if not data and len(piece) < _PIECE_BYTES:
                break

    def finish(self) -> None:
        if self._passes or not self._inflater.eof:
            raise BadOutput("the output is a PNG with fewer pixels than its header says")

    def _take(self, piece: bytes) -> None:
        self._rows += piece
        while self._passes and (size := self._passes[0].look(self._rows, self._alphas)):
            del self._rows[:size]
            if not self._passes[0].rows_left:
                del self._passes[0]
        if self._rows and not self._passes:
            raise BadOutput("the output is a PNG with more pixels than its header says")


class _Pass:
    """The rows of one pass, each with the number of its filter before it."""

    def __init__(self, header: Header, width: int, height: int) -> None:
        self.rows_left = height
        self._first = True
        self._stride = 1 + (width * header.bits + 7) // 8
        self._pixel_bytes = header.bits // 8
        # Filters work on each byte of a pixel by itself: on those of alpha, as if alone.
        samples = range(self._pixel_bytes - header.depth // 8, self._pixel_bytes)
        self._alpha_bytes = samples if header.colour in HAS_ALPHA_CHANNEL else ()
        self._same = {
            (alpha, first, number): _same_alpha(alpha, number, width, first=first)
            for alpha in (CLEAR, OPAQUE)
            for first in (True, False)
            for number in _FILTERS
        }

    def look(self, data: bytearray, alphas: set[int]) -> int:
        """Check all rows that are complete, and return their size in bytes.

        What some pixel is not is taken out of `alphas`.
        """
        count = min(self.rows_left, len(data) // self._stride)
        size = count * self._stride
        if count and max(data[0 : size : self._stride]) not in _FILTERS:
            raise BadOutput("the output is a PNG with damaged pixels")
        for start in range(0, size, self._stride):
            if not alphas:
                break
            self._look_at_alpha(data, start, alphas)
        self.rows_left -= count
        return size

    def _look_at_alpha(self, data: bytearray, start: int, alphas: set[int]) -> None:
        for byte in self._alpha_bytes:
            row = data[start + 1 + byte : start + self._stride : self._pixel_bytes]
            for alpha in tuple(alphas):
                if row != self._same[alpha, self._first, data[start]]:
                    alphas.discard(alpha)
        self._first = False


def _same_alpha(alpha: int, number: int, width: int, *, first: bool) -> bytes:
    """A row's alpha after filtering, where it is the same in all pixels, also in the row above.

    There is no row above the first, which stands for zeros. So a row's filtered bytes tell whether
    it is such a row, and no filter has to be undone.
    """
    above = 0 if first else alpha
    begin, rest = (alpha - _predicted(number, left, above) for left in (0, alpha))
    return bytes([begin % 256]) + bytes([rest % 256]) * (width - 1)


def _predicted(number: int, left: int, above: int) -> int:
    """What a filter takes off a byte; above left is what is above, or nothing."""
    return (0, left, above, (left + above) // 2, left or above)[number]
