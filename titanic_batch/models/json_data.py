"""JSON that somebody may have made to do harm: parsed as plain data, and checked against a declaration of its form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

MAX_DEPTH = 32
MAX_COUNT = 2**53  # whole numbers up to here are exact in all that reads JSON, and some hundred fit into 64 bits

Check = Callable[[Any, str], None]
"""Takes a value and where it stands; raises `JsonDataError` where it has another form."""


class JsonDataError(ValueError):
    """JSON is of another form than it must be.

    Attributes
    ----------
    where
        Names of members, outermost first, with dots between them. Names that are data are left out.
    fault
        What is wrong with what stands there: "is no text".
    """

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where} {fault}")
        self.where = where
        self.fault = fault


def parse(content: bytes) -> Any:
    """Parse JSON in UTF-8 that gives no name twice.

    Raises
    ------
    ValueError
        It is something else, or is nested so deep that Python's own limit ends it.
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_with_each_name_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _with_each_name_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("it has a name twice")
    return members


def plain(value: Any, where: str) -> None:
    """Check that all that is in a value can be written as JSON again: a bounded depth, finite numbers, valid text."""
    todo = [(value, 0)]
    while todo:
        part, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise JsonDataError(where, f"is nested deeper than {MAX_DEPTH} levels")
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        todo += [(each, depth + 1) for each in inner]
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # UnicodeEncodeError is one: of half a surrogate pair
        raise JsonDataError(where, "holds a number that is not finite, or text that is not valid") from None


def text(value: Any, where: str) -> None:
    """Check that a value is a string."""
    if not isinstance(value, str):
        raise JsonDataError(where, "is no text")


def matching(pattern: str, what: str) -> Check:
    """Return a check for text that matches a regular expression as a whole; ``what`` describes it."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise JsonDataError(where, f"is no {what}")

    return check


def one_of(*values: Any) -> Check:
    """Return a check for one of some values, of the same type."""
    known = frozenset(map(repr, values))

    def check(value: Any, where: str) -> None:
        if repr(value) not in known:
            raise JsonDataError(where, f"is none of {', '.join(map(str, values))}")

    return check


def either(*checks: Check) -> Check:
    """Return a check that passes what one of these passes."""

    def check(value: Any, where: str) -> None:
        for each in checks[:-1]:
            try:
                return each(value, where)
            except JsonDataError:
                continue
        return checks[-1](value, where)

    return check


def moment(value: Any, where: str) -> None:
    """Check that a value is a date and a time of ISO 8601."""
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise JsonDataError(where, "is no date and time of ISO 8601") from None


def whole(low: int = 0, high: int = MAX_COUNT) -> Check:
    """Return a check for a whole number."""

    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise JsonDataError(where, f"is no whole number from {low} to {high}")

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Return a check for a finite number, whole or not."""
    within = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"

    def check(value: Any, where: str) -> None:
        try:
            is_one = type(value) in (int, float) and low <= value <= high and math.isfinite(value)
        except OverflowError:  # a whole number beyond those that floats reach
            is_one = False
        if not is_one:
            raise JsonDataError(where, f"is no finite number{within}")

    return check


def every(*checks: Check) -> Check:
    """Return a check that passes what passes all of these."""

    def check(value: Any, where: str) -> None:
        for each in checks:
            each(value, where)

    return check


def nullable(check: Check) -> Check:
    """Return a check that passes null as well."""
    return lambda value, where: None if value is None else check(value, where)


def listed(each: Check, least: int = 0, most: int | None = None) -> Check:
    """Return a check for a list of values, each of which passes a check."""
    if most is None:
        fault = f"is no list of {least} values or more" if least else "is no list"
    else:
        fault = f"is no list of {most} values" if least == most else f"is no list of {least} to {most} values"

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            raise JsonDataError(where, fault)
        for part in value:
            each(part, where)

    return check


def mapped(each: Check, least: int = 0) -> Check:
    """Return a check for an object of any names, whose values pass a check."""
    fault = "is no object" + (f" of {least} members or more" if least else "")

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict) or len(value) < least:
            raise JsonDataError(where, fault)
        for part in value.values():
            each(part, where)

    return check


def members(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Return a check for an object with members of these names. It may have others, which are not checked."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise JsonDataError(where, "is no object")
        for name, check_member in {**required, **(optional or {})}.items():
            place = f"{where}.{name}" if where else name
            if name in value:
                check_member(value[name], place)
            elif name in required:
                raise JsonDataError(place, "is missing")

    return check
