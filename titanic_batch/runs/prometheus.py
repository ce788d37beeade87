"""How the last run of a job went, in the text format that Prometheus' node exporter takes from its textfile folder.

Every metric has the job's output as a label, so that the files of several jobs can lie in one folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from titanic_batch.runs.exit_codes import DONE

if TYPE_CHECKING:
    from titanic_batch.scoring.drift import Drift, Shift

LAST_SUCCESS = "titanic_last_success_timestamp_seconds"


@dataclass(frozen=True, slots=True)
class LastRun:
    """What there is to tell of a run.

    Attributes
    ----------
    exit_code
        How it ended.
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
    """

    exit_code: int
    ended: float
    seconds: float
    rows: Mapping[str, int]
    rules: Mapping[tuple[str, str | None], int]
    drifts: Sequence[Drift] = ()


def exposition(run: LastRun, labels: Mapping[str, str], old: str = "") -> str:
    """Return the metrics of a run.

    Parameters
    ----------
    run
        What to tell.
    labels
        What tells this job from others.
    old
        The metrics that will be replaced, for when a run succeeded before this one.
    """
    metrics = _Metrics({name: _utf8(value) for name, value in labels.items()})
    metrics.add("titanic_last_run_timestamp_seconds", "When the last run ended, in seconds since 1970.", run.ended)
    success = run.ended if run.exit_code == DONE else _last_success(old, metrics.labels)
    if success is not None:
        metrics.add(LAST_SUCCESS, "When the last run ended that succeeded, in seconds since 1970.", success)
    metrics.add("titanic_last_run_duration_seconds", "How long the last run took.", run.seconds)
    metrics.add("titanic_last_run_exit_code", "Exit code of the last run; 0 is success.", run.exit_code)
    for outcome, count in run.rows.items():
        metrics.add("titanic_last_run_rows", "Rows of the last run, by what became of them.", count, outcome=outcome)
    for (rule, column), count in run.rules.items():
        described = "Rows of the last run that break a rule; one may break several."
        metrics.add("titanic_last_run_broken_rules", described, count, rule=rule, column=column or "")
    _add_drifts(metrics, run.drifts)
    return generate_latest(metrics.registry).decode()


def _add_drifts(metrics: _Metrics, drifts: Sequence[Drift]) -> None:
    worst: dict[str, Shift] = {}
    missing: dict[str, float] = {}
    for drift in drifts:
        for shift in drift.shifts:
            if shift.name not in worst or shift.psi > worst[shift.name].psi:
                worst[shift.name] = shift
        for part in drift.missing:
            missing[part.column] = max(part.share, missing.get(part.column, 0.0))
    for name, shift in worst.items():
        described = "How far rows moved from the training rows, as a PSI; of many files, the furthest."
        metrics.add("titanic_last_run_psi", described, shift.psi, of=name)
        described = "The PSI that chance alone makes of so many rows in one run of a thousand."
        metrics.add("titanic_last_run_psi_by_chance", described, shift.chance, of=name)
        described = "Share of rows with a value that no training row has; of many files, the highest."
        metrics.add("titanic_last_run_unseen_share", described, shift.unseen, of=name)
    for name, share in missing.items():
        described = "Share of missing values in a column; of many files, the highest."
        metrics.add("titanic_last_run_missing_share", described, share, column=name)


class _Metrics:
    """Gauges that share some labels."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def add(self, name: str, described: str, value: float, **labels: str) -> None:
        """Set a gauge, whose labels are those that all share and its own."""
        names = [*self.labels, *labels]
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, described, names, registry=self.registry)
        self._gauges[name].labels(**self.labels, **labels).set(value)


def _last_success(text: str, labels: Mapping[str, str]) -> float | None:
    """Return when a job last succeeded, as metrics of ours tell; None where they don't, or are damaged."""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == LAST_SUCCESS and sample.labels == labels:
                    return float(sample.value)
    except ValueError:
        pass
    return None


def _utf8(text: str) -> str:
    """Return text with what is not UTF-8, which a file's name may hold, as escapes."""
    return text.encode(errors="backslashreplace").decode()
