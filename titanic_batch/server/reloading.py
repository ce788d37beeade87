"""The model that serves, and the file that it came from, watched for a new one."""

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
    """Holds the model that serves, and takes another when its file is replaced.

    Whoever answers a request takes `current` once, so that the whole answer is one model's. A file that can't be loaded
    is refused, and the present model stays; it stays too where the file goes away.

    Parameters
    ----------
    name
        The model file; without one ``./model.skops`` if it is there, else the reference model.
    sha256
        Pins it, and so every file that comes after it.

    Attributes
    ----------
    path : str
        The file that is watched, and that `save` writes.
    on_reload : callable
        Called with True after another model was taken, with False after a file was refused.

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
        """The model that answers requests; None as long as there is none."""
        return self._current

    @property
    def refuses_file(self) -> bool:
        """Whether the file as it stands was refused, so that an older model serves."""
        return self._refuses

    def load(self) -> Model:
        """Load the first model and return it.

        Raises
        ------
        ModelError
        """
        with self._lock:
            self._seen = self._signature()
            model = resolve_model(self._name, self._sha256)
            self._current = ServedModel(model)
        return model

    def hold(self, model: Model) -> None:
        """Take a model that was made or loaded elsewhere, as it is."""
        self._current = ServedModel(model)

    def save(self, model: Model) -> None:
        """Write a new model to the file, and take it.

        Raises
        ------
        ModelError, OutputBusyError, OutputError, TransferError
            The file can't be written, or not be read again. The present model stays.
        """
        with self._lock:
            model.save(self.path)
            self._take()

    def poll(self) -> None:
        """Take the file's model, if the file is another than it was."""
        with self._lock:
            if self._signature() not in (self._seen, None):
                self._take()

    def watch(self) -> None:
        """Poll until `close`. For a thread of its own."""
        while not self._closed.wait(POLL_SECONDS):
            self.poll()

    def close(self) -> None:
        """End `watch`."""
        self._closed.set()

    def _take(self) -> None:
        self._seen = self._signature()
        try:
            self._current = ServedModel(Model.load(self.path, self._sha256))
            self._refuses = False
        except TitanicError:
            self._refuses = True
        self.on_reload(not self._refuses)

    def _signature(self) -> tuple[int, ...] | None:
        """Return what changes when the file is replaced or written; None where it isn't there."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
