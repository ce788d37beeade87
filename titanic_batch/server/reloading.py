"""The model that serves, replaced whenever its file is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from titanic_batch.errors import TitanicError
from titanic_batch.models.artifact import DEFAULT_MODEL, read_artifact
from titanic_batch.models.model import Model, resolve_model
from titanic_batch.server.served_model import ServedModel

POLL_SECONDS = 1.0


class ModelHolder:
    """Holds the model that serves, and loads another when its file is replaced.

    A handler reads `current` once per request, so that an answer comes from one model. A file that can't be loaded is
    refused, and the present model stays, as it does when the file is removed.

    Parameters
    ----------
    name
        The model file; by default ``./model.skops`` if it exists, else the reference model.
    sha256
        The digest that this file, and any that replaces it, must have.

    Attributes
    ----------
    path : str
        The file that is watched, and that `save` writes.
    on_reload : callable
        Called with True after another model was loaded, with False after a file was refused.

    Raises
    ------
    ModelError
        The file is missing, damaged, or not the pinned one.
    """

    def __init__(self, name: str | None = None, sha256: str | None = None) -> None:
        self.path = name or DEFAULT_MODEL
        if name is not None:
            read_artifact(name, sha256)
        self.on_reload: Callable[[bool], None] = lambda taken: None
        self._name = name
        self._sha256 = sha256
        self._current: ServedModel | None = None
        self._refuses = False
        self._seen: object = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def current(self) -> ServedModel | None:
        """The model that answers requests; None until the first is loaded."""
        return self._current

    @property
    def refuses_file(self) -> bool:
        """Whether the file as it is now was refused, so that an older model serves."""
        return self._refuses

    def load(self) -> Model:
        """Load the first model and return it.

        Raises
        ------
        ModelError
            It can't be loaded.
        """
        with self._lock:
            self._seen = self._signature()
            model = resolve_model(self._name, self._sha256)
            self._current = ServedModel(model)
        return model

    def hold(self, model: Model) -> None:
        """Serve a model that was fitted or loaded elsewhere."""
        self._current = ServedModel(model)

    def save(self, model: Model) -> None:
        """Write a new model to the file, and serve it.

        Raises
        ------
        ModelError, OutputBusyError, OutputError, TransferError
            The file can't be written. The present model stays.
        """
        with self._lock:
            model.save(self.path)
            self._reload()

    def poll(self) -> None:
        """Load the file again if it has been replaced or written."""
        with self._lock:
            if self._signature() not in (self._seen, None):
                self._reload()

    def watch(self) -> None:
        """Poll until `close` is called. Run it in a thread of its own."""
        while not self._closed.wait(POLL_SECONDS):
            self.poll()

    def close(self) -> None:
        """End `watch`."""
        self._closed.set()

    def _reload(self) -> None:
        self._seen = self._signature()
        try:
            self._current = ServedModel(Model.load(self.path, self._sha256))
            self._refuses = False
        except TitanicError:
            self._refuses = True
        self.on_reload(not self._refuses)

    def _signature(self) -> tuple[int, ...] | None:
        """Return what changes whenever the file is replaced or written; None if it doesn't exist."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
