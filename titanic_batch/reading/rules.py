"""The rules that a row can break, with their names in reports, rejects files and responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# Rules for a whole row, checked while it is read.
WRONG_FIELD_COUNT = "wrong_field_count"
UNCLOSED_QUOTE = "unclosed_quote"

# Rules for a field, checked while it is converted to the type of its column.
TYPE = "type"
NOT_FINITE = "not_finite"
OUT_OF_RANGE = "out_of_range"
ENCODING = "encoding"

# Rules for a value, checked by the contract, which also checks ``OUT_OF_RANGE``.
MISSING = "missing"
NOT_ALLOWED = "not_allowed"

# Rule for a key, checked once all previous rows are known.
DUPLICATE_KEY = "duplicate_key"

Mask: TypeAlias = NDArray[np.bool_]
"""One boolean per row, of shape (n_rows,)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken rule and the rows of a block that break it.

    Attributes
    ----------
    rule
        Name of the rule.
    column
        The column that breaks the rule, or None if the whole row does.
    rows
        Zero-based positions of the rows within the block, of shape (n_broken,), in ascending order.
    """

    rule: str
    column: str | None
    rows: NDArray[np.int64]
