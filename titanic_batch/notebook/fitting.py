"""What may be chosen when the notebook's model is fitted, and what it is compared with. Help needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from titanic_batch.notebook.folder import read

_FITTING = read("fitting")

PARAMETERS: Sequence[str] = _FITTING["PARAMETERS"]
GROUPS: Sequence[str] = _FITTING["GROUPS"]
NOTEBOOK_PARAMETERS: Mapping[str, Any] | None = _FITTING["NOTEBOOK_PARAMETERS"]
NOTEBOOK_GRID: Mapping[str, Sequence[Any]] | None = _FITTING["NOTEBOOK_GRID"]
NOTEBOOK_HELD_OUT: Mapping[str, Any] | None = _FITTING["NOTEBOOK_HELD_OUT"]
NOTEBOOK_CLAIM: str | None = _FITTING["NOTEBOOK_CLAIM"]
