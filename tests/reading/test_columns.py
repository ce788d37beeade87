"""Fields into values: every spelling, every Arrow type, and bytes that are no text."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from titanic_batch.reading.columns import (
    MISSING_TEXTS,
    STRING,
    arrow_numbers,
    from_arrow,
    from_plain_text,
    from_text,
    is_compatible,
    is_text,
    stored_numbers,
    type_name,
    valid_mask,
)
from titanic_batch.reading.escapes import escape
from titanic_batch.reading.rules import ENCODING, NOT_FINITE, OUT_OF_RANGE, TYPE

INT, FLOAT = pa.int64(), pa.float64()
INT_MAX, INT_MIN = 2**63 - 1, -(2**63)
ESCAPE_ALIKE = "\U0010ff80\U0010ffff"

# Each text, then what it is as an integer and as a number: the value, or the rule that it breaks.
NUMBERS: list[tuple[str, int | str | None, float | str | None]] = [
    ("3", 3, 3.0),
    ("3.0", 3, 3.0),
    ("3.", 3, 3.0),
    ("+3", 3, 3.0),
    ("-3", -3, -3.0),
    (" 3", 3, 3.0),
    ("3\t", 3, 3.0),
    ("\t+3.00 ", 3, 3.0),
    ("007", 7, 7.0),
    ("-007", -7, -7.0),
    ("+007.", 7, 7.0),
    ("0000000000000000000000007", 7, 7.0),
    ("100", 100, 100.0),
    ("100.00", 100, 100.0),
    ("0", 0, 0.0),
    ("-0", 0, -0.0),
    ("-0.0", 0, -0.0),
    ("000", 0, 0.0),
    # Exponents, which no integer has
    ("1e3", TYPE, 1000.0),
    ("1E+3", TYPE, 1000.0),
    ("12.50e1", TYPE, 125.0),
    ("1.23457E+17", TYPE, 1.23457e17),
    ("0e999999999", TYPE, 0.0),
    ("1e19", TYPE, 1e19),
    ("1e999999999", TYPE, math.inf),
    ("-1e99999999999999999999", TYPE, -math.inf),
    # Hexadecimal, which the parser takes for an integer
    *(
        (text, TYPE, TYPE)
        for text in ("0x10", "0XfF", "0xffffffffffffffff", " 0x1", "-0x1", "+0x1", "00x1", "0x", "0x1p3", "1x", "x")
    ),
    # Fractions
    ("3.5", TYPE, 3.5),
    (".5", TYPE, 0.5),
    (".0", TYPE, 0.0),
    ("0.1", TYPE, 0.1),
    ("1.00000000000000000001", TYPE, 1.0),
    ("0.10000000000000000555", TYPE, 0.1),
    ("5e-324", TYPE, 5e-324),
    ("1e-999999999", TYPE, 0.0),
    # The bounds of 64 bits
    ("9223372036854775807", INT_MAX, 2.0**63),
    ("+9223372036854775807.0", INT_MAX, 2.0**63),
    ("0009223372036854775807", INT_MAX, 2.0**63),
    ("1000000000000000000", 10**18, 1e18),
    ("-1234567890123456789.0", -1234567890123456789, -1234567890123456789.0),
    ("9223372036854775808", OUT_OF_RANGE, 2.0**63),
    ("0009223372036854775808.0", OUT_OF_RANGE, 2.0**63),
    ("-9223372036854775808", INT_MIN, -(2.0**63)),
    ("-009223372036854775808.00", INT_MIN, -(2.0**63)),
    ("-9223372036854775809", OUT_OF_RANGE, -(2.0**63)),
    ("18446744073709551616", OUT_OF_RANGE, 2.0**64),
    ("99999999999999999999.0", OUT_OF_RANGE, 1e20),
    ("-99999999999999999999", OUT_OF_RANGE, -1e20),
    ("9" * 400, OUT_OF_RANGE, math.inf),
    ("9223372036854775808.5", TYPE, 2.0**63),
    ("99999999999999999999.5", TYPE, 1e20),
    # Infinity
    *((text, NOT_FINITE, math.inf) for text in ("inf", "Infinity", "+INF", " infinity\t", "iNf")),
    ("-Infinity", NOT_FINITE, -math.inf),
    *((text, TYPE, TYPE) for text in ("infi", "infinite", "- inf", "∞", "1inf")),
    # What the parser takes for NaN, and what else may be meant to be missing
    *(
        (text, TYPE, TYPE)
        for text in (
            *("NAN", "Nan", "nAn", "-nan", "+nan", "-NaN", " nan", "nan ", "nan()", "nan(7)", "NaN(abc)", "-nan(ind)"),
            *("NULL", "Null", "None", "n/a", "N/A", "na", " NA", "NA ", "#N/A", "1.#QNAN", "-", "?", "\\N", " "),
        )
    ),
    # Neither
    *(
        (text, TYPE, TYPE)
        for text in (
            *("three", "3 4", "1,5", "1_000", "٣", "--3", "+-3", "++3", "+ 3", "3-", "3+", "+", ".", "-.", "3..0"),
            *("3.0.0", "3\n", "3\r", "3\v", "\u00a03", "1e", "e5", "1e5.0", "1e 5", "1d5", "3L", "3.0f", "0b1", "0o7"),
        )
    ),
    *((spelling, None, None) for spelling in MISSING_TEXTS),
]


def outcomes(texts: list[str | None], wanted: pa.DataType, *, escaped: bool = False) -> list[Any]:
    """Return for each text its value, or the rule that it breaks."""
    return joined(from_text(pa.array(texts, pa.string()), wanted, escaped=escaped), wanted)


def arrow_outcomes(array: pa.Array, wanted: pa.DataType) -> list[Any]:
    assert is_compatible(array.type, wanted)
    return joined(from_arrow(array, wanted), wanted)


def joined(result: tuple[pa.Array, dict[str, Any]], wanted: pa.DataType) -> list[Any]:
    values, broken = result
    assert values.type == wanted
    values.validate(full=True)
    if wanted == STRING:
        assert values.dictionary.null_count == 0
        assert len(values.dictionary.unique()) == len(values.dictionary)
    found: list[Any] = values.to_pylist()
    for rule, mask in broken.items():
        assert mask.shape == (len(found),)
        assert mask.any()
        for row in np.flatnonzero(mask):
            assert found[row] is None, "a row that breaks a rule is null, and breaks one rule"
            found[row] = rule
    return found


def same(found: Any, expected: Any) -> bool:
    """Tell whether two outcomes are equal to the last bit: -0.0 is not 0.0, and 3 is not 3.0."""
    return type(found) is type(expected) and (
        found == expected and (not isinstance(found, float) or math.copysign(1, found) == math.copysign(1, expected))
    )


def equal(found: Any, expected: Any) -> bool:
    """Tell whether two outcomes are equal but for the sign of zero, which a decimal has not."""
    return type(found) is type(expected) and bool(found == expected)


# Numbers out of text


@pytest.mark.parametrize(("text", "integer", "number"), NUMBERS)
def test_a_number_is_read_as_spelt(text: str, integer: int | str | None, number: float | str | None) -> None:
    (as_integer,), (as_number,) = outcomes([text], INT), outcomes([text], FLOAT)
    assert same(as_integer, integer)
    assert same(as_number, number)


@pytest.mark.parametrize("wanted", [INT, FLOAT])
def test_spellings_do_not_touch_each_other(wanted: pa.DataType) -> None:
    texts: list[str | None] = [text for text, _, _ in NUMBERS for _ in range(2)]
    expected = [outcome for _, *both in NUMBERS for outcome in [both[0 if wanted == INT else 1]] * 2]
    found = outcomes(texts, wanted)
    assert all(map(same, found, expected)), [*zip(texts, found, expected, strict=True)]


@given(st.lists(st.sampled_from([text for text, _, _ in NUMBERS]) | st.text("0123456789.+-einfa xX", max_size=8)))
def test_number_is_the_same_alone_and_among_others(texts: list[str | None]) -> None:
    for wanted in (INT, FLOAT):
        alone = [outcomes([text], wanted)[0] for text in texts]
        assert all(map(same, outcomes(texts, wanted), alone))


@pytest.mark.parametrize("wanted", [INT, FLOAT])
def test_one_odd_number_among_many_good_ones(wanted: pa.DataType) -> None:
    good = [str(number) for number in range(10_000)]
    found = outcomes([*good, "odd", *good], wanted)
    assert found == [*range(10_000), TYPE, *range(10_000)]


@given(st.integers(-(2**70), 2**70))
def test_any_integer_is_read_exactly_or_is_out_of_range(number: int) -> None:
    expected = number if INT_MIN <= number <= INT_MAX else OUT_OF_RANGE
    assert outcomes([str(number), f"{number}.0", f"{number}.000"], INT) == [expected] * 3


@given(st.floats(allow_nan=False))
def test_any_float_is_read_to_the_last_bit(number: float) -> None:
    for texts in ([repr(number)], [repr(number), "odd"]):
        assert same(outcomes(list(texts), FLOAT)[0], number)


@given(st.lists(st.sampled_from([text for text, _, _ in NUMBERS]) | st.text("0123456789.+-einfa xX", max_size=8)))
def test_plain_numbers_are_converted_as_any_others(texts: list[str]) -> None:
    """Alone and together: what Arrow's own parser is trusted with is exactly what `from_text` makes of it."""
    array = pa.array(texts, pa.string())
    for wanted in (INT, FLOAT):
        for part in (array, *(array[place : place + 1] for place in range(len(array)))):
            plain = from_plain_text(part, wanted)
            assert plain is None or all(map(same, plain.to_pylist(), outcomes(part.to_pylist(), wanted)))


@pytest.mark.parametrize("texts", [["0x10"], ["7"] * 5_000 + ["0X1f"], ["nan(7)"], ["1"] * 5_000 + ["NAN"], ["1.0x"]])
def test_numbers_that_only_arrow_knows_are_not_plain(texts: list[str]) -> None:
    for wanted in (INT, FLOAT):
        assert from_plain_text(pa.array(texts), wanted) is None


def test_null_text_stays_missing() -> None:
    for wanted in (INT, FLOAT, STRING):
        assert outcomes([None, ""], wanted) == [None, None]


# Text out of text


def test_text_stays_as_it_is_but_for_the_spellings_of_a_missing_value() -> None:
    kept = ["male", " male", "MALE", "na", "NULL", "None", " ", "N/A", "\0", "ß", '"']
    assert outcomes([*kept, *MISSING_TEXTS], STRING) == [*kept, *[None] * len(MISSING_TEXTS)]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*MISSING_TEXTS, "male", "NAN"]) | st.text(max_size=5) | st.none()))
def test_text_is_the_same_whatever_array_holds_it(texts: list[str | None]) -> None:
    expected = [None if text in MISSING_TEXTS else text for text in texts]
    plain = pa.array(texts, pa.string())
    assert outcomes(texts, STRING) == expected
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert arrow_outcomes(plain.cast(kind), STRING) == expected
    for encoded in (plain.dictionary_encode(), plain.cast(pa.large_string()).dictionary_encode()):
        assert arrow_outcomes(encoded, STRING) == expected


def test_slices_and_unused_or_repeated_dictionary_values_do_not_count() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([3, 0, None, 1, 2], pa.int8()), pa.array(["a", "NA", "a", ""]))
    assert arrow_outcomes(array, STRING) == [None, "a", None, None, "a"]
    assert arrow_outcomes(array[1:3], STRING) == ["a", None]
    assert arrow_outcomes(pa.array(["x", "NA", "y"])[1:], STRING) == [None, "y"]
    assert outcomes(["1", "x"], STRING)[1:] == ["x"]


def test_text_that_is_not_utf8_is_found_in_any_array() -> None:
    """As other writers leave it in a Parquet file, among text that is valid."""
    raw = pa.array([b"male", b"", None, b"Zo\xeb", b"\xff", b"male"], pa.binary())
    text = pa.StringArray.from_buffers(len(raw), *raw.buffers()[1:], raw.buffers()[0], raw.null_count)
    codes = pa.array([0, 1, 2, 3, 4, None], pa.int8())
    for array in (text, text.cast(pa.large_string()), pa.DictionaryArray.from_arrays(codes, text)):
        assert arrow_outcomes(array, STRING)[:5] == ["male", None, None, ENCODING, ENCODING]
        assert arrow_outcomes(array[3:4], STRING) == [ENCODING]
        assert arrow_outcomes(array[:2], STRING) == ["male", None]


def test_null_within_a_dictionary_is_a_missing_value() -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array([None, "male"]))
    numbers = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array([None, 7]))
    found, _ = from_arrow(texts, STRING)
    assert found.is_null().to_pylist() == [True, False, True]
    assert arrow_outcomes(numbers, INT) == [None, 7, None]


# Numbers out of Arrow


@pytest.mark.parametrize(
    ("array", "integers", "numbers"),
    [
        (pa.array([1, None, -128], pa.int8()), [1, None, -128], [1.0, None, -128.0]),
        (pa.array([INT_MAX, INT_MIN]), [INT_MAX, INT_MIN], [2.0**63, -(2.0**63)]),
        (pa.array([1, 2**63, None], pa.uint64()), [1, OUT_OF_RANGE, None], [1.0, 2.0**63, None]),
        (pa.array([INT_MAX, 2**64 - 1], pa.uint64()), [INT_MAX, OUT_OF_RANGE], [2.0**63, 2.0**64]),
        (
            pa.array([math.nextafter(2.0**63, 0), math.nextafter(-(2.0**63), -math.inf), 1e300, 2.0**53 + 2]),
            [2**63 - 1024, OUT_OF_RANGE, OUT_OF_RANGE, 2**53 + 2],
            [math.nextafter(2.0**63, 0), math.nextafter(-(2.0**63), -math.inf), 1e300, 2.0**53 + 2],
        ),
        (pa.array([3.0, 0.5, None], pa.float16()), [3, TYPE, None], [3.0, 0.5, None]),
        (pa.array([3.0, 0.5, None], pa.float32()), [3, TYPE, None], [3.0, 0.5, None]),
        (
            pa.array([3.0, 3.5, math.nan, math.inf, -math.inf, None, 2.0**63, -(2.0**63), -0.0]),
            [3, TYPE, None, NOT_FINITE, NOT_FINITE, None, OUT_OF_RANGE, INT_MIN, 0],
            [3.0, 3.5, None, math.inf, -math.inf, None, 2.0**63, -(2.0**63), -0.0],
        ),
        (
            pa.array([Decimal("3.0"), Decimal("3.5"), None], pa.decimal128(3, 1)),
            [3, TYPE, None],
            [3.0, 3.5, None],
        ),
        (pa.array([Decimal(10**30), Decimal(7)], pa.decimal128(38)), [OUT_OF_RANGE, 7], [1e30, 7.0]),
        (
            pa.array([Decimal(2**63), Decimal(INT_MAX), Decimal("-99999999999999999999.5")], pa.decimal128(38, 1)),
            [OUT_OF_RANGE, INT_MAX, TYPE],
            [2.0**63, 2.0**63, -1e20],
        ),
        (pa.array([Decimal("0.5"), Decimal(0), None], pa.decimal128(38, 38)), [TYPE, 0, None], [0.5, 0.0, None]),
        (pa.array([Decimal("3.00"), Decimal("3.25")], pa.decimal256(60, 2)), [3, TYPE], [3.0, 3.25]),
        (pa.array([Decimal(10**70), Decimal(3)], pa.decimal256(76, 0)), [OUT_OF_RANGE, 3], [1e70, 3.0]),
        (pa.array([Decimal("3.0"), Decimal("3.5")], pa.decimal32(3, 1)), [3, TYPE], [3.0, 3.5]),
        (pa.array([Decimal("3.0"), Decimal("3.5")], pa.decimal64(3, 1)), [3, TYPE], [3.0, 3.5]),
        (pa.array([3, None, 3]).dictionary_encode(), [3, None, 3], [3.0, None, 3.0]),
        (pa.array([3.5, math.nan, 3.0]).dictionary_encode(), [TYPE, None, 3], [3.5, None, 3.0]),
        (pa.nulls(2), [None, None], [None, None]),
        (pa.nulls(2).dictionary_encode(), [None, None], [None, None]),
        (pa.array([], pa.int8()), [], []),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_arrow_numbers(array: pa.Array, integers: list[Any], numbers: list[Any]) -> None:
    for wanted, expected in ((INT, integers), (FLOAT, numbers)):
        found = arrow_outcomes(array, wanted)
        assert len(found) == len(expected)
        assert all(map(same, found, expected)), found


@given(st.lists(st.floats() | st.integers(-(2**53), 2**53).map(float) | st.none(), min_size=1))
@example([math.nan, -0.0, 2.0**63, math.inf])
def test_floats_are_the_same_as_text_and_as_arrow(numbers: list[float | None]) -> None:
    # Every digit: repr gives only as many as tell one float from the next.
    texts = [None if number is None else str(Decimal(number)) for number in numbers]
    for wanted in (INT, FLOAT):
        from_floats = arrow_outcomes(pa.array(numbers, FLOAT), wanted)
        assert all(map(same, outcomes(texts, wanted), from_floats))


@given(st.data(), st.sampled_from([pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256]))
def test_decimals_are_the_same_as_text_and_as_arrow(data: st.DataObject, kind: Callable[..., pa.DataType]) -> None:
    precision = data.draw(st.integers(1, {pa.decimal32: 9, pa.decimal64: 18, pa.decimal128: 38}.get(kind, 76)))
    scale = data.draw(st.integers(0, precision))
    digits = st.integers(1 - 10**precision, 10**precision - 1)
    numbers = [
        None if given is None else Decimal(f"{given}e-{scale}") for given in data.draw(st.lists(digits | st.none()))
    ]
    texts = [None if number is None else f"{number:f}" for number in numbers]
    for wanted in (INT, FLOAT):
        from_decimals = arrow_outcomes(pa.array(numbers, kind(precision, scale)), wanted)
        assert all(map(equal, outcomes(texts, wanted), from_decimals))


@given(st.lists(st.integers(INT_MIN, 2**64 - 1) | st.none()), st.sampled_from([pa.uint64(), pa.decimal128(25, 2)]))
def test_integers_are_the_same_as_text_and_as_arrow(numbers: list[int | None], kind: pa.DataType) -> None:
    if kind == pa.uint64():
        numbers = [None if number is None else abs(number) for number in numbers]
    texts = [None if number is None else str(number) for number in numbers]
    array = pa.array([None if number is None else Decimal(number) for number in numbers], pa.decimal128(25, 2))
    assert arrow_outcomes(array.cast(kind), INT) == outcomes(texts, INT)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (pa.string(), INT),
        (pa.large_string(), FLOAT),
        (pa.dictionary(pa.int32(), pa.string()), INT),
        (pa.bool_(), INT),
        (pa.timestamp("us"), INT),
        (pa.int64(), STRING),
        (pa.dictionary(pa.int32(), pa.int64()), STRING),
        (pa.binary(), STRING),
        (pa.list_(pa.int64()), INT),
        (pa.struct([("a", pa.int64())]), FLOAT),
    ],
    ids=str,
)
def test_types_that_cannot_be_converted_are_incompatible(found: pa.DataType, wanted: pa.DataType) -> None:
    assert not is_compatible(found, wanted)


def test_what_counts_as_text() -> None:
    kinds = [pa.string(), pa.large_string(), pa.string_view(), STRING]
    assert all(is_text(kind) and is_text(pa.dictionary(pa.int8(), kind)) for kind in kinds[:3])
    assert is_text(STRING)
    assert not any(is_text(kind) for kind in (pa.binary(), pa.int64(), pa.null()))


def test_types_are_named_in_words() -> None:
    assert [type_name(kind) for kind in (STRING, INT, FLOAT)] == ["text", "an integer", "a number"]


# Bytes that are no text


def test_bytes_that_are_not_utf8_break_the_encoding_rule_in_every_type() -> None:
    texts: list[str | None] = [escape(b"4\xe9").decode(), "4", "", None]
    assert outcomes(texts, INT, escaped=True) == [ENCODING, 4, None, None]
    assert outcomes(texts, FLOAT, escaped=True) == [ENCODING, 4.0, None, None]
    assert outcomes(texts, STRING, escaped=True) == [ENCODING, "4", None, None]


def test_text_that_looks_escaped_is_not_taken_for_bytes() -> None:
    looks_escaped = escape(ESCAPE_ALIKE.encode()).decode()
    assert outcomes([looks_escaped, "male"], STRING, escaped=True) == [ESCAPE_ALIKE, "male"]
    assert outcomes([ESCAPE_ALIKE, "male"], STRING) == [ESCAPE_ALIKE, "male"]
    assert outcomes([looks_escaped + escape(b"\xff").decode()], STRING, escaped=True) == [ENCODING]


NUMBER_TYPES = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
]


@pytest.mark.parametrize("kind", NUMBER_TYPES, ids=str)
@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 30), (1, 8), (7, 9), (8, 8), (23, 7), (30, 0)])
def test_numbers_and_nulls_of_a_slice_are_read_where_they_are_stored(
    kind: pa.DataType, start: int, length: int
) -> None:
    values = [None if place % 3 == 1 else place for place in range(30)]
    array = pa.array(np.arange(30).astype(kind.to_pandas_dtype())).cast(kind)
    with_nulls = pa.Array.from_buffers(kind, 30, [pa.array(values).buffers()[0], array.buffers()[1]])
    numbers = stored_numbers(with_nulls.slice(start, length))
    assert numbers.dtype == np.dtype(kind.to_pandas_dtype())
    assert numbers.tolist() == list(range(start, start + length))
    valid = valid_mask(with_nulls.slice(start, length))
    assert valid.dtype == np.bool_
    assert valid.tolist() == [value is not None for value in values[start : start + length]]
    assert arrow_numbers(numbers).equals(array.slice(start, length))


def test_the_mask_of_a_slice_takes_no_more_than_its_rows() -> None:
    array = pa.array([None, 1] * 2**19)
    tracemalloc.start()
    try:
        assert valid_mask(array.slice(2**20 - 8)).tolist() == [False, True] * 4
        assert tracemalloc.get_traced_memory()[1] < 2**16
    finally:
        tracemalloc.stop()
