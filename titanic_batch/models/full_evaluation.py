"""What the page about a model shows of how good it is, beside the notebook's classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline

from titanic_batch.models.cross_validation import FOLDS, CrossValidation, RepeatedFolds
from titanic_batch.models.evaluation import Evaluation
from titanic_batch.models.training_data import Labels
from titanic_batch.notebook.fitting import GROUPS, NOTEBOOK_HELD_OUT, NOTEBOOK_PARAMETERS
from titanic_batch.notebook.pipeline import build_pipeline


@dataclass(frozen=True, slots=True)
class NotebookProtocol:
    """The two accuracies that the notebook shows: on rows held out once, and the mean over 10 folds in order."""

    held_out_accuracy: float
    folds_accuracy: float


@dataclass(frozen=True, slots=True)
class FullEvaluation:
    """How good a model is, and the notebook's classifier on the same repeated folds.

    Attributes
    ----------
    repeated
        The cross-validation of the model.
    notebook
        That of the notebook's classifier; None if its folder does not name its parameters.
    protocols
        Both, evaluated as the notebook does; None if its folder does not say how that is.
    columns
        The columns whose importances ``repeated`` has.
    groups
        By column and value, how good the model is on the rows with this value.
    """

    repeated: CrossValidation
    notebook: CrossValidation | None
    protocols: tuple[NotebookProtocol, NotebookProtocol] | None
    columns: Sequence[str]
    groups: Mapping[str, Mapping[str, Evaluation]]


def full_evaluation(pipeline: Pipeline, repeated: CrossValidation, folds: RepeatedFolds) -> FullEvaluation:
    """Evaluate all that a page shows, beyond what was cross-validated already.

    Parameters
    ----------
    pipeline
        The model's.
    repeated
        Its cross-validation on ``folds``, with importances.
    folds
        The rows that the model was fitted on.
    """
    X, y = folds.X, folds.y
    of_notebook, protocols = None, None
    if NOTEBOOK_PARAMETERS is not None:
        notebook = build_pipeline(folds.seed, **NOTEBOOK_PARAMETERS)
        of_notebook = folds.cross_validate(notebook)
        if (held_out := NOTEBOOK_HELD_OUT) is not None:
            protocols = notebook_protocol(pipeline, X, y, held_out), notebook_protocol(notebook, X, y, held_out)
    return FullEvaluation(
        repeated,
        of_notebook,
        protocols,
        list(X.columns),
        {
            column: {
                str(value): repeated.on((X[column] == value).to_numpy())
                for value in sorted(X[column].dropna().unique())
            }
            for column in GROUPS
        },
    )


def notebook_protocol(pipeline: Pipeline, X: pd.DataFrame, y: Labels, held_out: Mapping[str, Any]) -> NotebookProtocol:
    """Evaluate as the notebook does: on some rows held out once, and over 10 folds that are not shuffled."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, **held_out)
    return NotebookProtocol(
        float(clone(pipeline).fit(X_train, y_train).score(X_test, y_test)),
        float(cross_val_score(pipeline, X, y, cv=KFold(FOLDS)).mean()),
    )
