"""Bytes that are not UTF-8 as text, and back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from titanic_batch.reading.escapes import escape, printable, unescape

ESCAPE_ALIKE = "\U0010ff80\U0010ffff"


@given(st.binary() | st.text().map(str.encode))
@example(ESCAPE_ALIKE.encode())
@example(b"\xf4\x8f\xbe" + ESCAPE_ALIKE.encode() + b"\xff")
@example(b"\xf4\x8f\xf4\x8f\xbe\x80")
def test_escaped_bytes_are_text_and_are_given_back(data: bytes) -> None:
    escaped = escape(data)
    assert unescape(escaped) == data
    assert printable(escaped.decode()) == data.decode("utf-8", "backslashreplace")


@given(st.text().filter(lambda text: not any(character >= "\U0010ff80" for character in text)))
def test_escaping_leaves_text_unchanged(text: str) -> None:
    assert escape(text.encode()) == text.encode() == unescape(text.encode())
    assert printable(text) == text


def test_bytes_that_are_not_utf8_are_shown_as_hex() -> None:
    assert printable(escape(b"Zo\xeb \xff\xc3\xa9").decode()) == r"Zo\xeb \xffé"
