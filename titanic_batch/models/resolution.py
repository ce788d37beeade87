"""Which model a run uses."""

from __future__ import annotations

import os

from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import DEFAULT_MODEL
from titanic_batch.models.model import Model


def resolve_model(name: str | None, sha256: str | None = None) -> Model:
    """Return the named model; without a name ``./model.skops`` if it exists, else the reference model.

    Raises
    ------
    ModelError
        The model that is named, or exists, can't be loaded; or a digest is pinned and there is no file.
    """
    if name is None:
        try:
            os.lstat(DEFAULT_MODEL)
        except FileNotFoundError:
            pass
        except OSError:  # reading it says what is wrong
            name = DEFAULT_MODEL
        else:
            name = DEFAULT_MODEL
    if name is not None:
        return Model.load(name, sha256)
    if sha256 is not None:
        raise ModelError("a model is pinned by its SHA-256 and none is named: name it with --model.")
    return Model.reference()
