"""The options of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from titanic_batch.errors import UsageError
from titanic_batch.reading.formats import Format

Progress = Callable[[int, int, int | None], None]
"""Called with the rows judged so far, how much of the input that is, and how much there is (None: not known)."""


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rejected rows a run bears: a number, or a share of all rows in percent."""

    rows: int = 0
    percent: Decimal | None = None

    @classmethod
    def parse(cls, text: str) -> RejectLimit:
        """Return the limit that ``N`` or ``P%`` stands for.

        Raises
        ------
        UsageError
        """
        try:
            if text.endswith("%"):
                limit = cls(percent=Decimal(text[:-1]))
                valid = limit.percent is not None and 0 <= limit.percent <= 100
            else:
                limit = cls(rows=int(text))
                valid = limit.rows >= 0
        except (InvalidOperation, ValueError):
            valid = False
        if not valid:
            raise UsageError(
                f"{text} is no limit of rejects: give a number of rows, 0 or more, or a share such as 2.5%."
            )
        return limit

    def is_passed(self, rejected: int, rows: int) -> bool:
        """Tell whether so many rejected of so many rows are too many."""
        if self.percent is not None:
            return 100 * rejected > self.percent * rows
        return rejected > self.rows

    def __str__(self) -> str:
        return str(self.rows) if self.percent is None else f"{self.percent}%"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to read and what it must be, the same for each job.

    ``rejects_if_any``: whether ``rejects`` is to be there only if a row was rejected. ``also_written`` names files that
    the caller will write once the job is done: none of those that the job reads or writes. ``wait``: seconds to wait
    for another run that is writing an output. ``detailed``: whether the report is to have digests of inputs and
    outputs, and the distribution of the predictions.
    """

    names: Sequence[str]
    format: Format | None = None
    max_rejects: RejectLimit = RejectLimit()
    min_rows: int = 0
    rejects: str | None = None
    rejects_if_any: bool = False
    also_written: Sequence[str] = ()
    wait: float = 0
    detailed: bool = False
    jobs: int = 1
    progress: Progress | None = None
    with_values: bool = False


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
