"""What a manifest says about a pipeline, and about the rows that it was fitted on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from titanic_batch.models.artifact import source_date
from titanic_batch.models.json_data import plain
from titanic_batch.models.manifest import FitRecord, Manifest, SchemaId, Training
from titanic_batch.models.training_data import Labels
from titanic_batch.notebook.features import CATEGORIES
from titanic_batch.notebook.fitting import PARAMETERS
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.notebook.words import DESCRIPTION, LABEL, LABELS
from titanic_batch.scoring.drift import Reference
from titanic_batch.scoring.pipelines import feature_names_of
from titanic_batch.version import __version__

_LIBRARIES = ("scikit-learn", "numpy", "pandas", "skops")


def manifest_of(pipeline: Pipeline, fitted_by: str | None = None, seed: int | None = None) -> Manifest:
    """Return the manifest of a fitted pipeline, without a record of its fit.

    Parameters
    ----------
    pipeline
        The pipeline.
    fitted_by
        The version of scikit-learn that fitted it, by default the installed one.
    seed
        What it was built with, by default the classifier's ``random_state`` if that is a number.
    """
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    parameters = pipeline[-1].get_params()
    random_state = parameters.get("random_state")
    if seed is None and isinstance(random_state, int | np.integer):
        seed = int(random_state)
    return Manifest(
        description=DESCRIPTION,
        package_version=__version__,
        python_version=platform.python_version(),
        libraries=libraries | ({} if fitted_by is None else {"scikit-learn": fitted_by}),
        schema=SchemaId(CONTRACT.version, CONTRACT.digest),
        features=feature_names_of(pipeline),
        categories=CATEGORIES,
        classifier=type(pipeline[-1]).__name__,
        parameters={name: _as_json(value) for name, value in parameters.items() if name in PARAMETERS},
        seed=seed,
    )


def fit_record_of(pipeline: Pipeline, X: pd.DataFrame, y: Labels) -> FitRecord:
    """Return what is known of a fit that ended just now, without any evaluation.

    Parameters
    ----------
    pipeline
        Fitted on ``X`` and ``y``.
    X
        Of shape (n_samples, n_columns), with column names.
    y
        Labels of shape (n_samples,).
    """
    hashes = pd.util.hash_pandas_object(X.assign(**{LABEL: y}), index=False)
    features = pipeline[:-1].transform(X) if len(pipeline) > 1 else X
    missing = {str(name): float(share) for name, share in X.isna().mean().items()}
    return FitRecord(
        fitted_at=(source_date() or datetime.now(UTC)).isoformat(timespec="seconds"),
        training=Training(
            rows=len(X),
            columns=[*X.columns, LABEL],
            labels={str(label): int(np.count_nonzero(y == label)) for label in LABELS},
            digest=hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest(),
        ),
        metrics={},
        reference=Reference.of(feature_names_of(pipeline), features, missing).to_json(),
    )


def _as_json(value: Any) -> Any:
    """Return a parameter as JSON data: in words where it is something else."""
    try:
        plain(value, "")
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value
