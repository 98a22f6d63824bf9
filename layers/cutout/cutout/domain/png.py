"""Whether an output is a whole PNG with transparency, while it streams past."""

import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cutout.domain.errors import BadOutput, EmptyCutout, OpaqueCutout
from cutout.domain.pixels import CLEAR, HAS_ALPHA_CHANNEL, OPAQUE, Header, PixelCheck
from cutout.domain.tasks import Confidence

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_BEFORE_PIXELS = {b"PLTE", b"tRNS"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_ANY_SIZE = range(2**31)
_TEXT_SIZE = range(1024 * 1024 + 1)
# How many bytes a chunk may have, where decoders insist on it; text and profiles as Pillow does.
_SIZES = {
    b"IHDR": {13},
    b"PLTE": range(3, 3 * 256 + 1),
    b"IEND": {0},
    b"tRNS": range(1, 257),
    b"bKGD": {1, 2, 6},
    b"gAMA": _ANY_SIZE[4:],
    b"cHRM": _ANY_SIZE[32:],
    b"sRGB": _ANY_SIZE[1:],
    b"pHYs": _ANY_SIZE[9:],
    b"iCCP": _TEXT_SIZE[3:],
    b"tEXt": _TEXT_SIZE,
    b"zTXt": _TEXT_SIZE,
    b"iTXt": _TEXT_SIZE,
}
_PACKED = {b"iCCP", b"zTXt", b"iTXt"}
_KEPT = {b"IHDR", b"PLTE", b"tRNS"} | _PACKED
_MAX_CHUNKS = 200_000  # of 8 KB, as encoders write them, 1.6 GB; of empty ones, seconds
_MAX_TEXTS = 60  # which together stay below Pillow's 64 MB
# Bytes of a tRNS chunk by colour type; in a palette, one for each colour at most.
_KEY_BYTES = {0: 2, 2: 6}
_PALETTE = 3


@dataclass(frozen=True)
class Output:
    """A PNG that comes from somewhere in blocks, and how sure its remover was, if it said so.

    The blocks raise what opening it raises.
    """

    blocks: Iterator[bytes]
    confidence: Confidence | None = None


class OpaqueCutouts(StrEnum):
    """What becomes of an output without a transparent pixel: it is saved, or its task fails."""

    SAVE = "save"
    FAIL = "fail"


class PngCheck:
    """Follows a PNG while it streams past, chunk by chunk of the format, and keeps no pixels.

    `feed` every block of bytes, then `finish`; either raises `BadOutput`, and the end `EmptyCutout`
    or `OpaqueCutout`. What passes can be decoded, and has at most `max_pixels`.
    https://www.w3.org/TR/png-3/#5Chunk-layout
    """

    def __init__(self, max_bytes: int, max_pixels: int, *, refuse_opaque: bool = False) -> None:
        self.width = self.height = self.size = 0
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._refuse_opaque = refuse_opaque
        self._block = memoryview(b"")
        self._last = b""
        self._seen: set[bytes] = set()
        self._chunks = self._texts = self._colours = 0
        self._parser = self._parse()
        next(self._parser)

    def feed(self, block: bytes | memoryview) -> None:
        """Take the next bytes, in any portions."""
        self.size += len(block)
        if self.size > self._max_bytes:
            raise BadOutput(f"the output has more than the {self._max_bytes} bytes allowed")
        self._block = memoryview(block)
        if block:
            next(self._parser)

    def finish(self) -> None:
        """All bytes have been fed: raise unless they were a whole PNG with something in it."""
        if self._last != b"IEND":
            raise BadOutput(f"the output ends in the middle, after {self.size} bytes")
        if self._pixels.alpha == CLEAR:
            raise EmptyCutout("the output is wholly transparent: the model found no subject")
        if self._pixels.alpha == OPAQUE and self._refuse_opaque:
            raise OpaqueCutout("the output is wholly opaque: the model found no background")

    def _parse(self) -> Generator[None]:
        """Runs until it needs bytes that have not come yet."""
        if (yield from self._exactly(len(_SIGNATURE))) != _SIGNATURE:
            raise BadOutput("the output is not a PNG")
        while self._last != b"IEND":
            yield from self._chunk()
        yield from self._some(1)
        raise BadOutput("the output has bytes after its end")

    def _some(self, most: int) -> Generator[None, None, memoryview]:
        """The next bytes: at least one, at most so many."""
        while not self._block:
            yield
        part, self._block = self._block[:most], self._block[most:]
        return part

    def _exactly(self, count: int) -> Generator[None, None, bytes]:
        found = b""
        while len(found) < count:
            found += yield from self._some(count - len(found))
        return found

    def _chunk(self) -> Generator[None]:
        length, kind = struct.unpack(">I4s", (yield from self._exactly(8)))
        self._check_place(kind)
        _check_size(kind, length)
        crc, body = zlib.crc32(kind), bytearray()
        while length:
            part = yield from self._some(length)
            crc, length = zlib.crc32(part, crc), length - len(part)
            if kind == b"IDAT":
                self._pixels.feed(part)
            elif kind in _KEPT:
                body += part
        if (yield from self._exactly(4)) != struct.pack(">I", crc):
            raise BadOutput("the output is a PNG with damaged bytes")
        self._read(kind, bytes(body))
        self._last = kind
        self._seen.add(kind)

    def _check_place(self, kind: bytes) -> None:
        self._chunks += 1
        # IHDR comes first, and once.
        if (kind == b"IHDR") != (not self._seen):
            raise BadOutput("the output is a PNG without a proper header")
        if kind in _ANIMATION:
            raise BadOutput("the output is an animated PNG")
        late = kind in _BEFORE_PIXELS and self._seen & {kind, b"IDAT"}
        split = kind == b"IDAT" and b"IDAT" in self._seen and self._last != b"IDAT"
        unknown = not kind.isalpha() or (kind[:1].isupper() and kind not in _CRITICAL)
        if late or split or unknown or self._chunks > _MAX_CHUNKS:
            raise BadOutput("the output is a PNG with wrong, misplaced or too many chunks")
        if kind == b"IDAT":
            self._check_before_pixels()
        if kind == b"IEND" and b"IDAT" not in self._seen:
            raise BadOutput("the output is a PNG without pixels")

    def _check_before_pixels(self) -> None:
        if self._header.colour == _PALETTE and not self._colours:
            raise BadOutput("the output is a PNG without its palette")
        if self._header.colour not in HAS_ALPHA_CHANNEL and b"tRNS" not in self._seen:
            raise BadOutput("the output is a PNG without transparency")

    def _read(self, kind: bytes, body: bytes) -> None:
        """Take in a chunk that has come whole; all but those of `_KEPT` without their bodies."""
        match kind:
            case b"IHDR":
                self._read_header(body)
            case b"PLTE":
                self._colours, rest = divmod(len(body), 3)
                if rest:
                    raise BadOutput("the output is a PNG with a broken palette")
            case b"tRNS":
                self._check_key(len(body))
            case b"iCCP" | b"tEXt" | b"zTXt" | b"iTXt":
                self._texts += 1
                if self._texts > _MAX_TEXTS or not _is_text(kind, body):
                    raise BadOutput("the output is a PNG with broken or too many texts")
            case b"IEND":
                self._pixels.finish()

    def _read_header(self, body: bytes) -> None:
        self._header = Header(*struct.unpack(">IIBBBBB", body))
        if not self._header.valid:
            raise BadOutput("the output is a PNG without a proper header")
        self.width, self.height = self._header.width, self._header.height
        if self.width * self.height > self._max_pixels:
            raise BadOutput(
                f"the output has {self.width} x {self.height} pixels, and no upload may have more "
                f"than {self._max_pixels}"
            )
        self._pixels = PixelCheck(self._header)

    def _check_key(self, size: int) -> None:
        """Which colour is transparent, of an image without an alpha channel."""
        colour = self._header.colour
        most = self._colours if colour == _PALETTE else size
        if size > most or size != _KEY_BYTES.get(colour, size):
            raise BadOutput("the output is a PNG with broken transparency")


def _check_size(kind: bytes, length: int) -> None:
    if length not in _SIZES.get(kind, _ANY_SIZE):
        what = "without a proper header" if kind == b"IHDR" else "with a chunk of a wrong size"
        raise BadOutput(f"the output is a PNG {what}")


def _is_text(kind: bytes, body: bytes) -> bool:
    """Whether a text or profile unpacks as far as decoders insist: to a bounded size."""
    _, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return True
    if kind == b"iTXt":  # flag, method, language, translated keyword
        compressed = rest[:1] > b"\0" and rest[1:2] == b"\0"
        return not compressed or _is_bounded(rest[2:].split(b"\0", 2)[-1])
    known = rest[:1] == b"\0" or (kind == b"zTXt" and not rest)
    return known and _is_bounded(rest[1:])


def _is_bounded(packed: bytes) -> bool:
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(packed, _TEXT_SIZE[-1])
    except zlib.error:
        return True  # decoders leave such a text out
    return not inflater.unconsumed_tail
