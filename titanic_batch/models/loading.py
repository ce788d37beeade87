"""What can be said of a model file before anything in it is built: whether it is ours, safe and of today's contract."""

from __future__ import annotations

import functools
from importlib.metadata import version

from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import Artifact
from titanic_batch.models.audit import Archive, audit
from titanic_batch.models.audit_errors import AuditError, UntrustedTypeError
from titanic_batch.models.known_form import plain_predictor
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.proof import Proof
from titanic_batch.notebook.features import TRUSTED_TYPES
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.scoring.plain import PlainPredictor


def audited(artifact: Artifact, manifest: Manifest) -> Archive:
    """Return the archive in a ``.skops`` file.

    Raises
    ------
    ModelError
        It was fitted for another schema, or is not safe to build.
    """
    schema = manifest.schema
    if schema.version != CONTRACT.version:
        theirs, ours = f"version {schema.version}", f"version {CONTRACT.version}"
    elif schema.digest != CONTRACT.digest:
        theirs, ours = f"digest {schema.digest[:12]}", f"digest {CONTRACT.digest[:12]}"
    else:
        try:
            return audit(artifact.content, TRUSTED_TYPES)
        except AuditError as error:
            raise unsafe(artifact, error) from None
    raise ModelError(
        f"the model {artifact.name} was fitted for another schema ({theirs}, and this is {ours}): fit it again."
    )


def proven_predictor(artifact: Artifact, archive: Archive, manifest: Manifest) -> PlainPredictor | None:
    """Return what predicts as scikit-learn does; None where the file is of another form, or its proof does not hold."""
    if artifact.proof is None:
        return None
    try:
        proof = Proof.from_bytes(artifact.proof)
        if proof.structure != archive.structure:
            return None
        predictor = plain_predictor(archive, manifest)
    except ValueError:  # an OtherFormError is one
        return None
    holds = proof.holds(len(predictor.feature_names), lambda X: predictor.predict(X)[:, 1])
    return predictor if holds else None


def unsafe(artifact: Artifact, error: AuditError) -> ModelError:
    """Return the error for a file that an audit refuses."""
    is_untrusted = isinstance(error, UntrustedTypeError)
    what = "holds types that are not ours to trust" if is_untrusted else f"is not safe to build ({error})"
    return refusal(artifact, what, None if artifact.manifest is None else artifact.manifest.libraries["scikit-learn"])


def refusal(artifact: Artifact, what: str, fitted_by: str | None) -> ModelError:
    """Return the error for a file that can't be built, which names both versions of scikit-learn if they differ."""
    why = "" if fitted_by in (None, _installed()) else f", and {_versions(fitted_by)}"
    return ModelError(f"the model {artifact.name} {what}{why}: fit it again.")


def caution(name: str, fitted_by: str) -> str | None:
    """Return a warning where another minor version of scikit-learn fitted the model, else None."""
    if not is_of_another_minor_version(fitted_by):
        return None
    return f"the model {name} {_versions(fitted_by)}: its predictions may differ."


def is_of_another_minor_version(fitted_by: str) -> bool:
    """Return whether a version of scikit-learn differs from the installed one in more than its last number."""
    return fitted_by.split(".")[:2] != _installed().split(".")[:2]


def _versions(fitted_by: str | None) -> str:
    return f"was fitted by scikit-learn {fitted_by}, and this is {_installed()}"


@functools.cache
def _installed() -> str:
    return version("scikit-learn")  # to import it takes a second
