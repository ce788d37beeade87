"""A notebook's model as a batch job: fit, validate, score and serve with one pipeline.

The Python API consists of ``Model`` and the functions in `api`; they raise the exceptions in `errors`. Each name is
imported on first access, because NumPy, Arrow and pandera come with it.
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
