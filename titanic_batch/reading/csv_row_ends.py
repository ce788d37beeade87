"""Detection of row ends in a CSV.

A quoted field may contain line terminators, so quotes are counted. This is correct as long as every quote opens or
closes a field. If there is any other quote (as in ``5" gun``), a slower scan finds the row ends exactly as the parser
does.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_SCAN_BYTES = 2**20  # fits in the processor's cache

_QUOTE, _COMMA, _LF, _CR = b'",\n\r'
_FIELD = rb'(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+|)'
ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+(?:\r\n|\n|\r)")
_ROWS = re.compile(rb"(?:" + ROW.pattern + rb")*+")


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
    quotes = _quote_offsets(data)
    before = int(np.searchsorted(quotes, last))
    while before % 2 and last >= 0:  # inside a quoted field: continue before it
        last = data.rfind(b"\n", 0, int(quotes[before - 1]))
        before = int(np.searchsorted(quotes, last)) if last >= 0 else 0
    if last < 0 or not _well_quoted(data, quotes[:before]):
        return exact_row_end(data)
    return last + 1


def _quote_offsets(data: bytearray) -> NDArray[np.int64]:
    """Return the offsets of the quotes, in ascending order."""
    array = np.frombuffer(data, dtype=np.uint8)
    starts = range(0, len(array), _SCAN_BYTES)
    return np.concatenate([_quote_offsets_in(array[start : start + _SCAN_BYTES]) + start for start in starts])


def _quote_offsets_in(array: NDArray[np.uint8]) -> NDArray[np.int64]:
    is_quote = array == _QUOTE
    aligned = len(array) // 8 * 8
    # Quotes are rare, so eight bytes without one are skipped at a time. Each pass of the loop finds the first quote in
    # each remaining word and clears it.
    words = is_quote[:aligned].view("<u8")
    positions = np.flatnonzero(words != 0)
    words = words[positions]
    found = []
    while len(positions):
        found.append(8 * positions + (np.bitwise_count((words & -words) - 1) >> 3))
        words &= words - 1
        more = np.flatnonzero(words)
        positions, words = positions[more], words[more]
    found.append(np.flatnonzero(is_quote[aligned:]) + aligned)
    return np.sort(np.concatenate(found), kind="stable")


def _well_quoted(data: bytearray, quotes: NDArray[np.int64]) -> bool:
    """Return whether the quotes alternately open and close a field, or are doubled within one.

    If and only if they do, an even number of quotes before a line terminator means that it is not quoted.
    """
    if not len(quotes):
        return True
    array = np.frombuffer(data, dtype=np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before = array[np.maximum(opening - 1, 0)]
    starts = (before == _COMMA) | (before == _LF) | (before == _CR) | (opening == 0)
    starts[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = array[np.minimum(closing + 1, len(array) - 1)]
    ends = (after == _COMMA) | (after == _LF) | (after == _CR) | (after == _QUOTE)
    return bool(starts.all() and ends.all())


def exact_row_end(data: bytearray) -> int:
    """Return the same offset as `last_row_end`, with a slower scan that reads quotes exactly as the parser does."""
    # A \r at the end may be the first half of a \r\n.
    rows = _ROWS.match(data, 0, len(data) - data.endswith(b"\r"))
    return rows.end() if rows else 0
