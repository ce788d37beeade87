"""Predict who survived the Titanic, as a batch job: fit, validate, score and serve over one pipeline.

``Model``, ``score_file`` and ``validate_file`` are what a program needs; `errors` has what they raise. Each is imported
when it is first asked for, since pandas and scikit-learn come with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from titanic_batch.api import score_file, validate_file
    from titanic_batch.model import Model

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "score_file", "validate_file"]


def __getattr__(name: str) -> Any:
    if name == "Model":
        from titanic_batch.model import Model

        return Model
    if name in ("score_file", "validate_file"):
        from titanic_batch import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
