"""The pipeline of a model file: built only if nothing in the file can do harm, and then tried on some rows."""

from __future__ import annotations

import io
import json
import lzma
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import Artifact
from titanic_batch.models.audit import AuditError, UntrustedTypeError, audit
from titanic_batch.models.building import build
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.passenger.pipeline import TRUSTED_TYPES, build_pipeline
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.scoring.drift import Reference

_SAMPLE_ROWS = 20

# What unpacking, unpickling and building raise where the bytes are no model.
_CANNOT_BE_BUILT = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    pickle.PickleError,
    zipfile.BadZipFile,
    zlib.error,
)


def unpickled(artifact: Artifact) -> Pipeline:
    """Load a pickle, which can run any code: one that the caller trusts.

    Raises
    ------
    ModelError
        It can't be loaded, or is no fitted pipeline.
    """
    return _fitted(artifact, lambda: joblib.load(io.BytesIO(artifact.content)))


def built(artifact: Artifact, manifest: Manifest) -> Pipeline:
    """Build the pipeline of a ``.skops`` file, and check that it works.

    Raises
    ------
    ModelError
        It was fitted for another schema, is not safe to build, can't be built, or is not one that we make.
    """
    _check_schema(artifact.name, manifest)
    try:
        archive = audit(artifact.content, TRUSTED_TYPES)
    except UntrustedTypeError:
        raise ModelError(f"the model {artifact.name} holds types that are not ours to trust: fit it again.") from None
    except AuditError as error:
        raise ModelError(f"the model {artifact.name} is not safe to build ({error}): fit it again.") from None
    pipeline = _fitted(artifact, lambda: build(archive))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            works = _is_ours(pipeline)
        except _CANNOT_BE_BUILT:
            works = False
    if not works:
        raise ModelError(f"the model {artifact.name} is not one that titanic fit makes: fit it again.")
    try:
        Reference.from_json(manifest.fit_record.reference)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise ModelError(f"the model {artifact.name} is damaged in its reference: fit it again.") from None
    return pipeline


def caution(name: str, manifest: Manifest) -> str | None:
    """Return a warning where another minor version of scikit-learn fitted the model, else None."""
    fitted_by = manifest.libraries["scikit-learn"]
    if fitted_by.split(".")[:2] == sklearn.__version__.split(".")[:2]:
        return None
    return (
        f"the model {name} was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: "
        "its predictions may differ."
    )


def _check_schema(name: str, manifest: Manifest) -> None:
    """Raise `ModelError` where a model was fitted for another contract than today's."""
    schema = manifest.schema
    if schema.version != CONTRACT.version:
        theirs, ours = f"version {schema.version}", f"version {CONTRACT.version}"
    elif schema.digest != CONTRACT.digest:
        theirs, ours = f"digest {schema.digest[:12]}", f"digest {CONTRACT.digest[:12]}"
    else:
        return
    raise ModelError(f"the model {name} was fitted for another schema ({theirs}, and this is {ours}): fit it again.")


def _fitted(artifact: Artifact, load: Callable[[], Any]) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        try:
            pipeline = load()
        except _CANNOT_BE_BUILT as error:
            raise ModelError(
                f"the model {artifact.name} can't be built with scikit-learn {sklearn.__version__} "
                f"({type(error).__name__}): fit it again with the versions that are installed."
            ) from None
    if not isinstance(pipeline, Pipeline) or not hasattr(pipeline, "feature_names_in_"):
        raise ModelError(f"{artifact.name} holds no fitted pipeline: make one with titanic fit.")
    return pipeline


def _is_ours(pipeline: Pipeline) -> bool:
    """Return whether a pipeline prepares rows as ours does, and its trees fit the features that it makes."""
    features, classifier = pipeline[:-1], pipeline[-1]
    sample = features_of(packaged_rows().head(_SAMPLE_ROWS))
    X = features.transform(sample)
    probabilities = pipeline.predict_proba(sample)
    return bool(
        _parameters(features) == _parameters(build_pipeline()[:-1].fit(sample))
        and list(pipeline.feature_names_in_) == list(sample.columns)
        and list(pipeline.classes_) == [0, 1]
        and classifier.n_jobs is None
        and classifier.verbose == 0
        and all(
            tree.tree_.n_features == X.shape[1] and tree.tree_.max_n_classes == 2 for tree in classifier.estimators_
        )
        and probabilities.shape == (len(sample), 2)
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
