"""JSON read step by step: the same values as in one step, from any place, and never more than a part at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest

from titanic_batch.server import json_reader
from titanic_batch.server.json_reader import JsonReader

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


def read(reader: JsonReader, depth: int) -> Any:
    """Read a value step by step, down to a depth."""
    if depth and reader.peek() == "[":
        return [read(reader, depth - 1) for _ in reader.elements()]
    if depth and reader.peek() == "{":
        return {name: read(reader, depth - 1) for name in reader.members()}
    return reader.value()


def read_all(reader: JsonReader, depth: int) -> Any:
    """Read a value step by step, and the end."""
    value = read(reader, depth)
    reader.require_end()
    return value


@given(st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=30), st.integers(0, 3), st.sampled_from([None, 1, 9]))
@settings(max_examples=150)
def test_steps_find_what_one_step_finds(value: Any, depth: int, indent: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "MAX_CHARACTERS", 400)
        reader = JsonReader(json.dumps(value, indent=indent))
        if depth or len(json.dumps(value, indent=indent)) <= 400:
            assert read_all(reader, depth) == value


@given(VALUES, st.integers(0, 3))
def test_any_value_is_read(value: Any, depth: int) -> None:
    reader = JsonReader(json.dumps(value, ensure_ascii=False) + " ")
    assert read_all(reader, depth) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1]]", "[1} ", "[\x0c1]", "\ufeff[]"),
        *("{", '{"a"', '{"a":', '{"a":1', '{"a":1,}', "{1:2}", '{"a" 1}', "{,}", '{"a":1}}'),
        *("tru", '"a', "01", "+1", "'a'"),
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    for depth in (0, 2):
        with pytest.raises(BadRequest, match="no JSON"):
            read_all(JsonReader(text), depth)


def test_a_name_twice_is_refused_at_any_depth() -> None:
    for text in ('{"a":1,"a":1}', '[{"b":{"a":1,"c":2,"a":1}}]', r'{"a":1,"\u0061":1}'):
        for depth in range(4):
            with pytest.raises(BadRequest, match="twice"):
                read(JsonReader(text), depth)


def test_another_reader_goes_on_from_a_place() -> None:
    reader = JsonReader(' {"data": [1, [2]], "columns": 3}')
    members = reader.members()
    assert next(members) == "data"
    again = reader.from_place(reader.place)
    assert reader.value() == [1, [2]]
    assert [(name, reader.value()) for name in members] == [("columns", 3)]
    assert again.value() == [1, [2]]


def test_values_are_bounded_and_lists_of_them_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reader, "MAX_CHARACTERS", 10)
    reader = JsonReader(json.dumps(["x" * 7] * 1_000))
    assert read(reader, 1) == ["x" * 7] * 1_000
    assert read(JsonReader(json.dumps(["x" * 50] * 9)), 1) == ["x" * 50] * 9
    for value in ([list(range(20))] * 9, [10**25, 1]):
        with pytest.raises(BadRequest, match="more than 10 characters"):
            read(JsonReader(json.dumps(value)), 1)


def test_a_row_may_have_long_texts_but_not_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reader, "MAX_CHARACTERS", 20)
    monkeypatch.setattr(json_reader, "MAX_PARTS", 9)
    for row in ({str(key): "x" * 50 for key in range(9)}, ["x" * 50] * 9, "x" * 50, [1, {"a": [2]}]):
        reader = JsonReader(json.dumps([row, row, 1]))
        assert [reader.row() for _ in reader.elements()] == [row, row, 1]
    for row in ({str(key): "x" for key in range(10)}, ["x"] * 10):
        with pytest.raises(BadRequest, match=r"more than \d+ values"):
            JsonReader(json.dumps(row)).row()
