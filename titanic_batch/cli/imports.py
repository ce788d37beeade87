"""Packages that libraries import where they find them, though a command does without: kept away from them.

pandera imports all of pandas where it is installed, for schemas that are not ours, and pyarrow looks for it as soon as
it is given data, to recognize frames: a third of the time of a small run. Neither has a switch, and both cope where
there is no pandas. Hypothesis, which pandera imports for its strategies, fails in a working directory that is gone.

Only the command does so, whose process is its own: a program that uses the Python API may need what pandera has for
pandas.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import cast


def import_no_hypothesis() -> None:
    """Hide Hypothesis from the imports of this process."""
    sys.modules["hypothesis"] = cast(ModuleType, None)


def import_checks() -> None:
    """Import what checks rows, without pandas, which can be imported afterwards.

    Arrow makes frames as ever then. It recognizes series only once it has made, or was given, a frame; and what pandera
    has for pandas can't be imported any more.
    """
    if "pandas" in sys.modules or "pandera" in sys.modules:
        return
    with _not_found("pandas"):
        importlib.import_module("pandera.pyarrow")
        import pyarrow as pa

        pa.array([0])  # looks for pandas once and for all, until a frame is asked for


@contextmanager
def _not_found(package: str) -> Iterator[None]:
    """Let an import of a package fail as if it were not installed."""
    finder = _NotFound(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NotFound(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self._package:
            # The words that Python has for it, by which pandera recognizes it.
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None
