"""How the last run of a job went, in the text format that Prometheus' node exporter takes from its textfile folder.

Every metric has the job's output as a label, so that the files of several jobs can lie in one folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from titanic_batch.runs.exit_codes import DONE

if TYPE_CHECKING:
    from titanic_batch.scoring.drift import Drift, Shift


LAST_SUCCESS = "titanic_last_success_timestamp_seconds"

_HELP = {
    "titanic_last_run_timestamp_seconds": "When the last run ended, in seconds since 1970.",
    LAST_SUCCESS: "When the last run ended that succeeded, in seconds since 1970.",
    "titanic_last_run_duration_seconds": "How long the last run took.",
    "titanic_last_run_exit_code": "Exit code of the last run; 0 is success.",
    "titanic_last_run_rows": "Rows of the last run, by what became of them.",
    "titanic_last_run_broken_rules": "Rows of the last run that break a rule; one may break several.",
    "titanic_last_run_psi": "How far rows moved from the training rows, as a PSI; of many files, the furthest.",
    "titanic_last_run_psi_by_chance": "The PSI that chance alone makes of so many rows in one run of a thousand.",
    "titanic_last_run_unseen_share": "Share of rows with a value that no training row has; of many files, the highest.",
    "titanic_last_run_missing_share": "Share of missing values in a column; of many files, the highest.",
}


def as_prometheus(
    labels: Mapping[str, str],
    *,
    exit_code: int,
    ended: float,
    seconds: float,
    rows: Mapping[str, int],
    rules: Mapping[tuple[str, str | None], int],
    drifts: Sequence[Drift] = (),
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
    drifts
        How rows compare with those of the fit, one for each file of predictions.
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
        **_drift_samples(drifts),
    }
    return "".join(f"{line}\n" for line in _lines(labels, samples))


def _drift_samples(drifts: Sequence[Drift]) -> dict[str, list[tuple[Mapping[str, str], str]]]:
    worst: dict[str, Shift] = {}
    missing: dict[str, float] = {}
    for drift in drifts:
        for shift in drift.shifts:
            if shift.name not in worst or shift.psi > worst[shift.name].psi:
                worst[shift.name] = shift
        for part in drift.missing:
            missing[part.column] = max(part.share, missing.get(part.column, 0.0))
    return {
        "titanic_last_run_psi": [({"of": name}, repr(shift.psi)) for name, shift in worst.items()],
        "titanic_last_run_psi_by_chance": [({"of": name}, repr(shift.chance)) for name, shift in worst.items()],
        "titanic_last_run_unseen_share": [({"of": name}, repr(shift.unseen)) for name, shift in worst.items()],
        "titanic_last_run_missing_share": [({"column": name}, repr(share)) for name, share in missing.items()],
    }


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
