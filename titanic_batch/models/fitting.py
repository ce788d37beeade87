"""Fit a model and evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from titanic_batch.models.evaluation import (
    QUICK_METRICS,
    Evaluation,
    check_count,
    cross_validate,
)
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import features_of
from titanic_batch.passenger.words import DEFAULT_SEED, LABEL
from titanic_batch.scoring.drift import probability_counts


def fit_and_evaluate(
    passengers: pd.DataFrame, seed: int = DEFAULT_SEED, parameters: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Model, Evaluation]:
    """Fit a model on labelled rows and evaluate it by cross-validation on them; its manifest tells both.

    Raises
    ------
    DataError
        There are too few rows.
    """
    X, y = features_of(passengers), passengers[LABEL].to_numpy()
    check_count(y)
    model = Model(seed, **parameters).fit(passengers)
    folds = cross_validate(model.pipeline, X, y, seed)  # done before other processes would have started
    evaluation = folds.evaluation(QUICK_METRICS)
    model.manifest["metrics"]["cross_validation"] = evaluation.to_json()
    model.manifest["reference"]["predictions"] = probability_counts(folds.held_out()).tolist()
    return model, evaluation
