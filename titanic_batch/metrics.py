"""How the last run of a job went, in the text format that Prometheus' node exporter takes from its textfile folder.

Every metric has the job's output as a label, so that the files of several jobs can lie in one folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from titanic_batch.exit_codes import DONE

LAST_SUCCESS = "titanic_last_success_timestamp_seconds"

_HELP = {
    "titanic_last_run_timestamp_seconds": "When the last run ended, in seconds since 1970.",
    LAST_SUCCESS: "When the last run ended that succeeded, in seconds since 1970.",
    "titanic_last_run_duration_seconds": "How long the last run took.",
    "titanic_last_run_exit_code": "Exit code of the last run; 0 is success.",
    "titanic_last_run_rows": "Rows of the last run, by what became of them.",
    "titanic_last_run_broken_rules": "Rows of the last run that break a rule; one may break several.",
}


def as_prometheus(
    labels: Mapping[str, str],
    *,
    exit_code: int,
    ended: float,
    seconds: float,
    rows: Mapping[str, int],
    rules: Mapping[tuple[str, str | None], int],
    old: str = "",
) -> str:
    """Return the metrics of a run.

    Parameters
    ----------
    labels
        What tells this job from others.
    exit_code
        How the run ended.
    ended
        When, in seconds since 1970.
    seconds
        How long it took.
    rows
        Rows by what became of them.
    rules
        Rows that break a rule, by rule and column (None: the whole row).
    old
        The metrics that will be replaced, for when a run succeeded before this one.
    """
    success = repr(ended) if exit_code == DONE else _value(LAST_SUCCESS, labels, old)
    samples: dict[str, list[tuple[Mapping[str, str], str]]] = {
        "titanic_last_run_timestamp_seconds": [({}, repr(ended))],
        LAST_SUCCESS: [] if success is None else [({}, success)],
        "titanic_last_run_duration_seconds": [({}, repr(seconds))],
        "titanic_last_run_exit_code": [({}, str(exit_code))],
        "titanic_last_run_rows": [({"outcome": outcome}, str(count)) for outcome, count in rows.items()],
        "titanic_last_run_broken_rules": [
            ({"rule": rule, "column": column or ""}, str(count)) for (rule, column), count in rules.items()
        ],
    }
    return "".join(f"{line}\n" for line in _lines(labels, samples))


def _lines(labels: Mapping[str, str], samples: Mapping[str, list[tuple[Mapping[str, str], str]]]) -> Iterator[str]:
    for name, values in samples.items():
        if values:
            yield f"# HELP {name} {_HELP[name]}"
            yield f"# TYPE {name} gauge"
        for more, value in values:
            yield f"{_series(name, {**labels, **more})} {value}"


def _series(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{name}{{{told}}}"


def _value(name: str, labels: Mapping[str, str], text: str) -> str | None:
    """Return the value that a metric has in a file of ours."""
    match = re.search(rf"^{re.escape(_series(name, labels))} ([0-9.e+]+)$", text, re.MULTILINE)
    return match[1] if match else None


def _escaped(value: str) -> str:
    # What can't be told as UTF-8 is told in ASCII: a file's name may be any bytes.
    value = value.encode(errors="backslashreplace").decode()
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
