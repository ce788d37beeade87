"""Names of columns, and columns without one."""

from __future__ import annotations

from collections.abc import Sequence


def is_nameless(name: str) -> bool:
    """Return whether a column has no name, or one of blanks, as the empty columns of a spreadsheet do."""
    return not name.strip()


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names with those of nameless columns replaced by none, one, two and more blanks.

    So they can be told apart, and are nameless to whoever reads them again.
    """
    distinct, nameless = [], 0
    for name in names:
        distinct.append(" " * nameless if is_nameless(name) else name)
        nameless += is_nameless(name)
    return tuple(distinct)
