"""Conversion of text and Arrow arrays to integers and floats, and the rows where the conversion fails.

In text, an integer is ASCII digits, perhaps with a sign before them, and a point and zeros after them: ``3``, ``+3``,
``003``, ``3.0``, ``3.``. A float is written in decimal notation, perhaps with an exponent; ``inf`` and ``infinity``,
in any case, are infinite. In an Arrow array, the value counts, however it is stored.

Nothing here is done row by row in Python, because ids differ in all rows.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from titanic_batch.reading.rules import NOT_FINITE, OUT_OF_RANGE, TYPE, Mask

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
_FLOAT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INFINITY = r"^[+-]?(?i:inf(inity)?)$"
_EXACT_DIGITS = 15  # of an integer that is always a float64, as is ten to that power: their quotient is the nearest
_INT64_DIGITS = len(str(INT64_MAX))
_SAMPLED = 1_000  # one value of so many
_NO_TEXT = pa.scalar(None, pa.string())


def has_nan(numbers: pa.Array) -> bool:
    """Return whether an array or chunked array of numbers contains NaN."""
    return pa.types.is_floating(numbers.type) and bool(pc.any(pc.is_nan(numbers)).as_py())


def parsed_by_arrow(text: pa.StringArray, wanted: pa.DataType) -> pa.Array | None:
    """Return the numbers that `numbers_from_text` returns, but faster, or None if some text is written otherwise.

    Arrow also parses hexadecimal integers and many spellings of NaN, so its results are checked.
    """
    try:
        # A cast goes on after the first failure, and each failure takes as long as a hundred numbers.
        text[::_SAMPLED].cast(wanted)
        numbers = text.cast(wanted)
    except pa.ArrowInvalid:
        return None
    if pa.types.is_integer(wanted):
        is_plain = not any(pc.any(pc.match_substring(text, letter)).as_py() for letter in "xX")
    else:
        is_plain = not has_nan(numbers)
    return numbers if is_plain else None


def numbers_from_text(text: pa.StringArray, wanted: pa.DataType) -> tuple[pa.Array, dict[str, Mask]]:
    """Convert text without blanks around it to int64 or float64.

    Returns
    -------
    array
        The numbers. A row is null if it was null or breaks a rule.
    broken
        For each broken rule, the mask of the rows that break it.
    """
    is_finite = pc.match_substring_regex(text, _INTEGER if pa.types.is_integer(wanted) else _FLOAT)
    is_infinite = pc.match_substring_regex(pc.if_else(is_finite, "", text), _INFINITY)
    masks = {TYPE: pc.invert(pc.or_(is_finite, is_infinite))}
    if not pa.types.is_integer(wanted):
        return pc.if_else(masks[TYPE], _NO_TEXT, text).cast(wanted), _broken(masks)
    masks[NOT_FINITE] = is_infinite
    text = pc.if_else(is_finite, text, _NO_TEXT)
    before_point = pc.ascii_rtrim(pc.ascii_rtrim(text, "0"), ".")
    text = pc.ascii_ltrim(pc.if_else(pc.match_substring(text, "."), before_point, text), "+")
    if (pc.max(pc.binary_length(text)).as_py() or 0) >= _INT64_DIGITS:
        masks[OUT_OF_RANGE] = _is_beyond_int64(text)
        text = pc.if_else(masks[OUT_OF_RANGE], _NO_TEXT, text)
    return text.cast(wanted), _broken(masks)


def integers_from_arrow(array: pa.Array) -> tuple[pa.Int64Array, dict[str, Mask]]:
    """Convert integers, floats without NaN, or decimals of at least 128 bits to int64, as `numbers_from_text` does."""
    try:
        return array.cast(pa.int64()), {}
    except pa.ArrowInvalid:
        pass
    low, high = _int64_bounds(array.type)
    is_whole = _is_whole(array)
    is_within = pc.and_(pc.greater_equal(array, low), pc.less_equal(array, high))
    masks = {TYPE: pc.invert(is_whole), OUT_OF_RANGE: pc.and_not(is_whole, is_within)}
    if pa.types.is_floating(array.type):
        is_infinite = pc.is_inf(array)
        masks |= {NOT_FINITE: is_infinite, OUT_OF_RANGE: pc.and_not(masks[OUT_OF_RANGE], is_infinite)}
    integers = pc.if_else(pc.and_(is_whole, is_within), array, pa.scalar(None, array.type))
    return integers.cast(pa.int64()), _broken(masks)


def floats_from_decimals(array: pa.Array) -> pa.DoubleArray:
    """Convert decimals of at least 128 bits to the nearest float64, as text is. Arrow's own cast misses a third."""
    precision, scale = array.type.precision, array.type.scale
    if precision > _EXACT_DIGITS or array.type.bit_width > 128:
        return array.cast(pa.string()).cast(pa.float64())
    return pc.divide(array.view(pa.decimal128(precision, 0)).cast(pa.float64()), 10.0**scale)


def _is_whole(array: pa.Array) -> pa.BooleanArray:
    """Return whether numbers have no fraction. Infinities have none."""
    if pa.types.is_integer(array.type):
        return pc.equal(array, array)  # null where a number is null
    if pa.types.is_decimal(array.type) and array.type.precision == array.type.scale:
        return pc.equal(array, pa.scalar(Decimal(0), array.type))  # `trunc` needs a place before the point
    return pc.equal(pc.trunc(array), array)


def _is_beyond_int64(integers: pa.StringArray) -> pa.BooleanArray:
    """Return whether integers, written as digits with or without a minus sign, have no place in 64 bits."""
    digits = pc.ascii_ltrim(pc.ascii_ltrim(integers, "-"), "0")
    length = pc.binary_length(digits)
    largest = pc.if_else(pc.starts_with(integers, "-"), str(-INT64_MIN), str(INT64_MAX))
    # Numbers with equally many digits are ordered as their digits are.
    is_larger = pc.and_(pc.equal(length, _INT64_DIGITS), pc.greater(digits, largest))
    return pc.or_(pc.greater(length, _INT64_DIGITS), is_larger)


def _int64_bounds(arrow_type: pa.DataType) -> tuple[pa.Scalar, pa.Scalar]:
    """Return the least and the largest value of a type that has a place in 64 bits."""
    if pa.types.is_floating(arrow_type):
        return pa.scalar(float(INT64_MIN)), pa.scalar(float(np.nextafter(float(INT64_MAX), 0)))
    if pa.types.is_integer(arrow_type):  # uint64: the others have no larger values
        return pa.scalar(0, arrow_type), pa.scalar(INT64_MAX, arrow_type)
    digits = max(arrow_type.precision - arrow_type.scale, 0)
    low, high = (INT64_MIN, INT64_MAX) if digits >= _INT64_DIGITS else (1 - 10**digits, 10**digits - 1)
    return pa.scalar(Decimal(low), arrow_type), pa.scalar(Decimal(high), arrow_type)


def _broken(masks: dict[str, pa.BooleanArray]) -> dict[str, Mask]:
    """Return the masks, without nulls, of the rules that a row breaks."""
    filled = {rule: pc.fill_null(mask, False).to_numpy(zero_copy_only=False) for rule, mask in masks.items()}
    return {rule: mask for rule, mask in filled.items() if mask.any()}
