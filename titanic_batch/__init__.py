"""Predict who survived the Titanic, as a batch job: fit, validate, score and serve over one pipeline.

``Model`` and the functions of `api` are what a program needs; `errors` has what they raise. Each is imported when it is
first asked for, since pandas and scikit-learn come with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from titanic_batch.version import __version__

if TYPE_CHECKING:
    from titanic_batch.api import fit_file, score_file, score_folder, validate_file
    from titanic_batch.models.model import Model

__all__ = ["Model", "__version__", "fit_file", "score_file", "score_folder", "validate_file"]


def __getattr__(name: str) -> Any:
    if name == "Model":
        from titanic_batch.models.model import Model

        return Model
    if name in __all__:
        from titanic_batch import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
