"""Conversion of a column to the type that the contract requires, and the rows where the conversion fails.

Text (from CSV) and Arrow arrays (from Parquet) are converted to the same values. A missing value is an empty field,
``NA``, ``NaN``, ``nan``, ``null``, an Arrow null or a float NaN. Blanks and tabs around a number are ignored; see
`numbers` for how it may be written, and `moments` for booleans, dates and timestamps. Strings are dictionary-encoded,
so that later steps process each distinct value instead of each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from titanic_batch.reading.escapes import ESCAPED, decode_or_none, unescape
from titanic_batch.reading.moments import booleans_from_text, is_moment, moments_from_arrow, moments_from_text
from titanic_batch.reading.numbers import (
    floats_from_decimals,
    has_nan,
    integers_from_arrow,
    numbers_from_text,
    parsed_by_arrow,
)
from titanic_batch.reading.rules import ENCODING, Mask

MISSING_TEXTS = ("", "NA", "NaN", "nan", "null")
STRING = pa.dictionary(pa.int32(), pa.string())
_BLANKS = " \t"
_NO_TEXT = pa.scalar(None, pa.string())


def type_name(wanted: pa.DataType) -> str:
    """Return the name of a column's type, for messages."""
    if wanted == STRING:
        return "text"
    if pa.types.is_boolean(wanted):
        return "true or false"
    if is_moment(wanted):
        return "a date" if pa.types.is_date(wanted) else "a date and time without a zone"
    return "an integer" if pa.types.is_integer(wanted) else "a number"


def is_numeric(arrow_type: pa.DataType) -> bool:
    """Return whether a type is that of integers or floats."""
    return bool(pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type))


def is_other(arrow_type: pa.DataType) -> bool:
    """Return whether a type of a contract's column is neither that of numbers nor of text."""
    return arrow_type != STRING and not is_numeric(arrow_type)


def is_text(arrow_type: pa.DataType) -> bool:
    """Return whether an Arrow type is a string type, dictionary-encoded or not."""
    if pa.types.is_dictionary(arrow_type):
        return is_text(arrow_type.value_type)
    return bool(
        pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type)
    )


def is_compatible(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether `from_arrow` can convert the Arrow type ``found`` to ``wanted``."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_dictionary(found):
        return not pa.types.is_dictionary(found.value_type) and is_compatible(found.value_type, wanted)
    if wanted == STRING:
        return is_text(found)
    if pa.types.is_boolean(wanted):
        return bool(pa.types.is_boolean(found))
    if is_moment(wanted):
        return is_moment(found)
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found))


def encoded(strings: pa.Array) -> pa.DictionaryArray:
    """Return strings, dictionary-encoded or not, as ``STRING``, with spellings of a missing value replaced by null."""
    if not pa.types.is_dictionary(strings.type):
        strings = pc.dictionary_encode(strings.cast(pa.string()))
    elif strings.type != STRING:
        strings = strings.cast(STRING)
    values = strings.dictionary
    if values.null_count or len(values.unique()) < len(values):  # allowed by Arrow, but not by pandas
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
    """Return an array of text with values that are not UTF-8 replaced by null, and the mask of these values by rule.

    Some writers produce such values. If there are none, no mask is returned.
    """
    is_encoded = pa.types.is_dictionary(text.type)
    values = text.dictionary if is_encoded else text
    raw = values.cast(pa.large_binary())
    try:
        raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        pass
    else:
        return text, {}
    values = pa.array([None if value is None else decode_or_none(value) for value in raw.to_pylist()], values.type)
    invalid = _mask(pc.and_(values.is_null(), raw.is_valid()))
    if not is_encoded:
        return values, {ENCODING: invalid}
    rows = invalid[pc.fill_null(text.indices, 0).to_numpy()] & _mask(text.is_valid())
    return pa.DictionaryArray.from_arrays(text.indices, values), {ENCODING: rows} if rows.any() else {}


def arrow_numbers(numbers: NDArray[Any]) -> pa.Array:
    """Return numbers of shape (n,) as an Arrow array without nulls, which shares their memory if they are contiguous.

    ``pa.array`` first imports NumPy's masked arrays, to recognize them.
    """
    contiguous = np.ascontiguousarray(numbers)
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(contiguous)])


def as_single_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without copying if it has one chunk. ``combine_chunks`` always copies."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def stored_bounds(numbers: pa.Array) -> tuple[float, float]:
    """Return the minimum and the maximum of the stored numbers, both NaN if one of the numbers is NaN.

    The buffer may contain any number where a value is null, so the bounds are not always the narrowest ones.
    Arrow takes twenty times as long if it has to skip nulls.
    """
    stored = stored_numbers(numbers)
    return stored.min(), stored.max()


def stored_numbers(numbers: pa.Array) -> NDArray[Any]:
    """Return the numbers of an array without copying them, of shape (n,), and any number where a value is null.

    To replace nulls in Arrow takes longer than to use what is stored and mend it afterwards.
    """
    arrow_type = numbers.type  # whose own conversion imports pandas in older versions of pyarrow
    kind = "f" if pa.types.is_floating(arrow_type) else "i" if pa.types.is_signed_integer(arrow_type) else "u"
    dtype = np.dtype(f"{kind}{arrow_type.bit_width // 8}")
    if not len(numbers):
        return np.empty(0, dtype)
    return np.frombuffer(numbers.buffers()[1], dtype, len(numbers), numbers.offset * dtype.itemsize)


def valid_mask(array: pa.Array) -> Mask:
    """Return which values are not null, of shape (n,), in a tenth of Arrow's time. At least one must be null."""
    first, skipped = divmod(array.offset, 8)
    count = skipped + len(array)
    bits = np.frombuffer(array.buffers()[0], np.uint8, (count + 7) // 8, first)
    return np.unpackbits(bits, count=count, bitorder="little")[skipped:].view(np.bool_)


def from_plain_text(text: pa.StringArray, wanted: pa.DataType) -> pa.Array | None:
    """Return what `from_text` returns for a column of numbers, but faster, or None if a field is not plainly a number.

    Plain numbers break no rule.
    """
    return parsed_by_arrow(_without_missing(text), wanted)


def from_text(text: pa.StringArray, wanted: pa.DataType, *, escaped: bool) -> tuple[pa.Array, dict[str, Mask]]:
    """Convert text to type ``wanted``.

    Parameters
    ----------
    text
        The fields of one column.
    wanted
        The type to convert to.
    escaped
        Whether the text may contain characters inserted by `escape`.

    Returns
    -------
    array
        The converted column. A row is null if it was null, breaks a rule or, except in plain strings, spells a missing
        value.
    broken
        For each broken rule, the mask of the rows that break it.
    """
    broken: dict[str, Mask] = {}
    if escaped:
        has_escapes = pc.fill_null(pc.match_substring_regex(text, ESCAPED.pattern), False)
        if pc.any(has_escapes).as_py():
            distinct = pc.dictionary_encode(text.filter(has_escapes))
            values = pa.array(
                [decode_or_none(unescape(value.encode())) for value in distinct.dictionary.to_pylist()], pa.string()
            )
            text = pc.replace_with_mask(text, has_escapes, values.take(distinct.indices))
            mask = _mask(pc.and_(has_escapes, pc.is_null(text)))
            if mask.any():
                broken[ENCODING] = mask
    if wanted == STRING:
        return encoded(text), broken
    if wanted == pa.string():
        return text, broken
    text = pc.ascii_trim(_without_missing(text), _BLANKS)
    if pa.types.is_boolean(wanted):
        values, rules = booleans_from_text(text)
    else:
        values, rules = (moments_from_text if is_moment(wanted) else numbers_from_text)(text, wanted)
    return values, broken | rules


def from_arrow(array: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, dict[str, Mask]]:
    """Convert an array of a compatible type to type ``wanted``.

    Returns
    -------
    array
        The converted column. A row is null if it was null or NaN, or breaks a rule.
    broken
        For each broken rule, the mask of the rows that break it.
    """
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), wanted), {}
    if wanted == STRING:
        array, broken = valid_text(array)
        return encoded(array), broken
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_boolean(wanted):
        return array, {}
    if is_moment(wanted):
        return moments_from_arrow(array, wanted)
    if pa.types.is_floating(array.type):
        array = array.cast(pa.float64())
        if has_nan(array):
            array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if pa.types.is_decimal(array.type) and array.type.bit_width < 128:
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    if pa.types.is_integer(wanted):
        return integers_from_arrow(array)
    return floats_from_decimals(array) if pa.types.is_decimal(array.type) else array.cast(wanted, safe=False), {}


def _without_missing(text: pa.StringArray) -> pa.StringArray:
    """Return text with spellings of a missing value replaced by null."""
    return pc.if_else(pc.is_in(text, pa.array(MISSING_TEXTS)), _NO_TEXT, text)


def _mask(values: pa.Array) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask
