"""Encoders of feature values: numbers by the bin they fall into, categories by their position, or numbers as they are.

Each encoder gives the same codes to an array, an Arrow column and a single value. Arrow columns are encoded without a
frame, which makes millions of rows cheap, and single values without an array, which makes one row cheap. Codes depend
on an encoder's parameters alone: nothing is learned, so nothing leaks from one data set into another.

Only NumPy and Arrow are imported here: `transformers` makes scikit-learn's of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from titanic_batch.reading.columns import stored_numbers, valid_mask


@dataclass(frozen=True, slots=True)
class Bins:
    """Right-closed bins of numbers.

    Attributes
    ----------
    edges
        The n + 1 edges of n bins, in increasing order. Bin ``i`` is ``(edges[i], edges[i + 1]]`` and has code ``i``; a
        number outside all bins has code n.
    missing
        The number that stands for a missing value. If it is NaN, a missing value has code n.
    """

    edges: Sequence[float]
    missing: float

    def codes(self, numbers: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
        """Return the codes of numbers as a new array of the same shape; a missing number is NaN."""
        edges = np.asarray(self.edges, numbers.dtype)
        # The code of a number is one less than how many edges lie below it. Counting them is faster than searching.
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
        """Return the codes of an Arrow column, of shape (n_samples,); None if its type is neither numeric nor null."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        arrow_type = array.type
        if not (pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type) or pa.types.is_null(arrow_type)):
            return None
        if arrow_type not in (pa.float64(), pa.float32()):
            array = array.cast(pa.float64(), safe=False)
        numbers = stored_numbers(array)
        codes = self.codes(numbers)
        if array.null_count:
            missing = self.codes(np.array([self.missing], numbers.dtype))
            codes = np.where(valid_mask(array), codes, missing)
        return codes

    def code(self, value: float | None) -> int:
        """Return the code of a float64; a missing one is None."""
        below = bisect_left(self.edges, self.missing if value is None else value)
        return below - 1 if below else len(self.edges) - 1


@dataclass(frozen=True, slots=True)
class Categories:
    """Known values, each encoded by its position; any other value has code ``len(values)``.

    Attributes
    ----------
    values
        The known values, in the order of their codes.
    missing
        The category that stands for a missing value. If it is None, a missing value counts as unknown.
    first_letter
        Whether only the first character of a value counts.
    """

    values: Sequence[str]
    missing: str | None = None
    first_letter: bool = False

    def codes(self, values: Sequence[Any], positions: NDArray[np.integer[Any]]) -> NDArray[np.int8]:
        """Return the codes of rows as a new array of shape (n_samples,).

        Parameters
        ----------
        values
            The distinct values of the rows.
        positions
            For each row, the position of its value in ``values``, or -1 where it is missing; of shape (n_samples,).
        """
        code_of = {category: code for code, category in enumerate(self.values)}
        unknown = len(self.values)
        codes = [code_of.get(str(v)[:1] if self.first_letter else v, unknown) for v in values]
        codes.append(self.code(None))  # last, at position -1
        return np.asarray(codes, dtype=np.int8).take(positions)

    def column_codes(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int8] | None:
        """Return the codes of an Arrow column, of shape (n_samples,); None if its type is neither text nor null."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_null(array.type):
            array = array.cast(pa.string())
        if not pa.types.is_dictionary(array.type):
            array = pc.dictionary_encode(array)
        values = array.dictionary
        if values.type not in (pa.string(), pa.large_string()) or values.null_count:
            return None
        if self.first_letter:
            values = pc.utf8_slice_codeunits(values, 0, 1)
        unknown = len(self.values)
        code_of = pc.fill_null(pc.index_in(values, pa.array(self.values, values.type)), unknown).to_numpy()
        # Last comes the code of a missing value.
        code_of = np.append(code_of, self.code(None)).astype(np.int8)
        positions = stored_numbers(array.indices)
        if positions.dtype == np.uint64:  # which NumPy takes for no index
            positions = positions.astype(np.int64)
        if not array.null_count:
            codes: NDArray[np.int8] = code_of.take(positions)
            return codes
        valid = valid_mask(array)
        return np.where(valid, code_of.take(np.where(valid, positions, 0)), code_of[-1])

    def code(self, value: str | None) -> int:
        """Return the code of a value; a missing one is None."""
        if value is None:
            value = self.missing
        elif self.first_letter:
            value = value[:1]
        return self.values.index(value) if value in self.values else len(self.values)


@dataclass(frozen=True, slots=True)
class Passthrough:
    """Numbers that are features as they are."""

    def column_codes(self, column: pa.Array | pa.ChunkedArray) -> NDArray[Any] | None:
        """Return an Arrow column of shape (n_samples,), a missing number as NaN; None if it is neither int nor float.

        Its dtype is that of the column, or float64 for integers of which some are missing, as in pandas.
        """
        if pa.types.is_integer(column.type):
            column = column.cast(pa.float64(), safe=False) if column.null_count else column
        elif column.type not in (pa.float64(), pa.float32()):
            return None
        values: NDArray[Any] = (pc.fill_null(column, float("nan")) if column.null_count else column).to_numpy()
        return values

    def code(self, value: float | None) -> float | None:
        """Return the value itself."""
        return value


Encoder = Bins | Categories | Passthrough


class FeatureStep(NamedTuple):
    """Columns that one encoder makes features of, a feature for each column, under a name of its own."""

    name: str
    encoder: Encoder
    columns: tuple[str, ...]
