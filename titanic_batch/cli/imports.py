"""Packages that libraries import where they find them, though a command does without: kept away from them.

pandera imports pandas and polars where they are installed, for schemas that are not ours, and pyarrow looks for pandas
as soon as it is given data, to recognize frames: a third of the time of a small run, and more. Neither has a switch,
and both cope where there are none of these packages. Hypothesis, which pandera imports for its strategies, fails in a
working directory that is gone.

Only the command does so, whose process is its own: a program that uses the Python API may need what pandera has for
pandas.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NOT_NEEDED = ("ibis", "pandas", "polars")


def import_no_hypothesis() -> None:
    """Hide Hypothesis from the imports of this process."""
    sys.modules["hypothesis"] = cast("ModuleType", None)


def import_checks() -> None:
    """Import what checks rows, without pandas, which can be imported afterwards.

    Arrow makes frames as ever then. It recognizes series only once it has made, or was given, a frame; and what pandera
    has for pandas can't be imported any more.
    """
    if "pandera" in sys.modules or not sys.modules.keys().isdisjoint(_NOT_NEEDED):
        return
    with _not_found(_NOT_NEEDED):
        import pandera.pyarrow as pap
        import pyarrow as pa

        # Arrow looks for pandas once and for all, until a frame is asked for; pandera imports the rest when it is used.
        pap.DataFrameSchema({"x": pap.Column()}).validate(pa.table({"x": [0]}))


@contextmanager
def _not_found(packages: Collection[str]) -> Iterator[None]:
    """Let imports of packages fail as if they were not installed."""
    finder = _NotFound(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NotFound:
    """A finder for ``sys.meta_path``. The base class for them would import more than help does without it."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._packages:
            # The words that Python has for it, by which pandera recognizes it.
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None
