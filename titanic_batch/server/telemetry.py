"""Metrics for Prometheus, the access log, and the log of faults.

None of them contains what clients send, only how much of it: a request is identified by its route, not by its path.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from titanic_batch.errors import TitanicError, TransferError, one_line
from titanic_batch.server.log_writer import LogWriter
from titanic_batch.server.reloading import ModelHolder

ACCESS_LOG = logging.getLogger("titanic_batch.access")
LOG = logging.getLogger("titanic_batch.server")

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """The metrics and the access log of one application."""

    def __init__(self, holder: ModelHolder, log: LogWriter | None = None) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "titanic_http_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "titanic_http_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._rows = Counter("titanic_rows", "Rows judged", ["outcome"], registry=self._registry)
        self._fits = Counter("titanic_fits", "Models fitted on request", ["outcome"], registry=self._registry)
        self._reloads = Counter("titanic_model_reloads", "Replaced model files", ["outcome"], registry=self._registry)
        dropped = Counter(
            "titanic_log_lines_dropped", "Lines of the log that nobody read in time", registry=self._registry
        )
        if log is not None:
            log.on_drop = dropped.inc
        for outcome in ("scored", "rejected"):
            self._rows.labels(outcome)
        for outcome in ("taken", "refused"):
            self._fits.labels(outcome)
            self._reloads.labels(outcome)
        ready = Gauge("titanic_ready", "1 while a model is loaded and scores", registry=self._registry)
        ready.set_function(lambda: holder.current is not None)
        refused = Gauge(
            "titanic_model_file_refused",
            "1 while the model file is one that can't be used, so that the model before it serves",
            registry=self._registry,
        )
        refused.set_function(lambda: holder.refuses_file)
        self._model = Gauge("titanic_model_info", "The model that serves", ["model"], registry=self._registry)
        self._holder = holder
        holder.on_reload = self._count_reload

    def count_request(self, method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that was answered, and log it if the access log is on."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if ACCESS_LOG.isEnabledFor(logging.INFO):
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(seconds, 6),
                "bytes_received": received,
                "bytes_sent": sent,
            }
            ACCESS_LOG.info(json.dumps(line))

    def count_rows(self, scored: int, rejected: int) -> None:
        """Count rows that were judged."""
        self._rows.labels("scored").inc(scored)
        if rejected:
            self._rows.labels("rejected").inc(rejected)

    def count_fit(self, *, taken: bool) -> None:
        """Count a fit that has finished."""
        self._fits.labels("taken" if taken else "refused").inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that an ``Accept`` header asks for, and its content type."""
        self._model.clear()
        if self._holder.current is not None:
            self._model.labels(self._holder.current.model.identity).set(1)
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _count_reload(self, failure: Exception | None) -> None:
        self._reloads.labels("taken" if failure is None else "refused").inc()
        if failure is None:
            return
        if not isinstance(failure, TitanicError):
            log_fault("loading the model file", failure)
        is_passing = isinstance(failure, TransferError)
        LOG.warning(
            "titanic: the model file was replaced by one that can't be %s: the model before it serves on.%s",
            "loaded at the moment, and is tried again" if is_passing else "used",
            f" Reason: {one_line(str(failure))}" if isinstance(failure, TitanicError) else "",
        )


def log_fault(route: str, error: BaseException) -> None:
    """Log a fault by its type and traceback, without its message, which may contain what a client sent."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    LOG.error("titanic: a fault in %s: %s\n  %s", route, type(error).__name__, "\n  ".join(places))
