"""Transformers of ages and decks, and the codes that they give one column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titanic_batch.passenger.features import AGE_EDGES, DECKS, MISSING_NUMBER
from titanic_batch.scoring.transformers import BinEncoder, CategoryEncoder


def age_encoder() -> BinEncoder:
    return BinEncoder(AGE_EDGES, MISSING_NUMBER)


def deck_encoder() -> CategoryEncoder:
    return CategoryEncoder(DECKS, missing="N", first_letter=True)


def codes_of(encoder: BinEncoder | CategoryEncoder, column: Any) -> list[int]:
    codes: NDArray[np.int8] = encoder.fit_transform(pd.DataFrame({"column": column}))
    assert codes.shape == (len(column), 1)
    assert codes.dtype == np.int8
    return [int(code) for code in codes[:, 0]]
