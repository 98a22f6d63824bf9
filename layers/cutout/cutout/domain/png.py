"""Whether an output is a whole PNG with transparency, while it streams past."""

import struct
import zlib

from cutout.domain.errors import BadOutput

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HAS_ALPHA_CHANNEL = {4, 6}  # colour types, PNG specification table 11.1


class PngCheck:
    """Follows a PNG while it streams past, chunk by chunk of the format, keeping only headers.

    `feed` every block of bytes, then `finish`; either raises `BadOutput`.
    https://www.w3.org/TR/png-3/#5Chunk-layout
    """

    def __init__(self, max_bytes: int) -> None:
        self.width = self.height = self.size = 0
        self._max_bytes = max_bytes
        self._pending = b""
        self._skip = 0
        self._crc = 0
        self._type = b""
        self._alpha = self._pixels = self._ended = False
        self._read = self._signature

    def feed(self, block: bytes | memoryview) -> None:
        """Take the next bytes, in any portions."""
        self.size += len(block)
        if self.size > self._max_bytes:
            raise BadOutput(f"the output has more than the {self._max_bytes} bytes allowed")
        self._pending += block
        while self._read():
            pass

    def finish(self) -> None:
        """All bytes have been fed: raise unless they were a whole PNG with transparency."""
        if not self._ended:
            raise BadOutput(f"the output ends in the middle, after {self.size} bytes")
        if not self._pixels:
            raise BadOutput("the output is a PNG without pixels")
        if not self._alpha:
            raise BadOutput("the output is a PNG without transparency")

    def _take(self, count: int) -> bytes | None:
        if len(self._pending) < count:
            return None
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _signature(self) -> bool:
        head = self._take(len(_SIGNATURE))
        if head is not None and head != _SIGNATURE:
            raise BadOutput("the output is not a PNG")
        if head is not None:
            self._read = self._chunk_header
        return head is not None

    def _chunk_header(self) -> bool:
        if self._ended and self._pending:
            raise BadOutput("the output has bytes after its end")
        head = self._take(8)
        if head is None:
            return False
        self._skip, self._type = struct.unpack(">I4s", head)
        self._crc = zlib.crc32(self._type)
        self._check_order()
        self._read = self._header_body if self._type == b"IHDR" else self._chunk_body
        return True

    def _check_order(self) -> None:
        # IHDR comes first, and once: the width is 0 until it was read.
        if (self._type == b"IHDR") != (self.width == 0):
            raise BadOutput("the output is a PNG without a proper header")
        self._alpha |= self._type == b"tRNS"
        self._pixels |= self._type == b"IDAT"

    def _header_body(self) -> bool:
        body = self._take(13)
        if body is None:
            return False
        self.width, self.height, _, colour = struct.unpack(">IIBB", body[:10])
        if self._skip != len(body) or not self.width or not self.height:
            raise BadOutput("the output is a PNG without a proper header")
        self._alpha = colour in _HAS_ALPHA_CHANNEL
        self._crc = zlib.crc32(body, self._crc)
        self._read = self._checksum
        return True

    def _chunk_body(self) -> bool:
        part = self._pending[: self._skip]
        self._pending = self._pending[len(part) :]
        self._crc = zlib.crc32(part, self._crc)
        self._skip -= len(part)
        if self._skip:
            return False
        self._read = self._checksum
        return True

    def _checksum(self) -> bool:
        stored = self._take(4)
        if stored is None:
            return False
        if struct.unpack(">I", stored)[0] != self._crc:
            raise BadOutput("the output is a PNG with damaged bytes")
        self._ended = self._type == b"IEND"
        self._read = self._chunk_header
        return True
