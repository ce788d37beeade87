"""The options of a run. Each is declared once: its default, its help, and whether reports and ``--resume`` use it.

From these declarations come the parameters of the commands, the ``options`` of a run report, and the recipe by which a
folder's state recognizes outputs that were made in the same way. No library is imported here, so that help is fast.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar, get_type_hints

from titanic_batch.errors import UsageError
from titanic_batch.reading.formats import FORMATS, Format
from titanic_batch.reading.paths import require_path
from titanic_batch.runs.cores import count_cores
from titanic_batch.runs.shards import Shard

Progress = Callable[[int, int, int | None], None]
"""Called with the number of rows checked so far, how much of the input is done, and the total (None if unknown)."""

# Panels for the less common options in a command's help.
DATA = "What the data must be"
MANY_FILES = "Many files, many runs"
REPORT_FILES = "Reports for people and machines"

_JOBLIB_VARIABLES = {"LOKY_MAX_CPU_COUNT": 1, "LOKY_MAX_DEPTH": 0, "JOBLIB_MULTIPROCESSING": 0}
_MAX_JOBS = 512  # more threads only use more memory, and far more can't be started

Word = TypeVar("Word", bound=str)


def one_of(words: Iterable[Word], given: str, option: str) -> Word:
    """Return ``given``, the value of ``option``, after checking that it is one of ``words``.

    Raises
    ------
    UsageError
        It is not.
    """
    words = list(words)
    for word in words:
        if word == given:
            return word
    raise UsageError(f"{option} {given}: it is one of {', '.join(words)}.")


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rejected rows a run tolerates: a number, or a percentage of all rows."""

    rows: int = 0
    percent: Decimal | None = None

    @classmethod
    def parse(cls, text: str) -> RejectLimit:
        """Parse a limit, ``N`` or ``P%``.

        Raises
        ------
        UsageError
        """
        try:
            if text.endswith("%"):
                limit = cls(percent=Decimal(text[:-1]))
                valid = limit.percent is not None and 0 <= limit.percent <= 100
            else:
                limit = cls(rows=int(text))
                valid = limit.rows >= 0
        except (InvalidOperation, ValueError):
            valid = False
        if not valid:
            raise UsageError(
                f"{text} is no limit of rejects: give a number of rows, 0 or more, or a share such as 2.5%."
            )
        return limit

    def is_exceeded(self, rejected: int, rows: int) -> bool:
        """Return whether ``rejected`` of ``rows`` rows exceed the limit."""
        if self.percent is not None:
            return 100 * rejected > self.percent * rows
        return rejected > self.rows

    def __str__(self) -> str:
        return str(self.rows) if self.percent is None else f"{self.percent}%"


@dataclass(frozen=True, slots=True)
class Option:
    """How commands and reports treat an option, in addition to its name, type and default.

    Attributes
    ----------
    help
        Help text.
    commands
        Names of the commands that have the option.
    panel
        Help panel that shows the option, in commands that have panels.
    flags
        Flags on the command line, if not derived from the name.
    type
        Type of the command-line value, if it differs from the option's type; ``parse`` then converts it.
    parse
        Converts the command-line value to the option's value. Called with the value and the flag.
    minimum, maximum
        Bounds of a number.
    is_recorded
        Whether the run report contains the option.
    shapes_output
        Whether ``--resume`` remakes outputs that were made with another value.
    """

    help: str
    commands: tuple[str, ...] = ("score",)
    panel: str | None = None
    flags: tuple[str, ...] = ()
    type: type | None = None
    parse: Callable[[Any, str], Any] | None = None
    minimum: int | None = None
    maximum: int | None = None
    is_recorded: bool = False
    shapes_output: bool = False


def file_name(name: str, option: str) -> str:
    """Return ``name``, a file name given as the value of ``option``, after checking that it is one.

    Raises
    ------
    UsageError
        It is empty, or a URL.
    """
    if not name:
        raise UsageError(f"{option} is followed by an empty name: give one, or leave the option out.")
    require_path(name)
    return name


def require_joblib_variables() -> None:
    """Check the variables that joblib, and scikit-learn with it, converts to numbers, and fails if it can't.

    Raises
    ------
    UsageError
        One is no number, or too small.
    """
    for name, least in _JOBLIB_VARIABLES.items():
        value = os.environ.get(name, str(least))
        try:
            valid = int(value) >= least
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"{name} is {value or 'empty'}: it is a number, {least} or more, so mend it or unset it.")


def _reject_limit(text: str, option: str) -> RejectLimit:
    return RejectLimit.parse(text)


def _shard(text: str, option: str) -> Shard:
    return Shard.parse(text)


def _column_name(name: str, option: str) -> str:
    if not name:
        raise UsageError(f"{option}: the name of a column is empty.")
    return name


def _format(text: str, option: str) -> Format:
    return one_of(FORMATS, text, option)


def _finite(number: float, option: str) -> float:
    if not math.isfinite(number):
        raise UsageError(f"{option} {number}: it must be a finite number.")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of all jobs that read rows.

    Attributes
    ----------
    detailed
        Whether the report contains digests of inputs and outputs, and the distribution of the predictions.
    progress
        Callback for the progress of the run.
    """

    keep: Annotated[
        Sequence[str], Option("A column to carry over. Repeatable.", type=list, is_recorded=True, shapes_output=True)
    ] = ()
    keep_key_text: Annotated[
        str | None,
        Option(
            "A column to add: the key as it stands in the input, as text.",
            parse=_column_name,
            is_recorded=True,
            shapes_output=True,
        ),
    ] = None
    with_values: Annotated[
        bool, Option("Show what the first bad rows hold.", ("validate",), flags=("--show-values",))
    ] = False
    max_rejects: Annotated[
        RejectLimit,
        Option(
            "How many rejected rows to tolerate: a number, or a share such as 2.5%.",
            ("score", "validate", "fit"),
            type=str,
            parse=_reject_limit,
            is_recorded=True,
            shapes_output=True,
        ),
    ] = RejectLimit()
    min_rows: Annotated[
        int,
        Option(
            "Fail if there are fewer rows.",
            ("score", "validate"),
            panel=DATA,
            minimum=0,
            is_recorded=True,
            shapes_output=True,
        ),
    ] = 0
    max_psi: Annotated[
        float | None,
        Option(
            "Fail if the rows moved further from those of the fit.",
            panel=DATA,
            parse=_finite,
            minimum=0,
            is_recorded=True,
            shapes_output=True,
        ),
    ] = None
    rejects: Annotated[
        str | None,
        Option(
            "Write rejected rows here, with reasons. Default for score: OUTPUT.rejects.csv.",
            ("score", "validate", "fit"),
            parse=file_name,
        ),
    ] = None
    jobs: Annotated[
        int | None,
        Option(
            "Threads. Default: the cores this process may use.",
            ("score", "validate", "fit"),
            flags=("--jobs", "-j"),
            minimum=1,
            maximum=_MAX_JOBS,
            is_recorded=True,
        ),
    ] = None
    input_format: Annotated[
        Format | None,
        Option(
            "csv, csv.gz, csv.zst or parquet, whatever the inputs are called.",
            ("score", "validate"),
            panel=DATA,
            type=str,
            parse=_format,
        ),
    ] = None
    output_format: Annotated[
        Format | None,
        Option("csv, csv.gz, csv.zst or parquet, whatever OUTPUT is called.", panel=DATA, type=str, parse=_format),
    ] = None
    resume: Annotated[
        bool,
        Option(
            "Skip inputs whose predictions in the output folder are made and up to date.",
            panel=MANY_FILES,
            is_recorded=True,
        ),
    ] = False
    shard: Annotated[
        Shard | None,
        Option(
            "Take part I of N of the input files, I from 0: I/N, or auto in a Kubernetes Indexed Job.",
            panel=MANY_FILES,
            type=str,
            parse=_shard,
            is_recorded=True,
        ),
    ] = None
    wait: Annotated[
        float, Option("Seconds to wait for another run of the same output.", panel=MANY_FILES, parse=_finite, minimum=0)
    ] = 0
    detailed: bool = False
    progress: Progress | None = None

    @classmethod
    def of(cls, **given: Any) -> RunOptions:
        """Create options from plain values, such as ``"2.5%"`` for a `RejectLimit` or ``"0/4"`` for a `Shard`.

        Raises
        ------
        UsageError
            A value is invalid.
        """
        if given.get("jobs") is not None and given["jobs"] < 1:
            raise UsageError(f"jobs {given['jobs']}: there is at least 1.")
        if given.get("keep_key_text") is not None:
            given["keep_key_text"] = _column_name(given["keep_key_text"], "keep_key_text")
        if given.get("max_psi") is not None and not given["max_psi"] >= 0:
            raise UsageError(f"max_psi {given['max_psi']}: it is a number, 0 or more.")
        for name in ("input_format", "output_format"):
            if given.get(name) is not None:
                given[name] = one_of(FORMATS, given[name], name)
        if not isinstance(limit := given.get("max_rejects", RejectLimit()), RejectLimit):
            given["max_rejects"] = RejectLimit.parse(str(limit))
        if isinstance(given.get("keep"), str):
            given["keep"] = [given["keep"]]
        if isinstance(given.get("shard"), str):
            given["shard"] = Shard.parse(given["shard"])
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}

    @property
    def threads(self) -> int:
        """Number of threads: ``jobs``, or the number of cores that this process may use."""
        if self.jobs is not None:
            return self.jobs
        require_joblib_variables()
        return count_cores()

    def recorded(self) -> dict[str, Any]:
        """Return the options that the run report contains."""
        return self._as_json(lambda option: option.is_recorded) | {"jobs": self.threads}

    def recipe(self) -> dict[str, Any]:
        """Return the options that affect an output, except its format."""
        return self._as_json(lambda option: option.shapes_output)

    def _as_json(self, is_wanted: Callable[[Option], bool]) -> dict[str, Any]:
        return {name: _json(getattr(self, name)) for name, option in DECLARED.items() if is_wanted(option)}


DECLARED: dict[str, Option] = {
    name: option
    for name, hint in get_type_hints(RunOptions, include_extras=True).items()
    for option in getattr(hint, "__metadata__", ())
}
"""The declaration of each option by name, in the order of help and reports."""


def _json(value: Any) -> Any:
    if isinstance(value, RejectLimit | Shard):
        return str(value)
    return list(value) if isinstance(value, tuple | list) else value
