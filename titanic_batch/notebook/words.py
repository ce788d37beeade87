"""The notebook's words, those that its folder leaves out made of the others. Help needs them."""

from __future__ import annotations

from titanic_batch.notebook.folder import read

_WORDS = read("words")

TITLE: str = _WORDS["TITLE"]
TASK: str = _WORDS["TASK"]
ROW: str = _WORDS["ROW"]
ROWS: str = _WORDS["ROWS"]
LABEL: str = _WORDS["LABEL"]
LABELS: tuple[bool, bool] | tuple[int, int] | tuple[float, float] | tuple[str, str] = tuple(_WORDS["LABELS"])
DESCRIPTION: str = _WORDS["DESCRIPTION"]
PROBABILITY: str = _WORDS["PROBABILITY"]
CLASSIFIER: str = _WORDS["CLASSIFIER"]
DEFAULT_SEED: int = _WORDS["DEFAULT_SEED"]
NOT_FOR: str | None = _WORDS["NOT_FOR"]

_NEGATIVE, _POSITIVE = (f"{LABEL} {label}" for label in LABELS)
VERDICTS: tuple[str, str] = _WORDS["VERDICTS"] or (f"probably has {_NEGATIVE}", f"probably has {_POSITIVE}")
THOSE: tuple[str, str] = _WORDS["THOSE"] or (f"{ROWS} with {_NEGATIVE}", f"{ROWS} with {_POSITIVE}")
EVENT: str = _WORDS["EVENT"] or _POSITIVE
HAPPENED: str = _WORDS["HAPPENED"] or f"has {_POSITIVE}"
POSITIVES: str = _WORDS["POSITIVES"] or THOSE[1]
