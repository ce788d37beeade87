"""The folder of the notebook: which names the product reads from it, and what each must be.

`NAMES` is the whole of it. Whatever reads a name reads it from one of the modules beside this one, which ask `read` for
a part of the folder. A part is imported when it is needed, since some take a second; once anything in one is wrong, all
parts are looked at, so that one error names everything.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titanic_batch import passenger as notebook
from titanic_batch.errors import NotebookError, is_out_of_memory

TRAINING_ROWS = "train.csv"
REFERENCE_FILE = "reference.skops"

_MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Name:
    """What a name must stand for.

    Attributes
    ----------
    what
        What it must be, in words.
    check
        Whether a value is that.
    default
        Its value where it is left out, if it may be.
    required
        Whether it may not be left out.
    """

    what: str
    check: Callable[[Any], bool]
    default: Any = None
    required: bool = False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_text, value))


def _are_labels(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or value[0] == value[1]:
        return False
    if type(value[0]) is float and not all(type(each) is float and each.is_integer() for each in value):
        return False  # scikit-learn takes others for numbers to regress on
    return type(value[0]) is type(value[1]) and type(value[0]) in (bool, int, float, str)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_contract(value: Any) -> bool:
    from titanic_batch.checking.contract import Contract

    return isinstance(value, Contract)


def _are_steps(value: Any) -> bool:
    from titanic_batch.scoring.encoders import FeatureStep

    return isinstance(value, list | tuple) and bool(value) and all(isinstance(step, FeatureStep) for step in value)


def _text(default: str | None = None, *, required: bool = False) -> Name:
    return Name("a text that is not empty", _is_text, default, required)


_PAIR = Name("two texts", _is_pair)

NAMES: Mapping[str, Mapping[str, Name]] = {
    "words": {
        "TITLE": _text(required=True),
        "TASK": _text(required=True),
        "ROW": _text(required=True),
        "ROWS": _text(required=True),
        "LABEL": _text(required=True),
        "LABELS": Name(
            "the two values of the label, of one type (more than two, or numbers to regress on, can't be predicted)",
            _are_labels,
            required=True,
        ),
        "DESCRIPTION": _text(required=True),
        "PROBABILITY": _text("Probability"),
        "CLASSIFIER": _text("classifier"),
        "DEFAULT_SEED": Name(
            f"a whole number from 0 to {_MAX_SEED}", lambda value: type(value) is int and 0 <= value <= _MAX_SEED, 0
        ),
        "NOT_FOR": _text(),
        "VERDICTS": _PAIR,
        "THOSE": _PAIR,
        "EVENT": _text(),
        "HAPPENED": _text(),
        "POSITIVES": _text(),
    },
    "schema": {
        "CONTRACT": Name("a Contract", _is_contract, required=True),
        "LABELLED_CONTRACT": Name("a Contract", _is_contract, required=True),
    },
    "features": {
        "FEATURES": Name("a list of FeatureSteps", _are_steps, ()),
        "CATEGORIES": Name(
            "a mapping from features to lists of text",
            lambda value: _is_mapping(value) and all(map(_is_list_of_text, value.values())),
            {},
        ),
        "TRUSTED_TYPES": Name("a list of full names of classes", _is_list_of_text, ()),
    },
    "fitting": {
        "PARAMETERS": Name("a list of names of parameters", _is_list_of_text, ()),
        "GROUPS": Name("a list of columns", _is_list_of_text, ()),
        "NOTEBOOK_PARAMETERS": Name("a mapping from parameters to values", _is_mapping),
        "NOTEBOOK_GRID": Name(
            "a mapping from parameters to lists of values",
            lambda value: _is_mapping(value) and all(isinstance(each, list) and each for each in value.values()),
        ),
        "NOTEBOOK_HELD_OUT": Name(
            "a mapping with test_size and random_state",
            lambda value: _is_mapping(value) and value.keys() == {"test_size", "random_state"},
        ),
        "NOTEBOOK_CLAIM": _text(),
    },
    "pipeline": {"build_pipeline": Name("a function", callable, required=True)},
}
"""By module of the folder, the names that are read from it."""


def read(part: str) -> Mapping[str, Any]:
    """Return the names of a part of the folder, with the defaults of those that are left out.

    Raises
    ------
    NotebookError
        Anything in it is wrong, or missing; the message names all that is wrong in the whole folder.
    """
    found, faults = _names_in(part)
    if faults or (faults := _faults_between(part, found)):
        raise NotebookError(f"{notebook.__name__} is not as its docstring asks: {'; '.join(_all_faults())}.")
    return found


def file_in_folder(name: str) -> Path | None:
    """Return the path of a file in the folder, or None if it is left out."""
    path = _folder() / name
    return path if path.is_file() else None


def _folder() -> Path:
    return Path(notebook.__path__[0])


def _all_faults() -> list[str]:
    faults = []
    for part in NAMES:
        found, of_part = _names_in(part)
        faults += of_part or _faults_between(part, found)
    return faults


def _names_in(part: str) -> tuple[dict[str, Any], list[str]]:
    """Return the names of a part with their values, and what is wrong."""
    names = NAMES[part]
    required = [name for name, about in names.items() if about.required]
    if importlib.util.find_spec(f"{notebook.__name__}.{part}") is None:
        return {name: about.default for name, about in names.items()}, [f"{part}.py is missing"] if required else []
    try:
        module = importlib.import_module(f"{notebook.__name__}.{part}")
    except Exception as error:  # whatever the folder's own code raises, its author wants to know it beside the rest
        if is_out_of_memory(error):
            raise
        return {}, [f"{part}.py fails in line {_line_of(error)}: {type(error).__name__}: {_first_line(error)}"]
    given = vars(module)
    faults = [f"{part}.py has no {name}, {about.what}" for name, about in names.items()
              if about.required and name not in given]  # fmt: skip
    faults += [f"{part}.{name} must be {about.what}" for name, about in names.items()
               if name in given and not about.check(given[name])]  # fmt: skip
    return {name: given.get(name, about.default) for name, about in names.items()}, faults


def _line_of(error: Exception) -> int | None:
    if isinstance(error, SyntaxError):
        return error.lineno
    import traceback  # only where something is wrong

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if str(_folder()) in frame.filename]
    return lines[-1] if lines else None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _faults_between(part: str, found: Mapping[str, Any]) -> list[str]:
    """Return what in a part contradicts another, or itself; its names have the types that they must have."""
    if part == "schema":
        words, faults = _names_in("words")
        return [] if faults else _faults_of_contracts(found["CONTRACT"], found["LABELLED_CONTRACT"], words)
    if part == "fitting":
        parameters: Collection[str] = found["PARAMETERS"]
        return [
            f"fitting.{name} names {', '.join(unknown)}, not in PARAMETERS"
            for name in ("NOTEBOOK_PARAMETERS", "NOTEBOOK_GRID")
            if (unknown := [each for each in found[name] or () if each not in parameters])
        ]
    return _faults_of_columns() if part == "pipeline" else []


def _faults_of_columns() -> list[str]:
    """Return which names list columns that rows don't have."""
    (schema, of_schema), (fitting, of_fitting), (features, of_features) = map(
        _names_in, ("schema", "fitting", "features")
    )
    if of_schema or of_fitting or of_features:
        return []
    listed = {
        "fitting.GROUPS": fitting["GROUPS"],
        "features.FEATURES": [name for step in features["FEATURES"] for name in step.columns],
    }
    columns = schema["CONTRACT"].without_key
    return [
        f"{name} names {', '.join(unknown)}, no column of CONTRACT that may be a feature"
        for name, names in listed.items()
        if (unknown := [each for each in names if each not in columns])
    ]


def _faults_of_contracts(contract: Any, labelled: Any, words: Mapping[str, Any]) -> list[str]:
    label, labels = words["LABEL"], words["LABELS"]
    faults = []
    if label in contract.types:
        faults.append(f"schema.CONTRACT has the label {label}")
    if {name: labelled.types[name] for name in labelled.types if name != label} != contract.types:
        faults.append("schema.LABELLED_CONTRACT has other columns than CONTRACT, beside the label")
    if label not in labelled.types:
        faults.append(f"schema.LABELLED_CONTRACT has no column {label}, which words.LABEL names")
    elif labelled.allowed(label) != list(labels):
        faults.append(f"schema.LABELLED_CONTRACT must allow in {label} what words.LABELS lists, {list(labels)!r}")
    if words["PROBABILITY"] in (label, contract.key):
        faults.append("words.PROBABILITY names another column too")
    return faults
