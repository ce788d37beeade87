"""JSON texts read step by step, so that their rows are counted before they take any memory.

What a text holds is parsed by the standard library, an element at a time. As Python objects, it takes up to thirty
times its size. So an element that is not text itself may be `MAX_CHARACTERS` long, and a row has `MAX_PARTS` at most.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Self

from werkzeug.exceptions import BadRequest

MAX_CHARACTERS = 2**20
MAX_PARTS = 2**16

_BLANKS = re.compile(r"[ \t\n\r]*")
_FIRST_INEXACT = 2**53  # from here on, not every integer is a float
_NO_JSON = "the body is no JSON that can be read"
_NAMED_TWICE = "an object in the body has the same name twice."
_TOO_MANY_PARTS = f"the body has an object or a row of more than {MAX_PARTS} values."


class JsonReader:
    """Reads a JSON text from its beginning to its end, or from another place on.

    ``NaN`` and ``Infinity`` are accepted, and large whole numbers are integers. All methods but `peek` raise BadRequest
    where the text is not JSON, an object has a name twice, or an element is too long.
    """

    def __init__(self, text: str, start: int = 0) -> None:
        self._text = text
        self._start, self._at = start, 0  # of the window in the text, and what is read of the window
        self._window = ""
        self._move(start)

    @property
    def place(self) -> int:
        """How many characters have been read."""
        return self._start + self._at

    def from_place(self, place: int) -> Self:
        """Return another reader of the same text, which begins at a place."""
        return type(self)(self._text, place)

    def peek(self) -> str:
        """Return the next character that is not blank; an empty string at the end."""
        self._skip_blanks()
        while self._at >= MAX_CHARACTERS and self._is_cut:
            self._move(self.place)
            self._skip_blanks()
        return self._window[self._at : self._at + 1]

    def value(self) -> Any:
        """Read any value, and return it as Python objects."""
        start = self.peek()
        try:
            value, end = _DECODER.raw_decode(self._window, self._at)
        except (ValueError, RecursionError):
            if start == '"' and self._is_cut:
                return self._long_text()
            raise self._error() from None
        if end == len(self._window) and self._is_cut and start != '"':
            raise self._error()
        self._at = end
        return value

    def row(self) -> Any:
        """Read a value as `value` does; but its parts may be as long together as they like, if it has not too many."""
        try:
            return self.value()
        except BadRequest:
            start = self.peek()
            if not self._is_cut or start not in ("{", "["):
                raise
        if start == "{":
            return {name: self.value() for name in self.members()}
        values: list[Any] = []
        for _ in self.elements():
            if len(values) == MAX_PARTS:
                raise BadRequest(_TOO_MANY_PARTS)
            values.append(self.value())
        return values

    def elements(self) -> Iterator[None]:
        """Step through an array. Each element is to be read before the next step."""
        self._read("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield
            if self._read(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """Step through an object, and yield its names. The value of each is to be read before the next step."""
        self._read("{")
        if self.peek() == "}":
            self._at += 1
            return
        names: set[str] = set()
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise self._error()
            if name in names:
                raise BadRequest(_NAMED_TWICE)
            if len(names) == MAX_PARTS:
                raise BadRequest(_TOO_MANY_PARTS)
            names.add(name)
            self._read(":")
            yield name
            if self._read(",}") == "}":
                return

    def require_end(self) -> None:
        """Check that nothing more follows."""
        if self.peek():
            raise self._error()

    def _long_text(self) -> str:
        try:
            value, end = _DECODER.raw_decode(self._text, self.place)
        except ValueError:
            raise self._error() from None
        self._move(end)
        text: str = value
        return text

    def _move(self, start: int) -> None:
        """Begin a window at a place in the text."""
        self._start, self._at = start, 0
        self._window = self._text[start : start + 2 * MAX_CHARACTERS]

    @property
    def _is_cut(self) -> bool:
        return self._start + len(self._window) < len(self._text)

    def _skip_blanks(self) -> None:
        found = _BLANKS.match(self._window, self._at)
        assert found is not None  # noqa: S101  # the pattern matches the empty string
        self._at = found.end()

    def _read(self, characters: str) -> str:
        """Read the next character, which must be one of those given, and return it."""
        found = self.peek()
        if not found or found not in characters:
            raise self._error()
        self._at += 1
        return found

    def _error(self) -> BadRequest:
        # How a value that is cut fails doesn't tell whether it is only cut.
        cut = f", or has a nested value of more than {MAX_CHARACTERS} characters" if self._is_cut else ""
        return BadRequest(f"{_NO_JSON}{cut}.")


def _parse_float(text: str) -> float | int:
    """Return a number written with a point or an exponent, as an integer if a float would lose its last digits."""
    number = float(text)
    if abs(number) < _FIRST_INEXACT or math.isinf(number):
        return number
    exact = Decimal(text)
    is_lost = exact != Decimal(repr(number)) and exact == exact.to_integral_value()
    return int(exact) if is_lost else number


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise BadRequest(_NAMED_TWICE)
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_parse_float)
