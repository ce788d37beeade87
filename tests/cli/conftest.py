"""What tests of several commands share."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.cli.command import edited
from titanic_batch.models.model import Model


@pytest.fixture
def bad_csv(tmp_path: Path, test_csv: Path) -> Path:
    """The passengers, the third in a class that there is not."""
    return edited(test_csv, tmp_path / "bad.csv", 3, Pclass="7")


@pytest.fixture
def expected(small_model: Model, test_csv: Path) -> pd.DataFrame:
    """What the model says of the passengers, asked directly."""
    rows = pd.read_csv(test_csv)
    probabilities = small_model.predict_proba(rows)[:, 1]
    return pd.DataFrame(
        {"PassengerId": rows["PassengerId"], "Survived": small_model.predict(rows), "Probability": probabilities}
    )
