"""The scikit-learn pipeline of a model file: built from an audited archive or unpickled, and tried on some rows."""

from __future__ import annotations

import io
import lzma
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from titanic_batch.errors import ModelError, is_out_of_memory
from titanic_batch.models.artifact import Artifact
from titanic_batch.models.audit import Archive
from titanic_batch.models.audit_errors import AuditError
from titanic_batch.models.building import build
from titanic_batch.models.loading import is_of_another_minor_version, refusal, unsafe
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.soundness import has_structure_of, is_sound
from titanic_batch.models.training_data import sample_rows
from titanic_batch.notebook.pipeline import build_pipeline
from titanic_batch.notebook.words import DEFAULT_SEED, LABELS
from titanic_batch.scoring.pipelines import feature_names_of

# What unpacking, unpickling and building raise where the bytes are no model.
_CANNOT_BE_BUILT = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    pickle.PickleError,
    zipfile.BadZipFile,
    zlib.error,
)


def unpickled(artifact: Artifact) -> tuple[Pipeline, str]:
    """Load a pickle, which can run any code: one that the caller trusts.

    Returns
    -------
    tuple of Pipeline and str
        The pipeline, and the version of scikit-learn that fitted it.

    Raises
    ------
    ModelError
        It can't be loaded, or is no fitted pipeline.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        pipeline = _fitted(artifact, lambda: joblib.load(io.BytesIO(artifact.content)), _pickled_version(artifact))
    versions = [each.message.original_sklearn_version for each in caught
                if isinstance(each.message, InconsistentVersionWarning)]  # fmt: skip
    return pipeline, max(versions, key=is_of_another_minor_version, default=sklearn.__version__)


def built(artifact: Artifact, archive: Archive, manifest: Manifest) -> Pipeline:
    """Build the pipeline of an audited ``.skops`` file, and check that it works.

    Raises
    ------
    ModelError
        It can't be built, or is not one that we make.
    """
    fitted_by = manifest.libraries["scikit-learn"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pipeline = _fitted(artifact, lambda: build(archive), fitted_by)
        except AuditError as error:
            raise unsafe(artifact, error) from None
        try:
            works = _is_ours(pipeline, manifest)
        except _CANNOT_BE_BUILT as error:
            _raise_if_of_the_machine(error)
            works = False
    if not works:
        raise refusal(artifact, "is not one that titanic fit makes", fitted_by)
    return pipeline


def _pickled_version(artifact: Artifact) -> str | None:
    """Return the version of scikit-learn in a pickle's bytes, which may fail before it tells; None if it is not found.

    There it is the string after ``_sklearn_version``, which its length precedes.
    """
    found = re.search(rb"_sklearn_version(?:\x94|q.)?[\x8cX](.)(?:\0\0\0)?(\d[\w.+]*)", artifact.content, re.DOTALL)
    return None if found is None else found[2][: found[1][0]].decode()


def _raise_if_of_the_machine(error: Exception) -> None:
    """Raise an error again that is the machine's: the model's bytes are in memory already."""
    if is_out_of_memory(error):
        raise MemoryError from None
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def _fitted(artifact: Artifact, load: Callable[[], Any], fitted_by: str | None) -> Pipeline:
    try:
        pipeline = load()
        is_fitted = isinstance(pipeline, Pipeline) and hasattr(pipeline[-1], "classes_")
    except _CANNOT_BE_BUILT as error:
        _raise_if_of_the_machine(error)
        what = f"can't be built with scikit-learn {sklearn.__version__} ({type(error).__name__})"
        raise refusal(artifact, what, fitted_by) from None
    if not is_fitted:
        raise ModelError(f"{artifact.name} holds no fitted pipeline: make one with titanic fit.")
    return pipeline


def _is_ours(pipeline: Pipeline, manifest: Manifest) -> bool:
    """Return whether a pipeline is of the notebook's kind, and what is in it fits together.

    It predicts for some rows, after all has been checked that says how much memory and how many threads that takes.
    """
    sample = sample_rows()
    notebooks = build_pipeline(DEFAULT_SEED if manifest.seed is None else manifest.seed)
    classifier = pipeline[-1]
    return (
        list(getattr(pipeline, "feature_names_in_", sample.columns)) == list(sample.columns)
        and has_structure_of(pipeline, notebooks)
        and is_sound(pipeline)
        and sorted(classifier.classes_.tolist()) == sorted(LABELS)
        and _can_be_fitted_again(classifier)
        and feature_names_of(pipeline) == list(manifest.features)
        and _predicts(pipeline, sample)
    )


def _can_be_fitted_again(classifier: Any) -> bool:
    """Return whether scikit-learn accepts the parameters, with which a comparison fits the classifier again."""
    if isinstance(classifier, BaseEstimator):
        classifier._validate_params()  # raises a ValueError, as each fit does
    return True


def _predicts(pipeline: Pipeline, sample: pd.DataFrame) -> bool:
    probabilities = pipeline.predict_proba(sample)
    return bool(
        probabilities.shape == (len(sample), 2)
        and np.isfinite(probabilities).all()
        and np.allclose(probabilities.sum(axis=1), 1)
        and set(pipeline.predict(sample).tolist()) <= set(LABELS)
    )
