"""What tests of several of the server's modules share."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner

from titanic_batch.cli.command import app as command
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import Limits


@pytest.fixture
def client(small_model: Model) -> FlaskClient:
    """A client of an application that serves `small_model`."""
    return create_app(small_model, Limits(binary=True)).test_client()


@pytest.fixture(scope="session")
def expected_csv(model_file: Path, test_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The command's predictions for the committed passengers."""
    output = tmp_path_factory.mktemp("expected") / "predictions.csv"
    result = CliRunner().invoke(command, ["score", str(test_csv), "-o", str(output), "-m", str(model_file)])
    assert result.exit_code == 0
    return output.read_bytes()
