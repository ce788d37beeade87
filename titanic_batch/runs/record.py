"""The record of a run: what was requested, what was read, written and found, and how the run ended, as JSON.

It is created when a run begins, before libraries are imported, which takes seconds. It is written when the run ends,
however it ends, after everything else was published. ``record.schema.json`` describes the format; to add a section, add
a member there and in `RunRecord.as_json`.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from titanic_batch.errors import TitanicError
from titanic_batch.runs.exit_codes import DONE, INTERRUPTED, INVALID_DATA, TERMINATED, code_of
from titanic_batch.version import __version__
from titanic_batch.writing import stopping
from titanic_batch.writing.publishing import PUBLIC, Publication, check_creatable

if TYPE_CHECKING:
    from titanic_batch.checking.contract import Contract
    from titanic_batch.reading.sources import PassedOver
    from titanic_batch.runs.folders import FolderItem
    from titanic_batch.runs.options import RunOptions
    from titanic_batch.runs.report import RunReport


FORMAT = "titanic-batch run"
FORMAT_VERSION = 1
_WAIT_SECONDS = 5.0  # for another run that is writing a record of the same name
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn")


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """The origin of a model, its file or ``reference``, and what computed its predictions.

    The reference model has no digest.
    """

    source: str
    sha256: str | None
    engine: str


class RunRecord:
    """Collects what is known about a run, from its beginning on.

    Parameters
    ----------
    output
        The output that was requested: a file, a folder, or ``-``.
    report, metrics
        Files for the record as JSON and as Prometheus metrics. None to write none.
    began
        `time.perf_counter` at the beginning of the run.

    Attributes
    ----------
    model : ModelUsed or None
        The model; None until it is loaded.
    contract : Contract or None
        The contract of the rows; None until it is known.
    options : RunOptions or None
        The options of the run; None until they are known.
    single : RunReport or None
        The report of a run that writes one output; None until scoring begins.
    items : list of FolderItem or None
        The items of a run that writes a folder, one for each input; None until scoring begins.
    passed_over : sequence of PassedOver
        Files in named folders that are not read.
    """

    def __init__(
        self,
        output: str,
        *,
        report: str | None = None,
        metrics: str | None = None,
        began: float,
    ) -> None:
        self.model: ModelUsed | None = None
        self.contract: Contract | None = None
        self.options: RunOptions | None = None
        self.single: RunReport | None = None
        self.items: list[FolderItem] | None = None
        self.passed_over: Sequence[PassedOver] = ()
        self.seconds: dict[str, float] = {}
        self.exit_code: int | None = None
        self._output = output
        self._report = report
        self._metrics = metrics
        self._message: str | None = None
        self._began = began
        self._started = datetime.now(UTC) - timedelta(seconds=time.perf_counter() - began)
        self._ending = threading.Lock()

    def begin(self, items: list[FolderItem]) -> None:
        """Set the items of a run that writes a folder."""
        self.items = items

    def loaded(self, source: str, sha256: str | None, engine: str) -> None:
        """Set the model, and record the time until now as the time spent on loading."""
        self.model = ModelUsed(source, sha256, engine)
        self.seconds["load"] = time.perf_counter() - self._began

    def check_creatable(self) -> None:
        """Check that the files can be created, before any work is done.

        Raises
        ------
        OutputError
        """
        for name in (self._report, self._metrics):
            if name is not None:
                check_creatable(name)

    @property
    def reports(self) -> list[RunReport]:
        """The report of each output: of the single one, or of each item."""
        if self.items is not None:
            return [item.report for item in self.items]
        return [] if self.single is None else [self.single]

    def end(self, exit_code: int, message: str | None = None) -> list[TitanicError]:
        """Write how the run ended. Only the first call does so: another one waits for it and has no effect.

        Returns
        -------
        list of TitanicError
            Why a file could not be written. The other file is still written; if the run had succeeded, it says that
            this write failed.
        """
        stopping.hold()  # there is nothing left to stop
        with self._ending:
            if self.exit_code is not None:
                return []
            self.exit_code, self._message = exit_code, message
            self.seconds["total"] = time.perf_counter() - self._began
            errors = self._write([self._metrics, self._report])
            if errors:
                if exit_code == DONE:
                    self.exit_code, self._message = code_of(errors[0]), str(errors[0])
                for name in (self._metrics, self._report):
                    self._write([name])
            return errors

    def _write(self, names: Sequence[str | None]) -> list[TitanicError]:
        """Publish the files with these names, none of them if one fails, and return the errors."""
        try:
            with Publication(_WAIT_SECONDS) as publication:
                for name in filter(None, names):
                    text = self.as_prometheus() if name == self._metrics else self.as_json()
                    # Metrics are for another user, the node exporter's. A file name need not be valid UTF-8.
                    output = publication.add(name, PUBLIC) if name == self._metrics else publication.add(name)
                    output.file.write(text.encode(errors="backslashreplace"))
                publication.publish()
        except TitanicError as error:
            return [error]
        return []

    def as_prometheus(self) -> str:
        """Return the record as metrics. The time of an earlier success is taken from the file to be replaced."""
        from titanic_batch.runs.prometheus import LastRun, exposition  # few runs write metrics

        assert self.exit_code is not None  # noqa: S101  # the run has ended
        old = ""
        with suppress(OSError):
            if self._metrics is not None and os.path.isfile(self._metrics):
                with open(self._metrics, encoding="utf-8", errors="replace") as file:
                    old = file.read()
        labels = {"output": "stdout" if self._output == "-" else self._output}
        if self.options is not None and self.options.shard is not None:
            labels["shard"] = str(self.options.shard)
        rows = self._rows()
        run = LastRun(
            exit_code=self.exit_code,
            ended=time.time(),
            seconds=self.seconds["total"],
            rows={"scored": rows["scored"], "rejected": rows["rejected"]},
            rules=self._rules(),
            drifts=[report.drift for report in self.reports if report.drift is not None],
        )
        return exposition(run, labels, old)

    def as_json(self) -> str:
        """Return the record as a JSON object."""
        content = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "status": _status(self.exit_code),
            "exit_code": self.exit_code,
            "message": self._message,
            "started_at": self._started.isoformat(timespec="milliseconds"),
            "seconds": self._seconds(),
            "rows": self._rows(),
            "rejected_by_rule": [
                {"rule": rule, "column": column, "rows": rows} for (rule, column), rows in self._rules().items()
            ],
            "unreadable_columns": sorted({name for report in self.reports for name in report.unreadable_columns}),
            "inputs": self._inputs(),
            "passed_over": [asdict(file) for file in self.passed_over],
            "outputs": [asdict(file) for report in self.reports for file in report.outputs],
            "predictions": self._predictions(),
            "drift": None if self.single is None else _drift(self.single),
            "model": None if self.model is None else asdict(self.model),
            "schema": None
            if self.contract is None
            else {"version": self.contract.version, "digest": self.contract.digest},
            "options": {"output": self._output, **({} if self.options is None else self.options.recorded())},
            "versions": {
                "titanic-batch": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in _LIBRARIES},
            },
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def _rows(self) -> dict[str, int]:
        return {
            "in": sum(report.rows for report in self.reports),
            "scored": sum(report.accepted for report in self.reports),
            "rejected": sum(report.rejected for report in self.reports),
        }

    def _rules(self) -> dict[tuple[str, str | None], int]:
        counts: Counter[tuple[str, str | None]] = Counter()
        for report in self.reports:
            for rule in report.rules:
                counts[rule.rule, rule.column] += rule.rows
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or "")))

    def _seconds(self) -> dict[str, float]:
        spent = defaultdict[str, float](float, self.seconds)
        for report in self.reports:
            for stage, seconds in report.seconds.items():
                spent[stage] += seconds
        spent["score"] -= spent["write"]  # blocks are written while scoring is timed
        return {stage: round(spent[stage], 6) for stage in ("load", "open", "score", "write", "publish", "total")}

    def _inputs(self) -> list[dict[str, Any]]:
        if self.items is not None:
            return [_item(item) for item in self.items]
        return [asdict(file) for report in self.reports for file in report.inputs]

    def _predictions(self) -> dict[str, Any] | None:
        distributions = [report.predictions for report in self.reports if report.predictions is not None]
        labels: Counter[str] = Counter()
        for distribution in distributions:
            labels.update(distribution.labels)
        if not (total := labels.total()):
            return None
        bins = [sum(counts) for counts in zip(*(each.bins for each in distributions), strict=True)]
        return {
            "labels": dict(sorted(labels.items())),
            "mean_probability": sum(each.total for each in distributions) / total,
            "probability": [
                {"from": place / len(bins), "to": (place + 1) / len(bins), "rows": rows}
                for place, rows in enumerate(bins)
            ],
        }


def exit_code_of(item: FolderItem) -> int | None:
    """Return the exit code that an item has by itself; None if the run ended before it."""
    if item.error is not None:
        return code_of(item.error)
    if item.report.failure is not None:
        return INVALID_DATA
    return DONE if item.is_done else None


def _item(item: FolderItem) -> dict[str, Any]:
    code, report = exit_code_of(item), item.report
    (file,) = report.inputs or (None,)
    return {
        "name": item.source.name,
        "format": item.source.format,
        "bytes": file and file.bytes,
        "sha256": file and file.sha256,
        "output": item.output,
        "status": "skipped" if item.skipped else _status(code) if code is not None else "not done",
        "exit_code": code,
        "message": item.failure,
        "rows": {"in": report.rows, "scored": report.accepted, "rejected": report.rejected},
        "drift": _drift(report),
    }


def _drift(report: RunReport | None) -> dict[str, Any] | None:
    return None if report is None or report.drift is None else report.drift.to_json()


def _status(exit_code: int | None) -> str:
    if exit_code in (INTERRUPTED, TERMINATED):
        return "stopped"
    return "succeeded" if exit_code == DONE else "failed"
