"""What several test modules share: the committed passengers, fitted models, and the command."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer.main
from hypothesis import settings
from typer.testing import CliRunner, Result

from tests.machine import IMAGE, ROOT, Podman, need
from titanic_batch.cli.command import app
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="session")
def test_csv() -> Path:
    """The 418 passengers without a label."""
    return DATA / "test.csv"


@pytest.fixture(scope="session")
def passengers() -> pd.DataFrame:
    """The 891 passengers with a label. Shared: not to be changed."""
    return pd.read_csv(DATA / "train.csv")


@pytest.fixture(scope="session")
def small_model() -> Model:
    """A fitted model of few trees, so that saving and loading it costs little. Shared: not to be changed."""
    return Model(n_estimators=5).fit(packaged_rows())


@pytest.fixture(scope="session")
def reference() -> Model:
    """The reference model. Shared: not to be changed."""
    return Model.reference()


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory, small_model: Model) -> Path:
    """`small_model` as a file."""
    path = tmp_path_factory.mktemp("model") / "small.skops"
    small_model.save(path)
    return path


@pytest.fixture
def titanic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_file: Path) -> Callable[..., Result]:
    """The command, called in ``tmp_path`` with ``TITANIC_MODEL`` naming `model_file`; ``stdin`` is what it reads."""
    for name in ("TITANIC_MODEL_SHA256", "TITANIC_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TITANIC_MODEL", str(model_file))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: bytes | None = None, **options: Any) -> Result:
        options = {"prog_name": "titanic"} | options
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, **options)

    return run


def subcommand(name: str) -> Any:
    """Return a subcommand as Typer builds it."""
    group: Any = typer.main.get_command(app)  # declared as a command without subcommands
    return group.commands[name]


def parse(name: str, *arguments: str) -> dict[str, Any]:
    """Return the parameters of a subcommand as the command itself reads them, and run nothing."""
    return dict(subcommand(name).make_context(name, list(arguments)).params)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman with the image built from the Dockerfile as it is. It takes minutes: only test_container uses it."""
    need("podman", "runc", "catatonit", "mmdebstrap", root=True)
    podman = Podman(Path(tempfile.mkdtemp(prefix="titanic-podman-")))  # too large for the folders that pytest keeps
    try:
        podman.make_base_image()
        podman.build(ROOT, IMAGE)
        yield podman
    finally:
        podman.close()
