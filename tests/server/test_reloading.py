"""A replaced model file is taken, a broken one refused, and every answer is wholly of one model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.passengers import csv_bytes, passengers
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


def test_a_file_that_stays_is_not_read_again(holder: ModelHolder) -> None:
    before = holder.current
    holder.poll()
    assert holder.current is before


def test_a_replaced_file_is_taken(holder: ModelHolder, path: Path, other_file: Path) -> None:
    told: list[bool] = []
    holder.on_reload = told.append
    replace(path, other_file)
    holder.poll()
    assert (digest(holder), told) == (Model.load(other_file).sha256, [True])
    assert not holder.refuses_file


def test_a_file_behind_a_link_is_taken(tmp_path: Path, model_file: Path, other_file: Path) -> None:
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


def test_a_file_that_goes_away_leaves_the_model(holder: ModelHolder, path: Path) -> None:
    before = holder.current
    path.unlink()
    holder.poll()
    assert holder.current is before
    assert not holder.refuses_file


def test_a_pin_holds_for_what_comes_later(path: Path, other_file: Path) -> None:
    holder = ModelHolder(str(path), Model.load(path).sha256)
    holder.load()
    before = holder.current
    replace(path, other_file)
    holder.poll()
    assert holder.current is before
    assert holder.refuses_file


def test_a_model_that_is_not_there_is_told_at_once(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ModelError, match="can't be read"):
        ModelHolder(str(tmp_path / "gone.skops"))
    with pytest.raises(ModelError, match="not the pinned one"):
        ModelHolder(str(path), "0" * 64)


def test_a_model_is_saved_and_taken(holder: ModelHolder, path: Path, other_file: Path) -> None:
    holder.save(Model.load(other_file))
    assert digest(holder) == Model.load(path).sha256
    taken = holder.current
    holder.poll()
    assert holder.current is taken


def test_a_model_that_cannot_be_saved_leaves_the_old(holder: ModelHolder, path: Path, other_file: Path) -> None:
    before = holder.current
    path.unlink()
    path.mkdir()
    with pytest.raises(TitanicError):
        holder.save(Model.load(other_file))
    assert holder.current is before


def test_without_a_name_the_default_file_is_taken_when_it_comes(
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


def test_nothing_is_answered_before_there_is_a_model(path: Path) -> None:
    holder = ModelHolder(str(path))
    client = create_app(holder).test_client()
    for route in ("/ping", "/health/ready", "/model"):
        answer = client.get(route)
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
        assert answer.headers["Retry-After"] == "1"
    assert client.post("/predict", data=csv_bytes(passengers(1)), content_type="text/csv").status_code == 503
    assert client.get("/health/live").data == b"live"
    assert client.get("/").status_code == 200
    assert b"titanic_ready 0.0" in client.get("/metrics").data
    holder.load()
    assert client.get("/health/ready").data == b"ready"
    assert b"titanic_ready 1.0" in client.get("/metrics").data


def test_metrics_tell_of_files_that_were_taken_and_refused(holder: ModelHolder, path: Path, other_file: Path) -> None:
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
