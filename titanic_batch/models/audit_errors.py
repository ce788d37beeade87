"""Why an archive is not built."""

from __future__ import annotations


class AuditError(Exception):
    """The archive must not be built; the message says why, in a few words."""


class UntrustedTypeError(AuditError):
    """It would build what is not trusted.

    Attributes
    ----------
    name
        The full name of a class, or of a function.
    is_class
        Whether that is a class whose objects are built from their attributes, so that it could be trusted by its name.
    """

    def __init__(self, loader: str, name: str) -> None:
        super().__init__(f"{loader} {name}")
        self.name = name
        self.is_class = loader == "ObjectNode"
