"""A replaced model file is loaded, a broken one is refused, and the old model serves on."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import DATA
from titanic_batch.errors import ModelError, TitanicError, TransferError
from titanic_batch.models.artifact import DEFAULT_MODEL
from titanic_batch.models.evaluation import Evaluation
from titanic_batch.models.fitting import fit_and_evaluate
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.server.app import create_app
from titanic_batch.server.media import Limits
from titanic_batch.server.refitting import Refitter
from titanic_batch.server.reloading import ModelHolder
from titanic_batch.server.turns import Turn


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
    told: list[Exception | None] = []
    holder.on_reload = told.append
    replace(path, other_file)
    holder.poll()
    assert (digest(holder), told) == (Model.load(other_file).sha256, [None])
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
    told: list[Exception | None] = []
    holder.on_reload = told.append
    before = holder.current
    path.write_bytes(spoil(other_file.read_bytes()))
    for _ in range(2):
        holder.poll()
    assert holder.current is before
    assert holder.refuses_file
    assert [type(failure) for failure in told] == [ModelError]
    replace(path, other_file)
    holder.poll()
    assert digest(holder) == Model.load(other_file).sha256
    assert not holder.refuses_file


def test_a_refused_file_is_tried_again_when_its_rights_change(holder: ModelHolder, path: Path) -> None:
    told: list[Exception | None] = []
    holder.on_reload = told.append
    path.write_bytes(b"broken")
    for mode in (0o600, 0o644):
        path.chmod(mode)
        holder.poll()
    assert [type(failure) for failure in told] == [ModelError, ModelError]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let each open fail with EMFILE."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_file_that_cannot_be_read_at_the_moment_is_tried_again(
    holder: ModelHolder, path: Path, other_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, client = holder.current, create_app(holder).test_client()
    replace(path, other_file)
    with no_descriptors():
        for _ in range(3):
            holder.poll()
    assert holder.current is before
    told = client.get("/metrics").get_data(as_text=True)
    assert 'titanic_model_reloads_total{outcome="refused"} 1.0' in told, "once for each file"
    assert "titanic_model_file_refused 1.0" in told
    assert [record.getMessage() for record in caplog.records] == [
        "titanic: the model file was replaced by one that can't be loaded at the moment, and is tried again: "
        f"the model before it serves on. Reason: the model {path} can't be read (Too many open files): try again."
    ]
    holder.poll()
    assert digest(holder) == Model.load(other_file).sha256
    told = client.get("/metrics").get_data(as_text=True)
    assert 'titanic_model_reloads_total{outcome="taken"} 1.0' in told
    assert "titanic_model_file_refused 0.0" in told
    taken = holder.current
    holder.poll()
    assert holder.current is taken


# What a load may end with: memory, where sklearn builds and where a row is scored, and faults of the program.
FAULTS = {
    "memory": ("titanic_batch.models.model.audited", MemoryError("secret"), True),
    "memory at the first row": ("titanic_batch.scoring.scorer.Scorer.score", MemoryError("secret"), True),
    "ENOMEM": ("titanic_batch.scoring.scorer.Scorer.score", OSError(errno.ENOMEM, "secret"), True),
    "a fault": ("titanic_batch.models.model.audited", AssertionError("secret"), False),
    "a fault at the first row": ("titanic_batch.scoring.scorer.Scorer.score", ZeroDivisionError("secret"), False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_watching_goes_on_after_any_failure(
    holder: ModelHolder,
    path: Path,
    other_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    name, error, passes = FAULTS[fault]
    app, before = create_app(holder), holder.current

    def metric(text: str) -> Callable[[], bool]:
        return lambda: text in app.test_client().get("/metrics").get_data(as_text=True)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("titanic_batch.server.reloading.POLL_SECONDS", 0.02)
    thread = threading.Thread(target=holder.watch)
    thread.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(name, fail)
            replace(path, other_file)
            wait_until(metric("titanic_model_file_refused 1.0"))
            assert holder.current is before
            assert app.test_client().get("/health/ready").status_code == 200
        if not passes:
            time.sleep(0.1)
            assert holder.current is before, "the same file would only fail again"
            replace(path, other_file)
        wait_until(metric("titanic_model_file_refused 0.0"))
        assert digest(holder) == Model.load(other_file).sha256
    finally:
        holder.close()
        thread.join()
    assert ("a fault in loading the model file" in caplog.text) is not passes
    assert "secret" not in caplog.text


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


def test_a_reload_does_not_wait_for_a_fit(
    holder: ModelHolder, path: Path, other_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, ends = threading.Event(), threading.Event()

    def fit_for_long(frame: pd.DataFrame) -> tuple[Model, Evaluation]:
        fits.set()
        assert ends.wait(60)
        return fit_and_evaluate(frame, parameters={"n_estimators": 2})

    monkeypatch.setattr("titanic_batch.server.refitting.fit_and_evaluate", fit_for_long)
    body = (DATA / "train.csv").read_bytes()
    thread = threading.Thread(target=Refitter("token", 1).fit, args=(holder, "text/csv", body, Limits(), Turn()))
    thread.start()
    try:
        assert fits.wait(60)
        replace(path, other_file)
        holder.poll()
        assert digest(holder) == Model.load(other_file).sha256
    finally:
        ends.set()
        thread.join()
    assert digest(holder) == Model.load(path).sha256 != Model.load(other_file).sha256


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


def test_a_saved_model_that_cannot_be_loaded_is_told(
    holder: ModelHolder, path: Path, other_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, other = holder.current, Model.load(other_file)

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("titanic_batch.scoring.scorer.Scorer.score", fail)
        with pytest.raises(TransferError, match=f"not enough memory to load the model {path}"):
            holder.save(other)
    assert holder.current is before
    assert holder.refuses_file
    holder.poll()
    assert digest(holder) == Model.load(path).sha256


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
