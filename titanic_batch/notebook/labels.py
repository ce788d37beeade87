"""The two labels: as they stand in the notebook's column where rows are read and written, and as codes in between.

The code of a label is its place in `LABELS`: 1 is the event, whose probability is predicted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from titanic_batch.notebook.words import LABELS
from titanic_batch.reading.columns import arrow_numbers

CLASSES: NDArray[Any] = np.array(sorted(LABELS))
"""The labels as scikit-learn's classifiers have them, in increasing order, of shape (2,)."""

EVENT_PLACE = CLASSES.tolist().index(LABELS[1])
"""The place of the event among `CLASSES`, and so the column of its probability."""

_SMALL = range(-(2**7), 2**7)
_AS_CODES = LABELS == (0, 1) and type(LABELS[0]) is int


def _type_of(label: object) -> pa.DataType:
    if type(label) is int:
        return pa.int8() if all(each in _SMALL for each in LABELS) else pa.int64()
    return {bool: pa.bool_(), float: pa.float64(), str: pa.string()}[type(label)]


LABEL_TYPE: pa.DataType = _type_of(LABELS[0])
"""The Arrow type of labels that are written."""

_WRITTEN = pa.array(LABELS, LABEL_TYPE)


def written_labels(codes: NDArray[np.int8]) -> pa.Array:
    """Return the labels of codes of shape (n,), as they are written; they share the memory of codes where they can."""
    numbers = arrow_numbers(codes)
    return numbers if _AS_CODES else _WRITTEN.take(numbers)


def codes_of(labels: ArrayLike) -> NDArray[np.int64]:
    """Return the codes of labels, of shape (n,).

    Raises
    ------
    ValueError
        One of them is no label.
    """
    values = np.asarray(labels, dtype=object)
    events = values == LABELS[1]
    if not (events | (values == LABELS[0])).all():
        raise ValueError("a value is neither of the two labels")
    codes: NDArray[np.int64] = events.astype(np.int64)
    return codes
