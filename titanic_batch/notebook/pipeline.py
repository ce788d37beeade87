"""The notebook's pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from titanic_batch.notebook.folder import read

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

build_pipeline: Callable[..., Pipeline] = read("pipeline")["build_pipeline"]
