"""The model that serves, replaced whenever its file is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from titanic_batch.errors import TransferError
from titanic_batch.models.artifact import DEFAULT_MODEL, loading, read_artifact
from titanic_batch.models.model import Model
from titanic_batch.models.resolution import resolve_model
from titanic_batch.server.served_model import ServedModel

POLL_SECONDS = 1.0


class ModelHolder:
    """Holds the model that serves, and loads another when its file is replaced.

    A handler reads `current` once per request, so that an answer comes from one model. A file that can't be loaded is
    refused, and the present model stays, as it does when the file is removed. What keeps a file from being loaded may
    pass where the machine is at fault, such as a lack of memory: the same file is then tried again at each poll.

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
        Called with None after another model was loaded, and with the exception after a file was refused: once for each
        file, however often it is tried.

    Raises
    ------
    ModelError
        The file is missing, damaged, or not the pinned one.
    """

    def __init__(self, name: str | None = None, sha256: str | None = None) -> None:
        self.path = name or DEFAULT_MODEL
        if name is not None:
            read_artifact(name, sha256)
        self.on_reload: Callable[[Exception | None], None] = lambda failure: None
        self._name = name
        self._sha256 = sha256
        self._current: ServedModel | None = None
        self._refuses = False
        self._tries_again = False
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
        ModelError, TransferError
            It can't be loaded, or not at the moment.
        """
        with self._lock:
            self._seen = self._signature()
            model = resolve_model(self._name, self._sha256)
            with loading(model.source):
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
            The file can't be written, or not loaded then. The present model stays.
        """
        with self._lock:
            model.save(self.path)
            if (failure := self._reload()) is not None:
                raise failure

    def poll(self) -> None:
        """Load the file again if it has been replaced or written, or if that may help now."""
        with self._lock:
            found = self._signature()
            if found is not None and (found != self._seen or self._tries_again):
                self._reload()

    def watch(self) -> None:
        """Poll until `close` is called. Run it in a thread of its own."""
        while not self._closed.wait(POLL_SECONDS):
            with suppress(MemoryError):  # in telling of one
                self.poll()

    def close(self) -> None:
        """End `watch`."""
        self._closed.set()

    def _reload(self) -> Exception | None:
        found, failure = self._signature(), None
        try:
            with loading(self.path):
                self._current = ServedModel(Model.load(self.path, self._sha256))
        except Exception as error:  # a fault of ours must not end the watch either
            failure = error
        is_told = failure is not None and self._refuses and found == self._seen
        self._seen, self._refuses = found, failure is not None
        self._tries_again = isinstance(failure, TransferError)
        if not is_told:
            self.on_reload(failure)
        return failure

    def _signature(self) -> tuple[int, ...] | None:
        """Return what changes whenever the file is replaced, written or made readable; None if it doesn't exist."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
