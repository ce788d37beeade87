"""What is built from an audited archive is what skops itself would build."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline

from tests.model_files import with_manifest
from titanic_batch.models.audit import Archive, audit
from titanic_batch.models.building import build
from titanic_batch.models.model import Model
from titanic_batch.passenger.features import TRUSTED_TYPES


def pickled(thing: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    return buffer.getvalue()


def saved(thing: object) -> bytes:
    """Return what skops saves of a thing, but for its addresses."""
    return with_manifest(skops.io.dumps(thing), {})


def parts(thing: object) -> dict[str, Any]:
    """Return the members of `saved` as arrays, or as bytes."""
    with zipfile.ZipFile(io.BytesIO(saved(thing))) as file:
        members = {name: file.read(name) for name in file.namelist()}
    return {name: np.load(io.BytesIO(m)) if name.endswith(".npy") else m for name, m in members.items()}


def without_ids(content: bytes) -> bytes:
    """Return an archive of skops without what `with_manifest` leaves out too."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(members["schema.json"], object_hook=lambda part: (part.pop("__id__", None) and part) or part)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, member in (members | {"schema.json": json.dumps(schema).encode()}).items():
            file.writestr(name, member)
    return buffer.getvalue()


def test_a_pipeline_is_what_skops_builds(model_file: Path, small_model: Model, passengers: pd.DataFrame) -> None:
    content = model_file.read_bytes()
    ours = build(audit(content, TRUSTED_TYPES))
    theirs = skops.io.loads(content, trusted=TRUSTED_TYPES)
    assert type(ours) is Pipeline
    for name, member in parts(theirs).items():
        assert np.array_equal(parts(ours)[name], member), name
    assert saved(ours) == saved(small_model.pipeline), "bit by bit, where skops leaves the padding of nodes unset"
    assert ours.predict_proba(passengers).tobytes() == small_model.predict_proba(passengers).tobytes()


@pytest.mark.parametrize(
    "thing",
    [
        {"a": 1, "b": [1.5, None, True, "x"], "c": (), "d": {}},
        {0: "a", 1: "b"},
        [slice(0, 3), slice(None, None, 2)],
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.array(2.5),
        [np.int64(3), np.float64(0.1), np.bool_(True), np.str_("x")],
        np.array(["a", None, 3, [1, 2]], dtype=object),
        np.array([[1, 2], [3, 4]], dtype=object),
        np.array([[1, 2], [3, 4], None], dtype=object),
        np.array([(1, 2.5)], dtype=[("a", "<i8"), ("b", "<f8")]),
    ],
    ids=str,
)
def test_values_are_what_skops_builds(thing: object) -> None:
    content = without_ids(skops.io.dumps([thing]))
    ours, theirs = build(audit(content, ())), skops.io.loads(content)
    assert pickled(ours) == pickled(theirs)


def test_arrays_are_new_and_may_be_changed(model_file: Path) -> None:
    archive = audit(model_file.read_bytes(), TRUSTED_TYPES)
    assert not any(array.flags.writeable for array in archive.arrays.values())
    one, other = build(archive), build(archive)
    one[-1].classes_[0] = 9
    assert other[-1].classes_.tolist() == [0, 1]


def test_an_object_without_setstate_gets_its_attributes() -> None:
    key_type = {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "str"}
    node: dict[str, Any] = {
        "__loader__": "ObjectNode",
        "__module__": "types",
        "__class__": "SimpleNamespace",
        "content": {
            "__loader__": "DictNode",
            "__class__": "dict",
            "key_types": {"__loader__": "ListNode", "content": [key_type]},
            "content": {"a": {"__loader__": "JsonNode", "content": "[1]"}},
        },
    }
    assert vars(build(Archive(node, {}, ""))) == {"a": [1]}


@pytest.mark.parametrize("node", [{"__loader__": "MethodNode"}, {}, {"__loader__": "DictNode", "content": {"a": {}}}])
def test_what_an_audit_would_refuse_is_not_built(node: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        build(Archive(node, {}, ""))


def test_each_key_has_a_type() -> None:
    text = {"__loader__": "JsonNode", "content": "1"}
    key_types = {"__loader__": "ListNode", "content": []}
    node = {"__loader__": "DictNode", "__class__": "dict", "key_types": key_types, "content": {"a": text}}
    with pytest.raises(ValueError, match="zip"):
        build(Archive(node, {}, ""))


def test_building_a_pipeline_does_not_import_skops(model_file: Path) -> None:
    code = "import sys; from titanic_batch import Model; Model.load(sys.argv[1]).pipeline; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(model_file)], capture_output=True, text=True, check=True)
    assert "sklearn" in done.stdout.split()
    assert "skops" not in done.stdout.split()
