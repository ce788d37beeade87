"""How the notebook's features are made, where that is known without its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from titanic_batch.notebook.folder import read
from titanic_batch.scoring.encoders import FeatureStep

_FEATURES = read("features")

FEATURES: Sequence[FeatureStep] = _FEATURES["FEATURES"]
CATEGORIES: Mapping[str, Sequence[str]] = _FEATURES["CATEGORIES"]
TRUSTED_TYPES: Sequence[str] = _FEATURES["TRUSTED_TYPES"]
