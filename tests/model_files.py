"""Model files taken apart and put together again, sealed by somebody who may change what is in them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from titanic_batch.models import artifact
from titanic_batch.models.artifact import MANIFEST, PROOF, SCHEMA
from titanic_batch.models.audit import audit
from titanic_batch.models.audit_errors import AuditError
from titanic_batch.models.known_form import OtherFormError, plain_predictor
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.proof import Proof
from titanic_batch.passenger.features import TRUSTED_TYPES

SEAL_BYTES = 64


def sealed(members: Mapping[str, bytes], manifest: Mapping[str, Any] | None) -> bytes:
    """Return a model file of these members, whatever they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, member in members.items():
            file.writestr(zipfile.ZipInfo(name), member, zipfile.ZIP_DEFLATED)
        if manifest is not None:
            file.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(manifest), zipfile.ZIP_DEFLATED)
        file.comment = b"0" * SEAL_BYTES
    return resealed(buffer.getvalue())


def with_manifest(archive: bytes, manifest: Mapping[str, Any]) -> bytes:
    """Return what `skops.io.dumps` returned as a model file, without a proof."""
    return artifact.sealed(artifact.portable_members(archive), manifest)


def resealed(content: bytes) -> bytes:
    """Return a model file with the seal that its bytes need."""
    body = content[:-SEAL_BYTES]
    return body + hashlib.sha256(body).hexdigest().encode()


def members_of(content: bytes) -> dict[str, bytes]:
    """Return the members of a model file but for its manifest."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist() if name != MANIFEST}


def with_forged_proof(content: bytes) -> bytes:
    """Return a model file with the proof that the arrays of its own archive give, so that only its form decides.

    Where they give none, the answers are those that it had.
    """
    members, manifest = members_of(content), manifest_of(content)
    try:
        archive = audit(content, TRUSTED_TYPES)
        predictor = plain_predictor(archive, Manifest.from_json(manifest))
        proof = Proof.of(archive.structure, len(predictor.feature_names), lambda X: predictor.predict(X)[:, 1])
    except (AuditError, OtherFormError):
        structure = hashlib.sha256(members[SCHEMA]).hexdigest()
        proof = Proof(structure, json.loads(members[PROOF])["probabilities"])
    return sealed(members | {PROOF: proof.to_bytes()}, manifest)


def manifest_of(content: bytes) -> Any:
    """Return the manifest in a model file, as JSON data."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return json.loads(file.read(MANIFEST))
