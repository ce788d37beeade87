"""Metrics of a job's last run, in the text format for the textfile collector of Prometheus' node exporter.

Every metric has the job's output as a label, so that several jobs can write their files to the same folder.
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
    """The facts about a run that its metrics report.

    Attributes
    ----------
    exit_code
        Exit code of the run.
    ended
        Time of its end, in seconds since 1970.
    seconds
        Duration.
    rows
        Number of rows by outcome.
    rules
        Number of rows that break a rule, by rule and column (None for the whole row).
    drifts
        How the rows compare with the training rows, one for each file of predictions.
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
        The run to report.
    labels
        Labels that identify the job.
    old
        The metrics to be replaced. The time of the last success is taken from them if this run failed.
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
        description = "Rows of the last run that break a rule; one may break several."
        metrics.add("titanic_last_run_broken_rules", description, count, rule=rule, column=column or "")
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
        description = "How far rows moved from the training rows, as a PSI; of many files, the furthest."
        metrics.add("titanic_last_run_psi", description, shift.psi, of=name)
        description = "The PSI that chance alone makes of so many rows in one run of a thousand."
        metrics.add("titanic_last_run_psi_by_chance", description, shift.chance, of=name)
        description = "Share of rows with a value that no training row has; of many files, the highest."
        metrics.add("titanic_last_run_unseen_share", description, shift.unseen, of=name)
    for name, share in missing.items():
        description = "Share of missing values in a column; of many files, the highest."
        metrics.add("titanic_last_run_missing_share", description, share, column=name)


class _Metrics:
    """Gauges with common labels."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def add(self, name: str, description: str, value: float, **labels: str) -> None:
        """Set a gauge, which has ``labels`` in addition to the common labels."""
        names = [*self.labels, *labels]
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, description, names, registry=self.registry)
        self._gauges[name].labels(**self.labels, **labels).set(value)


def _last_success(text: str, labels: Mapping[str, str]) -> float | None:
    """Return the time of a job's last success from its earlier metrics; None if it is missing or they are damaged."""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == LAST_SUCCESS and sample.labels == labels:
                    return float(sample.value)
    except ValueError:
        pass
    return None


def _utf8(text: str) -> str:
    """Return text, such as a file name, with escapes in place of what can't be encoded as UTF-8."""
    return text.encode(errors="backslashreplace").decode()
