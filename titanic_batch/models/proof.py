"""What scikit-learn answered when a model was saved, in the model's file: whoever answers otherwise must not score.

The rows that it was asked are made up, and the same in all files: they tell nothing of those that it was fitted on.
What they can't prove is told by the digest of the structure: of all in the archive but its arrays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.json_data import listed, matching, members, number, parse, whole

VERSION = 1
"""Of the rows. Another version proves nothing here."""

_ROWS = 64
_PROOF = members(
    {
        "version": whole(VERSION, VERSION),
        "structure": matching("[0-9a-f]{64}", "SHA-256 in hex"),
        "probabilities": listed(number(0, 1), _ROWS, _ROWS),
    }
)

Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Takes features of shape (n_samples, n_features) and returns probabilities of shape (n_samples,)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The probabilities that scikit-learn gave to the rows, and the digest of what it was that gave them."""

    structure: str
    probabilities: Sequence[float]

    @classmethod
    def of(cls, structure: str, n_features: int, predict: Predict) -> Self:
        """Return the proof for a structure, given ``predict`` of scikit-learn."""
        return cls(structure, predict(_rows(n_features)).tolist())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return what `to_bytes` wrote.

        Raises
        ------
        ValueError
            It is something else, or of another version.
        """
        data = parse(content)
        _PROOF(data, "")
        return cls(data["structure"], data["probabilities"])

    def to_bytes(self) -> bytes:
        """Return the content of the member ``proof.json``."""
        data = {"version": VERSION, "structure": self.structure, "probabilities": self.probabilities}
        return json.dumps(data).encode()

    def holds(self, n_features: int, predict: Predict) -> bool:
        """Return whether ``predict`` gives the same answers, bit by bit."""
        return np.array(self.probabilities, np.float64).tobytes() == predict(_rows(n_features)).tobytes()


def _rows(n_features: int) -> NDArray[Any]:
    """Return features of shape (64, n_features): from -2 to 13 by quarters, in no order, and one of nine missing."""
    numbers = np.arange(_ROWS * n_features).reshape(_ROWS, n_features)
    rows = (numbers * numbers * 37 + numbers * 11) % 61 / 4 - 2
    rows[numbers % 9 == 4] = np.nan
    return rows
