"""What a scorer needs of a model, whatever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.reading.columns import as_single_array
from titanic_batch.scoring.encoders import Encoder, FeatureStep

Parts = list[tuple[str, Encoder]]
"""For each feature the column that it is made of, and how."""


class Predictor(Protocol):
    """Makes features of columns, and predictions of features. Thread-safe.

    Attributes
    ----------
    columns
        The columns that it needs.
    feature_names
        The features, in order.
    parts
        How each feature is made; None unless each is made of one column, value by value.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def feature_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def parts(self) -> Parts | None: ...  # noqa: D102

    def features(self, table: pa.Table) -> Any:
        """Return the features of rows that have the columns.

        They are a list of features, each of shape (n_samples,), an array of shape (n_samples, n_features), or whatever
        else `predict` takes.
        """

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return codes of labels, 0 or 1, and probabilities of code 1, side by side, of shape (n_samples, 2).

        Parameters
        ----------
        X
            Features as an array of shape (n_samples, n_features), or as `features` returns them if not as a list.
        """


def parts_of(steps: Sequence[FeatureStep]) -> Parts:
    """Return how each feature is made by some steps."""
    return [(name, step.encoder) for step in steps for name in step.columns]


class ColumnTypeError(TypeError):
    """A column is of a type that its encoder does not take."""


def encoded_columns(table: pa.Table, parts: Parts) -> list[NDArray[Any]]:
    """Return the features of rows, each of shape (n_samples,).

    Raises
    ------
    ColumnTypeError
        A column is of a type that its encoder does not take.
    """
    features = []
    for name, encoder in parts:
        codes = encoder.column_codes(as_single_array(table[name]))
        if codes is None:
            raise ColumnTypeError(f"the column {name} can't be encoded: it is of type {table[name].type}")
        features.append(codes)
    return features
