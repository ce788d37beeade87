"""The contracts of the notebook's rows, without and with the label."""

from __future__ import annotations

from titanic_batch.checking.contract import Contract
from titanic_batch.notebook.folder import read

_SCHEMA = read("schema")

CONTRACT: Contract = _SCHEMA["CONTRACT"]
LABELLED_CONTRACT: Contract = _SCHEMA["LABELLED_CONTRACT"]
