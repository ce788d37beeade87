"""JSON of unknown origin is plain data of a declared form, or is refused with the place that has another."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from titanic_batch.models.json_data import (
    MAX_COUNT,
    MAX_DEPTH,
    Check,
    JsonDataError,
    every,
    listed,
    mapped,
    matching,
    members,
    moment,
    nullable,
    number,
    parse,
    plain,
    text,
    whole,
)


def fault(check: Check, value: Any) -> str | None:
    try:
        check(value, "x")
    except JsonDataError as error:
        return error.fault
    return None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000, b"1" * 5000, b'{"a":1,}'])
def test_what_is_no_json_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of the parser
        parse(content)


@pytest.mark.parametrize("content", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "b": 2, "\\u0061": 3}}]'])
def test_a_name_is_given_once(content: str) -> None:
    with pytest.raises(ValueError, match="it has a name twice"):
        parse(content.encode())
    assert parse(b'{"a": {"a": 1}, "b": [1.5, null]}') == {"a": {"a": 1}, "b": [1.5, None]}


def nested(depth: int, opening: str, closing: str) -> Any:
    return json.loads(opening * depth + "1" + closing * depth)


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded(brackets: tuple[str, str]) -> None:
    assert fault(plain, nested(MAX_DEPTH, *brackets)) is None
    for depth in (MAX_DEPTH + 1, 400):
        assert fault(plain, nested(depth, *brackets)) == f"is nested deeper than {MAX_DEPTH} levels"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", "a\udfff"])
def test_what_cannot_be_written_as_json_again_is_refused(value: Any) -> None:
    for data in (value, [value], {"a": [{"b": value}]}):
        assert fault(plain, data) == "holds a number that is not finite, or text that is not valid"
    if isinstance(value, str):
        assert fault(plain, {value: 1}) is not None


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x\n\x1b", {}, [], {"a\n": [None, "\N{SNOWMAN}"]}, 10**300])
def test_plain_data_passes(value: Any) -> None:
    assert fault(plain, value) is None


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (text, ["", "x", "\x1b"], [None, 1, ["x"], b"x"]),
        (matching("[0-9a-f]{4}", "digest"), ["0a1f"], ["0a1f\n", "0A1F", "0a1", "", None, 4]),
        (moment, ["2026-11-28T08:52:12+00:00"], ["", "yesterday", "2026-11-28T25:00:00", 1, None, ["2026"]]),
        (whole(), [0, 1, MAX_COUNT], [-1, MAX_COUNT + 1, 1.0, True, "1", None, math.nan]),
        (whole(1, 3), [1, 3], [0, 4]),
        (number(), [0, -1.5, 10**300], [math.nan, math.inf, 10**400, -(10**400), True, "1", None]),
        (number(0, 1), [0, 0.5, 1], [-0.1, 1.1, math.nan, False]),
        (nullable(text), [None, ""], [0]),
        (listed(text), [[], ["a"]], [None, "a", {}, [1], ["a", None]]),
        (listed(whole(), 2, 3), [[1, 2], [1, 2, 3]], [[], [1], [1, 2, 3, 4], [1, 2.0]]),
        (mapped(text), [{}, {"a": "b"}], [[], None, {"a": 1}]),
        (mapped(text, 1), [{"a": "b"}], [{}]),
        (members({"a": text}, {"b": whole()}), [{"a": "x"}, {"a": "", "b": 1, "c": 2}], [{}, [], {"a": "", "b": 1.0}]),
        (every(mapped(text), members({"a": text})), [{"a": "x"}], [{"b": "x"}, {"a": "x", "b": 1}]),
    ],
)  # fmt: skip
def test_checks_pass_their_form_and_nothing_else(check: Check, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if fault(check, value) is not None] == []
    assert [value for value in bad if fault(check, value) is None] == []


def test_the_place_is_named_but_for_names_that_are_data() -> None:
    check = members({"a": members({"b": mapped(listed(number(0, 1)))})})
    with pytest.raises(JsonDataError, match=r"^a\.b is no finite number from 0 to 1$"):
        check({"a": {"b": {"secret": [0.5, 7]}}}, "")
    with pytest.raises(JsonDataError, match=r"^a\.b is missing$"):
        check({"a": {}}, "")
