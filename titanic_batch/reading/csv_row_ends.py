"""Where the rows of a CSV end.

A quoted field may hold line ends, so the quotes are counted. That is right as long as every quote opens or closes a
field; where there is another one (``5" gun``, say), a slower scan finds the row ends exactly as the parser sees them.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_SCAN_BYTES = 2**20  # that much at a time stays near the processor

_QUOTE, _COMMA, _LF, _CR = b'",\n\r'
_FIELD = rb'(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+|)'
ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+(?:\r\n|\n|\r)")
_ROWS = re.compile(rb"(?:" + ROW.pattern + rb")*+")


def last_row_end(data: bytearray) -> int:
    """Return the offset just behind the last row that ends in ``data``, which starts at a row; 0 if none does."""
    last = data.rfind(b"\n")
    if last < 0:
        # Only \r can end a row here. It may be the half of a \r\n, so the last byte doesn't count.
        return end_of_rows(data) if b"\r" in data[:-1] else 0
    if b'"' not in data:
        return last + 1
    quotes = _quotes(data)
    before = int(np.searchsorted(quotes, last))
    while before % 2 and last >= 0:  # inside a quoted field: go back to before it
        last = data.rfind(b"\n", 0, int(quotes[before - 1]))
        before = int(np.searchsorted(quotes, last)) if last >= 0 else 0
    if last < 0 or not _well_quoted(data, quotes[:before]):
        return end_of_rows(data)
    return last + 1


def _quotes(data: bytearray) -> NDArray[np.int64]:
    """Return where the quotes are, rising."""
    array = np.frombuffer(data, dtype=np.uint8)
    starts = range(0, len(array), _SCAN_BYTES)
    return np.concatenate([_quotes_in(array[start : start + _SCAN_BYTES]) + start for start in starts])


def _quotes_in(array: NDArray[np.uint8]) -> NDArray[np.int64]:
    is_quote = array == _QUOTE
    whole = len(array) // 8 * 8
    # Most bytes are none, so eight at a time are passed over; of those left, the first is found, then the next.
    words = is_quote[:whole].view("<u8")
    places = np.flatnonzero(words != 0)
    words = words[places]
    found = []
    while len(places):
        found.append(8 * places + (np.bitwise_count((words & -words) - 1) >> 3))
        words &= words - 1
        more = np.flatnonzero(words)
        places, words = places[more], words[more]
    found.append(np.flatnonzero(is_quote[whole:]) + whole)
    return np.sort(np.concatenate(found), kind="stable")


def _well_quoted(data: bytearray, quotes: NDArray[np.int64]) -> bool:
    """Tell whether the quotes, in turn, open and close a field, or are doubled within one.

    Then and only then an even number of quotes before a line end means that the line end is not quoted.
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


def end_of_rows(data: bytearray) -> int:
    """Return what `last_row_end` does, slower and exactly as the parser reads quotes."""
    # A \r that is the last byte may be the half of a \r\n.
    rows = _ROWS.match(data, 0, len(data) - data.endswith(b"\r"))
    return rows.end() if rows else 0
