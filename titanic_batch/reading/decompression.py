"""Decompression of gzip, which pads and joins its streams in ways that Arrow's decompressor does not accept."""

from __future__ import annotations

import io
import zlib
from typing import Any

_WBITS = 31  # has zlib expect gzip's header and trailer
_INPUT_BYTES = 2**16
_OUTPUT_BYTES = 2**18  # fits in the processor's cache, from where it is copied
_FIRST_PIECE_BYTES = 2**10  # members may be tiny, and zlib copies what follows one in the same piece


class GzipReader(io.RawIOBase):
    """Reads what a gzip stream contains, as ``gzip`` does: one member or several, which zero bytes may follow.

    Tapes and block devices pad with zeros. Anything else after the last member would be dropped rows, and is an error.

    Parameters
    ----------
    stream
        The compressed stream. It is not closed.
    """

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase) -> None:
        self._stream = stream
        self._packed = memoryview(b"")  # read from the stream, and not decompressed yet
        self._member: zlib._Decompress | None = None
        self._piece_bytes = _FIRST_PIECE_BYTES
        self._members = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer and return how many bytes there are; fewer than ``len(buffer)`` only at the end.

        Raises
        ------
        EOFError
            The stream is cut short.
        zlib.error
            It is damaged, or not gzip.
        """
        filled = 0
        while filled < len(buffer) and self._fill() and (self._member is not None or self._begin_member()):
            data = self._decompress(min(len(buffer) - filled, _OUTPUT_BYTES))
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        if filled < len(buffer) and self._member is not None:
            raise EOFError("the gzip stream has no end")
        return filled

    def _fill(self) -> bool:
        """Read more of the stream if nothing is left to decompress. Return False at its end."""
        if not self._packed:
            self._packed = memoryview(self._stream.read(_INPUT_BYTES) or b"")
        return bool(self._packed)

    def _begin_member(self) -> bool:
        """Begin another member. Return False if zeros follow, to the end of the stream."""
        if self._members and not self._packed[0]:
            while self._fill():
                if any(self._packed):
                    raise zlib.error("data after the padding")
                self._packed = memoryview(b"")
            return False
        self._member = zlib.decompressobj(_WBITS)
        self._piece_bytes = _FIRST_PIECE_BYTES
        self._members += 1
        return True

    def _decompress(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the current member."""
        assert self._member is not None  # noqa: S101  # for the type checker
        piece = self._packed[: self._piece_bytes]
        data = self._member.decompress(piece, size)
        used = len(piece) - len(self._member.unconsumed_tail) - len(self._member.unused_data)
        self._packed = self._packed[used:]
        self._piece_bytes = min(2 * self._piece_bytes, _INPUT_BYTES)
        if self._member.eof:
            self._member = None
        return data


def gunzipped(stream: io.RawIOBase) -> io.BufferedReader:
    """Return what a gzip stream contains. It is decompressed ahead, so damage at the beginning is found at once."""
    return io.BufferedReader(GzipReader(stream), _OUTPUT_BYTES)
