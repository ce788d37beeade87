"""A model file is looked at without building anything, and damage to any byte of it is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from tests.model_files import with_manifest
from titanic_batch.errors import ModelError, TransferError, UsageError
from titanic_batch.models.artifact import MANIFEST, model_format, read_artifact, source_date
from titanic_batch.models.manifest import FORMAT, FORMAT_VERSION
from titanic_batch.models.model import Model

ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w") as _file:
    _file.writestr("schema.json", "{}")


def sealed(path: Path, **manifest: Any) -> str:
    """Write an archive of nothing with a seal and this manifest."""
    path.write_bytes(with_manifest(ARCHIVE.getvalue(), manifest))
    return str(path)


def test_a_model_file_is_its_content_its_digest_and_its_manifest(model_file: Path, small_model: Model) -> None:
    artifact = read_artifact(str(model_file))
    assert artifact.name == str(model_file)
    assert artifact.format == "skops"
    assert artifact.content == model_file.read_bytes()
    assert artifact.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert artifact.manifest == small_model.info


def test_a_model_file_is_a_zip_that_skops_and_others_read(model_file: Path) -> None:
    with zipfile.ZipFile(model_file) as file:
        assert file.testzip() is None
        assert json.loads(file.read(MANIFEST))["format"] == FORMAT
        assert file.comment == hashlib.sha256(model_file.read_bytes()[:-64]).hexdigest().encode()
    found = skops.io.get_untrusted_types(file=str(model_file))
    assert {
        "titanic_batch.scoring.transformers.BinEncoder",
        "titanic_batch.scoring.transformers.CategoryEncoder",
    } <= set(found)


@pytest.mark.parametrize("spelling", [str.lower, str.upper, " {}\n".format])
def test_the_pinned_file_is_read_however_the_pin_is_spelled(model_file: Path, spelling: Any) -> None:
    digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert read_artifact(str(model_file), spelling(digest)).sha256 == digest


@pytest.mark.parametrize("pin", ["0" * 64, "", "no digest", "\N{SNOWMAN}"])
def test_another_file_than_the_pinned_one_is_refused(model_file: Path, pin: str) -> None:
    digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
    with pytest.raises(ModelError) as caught:
        read_artifact(str(model_file), pin)
    assert str(caught.value) == f"the model {model_file} is not the pinned one: its SHA-256 is {digest}."


@pytest.mark.parametrize("suffix", ["skops", "joblib"])
def test_a_disk_that_fails_is_not_the_models_fault(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    path.symlink_to("/proc/self/mem")  # address 0 can't be read: EIO
    with pytest.raises(TransferError, match=rf"the model {path} can't be read \(Input/output error\): try again"):
        read_artifact(str(path))


@pytest.mark.parametrize("suffix", ["skops", "joblib"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 250000\n",
            "a Git LFS pointer, and not the file that it stands for: run git lfs pull.",
        ),
        (b"/annex/objects/SHA256E-s250000--0.skops\n", "a git-annex pointer, and not the file that it stands for: "),
        (b"\n<!doctype HTML>\n<html><title>Sign in</title></html>", "an HTML page: get the file itself, where a page "),
    ],
    ids=["Git LFS", "git-annex", "HTML"],
)
def test_what_stands_in_the_place_of_a_model_is_named(
    content: bytes, message: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    for pin in (None, "0" * 64, hashlib.sha256(content).hexdigest()):
        with pytest.raises(ModelError) as caught:
            read_artifact(str(path), pin)
        assert str(caught.value).startswith(f"the model {path} is {message}")


def test_any_flipped_byte_is_noticed(tmp_path: Path, model_file: Path) -> None:
    content = model_file.read_bytes()
    path = tmp_path / "model.skops"
    for place in np.linspace(0, len(content) - 1, 60, dtype=int).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 0x20
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            read_artifact(str(path))


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_noticed(tmp_path: Path, model_file: Path, kept: float) -> None:
    content = model_file.read_bytes()
    path = tmp_path / "model.skops"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError):
        read_artifact(str(path))


def test_bytes_behind_the_end_are_noticed(tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(model_file.read_bytes() + b"\n")
    with pytest.raises(ModelError, match="is damaged"):
        read_artifact(str(path))


@pytest.mark.parametrize("content", [b"", b"PassengerId,Survived\n1,0\n", b"PK", b"\x80\x04.", b"\0" * 1000])
def test_a_file_that_is_no_model_is_told_from_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^(the model )?\S+model\.skops (is no model|is damaged)"):
        read_artifact(str(path))


def test_a_skops_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.skops"
    skops.io.dump({"a": 1}, path)
    with pytest.raises(ModelError, match=r"was not made by titanic fit"):
        read_artifact(str(path))


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"format": FORMAT},
        {"format": "another", "format_version": 1},
        {"format": FORMAT, "format_version": "1"},
        {"format": FORMAT, "format_version": None},
    ],
)
def test_a_sealed_file_without_a_manifest_of_ours_is_no_model(tmp_path: Path, manifest: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="is no model"):
        read_artifact(sealed(tmp_path / "model.skops", **manifest))


@pytest.mark.parametrize("manifest", ["[]", "null", "3", '"format"', "{", "\0"])
def test_a_sealed_file_whose_manifest_is_no_object_is_no_model(tmp_path: Path, manifest: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(MANIFEST, manifest)
        file.comment = b"0" * 64
    body = buffer.getvalue()[:-64]
    path = tmp_path / "model.skops"
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    with pytest.raises(ModelError, match="is no model"):
        read_artifact(str(path))


def test_a_file_of_a_newer_format_asks_for_a_newer_version(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="newer format than this version reads: install the newer version"):
        read_artifact(sealed(tmp_path / "model.skops", format=FORMAT, format_version=FORMAT_VERSION + 1))


def test_what_else_a_manifest_holds_is_kept(tmp_path: Path, small_model: Model) -> None:
    name = sealed(tmp_path / "model.skops", **small_model.manifest, more=[1])
    manifest = read_artifact(name).manifest
    assert manifest is not None
    assert manifest.to_json() == small_model.manifest | {"more": [1]}


@pytest.mark.parametrize("part", ["description", "schema", "training", "libraries", "fitted_at", "reference"])
@pytest.mark.parametrize("value", [None, [], 3.5])
def test_a_manifest_with_a_part_of_another_type_is_damaged(
    tmp_path: Path, small_model: Model, part: str, value: Any
) -> None:
    name = sealed(tmp_path / "model.skops", **small_model.manifest | {part: value})
    with pytest.raises(ModelError, match=rf"^the model {name} is damaged in its {part}, which is no .*: fit it again"):
        read_artifact(name)


def test_a_manifest_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, small_model: Model) -> None:
    name = sealed(tmp_path / "model.skops", **small_model.manifest, more=" " * 2**20)
    assert Path(name).stat().st_size < 2**17
    with pytest.raises(ModelError, match=r"is not safe to read \(its zip has a member that is too long\)"):
        read_artifact(name)


def test_equal_models_are_equal_bytes(passengers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    one, other = (Model(n_estimators=5).fit(passengers) for _ in range(2))
    assert one.info.fit_record.fitted_at == "2001-09-09T01:46:40+00:00"
    assert one.to_bytes() == other.to_bytes()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert Model(n_estimators=5).fit(passengers).to_bytes() != one.to_bytes()


def test_reading_a_model_file_imports_nothing_heavy(model_file: Path) -> None:
    code = (
        "import sys; from titanic_batch.models.artifact import read_artifact; "
        "print(read_artifact(sys.argv[1]).manifest.seed, *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model_file)], capture_output=True, text=True, check=True)
    seed, *modules = done.stdout.split()
    assert seed == "23"
    assert not {"numpy", "pandas", "pyarrow", "sklearn", "skops", "joblib"} & set(modules)


def test_of_a_pickle_nothing_but_its_digest_is_known(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(b"anything at all")
    artifact = read_artifact(str(path))
    assert (artifact.format, artifact.manifest) == ("joblib", None)
    assert artifact.sha256 == hashlib.sha256(b"anything at all").hexdigest()


@pytest.mark.parametrize("name", ["missing.skops", "missing.joblib", "nowhere/missing.skops"])
def test_a_missing_file_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_artifact(str(tmp_path / name))
    assert (
        str(caught.value) == f"the model {tmp_path / name} can't be read (No such file or directory): check its name."
    )


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_model(tmp_path: Path, make: Callable[[str], None]) -> None:
    name = str(tmp_path / "model.skops")
    make(name)
    with pytest.raises(ModelError) as caught:
        read_artifact(name)
    assert str(caught.value) == f"the model {name} is no file: check its name."


@pytest.mark.parametrize(
    ("epoch", "date"), [("1000000000", datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)), ("", None), (None, None)]
)
def test_the_date_of_the_source_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, epoch: str | None, date: datetime | None
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if epoch is not None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert source_date() == date


@pytest.mark.parametrize("epoch", ["99999999999999999999", "9" * 5000, "253402300800", "yesterday", "1.5"])
def test_a_date_of_the_source_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, epoch: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(UsageError, match=f"SOURCE_DATE_EPOCH is {epoch}: it is a number of seconds since 1970"):
        source_date()


@pytest.mark.parametrize(("name", "kind"), [("a.skops", "skops"), ("A.SKOPS", "skops"), ("b/c.joblib", "joblib")])
def test_the_suffix_tells_the_format(name: str, kind: str) -> None:
    assert model_format(name) == kind


@pytest.mark.parametrize("name", ["model.pkl", "model", "skops", "model.skops.gz", ""])
def test_another_suffix_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match=r"a \.skops or a \.joblib file"):
        model_format(name)
