"""The rules that a row can break, by the names under which reports, rejects and answers tell them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# Of a whole row, found while it is read.
WRONG_FIELD_COUNT = "wrong_field_count"
UNCLOSED_QUOTE = "unclosed_quote"

# Of a field, found while it is converted to the type of its column.
TYPE = "type"
NOT_FINITE = "not_finite"
OUT_OF_RANGE = "out_of_range"
ENCODING = "encoding"

# Of a value, found by the contract's checks, as is ``OUT_OF_RANGE``.
MISSING = "missing"
NOT_ALLOWED = "not_allowed"

# Of a key, found once the rows before it are known.
DUPLICATE_KEY = "duplicate_key"

Mask: TypeAlias = NDArray[np.bool_]
"""For each row, in order, whether something holds for it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule, the column it speaks of (None: the whole row) and the rows that break it, rising, 0 the block's first."""

    rule: str
    column: str | None
    rows: NDArray[np.int64]
