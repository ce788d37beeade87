"""A model fitted and cross-validated."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from titanic_batch.models.cross_validation import check_count, cross_validate
from titanic_batch.models.evaluation import QUICK_METRICS, Evaluation
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import split_label
from titanic_batch.notebook.words import DEFAULT_SEED
from titanic_batch.scoring.drift import probability_counts


def fit_and_evaluate(
    frame: pd.DataFrame, seed: int = DEFAULT_SEED, parameters: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Model, Evaluation]:
    """Fit a model on labelled rows, cross-validate it on them, and record both in its manifest.

    Parameters
    ----------
    frame
        As for `Model.fit`.
    seed, parameters
        As for `Model`; the seed is that of the folds too.

    Raises
    ------
    DataError
        There are too few rows.
    UsageError
        The parameters can't be combined.
    """
    X, y = split_label(frame)
    check_count(y)
    model = Model(seed, **parameters).fit(frame)
    folds = cross_validate(model.pipeline, X, y, seed)  # one process: others would take longer to start
    evaluation = folds.evaluation(QUICK_METRICS)
    model.record("cross_validation", evaluation, probability_counts(folds.held_out()).tolist())
    return model, evaluation
