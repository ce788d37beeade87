"""An option that is one of a few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from titanic_batch.errors import UsageError

_Word = TypeVar("_Word", bound=str)


def one_of(words: Iterable[_Word], given: str, option: str) -> _Word:
    """Return the word that was given as ``option``.

    Raises
    ------
    UsageError
        It is none of ``words``.
    """
    words = list(words)
    for word in words:
        if word == given:
            return word
    raise UsageError(f"{option} {given}: it is one of {', '.join(words)}.")
