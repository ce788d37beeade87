"""How good a model of some parameters is on rows that it has not seen, and which parameters are best."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from titanic_batch.errors import DataError
from titanic_batch.model import Evaluation, Model, features_of
from titanic_batch.pipeline import DEFAULT_SEED, NOTEBOOK_GRID, build_pipeline
from titanic_batch.schema import LABEL

FOLDS = 10


def cross_validate(model: Model, frame: pd.DataFrame) -> Evaluation:
    """Return the mean accuracy over 10 stratified, shuffled folds, fitting a model of the same parameters for each.

    Raises
    ------
    DataError
        There are fewer than 10 rows of a label.
    """
    _check_count(frame)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=model.seed)
    scores = cross_val_score(model.pipeline, features_of(frame), frame[LABEL], cv=folds, scoring="accuracy")
    return Evaluation(len(frame), float(scores.mean()))


def tuned_parameters(frame: pd.DataFrame, seed: int = DEFAULT_SEED, jobs: int = 1) -> dict[str, Any]:
    """Return the forest's parameters that win the notebook's grid search: best accuracy over 5 folds.

    Raises
    ------
    DataError
        There are fewer than 10 rows of a label.
    """
    _check_count(frame)
    prefix = "classifier__"
    # Each tree of the notebook's forest sees as many rows as there are.
    grid = {prefix + name: values for name, values in (NOTEBOOK_GRID | {"max_samples": [None]}).items()}
    search = GridSearchCV(build_pipeline(seed), grid, scoring="accuracy", cv=5, n_jobs=jobs, refit=False)
    search.fit(features_of(frame), frame[LABEL])
    return {name.removeprefix(prefix): value for name, value in search.best_params_.items()}


def _check_count(frame: pd.DataFrame) -> None:
    if frame[LABEL].value_counts().reindex([0, 1], fill_value=0).min() < FOLDS:
        raise DataError(f"cross-validation needs at least {FOLDS} rows with each {LABEL}: add some.")
