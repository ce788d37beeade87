"""Conversion of text and Arrow arrays to booleans, dates and timestamps, and the rows where the conversion fails.

In text, a boolean is ``true`` or ``false``, in any case; a date is written as ISO 8601 writes it, ``2026-11-28``; and a
timestamp is a date with a time of day after ``T`` or a blank, ``2026-11-28T17:05``, perhaps with seconds and up to six
places after them, or a date alone, which is its midnight. There is no zone: what an offset would mean beside times
without one can't be told. Years are those from 1 to 9999. In an Arrow array, the value counts, however it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from titanic_batch.reading.rules import TYPE, Mask

TIMESTAMP = pa.timestamp("us")

_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
TIMESTAMP_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?$"
_FIRST, _LAST = pa.scalar(datetime.min, TIMESTAMP), pa.scalar(datetime.max, TIMESTAMP)


def is_moment(arrow_type: pa.DataType) -> bool:
    """Return whether a type is a date, or a timestamp without a zone."""
    return bool(pa.types.is_date(arrow_type) or (pa.types.is_timestamp(arrow_type) and arrow_type.tz is None))


def booleans_from_text(text: pa.StringArray) -> tuple[pa.BooleanArray, dict[str, Mask]]:
    """Convert text without blanks around it to booleans; see `numbers.numbers_from_text`."""
    lower = pc.ascii_lower(text)
    is_true, is_false = pc.equal(lower, "true"), pc.equal(lower, "false")
    known = pc.or_(is_true, is_false)
    return pc.if_else(known, is_true, pa.scalar(None, pa.bool_())), _broken(pc.invert(known))


def moments_from_text(text: pa.StringArray, wanted: pa.DataType) -> tuple[pa.Array, dict[str, Mask]]:
    """Convert text without blanks around it to dates or timestamps; see `numbers.numbers_from_text`."""
    pattern, parse = (
        (_DATE, date.fromisoformat) if pa.types.is_date(wanted) else (TIMESTAMP_PATTERN, datetime.fromisoformat)
    )
    if pc.all(pc.match_substring_regex(text, pattern)).as_py() is not False:
        try:
            moments = text.cast(wanted)
        except pa.ArrowInvalid:  # there is no such day or time
            pass
        else:
            if not _is_beyond(moments):
                return moments, {}
    distinct = pc.dictionary_encode(text)
    values = pa.array([_parsed(value, pattern, parse) for value in distinct.dictionary.to_pylist()], wanted)
    moments = values.take(distinct.indices)
    return moments, _broken(pc.and_(moments.is_null(), text.is_valid()))


def moments_from_arrow(array: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, dict[str, Mask]]:
    """Convert dates or timestamps without a zone to either; a value that would be cut breaks the rule ``type``."""
    if array.type == wanted and not _is_beyond(array):
        return array, {}
    moments = array.cast(wanted, safe=False)  # cuts in silence, also days off timestamps, so that is looked for
    within = pc.and_(pc.greater_equal(moments.cast(TIMESTAMP, safe=False), _FIRST),
                     pc.less_equal(moments.cast(TIMESTAMP, safe=False), _LAST))  # fmt: skip
    fits = pc.and_(pc.equal(moments.cast(array.type, safe=False), array), within)
    return pc.if_else(fits, moments, pa.scalar(None, wanted)), _broken(pc.invert(fits))


def _parsed(value: str, pattern: str, parse: Callable[[str], Any]) -> Any:
    if not re.match(pattern, value) or value.endswith("\n"):
        return None
    try:
        return parse(value)
    except ValueError:
        return None


def _is_beyond(moments: pa.Array) -> bool:
    """Return whether one of the moments lies outside the years that Python and most others know."""
    low, high = pc.min_max(moments.cast(TIMESTAMP)).values()
    return bool(low.is_valid and (pc.less(low, _FIRST).as_py() or pc.greater(high, _LAST).as_py()))


def _broken(mask: pa.BooleanArray) -> dict[str, Mask]:
    rows: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return {TYPE: rows} if rows.any() else {}
