"""A model as a file: its bytes, its digest and its manifest, read without building anything.

A ``.skops`` file is skops' own zip with two more members, ``manifest.json`` and ``proof.json``. The zip's comment, its
last 64 bytes, is the SHA-256 of all bytes before it, so that damage is noticed before anything is unpacked. (Against
malice there is the pin: the file's own digest.) A ``.joblib`` file is a pickle of the plain pipeline, of which nothing
but its digest is known without running it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from titanic_batch.errors import ModelError, TransferError, UsageError, is_out_of_memory, may_pass, reason_of
from titanic_batch.models.json_data import JsonDataError, parse
from titanic_batch.models.manifest import FORMAT_VERSION, Manifest, version_of
from titanic_batch.models.zip_members import ZipError, ZipMembers
from titanic_batch.reading.paths import require_path
from titanic_batch.reading.signatures import START_BYTES, stand_in

DEFAULT_MODEL = "model.skops"
MANIFEST = "manifest.json"
PROOF = "proof.json"
SCHEMA = "schema.json"
_COMMENT_BYTES = 64
_MAX_MANIFEST_BYTES = 2**20
_MAX_PROOF_BYTES = 2**16

ModelFormat = Literal["skops", "joblib"]


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Replace what a lack of memory, or a file of the installation that can't be read, raises while a model is loaded.

    The model is not at fault then, and trying again may help.
    """
    try:
        yield
    except (ImportError, MemoryError, OSError) as error:
        if is_out_of_memory(error):
            raise TransferError(
                f"there is not enough memory to load the model {name}: give more, and try again."
            ) from None
        if isinstance(error, OSError):
            raise TransferError(f"loading the model {name} failed ({reason_of(error)}): try again.") from None
        raise


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file that is whole and, where a digest was pinned, the pinned one.

    Attributes
    ----------
    name, format, content
        The file.
    sha256
        What ``sha256sum`` prints of it.
    manifest
        None for a ``.joblib``.
    proof
        The content of its member ``proof.json``; None where there is none.
    """

    name: str
    format: ModelFormat
    content: bytes
    sha256: str
    manifest: Manifest | None
    proof: bytes | None


def model_format(name: str) -> ModelFormat:
    """Return the format of a model file by its suffix.

    Raises
    ------
    UsageError
        The suffix is another, or the name is a URL.
    """
    require_path(name)
    for known in ("skops", "joblib"):
        if name.lower().endswith(f".{known}"):
            return known
    raise UsageError(f"a model is a .skops or a .joblib file, and {name} is called neither.")


def read_artifact(name: str, sha256: str | None = None) -> Artifact:
    """Read a model file.

    Parameters
    ----------
    name
        The file.
    sha256
        Pins the file: the digest that it must have, in hex.

    Raises
    ------
    ModelError
        The file is missing, damaged, no model, of another version of the format, or not the pinned one.
    TransferError
        It can't be read at the moment.
    UsageError
        Its suffix is neither ``.skops`` nor ``.joblib``.
    """
    file_format = model_format(name)
    if os.path.exists(name) and not os.path.isfile(name):
        raise ModelError(f"the model {name} is no file: check its name.")  # opening a named pipe would wait
    try:
        with open(name, "rb") as file:
            content = file.read()
    except OSError as error:
        if may_pass(error):
            raise TransferError(f"the model {name} can't be read ({reason_of(error)}): try again.") from None
        raise ModelError(f"the model {name} can't be read ({reason_of(error)}): check its name.") from None
    if what := stand_in(content[:START_BYTES]):
        raise ModelError(f"the model {name} is {what}.")
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and sha256.strip().lower() != digest:
        raise ModelError(f"the model {name} is not the pinned one: its SHA-256 is {digest}.")
    return artifact_of(name, file_format, content)


def artifact_of(name: str, file_format: ModelFormat, content: bytes) -> Artifact:
    """Return the model file of a content.

    Raises
    ------
    ModelError
        It is damaged, no model, or of another version of the format.
    """
    manifest, proof = _members(name, content) if file_format == "skops" else (None, None)
    return Artifact(os.fspath(name), file_format, content, hashlib.sha256(content).hexdigest(), manifest, proof)


def source_date() -> datetime | None:
    """Return the time in ``SOURCE_DATE_EPOCH``, which makes builds reproducible; None where it is not set.

    Raises
    ------
    UsageError
        It is no time.
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


def portable_members(archive: bytes) -> dict[str, bytes]:
    """Return the members of a skops archive, those of equal objects equal.

    What skops takes from the moment, the time and the addresses of objects, is left out or replaced by numbers that
    count up.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        schema = json.loads(file.read(SCHEMA))
        members = {new: file.read(old) for old, new in _without_addresses(schema).items()}
    return members | {SCHEMA: json.dumps(schema, separators=(",", ":")).encode()}


def sealed(members: Mapping[str, bytes], manifest: Mapping[str, Any]) -> bytes:
    """Return a model file: members, the JSON data of a manifest as one more, and the digest of it all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in {**members, MANIFEST: json.dumps(manifest, indent=2).encode()}.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        file.comment = b"0" * _COMMENT_BYTES
    body = buffer.getvalue()[:-_COMMENT_BYTES]
    return body + hashlib.sha256(body).hexdigest().encode()


def _without_addresses(schema: Any) -> dict[str, str]:
    """Remove addresses from a skops schema, in place, and return the members that it names: the old name to the new."""
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


def _members(name: str, content: bytes) -> tuple[Manifest, bytes | None]:
    """Check that a ``.skops`` file is whole, and return its manifest and, where there is one, its proof."""
    body, seal = content[:-_COMMENT_BYTES], content[-_COMMENT_BYTES:]
    if not content.startswith(b"PK"):
        raise ModelError(f"{name} is no model: make one with titanic fit -o {name}.")
    if hashlib.sha256(body).hexdigest().encode() != seal:
        raise ModelError(f"the model {name} is damaged, or was not made by titanic fit: copy it again.")
    try:
        members = ZipMembers(content)
        data = parse(members.read(MANIFEST, _MAX_MANIFEST_BYTES))
        version = version_of(data)
        if version == FORMAT_VERSION:
            return Manifest.from_json(data), members.read(PROOF, _MAX_PROOF_BYTES) if PROOF in members else None
    except JsonDataError as error:
        raise ModelError(
            f"the model {name} is damaged in its {error.where}, which {error.fault}: fit it again."
        ) from None
    except ZipError as error:
        raise ModelError(f"the model {name} is not safe to read ({error}): fit it again.") from None
    except (KeyError, ValueError):
        raise ModelError(f"{name} is no model: make one with titanic fit -o {name}.") from None
    if version > FORMAT_VERSION:
        raise ModelError(f"the model {name} is of a newer format than this version reads: install the newer version.")
    raise ModelError(f"the model {name} is of an older format than this version reads: fit it again.")
