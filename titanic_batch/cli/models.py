"""What is said of a model before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from titanic_batch.cli.console import say
from titanic_batch.passenger.words import ROWS

if TYPE_CHECKING:
    from titanic_batch.models.model import Model


def announce(model: Model) -> None:
    """Say which model is used, where nobody has named one, and what is to be known of it."""
    if model.is_reference:
        say(f"no model is named, so the reference model is used, fitted on the packaged {ROWS}.", "warning")
    if model.caution:
        say(model.caution, "warning")
