"""Names of columns, and columns without one."""

from __future__ import annotations

from collections.abc import Sequence

_FEW = 16  # columns whose names are numbers of blanks; with thousands, these would take gigabytes
_TWO_BLANKS = {ord("0"): " ", ord("1"): "\N{NO-BREAK SPACE}"}


def is_nameless(name: str) -> bool:
    """Return whether a column has no name, or one of blanks, as the empty columns of a spreadsheet do."""
    return not name.strip()


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names with those of nameless columns replaced by none, one, two and more blanks.

    So they can be told apart, and are nameless to whoever reads them again. From some number on, blanks of two kinds
    are the digits of the number.
    """
    distinct, nameless = [], 0
    for name in names:
        if is_nameless(name):
            name = " " * nameless if nameless < _FEW else f"{nameless:b}".translate(_TWO_BLANKS)
            nameless += 1
        distinct.append(name)
    return tuple(distinct)
