"""Detection of row ends in a CSV.

A quoted field may contain line terminators, so quotes are counted. This is correct as long as every quote opens or
closes a field. If there is any other quote (as in ``5" gun``), a slower scan finds the row ends exactly as the parser
does.

What is found of the bytes is kept as a bit for each, in words of 64, the first byte in the lowest bit of the first
word. Then 64 bytes at a time tell which of them are quoted, as in Langdale and Lemire, "Parsing gigabytes of JSON per
second", VLDB Journal 28, 2019.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_SCAN_BYTES = 2**18  # fits in the processor's cache; a multiple of 64

_QUOTE, _COMMA, _LF, _CR = b'",\n\r'
_FIELD = rb'(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+|)'
ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+(?:\r\n|\n|\r)")
_ROWS = re.compile(rb"(?:" + ROW.pattern + rb")*+")

_Octets = NDArray[np.uint8]
_Bits = NDArray[np.uint64]
_ONE, _LAST = np.uint64(1), np.uint64(63)


def last_row_end(data: bytearray) -> int:
    """Return the offset of the end of the last complete row in ``data``, or 0 if no row is complete.

    ``data`` must begin at the start of a row. The line terminator is part of the row.
    """
    last = data.rfind(b"\n")
    if last < 0:
        # Only \r can end a row here. The last byte is ignored, because it may be the first half of a \r\n.
        return exact_row_end(data) if b"\r" in data[:-1] else 0
    if b'"' not in data:
        return last + 1
    octets = np.frombuffer(data, np.uint8, last + 1)
    quotes, ends = _bits(octets, lambda part: part == _QUOTE), _bits(octets, _may_end_field)
    quoted = _quoted(quotes)
    if quoted[-1] >> np.uint64(last % 64) & _ONE:
        last = _last_bit(_bits(octets, lambda part: part == _LF) & ~quoted)
        if last < 0:
            return exact_row_end(data)
    if _last_bit(_before(_misplaced(quotes, quoted, ends), last)) >= 0:
        return exact_row_end(data)
    return last + 1


def _may_end_field(octets: _Octets) -> NDArray[np.bool_]:
    """Return which bytes are a comma or part of a line terminator."""
    ends: NDArray[np.bool_] = octets == _COMMA
    ends |= octets == _LF
    ends |= octets == _CR
    return ends


def _bits(octets: _Octets, test: Callable[[_Octets], NDArray[np.bool_]]) -> _Bits:
    """Return a bit for each byte that passes a test. Those after the last byte are 0."""
    packed = np.zeros(-(-len(octets) // 64) * 8, np.uint8)
    for start in range(0, len(octets), _SCAN_BYTES):
        part = np.packbits(test(octets[start : start + _SCAN_BYTES]), bitorder="little")
        packed[start // 8 : start // 8 + len(part)] = part
    bits: _Bits = packed.view("<u8")
    return bits


def _quoted(quotes: _Bits) -> _Bits:
    """Return which bytes have an odd number of quotes up to and including them: opening quotes and what they open."""
    quoted = quotes.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        quoted ^= quoted << np.uint64(shift)
    is_odd = np.bitwise_xor.accumulate(quoted >> _LAST)  # how many quotes are in the words up to each
    quoted[1:] ^= np.uint64(0) - is_odd[:-1]
    return quoted


def _misplaced(quotes: _Bits, quoted: _Bits, ends: _Bits) -> _Bits:
    """Return the quotes that neither open nor close a field, nor are doubled within one.

    If and only if there are none, an even number of quotes before a line terminator means that it is not quoted.
    """
    opening, closing = quotes & quoted, quotes & ~quoted
    follows = (ends | closing) << _ONE
    follows[1:] |= (ends | closing)[:-1] >> _LAST
    follows[0] |= _ONE
    precedes = (ends | quotes) >> _ONE
    precedes[:-1] |= (ends | quotes)[1:] << _LAST
    misplaced = opening & ~follows
    misplaced |= closing & ~precedes
    return misplaced


def _before(bits: _Bits, place: int) -> _Bits:
    """Return the bits before a place, in a view whose last word is changed."""
    bits = bits[: place // 64 + 1]
    bits[-1] &= (_ONE << np.uint64(place % 64)) - _ONE
    return bits


def _last_bit(bits: _Bits) -> int:
    """Return the place of the last bit that is 1, or -1 if all are 0."""
    words = np.flatnonzero(bits)
    return int(words[-1]) * 64 + int(bits[words[-1]]).bit_length() - 1 if len(words) else -1


def exact_row_end(data: bytearray) -> int:
    """Return the same offset as `last_row_end`, with a slower scan that reads quotes exactly as the parser does."""
    # A \r at the end may be the first half of a \r\n.
    rows = _ROWS.match(data, 0, len(data) - data.endswith(b"\r"))
    return rows.end() if rows else 0
