"""scikit-learn transformers for the notebook's feature steps.

Each takes a pandas frame or a 2-D array, works column by column, returns a new ``int8`` array (or what
``set_output`` asks for) and leaves its input as it was. Categories have fixed positions that are given, not
learned, so that nothing leaks from one data set to another. A value that is none of them gets a code of its
own: the number of categories. A batch to transform may have no rows.

A pandas ``Categorical`` costs one look at each *category* instead of one at each row, and a plain column of strings
gives the same codes. ``codes`` makes them of an Arrow column without a frame, and ``code`` of a single value: this is
what makes millions of rows cheap, and one row.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MISSING_NUMBER = -0.5  # the notebook's stand-in, inside the first bin of Age and of Fare

AGE_EDGES = (-1, 0, 5, 12, 18, 25, 35, 60, 120)
AGE_BINS = ("Unknown", "Baby", "Child", "Teenager", "Student", "Young Adult", "Adult", "Senior")
FARE_EDGES = (-1, 0, 8, 15, 31, 1000)
FARE_BINS = ("Unknown", "1_quartile", "2_quartile", "3_quartile", "4_quartile")
DECKS = ("A", "B", "C", "D", "E", "F", "G", "T", "N")
MISSING_DECK = "N"
SEXES = ("female", "male")


class BinEncoder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Code numbers by the right-closed bin they fall in; a missing number counts as ``missing``.

    Parameters
    ----------
    edges
        The n + 1 rising edges of n bins; bin ``i`` is ``(edges[i], edges[i + 1]]`` and has code ``i``. A
        number outside all bins has code n.
    missing
        The number that stands for a missing value.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where ``fit`` saw names
    """

    def __init__(self, edges: Sequence[float] = AGE_EDGES, missing: float = MISSING_NUMBER) -> None:
        self.edges = edges
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that ``X``, of shape (n_samples, n_features), holds numbers; nothing is learned from it."""
        validate_data(self, X, dtype="numeric", ensure_all_finite=False)
        return self

    def transform(self, X: Any) -> NDArray[np.int8]:
        """Return the codes, ``int8`` of shape (n_samples, n_features)."""
        check_is_fitted(self)
        if isinstance(X, pd.DataFrame) and (X.dtypes == np.float64).all():
            # What the full check would come to, at a tenth of its time.
            validate_data(self, X, reset=False, skip_check_array=True)
            X = X.to_numpy()
        else:
            X = validate_data(
                self,
                X,
                reset=False,
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,
                ensure_min_samples=0,
            )
        return self._bins_of(X)

    def codes(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int8] | None:
        """Return what `transform` makes of one column, of shape (n_samples,); None if it doesn't hold numbers."""
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return None
        if kind not in (pa.float64(), pa.float32()):
            column = column.cast(pa.float64(), safe=False)
        return self._bins_of(pc.fill_null(column, self.missing).to_numpy())

    def code(self, value: float | None) -> int:
        """Return what `transform` makes of one float64, None for a missing one."""
        below = bisect_left(self.edges, self.missing if value is None else value)
        return below - 1 if below else len(self.edges) - 1

    def _bins_of(self, X: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
        """Return the codes of numbers of any shape."""
        edges = np.asarray(self.edges, X.dtype)
        # A bin's code is how many edges lie below, less one; counting them is faster than a search for each number.
        codes = np.full(X.shape, -1, dtype=np.int8)
        is_above = np.empty(X.shape, dtype=np.bool_)
        for edge in edges:
            np.less(edge, X, out=is_above)
            codes += is_above.view(np.int8)
        none = codes < 0  # below the first edge, or NaN
        if none.any():
            bins = len(edges) - 1
            missing = int(np.searchsorted(edges, X.dtype.type(self.missing))) - 1
            codes[none] = np.where(np.isnan(X[none]), missing if missing >= 0 else bins, bins)
        return codes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.allow_nan = True
        return tags


class CategoryEncoder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Code each value by its position in ``categories``; any other value has code ``len(categories)``.

    Parameters
    ----------
    categories
        The known values, in the order of their codes.
    missing
        The category that a missing value counts as; ``None``: as an unknown one.
    first_letter
        Look only at a value's first character.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where ``fit`` saw names
    """

    def __init__(
        self,
        categories: Sequence[str] = SEXES,
        missing: str | None = None,
        first_letter: bool = False,
    ) -> None:
        self.categories = categories
        self.missing = missing
        self.first_letter = first_letter

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the shape of ``X``, (n_samples, n_features); nothing is learned from it."""
        self._frame(X, reset=True)
        return self

    def transform(self, X: Any) -> NDArray[np.int8]:
        """Return the codes, ``int8`` of shape (n_samples, n_features)."""
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        codes = np.empty(frame.shape, dtype=np.int8, order="F")
        for position in range(frame.shape[1]):
            codes[:, position] = self._codes(frame.iloc[:, position])
        return codes

    def codes(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int8] | None:
        """Return what `transform` makes of one column, of shape (n_samples,); None if it doesn't hold strings."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_dictionary(array.type):
            array = pc.dictionary_encode(array)
        values = array.dictionary
        if values.type not in (pa.string(), pa.large_string()) or values.null_count:
            return None
        if self.first_letter:
            values = pc.utf8_slice_codeunits(values, 0, 1)
        unknown = len(self.categories)
        code_of = pc.fill_null(pc.index_in(values, pa.array(self.categories, values.type)), unknown).to_numpy()
        # The last entry answers what has no value.
        code_of = np.append(code_of, self.code(None)).astype(np.int8)
        codes: NDArray[np.int8] = code_of.take(pc.fill_null(array.indices.cast(pa.int32()), len(values)).to_numpy())
        return codes

    def code(self, value: str | None) -> int:
        """Return what `transform` makes of one value, None for a missing one."""
        if value is None:
            value = self.missing
        elif self.first_letter:
            value = value[:1]
        return self.categories.index(value) if value in self.categories else len(self.categories)

    def _codes(self, column: pd.Series[Any]) -> NDArray[np.int8]:
        if isinstance(column.dtype, pd.CategoricalDtype):
            values, positions = column.cat.categories, column.cat.codes.to_numpy()
        else:
            positions, values = pd.factorize(column)
        code_of = {category: code for code, category in enumerate(self.categories)}
        unknown = len(self.categories)
        # The last entry answers position -1, which is how pandas marks a missing value.
        codes = [code_of.get(str(v)[:1] if self.first_letter else v, unknown) for v in values.tolist()]
        codes.append(code_of.get(self.missing, unknown) if self.missing is not None else unknown)
        return np.asarray(codes, dtype=np.int8).take(positions)

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        # check_array would turn each Categorical into objects, one for each row.
        if isinstance(X, pd.DataFrame) and not X.empty:
            frame = X
        else:
            options = {"dtype": None, "ensure_all_finite": False, "ensure_min_samples": int(reset)}
            frame = pd.DataFrame(check_array(X, **options, estimator=self, input_name="X"))
        validate_data(self, X, reset=reset, skip_check_array=True)
        return frame

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
