"""The codes of feature values: numbers by the bin they fall in, categories by their position.

Each encoder makes the same codes of an array, of an Arrow column and of a single value. An Arrow column is coded
without a frame, and a value without an array: this is what makes millions of rows cheap, and one row. The codes are
fixed by what an encoder is given, and nothing is learned, so that nothing leaks from one data set to another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bins:
    """Right-closed bins of numbers.

    Attributes
    ----------
    edges
        The n + 1 rising edges of n bins; bin ``i`` is ``(edges[i], edges[i + 1]]`` and has code ``i``. A number
        outside all bins has code n.
    missing
        The number that a missing value counts as; NaN: none, so that it has code n.
    """

    edges: Sequence[float]
    missing: float

    def codes(self, numbers: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
        """Return the codes of numbers of any shape, NaN for a missing one; a new array of that shape."""
        edges = np.asarray(self.edges, numbers.dtype)
        # A bin's code is how many edges lie below, less one; counting them is faster than a search for each number.
        codes = np.full(numbers.shape, -1, dtype=np.int8)
        is_above = np.empty(numbers.shape, dtype=np.bool_)
        for edge in edges:
            np.less(edge, numbers, out=is_above)
            codes += is_above.view(np.int8)
        none = codes < 0  # below the first edge, or NaN
        if none.any():
            bins = len(edges) - 1
            missing = int(np.searchsorted(edges, numbers.dtype.type(self.missing))) - 1
            codes[none] = np.where(np.isnan(numbers[none]), missing if missing >= 0 else bins, bins)
        return codes

    def column_codes(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int8] | None:
        """Return the codes of an Arrow column, of shape (n_samples,); None if it doesn't hold numbers."""
        arrow_type = column.type
        if not (pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type)):
            return None
        if arrow_type not in (pa.float64(), pa.float32()):
            column = column.cast(pa.float64(), safe=False)
        return self.codes(pc.fill_null(column, self.missing).to_numpy())

    def code(self, value: float | None) -> int:
        """Return the code of one float64, None for a missing one."""
        below = bisect_left(self.edges, self.missing if value is None else value)
        return below - 1 if below else len(self.edges) - 1


@dataclass(frozen=True, slots=True)
class Categories:
    """Known values, each coded by its position; any other value has code ``len(values)``.

    Attributes
    ----------
    values
        The known values, in the order of their codes.
    missing
        The category that a missing value counts as; ``None``: as an unknown one.
    first_letter
        Whether only a value's first character counts.
    """

    values: Sequence[str]
    missing: str | None = None
    first_letter: bool = False

    def codes(self, values: Sequence[Any], positions: NDArray[np.integer[Any]]) -> NDArray[np.int8]:
        """Return the codes of rows by the ``positions`` of their values among distinct ``values``; -1 is missing.

        ``positions`` is of shape (n_samples,), and so is the new array.
        """
        code_of = {category: code for code, category in enumerate(self.values)}
        unknown = len(self.values)
        codes = [code_of.get(str(v)[:1] if self.first_letter else v, unknown) for v in values]
        codes.append(self.code(None))  # the last entry answers position -1
        return np.asarray(codes, dtype=np.int8).take(positions)

    def column_codes(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int8] | None:
        """Return the codes of an Arrow column, of shape (n_samples,); None if it doesn't hold strings."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_dictionary(array.type):
            array = pc.dictionary_encode(array)
        values = array.dictionary
        if values.type not in (pa.string(), pa.large_string()) or values.null_count:
            return None
        if self.first_letter:
            values = pc.utf8_slice_codeunits(values, 0, 1)
        unknown = len(self.values)
        code_of = pc.fill_null(pc.index_in(values, pa.array(self.values, values.type)), unknown).to_numpy()
        # The last entry answers what has no value.
        code_of = np.append(code_of, self.code(None)).astype(np.int8)
        codes: NDArray[np.int8] = code_of.take(pc.fill_null(array.indices.cast(pa.int32()), len(values)).to_numpy())
        return codes

    def code(self, value: str | None) -> int:
        """Return the code of one value, None for a missing one."""
        if value is None:
            value = self.missing
        elif self.first_letter:
            value = value[:1]
        return self.values.index(value) if value in self.values else len(self.values)
