"""A replaced model file is loaded, a broken one is refused, and the old model serves on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from titanic_batch.errors import ModelError, TitanicError
from titanic_batch.models.artifact import DEFAULT_MODEL
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.server.app import create_app
from titanic_batch.server.reloading import ModelHolder


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model than `model_file`."""
    path = tmp_path_factory.mktemp("other") / "other.skops"
    Model(seed=5, n_estimators=3).fit(packaged_rows()).save(path)
    return path


@pytest.fixture
def path(tmp_path: Path, model_file: Path) -> Path:
    return Path(shutil.copy(model_file, tmp_path / "model.skops"))


@pytest.fixture
def holder(path: Path) -> ModelHolder:
    holder = ModelHolder(str(path))
    holder.load()
    return holder


def replace(path: Path, source: Path) -> None:
    new = path.with_suffix(".new")
    shutil.copy(source, new)
    os.replace(new, path)


def digest(holder: ModelHolder) -> str | None:
    assert holder.current is not None
    return holder.current.model.sha256


def test_an_unchanged_file_is_not_loaded_again(holder: ModelHolder) -> None:
    before = holder.current
    holder.poll()
    assert holder.current is before


def test_a_replaced_file_is_loaded(holder: ModelHolder, path: Path, other_file: Path) -> None:
    told: list[bool] = []
    holder.on_reload = told.append
    replace(path, other_file)
    holder.poll()
    assert (digest(holder), told) == (Model.load(other_file).sha256, [True])
    assert not holder.refuses_file


def test_a_link_to_another_file_is_followed(tmp_path: Path, model_file: Path, other_file: Path) -> None:
    """As Kubernetes replaces what it mounts."""
    link = tmp_path / "linked.skops"
    link.symlink_to(model_file)
    holder = ModelHolder(str(link))
    holder.load()
    link.unlink()
    link.symlink_to(other_file)
    holder.poll()
    assert digest(holder) == Model.load(other_file).sha256


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:-1], lambda data: b"PK" + bytes(1000)])
def test_a_broken_file_is_refused_and_the_old_model_stays(
    holder: ModelHolder, path: Path, other_file: Path, spoil: Callable[[bytes], bytes]
) -> None:
    told: list[bool] = []
    holder.on_reload = told.append
    before = holder.current
    path.write_bytes(spoil(other_file.read_bytes()))
    for _ in range(2):
        holder.poll()
    assert holder.current is before
    assert holder.refuses_file
    assert told == [False]
    replace(path, other_file)
    holder.poll()
    assert digest(holder) == Model.load(other_file).sha256
    assert not holder.refuses_file


def test_a_removed_file_leaves_the_model(holder: ModelHolder, path: Path) -> None:
    before = holder.current
    path.unlink()
    holder.poll()
    assert holder.current is before
    assert not holder.refuses_file


def test_the_pin_applies_to_later_files(path: Path, other_file: Path) -> None:
    holder = ModelHolder(str(path), Model.load(path).sha256)
    holder.load()
    before = holder.current
    replace(path, other_file)
    holder.poll()
    assert holder.current is before
    assert holder.refuses_file


def test_a_missing_or_wrong_file_is_refused_at_once(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ModelError, match="can't be read"):
        ModelHolder(str(tmp_path / "gone.skops"))
    with pytest.raises(ModelError, match="not the pinned one"):
        ModelHolder(str(path), "0" * 64)


def test_a_saved_model_serves_at_once(holder: ModelHolder, path: Path, other_file: Path) -> None:
    holder.save(Model.load(other_file))
    assert digest(holder) == Model.load(path).sha256
    taken = holder.current
    holder.poll()
    assert holder.current is taken


def test_a_failed_save_leaves_the_old_model(holder: ModelHolder, path: Path, other_file: Path) -> None:
    before = holder.current
    path.unlink()
    path.mkdir()
    with pytest.raises(TitanicError):
        holder.save(Model.load(other_file))
    assert holder.current is before


def test_the_default_file_is_loaded_when_it_appears(
    tmp_path: Path, other_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    holder = ModelHolder()
    assert holder.load().is_reference
    holder.poll()
    assert digest(holder) is None
    shutil.copy(other_file, DEFAULT_MODEL)
    holder.poll()
    assert digest(holder) == Model.load(other_file).sha256


def test_metrics_count_loaded_and_refused_files(holder: ModelHolder, path: Path, other_file: Path) -> None:
    client = create_app(holder).test_client()
    replace(path, other_file)
    holder.poll()
    path.write_bytes(b"broken")
    holder.poll()
    told = client.get("/metrics").get_data(as_text=True)
    assert 'titanic_model_reloads_total{outcome="taken"} 1.0' in told
    assert 'titanic_model_reloads_total{outcome="refused"} 1.0' in told
    assert "titanic_model_file_refused 1.0" in told
    assert f'titanic_model_info{{model="{Model.load(other_file).sha256}"}} 1.0' in told
