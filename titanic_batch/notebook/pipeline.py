"""The notebook's pipeline."""

from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from titanic_batch.errors import NotebookError
from titanic_batch.notebook.folder import read
from titanic_batch.notebook.words import DEFAULT_SEED

_build = read("pipeline")["build_pipeline"]


def build_pipeline(seed: int = DEFAULT_SEED, **parameters: Any) -> Pipeline:
    """Return the unfitted pipeline, with parameters of its classifier.

    Raises
    ------
    NotebookError
        It is no pipeline that ends in a classifier with probabilities.
    """
    pipeline = _build(seed, **parameters)
    if not (isinstance(pipeline, Pipeline) and is_classifier(pipeline[-1]) and hasattr(pipeline, "predict_proba")):
        raise NotebookError(
            "pipeline.build_pipeline must return a scikit-learn Pipeline whose last step is a classifier with "
            "predict_proba: numbers to regress on can't be predicted."
        )
    return pipeline
