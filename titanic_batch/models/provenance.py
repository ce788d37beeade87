"""What a manifest says about a pipeline, and about the rows that it was fitted on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from titanic_batch.models.artifact import source_date
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


def manifest_of(pipeline: Pipeline, fitted_by: str | None = None) -> Manifest:
    """Return the manifest of a fitted pipeline, without a record of its fit.

    ``fitted_by`` is the version of scikit-learn that fitted it, by default the installed one.
    """
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    parameters = pipeline[-1].get_params()
    return Manifest(
        description=DESCRIPTION,
        package_version=__version__,
        python_version=platform.python_version(),
        libraries=libraries | ({} if fitted_by is None else {"scikit-learn": fitted_by}),
        schema=SchemaId(CONTRACT.version, CONTRACT.digest),
        features=feature_names_of(pipeline),
        categories=CATEGORIES,
        classifier=type(pipeline[-1]).__name__,
        parameters={name: value for name, value in parameters.items() if name in PARAMETERS},
        seed=parameters.get("random_state"),
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
