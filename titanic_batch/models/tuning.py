"""Which parameters the forest is fitted with: those that are named, or those that a search finds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import pandas as pd
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # HalvingRandomSearchCV asks for it
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, ParameterGrid

from titanic_batch.errors import UsageError
from titanic_batch.models.evaluation import Labels, check_count, few_rows_are_fine
from titanic_batch.passenger.pipeline import NOTEBOOK_GRID, PARAMETERS, build_pipeline
from titanic_batch.passenger.words import DEFAULT_SEED

SEARCH_FOLDS = 5
_STEP = "classifier__"
_CANDIDATES_AT_ONCE = 12
_MAX_NUMBER = 2**31 - 1  # what an integer is for scikit-learn's trees on every machine
_LABELS = {"0": 0, "1": 1}
_WEIGHTS = (0.001, 1000)  # by their sum scikit-learn draws rows for a tree: as many as fit into memory

Search = Literal["grid", "halving"]
SEARCHES: tuple[Search, ...] = get_args(Search)

Tried = Callable[[int, int], None]
"""Called with the number of candidates tried so far, and of all."""


def parse_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Return the forest's parameters that ``name=value`` texts set.

    A value is JSON, or one of Python's ``None``, ``True`` and ``False``, or else a text: ``max_depth=6``,
    ``max_depth=None``, ``criterion=gini``, ``class_weight={"0": 1, "1": 2}``.

    Raises
    ------
    UsageError
        A name is unknown or stands twice, or scikit-learn takes no such value.
    """
    parameters: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--param {text}: it is name=value, such as max_depth=6.")
        check_names([name], f"--param {text}: ")
        if name in parameters:
            raise UsageError(f"--param {text}: {name} is given twice.")
        parameters[name] = _value(value)
        _check(text, {name: parameters[name]})
    return parameters


def check_names(parameters: Iterable[str], given: str = "") -> None:
    """Check that all are names of the forest's parameters; ``given`` begins what is told otherwise.

    Raises
    ------
    UsageError
    """
    for name in parameters:
        if name not in PARAMETERS:
            raise UsageError(f"{given}there is no parameter {name}; there are {', '.join(PARAMETERS)}.")


def search_parameters(
    X: pd.DataFrame,
    y: Labels,
    seed: int = DEFAULT_SEED,
    jobs: int = 1,
    *,
    search: Search = "grid",
    fixed: Mapping[str, Any] | None = None,
    tried: Tried | None = None,
) -> dict[str, Any]:
    """Return the forest's parameters that win the notebook's grid search: best accuracy over 5 folds.

    Parameters
    ----------
    seed
        Of the forest; the folds are not shuffled.
    jobs
        Processes.
    search
        ``grid`` tries all candidates on all rows. ``halving`` tries some of them, drawn by chance, on few rows, and
        the better third of them on three times as many, until one is left: much faster, and not as sure.
    fixed
        Parameters that are not searched for.
    tried
        Is told how far a ``grid`` search has come.

    Raises
    ------
    DataError
        There are fewer than 10 rows of a label.
    UsageError
        The fixed parameters don't go with those that are searched for.
    """
    check_count(y)
    grid = NOTEBOOK_GRID | {name: [value] for name, value in (fixed or {}).items()}
    prefixed = {_STEP + name: values for name, values in grid.items()}
    options = {"scoring": "accuracy", "cv": SEARCH_FOLDS, "n_jobs": jobs, "refit": False, "error_score": "raise"}
    if search == "halving":
        found = HalvingRandomSearchCV(
            build_pipeline(seed), prefixed, random_state=seed, min_resources="smallest", **options
        )
    else:
        found = _WatchedGridSearch(build_pipeline(seed), prefixed, **options)
        found.tried = tried
    with few_rows_are_fine():
        # Where most are fixed there may be fewer candidates than halving would draw.
        warnings.filterwarnings("ignore", "The total space of parameters", UserWarning)
        try:
            found.fit(X, y)
        except ValueError as error:
            raise UsageError(f"these parameters can't be fitted: {' '.join(str(error).split())}") from None
    return {name.removeprefix(_STEP): value for name, value in found.best_params_.items()}


class _WatchedGridSearch(GridSearchCV):  # type: ignore[misc]
    """A grid search that tells how far it has come."""

    tried: Tried | None = None

    def _run_search(self, evaluate_candidates: Callable[[Sequence[Mapping[str, Any]]], object]) -> None:
        candidates = list(ParameterGrid(self.param_grid))
        step = _CANDIDATES_AT_ONCE * (self.n_jobs or 1) if self.tried is not None else len(candidates)
        for start in range(0, len(candidates), step):
            evaluate_candidates(candidates[start : start + step])
            if self.tried is not None:
                self.tried(min(start + step, len(candidates)), len(candidates))


def _value(text: str) -> Any:
    names = {"None": None, "True": True, "False": False}
    if text in names:
        return names[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict):  # JSON has no other keys than texts
        return {_LABELS.get(key, key): weight for key, weight in value.items()}
    return value


def _check(text: str, parameters: Mapping[str, Any]) -> None:
    # What scikit-learn lets through here, and fails on, or warns of, when it fits.
    for value in parameters.values():
        if isinstance(value, int | float) and not abs(value) <= _MAX_NUMBER:
            raise UsageError(f"--param {text}: it must be a number, and none over {_MAX_NUMBER}.")
        if isinstance(value, dict) and not (value and all(map(_is_weight, value.keys(), value.values()))):
            raise UsageError(f"--param {text}: it must be a weight from 0.001 to 1000 for the label 0, 1 or each.")
    try:
        build_pipeline(**parameters)[-1]._validate_params()
    except ValueError as error:
        reason = str(error).partition(" must be ")[2] or "something else"
        raise UsageError(f"--param {text}: it must be {' '.join(reason.split())}") from None


def _is_weight(label: object, weight: object) -> bool:
    return label in _LABELS.values() and isinstance(weight, int | float) and _WEIGHTS[0] <= weight <= _WEIGHTS[1]
