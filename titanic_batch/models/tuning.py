"""The parameters of the classifier: those that are given, or those that a search finds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import pandas as pd
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # HalvingRandomSearchCV asks for it
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, ParameterGrid

from titanic_batch.errors import UsageError
from titanic_batch.models.cross_validation import check_count, without_few_rows_warning
from titanic_batch.models.training_data import Labels
from titanic_batch.notebook.fitting import NOTEBOOK_GRID, PARAMETERS
from titanic_batch.notebook.pipeline import build_pipeline
from titanic_batch.notebook.words import DEFAULT_SEED, LABELS

SEARCH_FOLDS = 5
_STEP = "classifier__"
_CANDIDATES_AT_ONCE = 12
_MAX_NUMBER = 2**31 - 1  # the greatest integer of scikit-learn's trees on every machine
_LABELS = {label if isinstance(label, str) else json.dumps(label): label for label in LABELS}  # by keys of JSON
_WEIGHTS = (0.001, 1000)  # scikit-learn draws as many rows for a tree as their sum, which must fit into memory

Search = Literal["grid", "halving"]
SEARCHES: tuple[Search, ...] = get_args(Search)

Tried = Callable[[int, int], None]
"""Called with how many candidates were tried so far, and how many there are."""


def parse_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Return the classifier's parameters that ``name=value`` texts set.

    A value is JSON, or one of Python's ``None``, ``True`` and ``False``, or else a string: ``max_depth=6``,
    ``max_depth=None``, ``criterion=gini``, ``class_weight={"0": 1, "1": 2}``.

    Raises
    ------
    UsageError
        A name is unknown or is given twice, or scikit-learn does not accept the value.
    """
    parameters: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--param {text}: it is name=value, such as max_depth=6.")
        require_parameters([name], f"--param {text}: ")
        if name in parameters:
            raise UsageError(f"--param {text}: {name} is given twice.")
        parameters[name] = _value(value)
        _check(text, {name: parameters[name]})
    return parameters


def require_parameters(names: Iterable[str], prefix: str = "") -> None:
    """Check that the classifier has parameters of these names.

    Parameters
    ----------
    names
        The names.
    prefix
        Begins the message of the error.

    Raises
    ------
    UsageError
        It does not have one of them.
    """
    for name in names:
        if name not in PARAMETERS:
            raise UsageError(f"{prefix}there is no parameter {name}; there are {', '.join(PARAMETERS) or 'none'}.")


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
    """Return the parameters in the notebook's grid that are most accurate by 5-fold cross-validation.

    Parameters
    ----------
    X
        Of shape (n_samples, n_columns).
    y
        Labels of shape (n_samples,).
    seed
        Seed of the classifier; the folds are not shuffled.
    jobs
        Processes.
    search
        ``grid`` tries all candidates on all rows. ``halving`` tries a random sample of them on few rows, the better
        third of these on three times as many, and so on until one is left: much faster, but less reliable.
    fixed
        Parameters that are not searched for.
    tried
        Called as a ``grid`` search progresses.

    Raises
    ------
    DataError
        There are fewer than 10 rows with a label.
    UsageError
        The fixed parameters can't be combined with those that are searched for; or the notebook has no grid.
    """
    check_count(y)
    if NOTEBOOK_GRID is None:
        raise UsageError("there is no grid of the notebook to search.")
    grid = dict(NOTEBOOK_GRID) | {name: [value] for name, value in (fixed or {}).items()}
    prefixed = {_STEP + name: values for name, values in grid.items()}
    options = {"scoring": "accuracy", "cv": SEARCH_FOLDS, "n_jobs": jobs, "refit": False, "error_score": "raise"}
    if search == "halving":
        found = HalvingRandomSearchCV(
            build_pipeline(seed), prefixed, random_state=seed, min_resources="smallest", **options
        )
    else:
        found = _WatchedGridSearch(build_pipeline(seed), prefixed, **options)
        found.tried = tried
    with without_few_rows_warning():
        # Where most parameters are fixed, there may be fewer candidates than halving would draw.
        warnings.filterwarnings("ignore", "The total space of parameters", UserWarning)
        try:
            found.fit(X, y)
        except ValueError as error:
            raise UsageError(f"these parameters can't be fitted: {' '.join(str(error).split())}") from None
    return {name.removeprefix(_STEP): value for name, value in found.best_params_.items()}


class _WatchedGridSearch(GridSearchCV):  # type: ignore[misc]  # untyped
    """A grid search that reports its progress."""

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
    if isinstance(value, dict):  # keys are strings in JSON
        return {_LABELS.get(key, key): weight for key, weight in value.items()}
    return value


def _check(text: str, parameters: Mapping[str, Any]) -> None:
    # First what scikit-learn would accept here, and fail on or warn of when it fits.
    for value in parameters.values():
        if isinstance(value, int | float) and not abs(value) <= _MAX_NUMBER:
            raise UsageError(f"--param {text}: it must be a number, and none over {_MAX_NUMBER}.")
        if isinstance(value, dict) and not (value and all(map(_is_weight, value.keys(), value.values()))):
            raise UsageError(
                f"--param {text}: it must be a weight from 0.001 to 1000 for the label {', '.join(_LABELS)} or each."
            )
    try:
        build_pipeline(**parameters)[-1]._validate_params()
    except ValueError as error:
        reason = str(error).partition(" must be ")[2] or "something else"
        raise UsageError(f"--param {text}: it must be {' '.join(reason.split())}") from None


def _is_weight(label: object, weight: object) -> bool:
    return label in _LABELS.values() and isinstance(weight, int | float) and _WEIGHTS[0] <= weight <= _WEIGHTS[1]
