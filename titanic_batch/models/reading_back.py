"""A model's bytes loaded before they are saved, by what will load them: no file is saved that is refused then."""

from __future__ import annotations

import numpy as np
from sklearn.pipeline import Pipeline

from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import Artifact, portable_members
from titanic_batch.models.audit import audit
from titanic_batch.models.audit_errors import AuditError, UntrustedTypeError
from titanic_batch.models.loading import proven_predictor
from titanic_batch.models.pipelines import built, unpickled
from titanic_batch.models.training_data import sample_rows
from titanic_batch.notebook.features import TRUSTED_TYPES

_INSTEAD = "save the model as .joblib"


def archived(pipeline: Pipeline) -> dict[str, bytes]:
    """Return a pipeline as the members of a skops archive.

    Raises
    ------
    ModelError
        skops can't save it.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        return portable_members(skops.io.dumps(pipeline))
    except (AttributeError, RecursionError, TypeError, UnsupportedTypeException, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ModelError(f"skops can't save this pipeline ({reason}): {_INSTEAD}.") from None


def require_loadable(artifact: Artifact, pipeline: Pipeline) -> None:
    """Check that the file of a pipeline is loaded, and predicts the same bits for some rows.

    Raises
    ------
    ModelError
        It is not; the message names the type that is not trusted, if it is that.
    """
    if artifact.manifest is None:
        loaded, _ = unpickled(artifact)
    else:
        try:
            archive = audit(artifact.content, TRUSTED_TYPES)
        except AuditError as error:
            raise ModelError(f"this pipeline can't be saved as .skops: {_reason(error)}.") from None
        if proven_predictor(artifact, archive, artifact.manifest) is not None:
            return  # the proof is of more rows, and of the same bits
        try:
            loaded = built(artifact, archive, artifact.manifest)
        except ModelError:
            raise ModelError(
                "this pipeline can't be saved as .skops: what is loaded from the file is not as build_pipeline makes "
                f"it, or does not work: {_INSTEAD}."
            ) from None
    rows = sample_rows()
    expected, found = (np.ascontiguousarray(each.predict_proba(rows)) for each in (pipeline, loaded))
    if expected.tobytes() != found.tobytes():
        other = _INSTEAD if artifact.format == "skops" else "save the model as .skops"
        raise ModelError(f"this pipeline predicts otherwise once it is loaded from a .{artifact.format}: {other}.")


def _reason(error: AuditError) -> str:
    if not isinstance(error, UntrustedTypeError):
        return f"it is not safe to build ({error}): {_INSTEAD}"
    if not error.is_class:
        return f"it holds {error.name}, which could run any code when it is loaded: do without it, or {_INSTEAD}"
    return (
        f"it holds {error.name}, which is not trusted: name that in TRUSTED_TYPES of the notebook's features.py if any "
        f"values in it are safe to compute with, or {_INSTEAD}"
    )
