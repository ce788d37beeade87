"""One column into the type that the contract names, with the rows where that cannot be done.

Text (a CSV) and Arrow arrays (a Parquet file) come to the same values: a whole number may be written ``3``, ``3.0`` or
``+3``, or be stored as an integer, a decimal or a float; a missing value is the empty field, ``NA``, ``NaN``, ``nan``,
``null``, an Arrow null or a float NaN. Strings come out dictionary-encoded, so that what follows looks at each
distinct value and not at each row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from titanic_batch.reading.escapes import ESCAPED, decoded, unescape
from titanic_batch.reading.rules import ENCODING, NOT_FINITE, OUT_OF_RANGE, TYPE, Mask

MISSING_TEXTS = ("", "NA", "NaN", "nan", "null")
STRING = pa.dictionary(pa.int32(), pa.string())
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,9})?", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_NO_TEXT = pa.scalar(None, pa.string())


def type_name(wanted: pa.DataType) -> str:
    """Return how a message calls the type of a column."""
    return "text" if wanted == STRING else "an integer" if pa.types.is_integer(wanted) else "a number"


def is_text(found: pa.DataType) -> bool:
    """Tell whether an Arrow type holds text."""
    if pa.types.is_dictionary(found):
        return is_text(found.value_type)
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def is_compatible(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether `from_arrow` can make ``wanted`` out of the Arrow type ``found``."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_dictionary(found):
        return is_compatible(found.value_type, wanted)
    if wanted == STRING:
        return is_text(found)
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found))


def encoded(strings: pa.Array) -> pa.DictionaryArray:
    """Return strings, or a dictionary of them, as ``STRING`` with the spellings of a missing value as null."""
    if not pa.types.is_dictionary(strings.type):
        strings = pc.dictionary_encode(strings.cast(pa.string()))
    elif strings.type != STRING:
        strings = strings.cast(STRING)
    values = strings.dictionary
    if values.null_count or len(values.unique()) < len(values):  # Arrow allows both, pandas neither
        strings = pc.dictionary_encode(strings.dictionary_decode())
    missing = pc.is_in(strings.dictionary, pa.array(MISSING_TEXTS)).to_numpy(zero_copy_only=False)
    if not missing.any():
        return strings
    present = pc.fill_null(strings.indices, 0).to_numpy()
    null = missing[present]
    if strings.null_count:
        null |= strings.is_null().to_numpy(zero_copy_only=False)
    return pa.DictionaryArray.from_arrays(pa.array(present, mask=null), strings.dictionary)


def valid_text(text: pa.Array) -> tuple[pa.Array, dict[str, Mask]]:
    """Return an Arrow array of text with what is not UTF-8, as some writers leave it, as null, and the mask of it."""
    is_encoded = pa.types.is_dictionary(text.type)
    values = text.dictionary if is_encoded else text
    raw = values.cast(pa.large_binary())
    try:
        raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        pass
    else:
        return text, {}
    values = pa.array([None if value is None else decoded(value) for value in raw.to_pylist()], values.type)
    foreign = _mask(pc.and_(values.is_null(), raw.is_valid()))
    if not is_encoded:
        return values, {ENCODING: foreign}
    rows = foreign[pc.fill_null(text.indices, 0).to_numpy()] & _mask(text.is_valid())
    return pa.DictionaryArray.from_arrays(text.indices, values), {ENCODING: rows} if rows.any() else {}


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, which shares its memory if it is in one piece: ``combine_chunks`` always copies."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def stored_bounds(numbers: pa.Array) -> tuple[float, float]:
    """Return the least and the greatest of what is stored for some numbers, NaN if it is among it.

    What is stored where one is missing may be anything. So these are bounds, and not always the narrowest; but Arrow
    takes twenty times as long where it has to look at what is missing.
    """
    dtype = np.dtype(numbers.type.to_pandas_dtype())
    stored = np.frombuffer(numbers.buffers()[1], dtype, len(numbers), numbers.offset * dtype.itemsize)
    return stored.min(), stored.max()


def without_nan(numbers: pa.Array) -> pa.Array:
    """Return numbers, chunked or not, with NaN, however it was spelt, as null."""
    if not pa.types.is_floating(numbers.type):
        return numbers
    nan = pc.is_nan(numbers)
    return pc.if_else(nan, pa.scalar(None, numbers.type), numbers) if pc.any(nan).as_py() else numbers


def from_text(text: pa.StringArray, wanted: pa.DataType, *, escaped: bool) -> tuple[pa.Array, dict[str, Mask]]:
    """Return text as an array of type ``wanted``, and for each broken rule the mask of its rows.

    A row that breaks a rule, or was null, is null; a plain string stays as it stands, even if it spells a missing
    value. ``escaped`` tells that the text may hold characters of `escape`.
    """
    broken: dict[str, Mask] = {}
    if escaped:
        foreign = pc.fill_null(pc.match_substring_regex(text, ESCAPED.pattern), False)
        if pc.any(foreign).as_py():
            distinct = pc.dictionary_encode(text.filter(foreign))
            values = pa.array(
                [decoded(unescape(value.encode())) for value in distinct.dictionary.to_pylist()], pa.string()
            )
            text = pc.replace_with_mask(text, foreign, values.take(distinct.indices))
            mask = _mask(pc.and_(foreign, pc.is_null(text)))
            if mask.any():
                broken[ENCODING] = mask
    if wanted == STRING:
        return encoded(text), broken
    if wanted == pa.string():
        return text, broken
    filled = pc.if_else(pc.is_in(text, pa.array(MISSING_TEXTS)), _NO_TEXT, text)
    try:
        return without_nan(filled.cast(wanted)), broken
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(
            filled, r"^-?[0-9]{1,18}$" if pa.types.is_integer(wanted) else r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"
        )
        numbers = pc.if_else(plain, filled, _NO_TEXT).cast(wanted)
        return _with_odd(numbers, filled, pc.fill_null(pc.invert(plain), False), wanted, broken, _number)


def from_arrow(array: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, dict[str, Mask]]:
    """Return an array of a compatible type as ``wanted``, and for each broken rule the mask of its rows.

    A row that breaks a rule, or was null or NaN, is null.
    """
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), wanted), {}
    if wanted == STRING:
        array, broken = valid_text(array)
        return encoded(array), broken
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        array = without_nan(array.cast(pa.float64()))
    if pa.types.is_decimal(array.type) and array.type.bit_width < 128:
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    if not pa.types.is_integer(wanted):
        return array.cast(wanted, safe=False), {}
    try:
        return array.cast(wanted), {}
    except pa.ArrowInvalid:
        odd = pc.is_valid(array)
        return _with_odd(pa.nulls(len(array), wanted), array, odd, wanted, {}, _whole)


def _with_odd(
    numbers: pa.Array,
    values: pa.Array,
    odd: pa.BooleanArray,
    wanted: pa.DataType,
    broken: dict[str, Mask],
    convert: Callable[[Any, pa.DataType], Any],
) -> tuple[pa.Array, dict[str, Mask]]:
    """Fill ``numbers`` where ``odd`` with what ``convert`` makes of each distinct value there."""
    rows = np.flatnonzero(_mask(odd))
    distinct = pc.dictionary_encode(values.take(pa.array(rows)))
    results = [convert(value, wanted) for value in distinct.dictionary.to_pylist()]
    codes = distinct.indices.to_numpy()
    for rule in {result for result in results if isinstance(result, str)}:
        mask = broken.setdefault(rule, np.zeros(len(values), dtype=np.bool_))
        mask[rows] |= np.array([result == rule for result in results])[codes]
    converted = pa.array([None if isinstance(result, str) else result for result in results], wanted)
    return pc.replace_with_mask(numbers, odd, converted.take(distinct.indices)), broken


def _number(text: str, wanted: pa.DataType) -> Any:
    """Return the number that one text stands for, or the name of the rule that it breaks."""
    trimmed = pa.scalar(text.strip(" \t"))
    if pa.types.is_integer(wanted):
        try:
            return trimmed.cast(wanted).as_py()
        except pa.ArrowInvalid:
            pass
        if _DECIMAL.fullmatch(trimmed.as_py()):
            return _whole(Decimal(trimmed.as_py()), wanted)
    try:
        number = trimmed.cast(pa.float64()).as_py()
    except pa.ArrowInvalid:
        return TYPE
    if np.isnan(number):
        return None
    if pa.types.is_integer(wanted):
        return NOT_FINITE if np.isinf(number) else TYPE
    return number


def _whole(value: Any, wanted: pa.DataType) -> Any:
    """Return a number as an integer, or the name of the rule that it breaks."""
    if isinstance(value, float) and np.isinf(value):
        return NOT_FINITE
    if isinstance(value, Decimal) and value and value.adjusted() > 19:
        return OUT_OF_RANGE
    if value != int(value):
        return TYPE
    return int(value) if int(value) in _INT64 else OUT_OF_RANGE


def _mask(values: pa.Array) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask
