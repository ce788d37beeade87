"""What tests of scoring share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sklearn.pipeline import Pipeline

from tests.passengers import many
from tests.scoring.pipelines import CLOSE, EXACT, frame_of, labels_of


@pytest.fixture(scope="session")
def pipeline_named() -> Callable[[str], Pipeline]:
    """Return a function that gives a fitted pipeline by its name, each fitted once. Shared: not to be changed."""
    done: dict[str, Pipeline] = {}
    table = many(600, seed=1)

    def fit(name: str) -> Pipeline:
        if name not in done:
            pipeline = (EXACT | CLOSE)[name]()
            done[name] = pipeline.fit(frame_of(table, name), labels_of(table))
        return done[name]

    return fit
