"""Columns of all types as text."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from titanic_batch.reading.column_text import as_text


@pytest.mark.parametrize(
    "column",
    [pa.array([1, None]), pa.array([1.5, None]), pa.nulls(2), pa.array(["x", None]).dictionary_encode()],
    ids=lambda column: str(column.type),
)
def test_null_as_text_stays_null(column: pa.Array) -> None:
    found = as_text(pa.chunked_array([column, column]))
    assert found.type == pa.string()
    assert pc.is_null(found).to_pylist() == pc.is_null(column).to_pylist() * 2


NANOSECONDS = 1_700_000_000_123_456_789
MOMENTS = pa.array([NANOSECONDS], pa.timestamp("ns"))
NO_TEXT = pa.array([b"a\xff"]).view(pa.string())


def listed(array: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)


AS_TEXT = {
    "numbers": (listed(pa.array([1, None, 2])), "[1, null, 2]"),
    "wide numbers": (listed(pa.array([2**64 - 1], pa.uint64())), "[18446744073709551615]"),
    "decimals": (listed(pa.array([Decimal("1.20")])), '["1.20"]'),
    "text": (listed(pa.array(['é"', None])), r'["é\"", null]'),
    "text that is none": (listed(NO_TEXT), r'["a\\xff"]'),
    "bytes": (pa.array([b"a\xff"]), r"a\xff"),
    "codes": (listed(pa.array(["x", "x"]).dictionary_encode()), '["x", "x"]'),
    "moments": (listed(MOMENTS), '["2023-11-14 22:13:20.123456789"]'),
    "moments of a zone": (
        listed(MOMENTS.cast(pa.timestamp("ns", "+01:00"))),
        '["2023-11-14 23:13:20.123456789+0100"]',
    ),
    "moments of an unknown zone": (MOMENTS.cast(pa.timestamp("ns", "No/Where")), "2023-11-14 22:13:20.123456789Z"),
    "times": (listed(pa.array([123_456_789], pa.time64("ns"))), '["00:00:00.123456789"]'),
    "spans": (listed(pa.array([NANOSECONDS], pa.duration("ns"))), f'["{NANOSECONDS}"]'),
    "days": (listed(pa.array([0], pa.date32())), '["1970-01-01"]'),
    "days out of range": (
        listed(pa.array([2**30], pa.int32()).view(pa.date32())),
        '["<value out of range: 1073741824>"]',
    ),
    "parts": (pa.array([{"a": [True], "b": None}]), '{"a": [true], "b": null}'),
    "parts of one name": (
        pa.StructArray.from_arrays([pa.array([1]), pa.array(["x"])], ["a", "a"]),
        '[["a", 1], ["a", "x"]]',
    ),
    "short numbers": (listed(pa.array([0.1, None], pa.float32())), "[0.1, null]"),
    "numbers that JSON lacks": (listed(pa.array([float("nan"), float("inf")])), '["nan", "inf"]'),
    "pairs": (pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64())), '[["k", 1.5]]'),
    "identifiers": (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16))),
        "00000000-0000-0000-0000-000000000000",
    ),
    "lists of identifiers": (
        listed(pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16)))),
        '["00000000-0000-0000-0000-000000000000"]',
    ),
}


@pytest.mark.parametrize(("column", "text"), AS_TEXT.values(), ids=AS_TEXT)
def test_what_is_nested_is_json_as_text(column: pa.Array, text: str) -> None:
    assert as_text(pa.chunked_array([column, pa.nulls(1, column.type)])).to_pylist() == [text, None]
