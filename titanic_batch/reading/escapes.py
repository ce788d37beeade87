"""Reversible representation of bytes that are not UTF-8 as private-use characters in valid text."""

from __future__ import annotations

import codecs
import re

# A byte that is not UTF-8 is replaced by one of the characters U+10FF80 to U+10FFFF, which are in a private-use plane.
_ESCAPE_BASE = 0x10FF00
ESCAPED = re.compile("[\U0010ff80-\U0010ffff]")

_ESCAPED_BYTES = re.compile(b"\xf4\x8f[\xbe\xbf][\x80-\xbf]")
_ESCAPE_ERRORS = "titanic_batch.escape"


def _escape_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_ESCAPE_BASE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPE_ERRORS, _escape_error)


def escape(data: bytes) -> bytes:
    """Return ``data`` as valid UTF-8, with each byte that is not UTF-8 replaced by a private-use character.

    If ``data`` already contains one of these characters, its bytes are replaced as well. Otherwise `unescape` would
    mistake the character for an escaped byte.
    """
    data = _ESCAPED_BYTES.sub(lambda match: "".join(chr(_ESCAPE_BASE + byte) for byte in match.group()).encode(), data)
    return data.decode("utf-8", _ESCAPE_ERRORS).encode()


def unescape(data: bytes) -> bytes:
    """Return the original bytes of ``data``, which `escape` returned."""
    return _ESCAPED_BYTES.sub(lambda match: bytes([ord(match.group().decode()) - _ESCAPE_BASE]), data)


def printable(text: str) -> str:
    """Return text from `escape` with each escaped byte written as ``\\xNN``."""
    return unescape(text.encode()).decode("utf-8", "backslashreplace")


def decode_or_none(data: bytes) -> str | None:
    """Return bytes decoded as UTF-8, or None if they are not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
