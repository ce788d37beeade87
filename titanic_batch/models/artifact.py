"""A model as a file: its bytes, its digest and its manifest, looked at without building anything.

A ``.skops`` file is skops' own zip with ``manifest.json`` as one more member; the zip's comment, its last 64 bytes, is
the SHA-256 of all bytes before it, so that damage is noticed before anything is unpacked. (Against malice there is the
pin: the file's own digest.) A ``.joblib`` file is a pickle of the plain pipeline; all that can be said of it without
running it is its digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from titanic_batch.errors import ModelError, UsageError

DEFAULT_MODEL = "model.skops"
FORMAT = "titanic-batch model"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
SCHEMA = "schema.json"
_COMMENT_BYTES = 64
_MAX_MANIFEST_BYTES = 2**24

# What a manifest of this version has at least.
_PARTS: dict[str, type | tuple[type, ...]] = {
    "description": str,
    "package_version": str,
    "python_version": str,
    "libraries": dict,
    "libraries.scikit-learn": str,
    "schema.version": int,
    "schema.digest": str,
    "features": list,
    "categories": dict,
    "classifier": str,
    "parameters": dict,
    "seed": int,
    "fitted_at": str,
    "training": dict,
    "training.rows": int,
    "training.columns": list,
    "training.labels": dict,
    "training.digest": str,
    "metrics": dict,
    "reference": dict,
}

ModelFormat = Literal["skops", "joblib"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file that is whole and, where a pin was given, the pinned one.

    ``sha256`` is what ``sha256sum`` prints of it. ``manifest`` is None for a ``.joblib``.
    """

    name: str
    format: ModelFormat
    content: bytes
    sha256: str
    manifest: dict[str, Any] | None


def model_format(name: str) -> ModelFormat:
    """Return the format that a model's suffix tells.

    Raises
    ------
    UsageError
    """
    for known in ("skops", "joblib"):
        if name.lower().endswith(f".{known}"):
            return known
    raise UsageError(f"a model is a .skops or a .joblib file, and {name} is called neither.")


def read_artifact(name: str, sha256: str | None = None) -> Artifact:
    """Read a model file. ``sha256`` pins it: the digest that it must have, in hex.

    Raises
    ------
    ModelError
        The file is missing, damaged, no model, of another version of the format, or not the pinned one.
    UsageError
        It is called neither ``.skops`` nor ``.joblib``.
    """
    kind = model_format(name)
    if os.path.exists(name) and not os.path.isfile(name):
        raise ModelError(f"the model {name} is no file: check its name.")  # opening a named pipe would wait
    try:
        with open(name, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ModelError(f"the model {name} can't be read ({error.strerror}): check its name.") from None
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and sha256.strip().lower() != digest:
        raise ModelError(f"the model {name} is not the pinned one: its SHA-256 is {digest}.")
    manifest = _manifest(name, content) if kind == "skops" else None
    return Artifact(os.fspath(name), kind, content, digest, manifest)


def source_date() -> datetime | None:
    """Return the time of the source that a build is to be reproducible from, by ``SOURCE_DATE_EPOCH``, if it is set.

    Raises
    ------
    UsageError
        It holds no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return None
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {epoch}: it is a number of seconds since 1970, so mend it or unset it."
        ) from None


def with_manifest(archive: bytes, manifest: dict[str, Any]) -> bytes:
    """Return a skops archive with the manifest as one more member, and sealed with its digest.

    Equal models and manifests give equal bytes: what skops takes from the moment, addresses of objects and the time,
    is left out or counted instead.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w") as file:
        schema = json.loads(source.read(SCHEMA))
        for old, new in _without_addresses(schema).items():
            _write(file, new, source.read(old))
        _write(file, SCHEMA, json.dumps(schema, separators=(",", ":")).encode())
        _write(file, MANIFEST, json.dumps(manifest, indent=2).encode())
        file.comment = b"0" * _COMMENT_BYTES
    body = buffer.getvalue()[:-_COMMENT_BYTES]
    return body + hashlib.sha256(body).hexdigest().encode()


def _write(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _without_addresses(schema: Any) -> dict[str, str]:
    """Change a skops schema to hold no addresses, and return the members it names: the old name and the new."""
    names: dict[str, str] = {}
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            part.pop("__id__", None)
            if isinstance(part.get("file"), str):
                part["file"] = names.setdefault(part["file"], f"{len(names)}.npy")
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return names


def _check_parts(manifest: dict[str, Any]) -> None:
    """Check that all parts of a manifest are there and of their kind; raises LookupError or TypeError."""
    for path, kind in _PARTS.items():
        part: Any = manifest
        for name in path.split("."):
            part = part[name]
        if not isinstance(part, kind):
            raise TypeError(path)


def _manifest(name: str, content: bytes) -> dict[str, Any]:
    body, seal = content[:-_COMMENT_BYTES], content[-_COMMENT_BYTES:]
    if not content.startswith(b"PK"):
        raise ModelError(f"{name} is no model: make one with titanic fit -o {name}.")
    if hashlib.sha256(body).hexdigest().encode() != seal:
        raise ModelError(f"the model {name} is damaged, or was not made by titanic fit: copy it again.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if file.getinfo(MANIFEST).file_size > _MAX_MANIFEST_BYTES:
                raise ValueError("too long")
            manifest = json.loads(file.read(MANIFEST))
        known = manifest["format"] == FORMAT and isinstance(manifest["format_version"], int)
        if known and manifest["format_version"] == FORMAT_VERSION:
            _check_parts(manifest)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error):
        known = False
    if not known:
        raise ModelError(f"{name} is no model: make one with titanic fit -o {name}.")
    if manifest["format_version"] > FORMAT_VERSION:
        raise ModelError(f"the model {name} is of a newer format than this version reads: install the newer version.")
    if manifest["format_version"] < FORMAT_VERSION:
        raise ModelError(f"the model {name} is of an older format than this version reads: fit it again.")
    assert isinstance(manifest, dict)  # noqa: S101  # it was subscripted by names above
    return manifest
