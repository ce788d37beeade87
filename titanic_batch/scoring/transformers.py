"""scikit-learn transformers that apply `encoders`.

Each takes a pandas frame or a 2-D array, encodes it column by column, and returns a new ``int8`` array (or what
``set_output`` asks for). The input is not changed, and may be empty in ``transform``. A pandas ``Categorical`` is
encoded by category rather than by row, and gets the same codes as a column of strings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from titanic_batch.scoring.encoders import Bins, Categories, Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class BinEncoder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Encode numbers by the right-closed bin they fall into; ``missing`` stands for a missing number.

    Parameters
    ----------
    edges, missing
        See `encoders.Bins`.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str, if ``fit`` was given names
    """

    def __init__(self, edges: Sequence[float] = (-math.inf, math.inf), missing: float = math.nan) -> None:
        self.edges = edges
        self.missing = missing

    @property
    def encoder(self) -> Bins:
        """Encodes Arrow columns and single values as `transform` does."""
        return Bins(self.edges, self.missing)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that ``X``, of shape (n_samples, n_features), is numeric; nothing is learned from it."""
        validate_data(self, X, dtype="numeric", ensure_all_finite=False)
        return self

    def transform(self, X: Any) -> NDArray[np.int8]:
        """Return the codes, ``int8`` of shape (n_samples, n_features)."""
        check_is_fitted(self)
        if isinstance(X, pd.DataFrame) and (X.dtypes == np.float64).all():
            # The same as the full check below, in a tenth of the time.
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
        return self.encoder.codes(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.allow_nan = True
        return tags


class CategoryEncoder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Encode each value by its position in ``categories``; any other value has code ``len(categories)``.

    Parameters
    ----------
    categories
        The known values, in the order of their codes.
    missing, first_letter
        See `encoders.Categories`.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str, if ``fit`` was given names
    """

    def __init__(
        self,
        categories: Sequence[str] = (),
        missing: str | None = None,
        first_letter: bool = False,
    ) -> None:
        self.categories = categories
        self.missing = missing
        self.first_letter = first_letter

    @property
    def encoder(self) -> Categories:
        """Encodes Arrow columns and single values as `transform` does."""
        return Categories(self.categories, self.missing, self.first_letter)

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
            column = frame.iloc[:, position]
            if isinstance(column.dtype, pd.CategoricalDtype):
                values, positions = column.cat.categories, column.cat.codes.to_numpy()
            else:
                positions, values = pd.factorize(column)
            codes[:, position] = self.encoder.codes(values.tolist(), positions)
        return codes

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        # check_array would convert each Categorical into an array of objects.
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


def transformer_of(encoder: Encoder) -> BinEncoder | CategoryEncoder | Literal["passthrough"]:
    """Return what encodes as an encoder does within a ``ColumnTransformer``, unfitted."""
    match encoder:
        case Bins(edges, missing):
            return BinEncoder(edges, missing)
        case Categories(values, missing_value, first_letter):
            return CategoryEncoder(values, missing_value, first_letter)
        case _:
            return "passthrough"
