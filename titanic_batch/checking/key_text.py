"""The key of a row as it stands in the input, beside the integer that it is: ``000123`` and 123."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.column_text import as_text
from titanic_batch.reading.columns import STRING, as_single_array, from_arrow, from_plain_text, from_text
from titanic_batch.reading.formats import REJECT_PREFIX
from titanic_batch.reading.rules import Mask, Problem

KEY_TEXT = f"{REJECT_PREFIX}key_text"  # no column of an input is so called


def with_key_text(rows: Rows, key: str, wanted: pa.DataType) -> Rows:
    """Return rows whose key was read unconverted with the key converted to ``wanted``, and as text in ``KEY_TEXT``."""
    column = as_single_array(rows.table[key])
    broken: dict[str, Mask] = {}
    if not pa.types.is_string(column.type):
        keys, broken = from_arrow(column, wanted)
    elif wanted == STRING or (keys := from_plain_text(column, wanted)) is None:
        keys, broken = from_text(column, wanted, escaped=False)
    table = rows.table.set_column(rows.table.schema.get_field_index(key), key, keys)
    problems = [Problem(rule, key, np.flatnonzero(mask)) for rule, mask in broken.items()]
    return Rows(table.append_column(KEY_TEXT, as_text(rows.table[key])), rows.problems + problems)
