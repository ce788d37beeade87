"""What the tests of the notebook's folder share: its rows, a model fitted on them, and the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from titanic_batch.cli.command import app
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.notebook.folder import TRAINING_ROWS, file_in_folder
from titanic_batch.notebook.schema import LABELLED_CONTRACT

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def train_csv() -> Path:
    """The labelled rows that ship with the package."""
    path = file_in_folder(TRAINING_ROWS)
    if path is None:
        pytest.skip(f"the folder of the notebook has no {TRAINING_ROWS}")
    return path


@pytest.fixture(scope="session")
def rows(train_csv: Path) -> pd.DataFrame:
    """The same as a frame. Shared: not to be changed."""
    return packaged_rows()


@pytest.fixture(scope="session")
def table(rows: pd.DataFrame) -> pa.Table:
    """The same as an Arrow table, with the types of the contract."""
    return pa.Table.from_pandas(rows, pa.schema(list(LABELLED_CONTRACT.types.items())), preserve_index=False)


@pytest.fixture(scope="session")
def fitted(rows: pd.DataFrame) -> Model:
    """The notebook's model, fitted on these rows. Shared: not to be changed."""
    return Model().fit(rows)


@pytest.fixture(scope="session")
def model_of_rows(tmp_path_factory: pytest.TempPathFactory, fitted: Model) -> Path:
    """`fitted` as a file."""
    path = tmp_path_factory.mktemp("model") / "model.skops"
    fitted.save(path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, called in ``tmp_path``."""
    for name in ("TITANIC_MODEL", "TITANIC_MODEL_SHA256"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="titanic")

    return run
