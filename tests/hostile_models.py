"""Model files that are damaged, or sealed by somebody who put into them what no model has."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from tests.model_files import members_of, sealed
from titanic_batch.models.artifact import MANIFEST

_MIB = 2**20


def hostile_models(good: bytes) -> dict[str, bytes]:
    """Return files by name, made from a good one, that a server must refuse."""
    members = members_of(good)
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        manifest = json.loads(file.read(MANIFEST))

    def with_manifest(edit: Callable[[dict[str, Any]], object]) -> bytes:
        edited = copy.deepcopy(manifest)
        edit(edited)
        return sealed(members, edited)

    return {
        "no bytes": b"",
        "no last byte": good[:-1],
        "a flipped bit": good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :],
        "not a zip": b"PK" + bytes(1000),
        "a manifest that unpacks to 400 MiB by LZMA": _with_bomb(members, manifest, zipfile.ZIP_LZMA),
        "a manifest that unpacks to 400 MiB by deflate": _with_bomb(members, manifest, zipfile.ZIP_DEFLATED),
        "a reference without counts": with_manifest(_set_counts(0)),
        "a reference of huge counts": with_manifest(_set_counts(-(2**62))),
        "a share that is no number": with_manifest(_set_missing(float("nan"))),
        "features that are numbers": with_manifest(lambda edited: edited.update(features=[1, 2, 3])),
        "metrics that are none": with_manifest(lambda edited: edited.update(metrics={"cross_validation": {"x": 1}})),
        "a manifest of 400 lists": with_manifest(lambda edited: edited.update(x=json.loads("[" * 400 + "]" * 400))),
        "no members": sealed({}, manifest),
    }


def _set_counts(number: int) -> Callable[[dict[str, Any]], None]:
    def edit(manifest: dict[str, Any]) -> None:
        for feature in manifest["reference"]["features"].values():
            feature["counts"] = [number] * len(feature["counts"])

    return edit


def _set_missing(share: float) -> Callable[[dict[str, Any]], None]:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["reference"]["missing"] = dict.fromkeys(manifest["reference"]["missing"], share)

    return edit


def _with_bomb(members: dict[str, bytes], manifest: dict[str, Any], compression: int) -> bytes:
    """Return a model file whose manifest has 400 MiB of blanks at its end, of which its entry says nothing."""
    content = json.dumps(manifest).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, member in members.items():
            file.writestr(name, member)
        entry = zipfile.ZipInfo(MANIFEST)
        entry.compress_type = compression
        with file.open(entry, "w", force_zip64=True) as opened:
            opened.write(content)
            for _ in range(400):
                opened.write(b" " * _MIB)
        entry.file_size, entry.CRC = len(content), zlib.crc32(content)
        file.comment = b"0" * 64
    body = buffer.getvalue()[:-64]
    return body + hashlib.sha256(body).hexdigest().encode()
