"""The rules that a row can break, and which rows break them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

WRONG_FIELD_COUNT = "wrong_field_count"
UNCLOSED_QUOTE = "unclosed_quote"


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule, the column it speaks of (None: the whole row) and the rows that break it, rising, 0 the block's first."""

    rule: str
    column: str | None
    rows: NDArray[np.int64]


# The rules that a value can break before any check of the schema looks at it.
TYPE = "type"
NOT_FINITE = "not_finite"
OUT_OF_RANGE = "out_of_range"
ENCODING = "encoding"

Mask: TypeAlias = NDArray[np.bool_]

MISSING = "missing"
NOT_ALLOWED = "not_allowed"
DUPLICATE_KEY = "duplicate_key"
