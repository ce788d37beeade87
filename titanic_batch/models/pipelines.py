"""The scikit-learn pipeline of a model file: built from an audited archive or unpickled, and tried on some rows."""

from __future__ import annotations

import io
import json
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
from titanic_batch.models.audit import Archive, AuditError
from titanic_batch.models.building import build
from titanic_batch.models.loading import is_of_another_minor_version, refusal, unsafe
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.notebook.pipeline import build_pipeline

_SAMPLE_ROWS = 20

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
        is_fitted = isinstance(pipeline, Pipeline) and hasattr(pipeline, "feature_names_in_")
    except _CANNOT_BE_BUILT as error:
        _raise_if_of_the_machine(error)
        what = f"can't be built with scikit-learn {sklearn.__version__} ({type(error).__name__})"
        raise refusal(artifact, what, fitted_by) from None
    if not is_fitted:
        raise ModelError(f"{artifact.name} holds no fitted pipeline: make one with titanic fit.")
    return pipeline


def _is_ours(pipeline: Pipeline, manifest: Manifest) -> bool:
    """Return whether a pipeline prepares rows as ours does, and its trees fit the features that it makes.

    It predicts for some rows, after all has been checked that says how much memory and how many threads that takes.
    """
    features, classifier = pipeline[:-1], pipeline[-1]
    trees = classifier.estimators_
    sample = features_of(packaged_rows().head(_SAMPLE_ROWS))
    return (
        _parameters(features) == _parameters(build_pipeline()[:-1].fit(sample))
        and list(pipeline.feature_names_in_) == list(sample.columns)
        and list(features.get_feature_names_out()) == manifest.features
        and all(_has_two_classes(each) for each in (classifier, *trees))
        and all(tree.tree_.n_features == len(manifest.features) and tree.tree_.max_n_classes == 2 for tree in trees)
        and (classifier.n_jobs, classifier.verbose) == (None, 0)
        and (classifier.n_estimators, classifier.random_state) == (len(trees), manifest.seed)
        and _can_be_fitted_again(classifier)
        and _predicts(pipeline, sample)
    )


def _has_two_classes(classifier: Any) -> bool:
    return bool(list(classifier.classes_) == [0, 1] and classifier.n_classes_ == 2 and classifier.n_outputs_ == 1)


def _can_be_fitted_again(classifier: Any) -> bool:
    """Return whether scikit-learn accepts the parameters, with which a comparison fits the classifier again."""
    classifier._validate_params()  # raises a ValueError, as each fit does
    return True


def _predicts(pipeline: Pipeline, sample: pd.DataFrame) -> bool:
    probabilities = pipeline.predict_proba(sample)
    return bool(
        probabilities.shape == (len(sample), 2)
        and np.allclose(probabilities.sum(axis=1), 1)
        and set(pipeline.predict(sample)) <= {0, 1}
    )


def _parameters(features: Pipeline) -> str:
    """Return the parameters of all transformers as JSON, both of those before the fit and of the fitted ones."""

    def described(thing: Any) -> Any:
        if not isinstance(thing, BaseEstimator):
            return type(thing).__name__
        return [type(thing).__name__, thing.get_params(deep=False), getattr(thing, "transformers_", None)]

    return json.dumps(features, default=described, sort_keys=True)
