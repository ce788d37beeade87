"""Measure ``titanic`` side by side with what else reads, validates or scores the same files.

    python tests/benchmarks/compare.py [--rows 418 2000000 8000000] [--repeats 3] [--json FILE]

Cases:

``start``
    What a small file takes, 418 rows of CSV: ``titanic score`` with a model and without one, ``titanic validate``, and
    ``titanic serve`` from its start to its first prediction, against a plain pandas script, and against nothing but the
    imports of that script.
``score``
    ``titanic score`` against the I/O floor (the same columns parsed and used, the same types written: polars, DuckDB
    and pyarrow, the fastest of which is the floor), against a plain pandas script, and against ``mlflow models
    predict`` (CSV only; ``--mlflow-python`` names the interpreter of an environment that has MLflow).
``jobs``
    ``titanic score --jobs 1`` and ``--jobs 2``.
``validate``
    ``titanic validate`` against the least that it could do: the same columns parsed and summed up, nothing written.
``help``
    ``titanic --help`` against the ``--help`` of a bare Typer application of two commands.

All that scores uses the same fitted pipeline. Every run is a fresh process, measured whole by ``measure.py``, which
says how. The contenders take turns (A B C A B C ...), so that what else the machine does falls on all of them, after
each ran once unmeasured on the smallest file. Where a contender's library is missing, it is left out with a note.

"Less start-up" means: less the same program's time for 418 rows. Ratios are of medians, ours over theirs: below 1 we
are faster. The JSON holds every run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
START_ROWS = 418  # the rows of Kaggle's test.csv: a run on them is nearly all start-up
CASES = ("start", "score", "jobs", "validate", "help")
LIBRARIES = {"polars": "polars", "duckdb": "duckdb", "pyarrow": "pyarrow", "pandas": "pandas"}
FLOORS = ("polars", "duckdb", "pyarrow")
VERSIONS = ("numpy", "pandas", "polars", "duckdb", "pyarrow", "scikit-learn")
BUSY = 0.1  # of a core, taken by others, is worth a note

BARE_APP = '''
import typer

app = typer.Typer()


@app.command()
def score(source: str) -> None:
    """Score."""


@app.command()
def validate(source: str) -> None:
    """Validate."""


app()
'''

Command = Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Contender:
    """A program to measure: its command for an input and an output, and where it takes part."""

    case: str
    name: str
    command: Command
    output: str | None = None  # the suffix of what it writes
    formats: tuple[str, ...] = ("csv", "parquet")
    most_rows: int = sys.maxsize


@dataclass(frozen=True)
class Run:
    """One run of one contender on one file."""

    case: str
    contender: str
    format: str
    rows: int
    repeat: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    other_cpu_seconds: float | None
    exit_code: int
    stderr: str
    output_rows: int | None
    digest: str | None


@dataclass(frozen=True)
class Summary:
    """The good runs of one contender on one file."""

    case: str
    contender: str
    format: str
    rows: int
    median: float
    fastest: float
    slowest: float
    cpu_median: float
    rows_per_second: float
    peak_bytes: int | None

    @property
    def file(self) -> tuple[str, str, int]:
        return self.case, self.format, self.rows


@dataclass(frozen=True)
class Ratio:
    """Our figure over another's."""

    name: str
    format: str
    rows: int
    ours: float
    theirs: float
    other: str

    @property
    def value(self) -> float:
        return self.ours / self.theirs


@dataclass
class Results:
    """Everything that was measured and what follows from it."""

    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_note(self, note: str) -> None:
        self.notes.append(note)
        print(f"note: {note}", file=sys.stderr)


# Contenders


def titanic(python: str, *arguments: str | Path) -> list[str]:
    return [python, "-m", "titanic_batch", *map(str, arguments)]


def program(name: str, *arguments: str | Path, python: str = sys.executable) -> list[str]:
    return [python, str(HERE / "contenders.py"), name, *map(str, arguments)]


def score_command(python: str, model: Path | None, jobs: int | None) -> Command:
    options = [*(["--model", str(model)] if model else []), *(["--jobs", str(jobs)] if jobs else [])]
    return lambda source, target: titanic(python, "score", source, "-o", target, *options)


def mlflow_command(python: str, model: Path) -> Command:
    options = ["--content-type", "csv", "--env-manager", "local", "--model-uri", str(model)]
    predict = [python, "-m", "mlflow", "models", "predict", *options]
    return lambda source, target: [*predict, "--input-path", str(source), "--output-path", str(target)]


def floor_command(name: str) -> Command:
    return lambda source, target: program(f"write-{name}", source, target)


def reading_command(name: str) -> Command:
    return lambda source, _: program(f"read-{name}", source)


def all_contenders(options: argparse.Namespace, work: Path, results: Results) -> Iterator[Contender]:
    """Yield who can take part, after making the models that they need."""
    python = options.titanic_python
    floors = [name for name in FLOORS if find_spec(LIBRARIES[name])]
    for name in sorted(set(FLOORS) - set(floors)):
        results.add_note(f"{name} is not installed: left out")
    if {"start", "score", "jobs"} & set(options.cases):
        model = fit_model(python, work, results)
        pickle = work / "model.joblib"
        call(program("make-pickle", pickle, *([model] if model else [])))
        yield from start_contenders(python, model, pickle)
        yield Contender("score", "titanic", score_command(python, model, options.jobs), ".parquet")
        for name in floors:
            yield Contender("score", name, floor_command(name), ".parquet")
        yield Contender("score", "pandas", lambda source, target: program("pandas", source, target, pickle), ".parquet")
        if "score" in options.cases and "mlflow" not in options.skip:
            yield from mlflow_contender(options.mlflow_python, work, pickle, results)
        for jobs in (1, 2):
            yield Contender("jobs", f"titanic --jobs {jobs}", score_command(python, model, jobs), ".parquet")
    yield Contender("validate", "titanic", lambda source, _: titanic(python, "validate", source))
    for name in floors:
        yield Contender("validate", name, reading_command(name))
    app = work / "bare_app.py"
    app.write_text(BARE_APP, encoding="utf-8")
    yield Contender("help", "titanic", lambda *_: titanic(python, "--help"), formats=("-",))
    yield Contender("help", "typer", lambda *_: [python, str(app), "--help"], formats=("-",))


def start_contenders(python: str, model: Path | None, pickle: Path) -> Iterator[Contender]:
    """Yield who takes part where there are few rows. Those that predict write the same columns."""
    options = ["--model", str(model)] if model else []
    commands: dict[str, tuple[Command, str | None]] = {
        "titanic score": (score_command(python, model, None), ".parquet"),
        "titanic score, no model": (score_command(python, None, None), ".parquet"),
        "titanic validate": (lambda source, _: titanic(python, "validate", source), None),
        "titanic serve": (lambda *_: program("first-answer", *titanic(python, "serve", "--port", "0", *options)), None),
        "pandas": (lambda source, target: program("pandas", source, target, pickle, python=python), ".parquet"),
        "imports": (lambda *_: program("imports", python=python), None),
    }
    for name, (command, output) in commands.items():
        yield Contender("start", name, command, output, formats=("csv",), most_rows=START_ROWS)


def mlflow_contender(python: str | None, work: Path, pickle: Path, results: Results) -> Iterator[Contender]:
    """Yield MLflow where there is one."""
    python = python or (sys.executable if find_spec("mlflow") else None)
    if python is None:
        results.add_note("mlflow is not installed, and no --mlflow-python given: left out")
        return
    model = work / "mlflow_model"
    call(program("make-mlflow", model, pickle, python=python))
    yield Contender("score", "mlflow", mlflow_command(python, model), ".json", formats=("csv",))


def fit_model(python: str, work: Path, results: Results) -> Path | None:
    """Return a fitted model for all; ``None`` where each must do with the reference model."""
    model = work / "model.skops"
    fit = subprocess.run(titanic(python, "fit", "-o", model), cwd=ROOT, capture_output=True, text=True, check=False)
    if fit.returncode == 0:
        return model
    reason = (fit.stderr.strip().splitlines() or ["no words"])[-1]
    results.add_note(f"`titanic fit` failed ({reason}): all use the reference model")
    return None


# Running


def call(command: list[str]) -> str:
    """Run a command that must succeed from the root of the project."""
    return subprocess.run(command, cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


def environment() -> dict[str, str]:
    """Return the environment of every run: this tree can be imported, and nobody phones home.

    Its bytecode is kept, as that of the libraries is, which were installed.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "MLFLOW_DISABLE_TELEMETRY": "true"}


def run_once(contender: Contender, format: str, rows: int, repeat: int, work: Path) -> Run:
    """Measure one run, look at what it wrote, and delete that; what a good run said is not kept."""
    source = input_file(work, format, rows)
    target = work / f"output{contender.output or ''}"
    measured = json.loads(call([sys.executable, str(HERE / "measure.py"), *contender.command(source, target)]))
    if measured["exit_code"] == 0:
        measured["stderr"] = ""
    wrote = contender.output is not None and target.exists()
    run = Run(
        case=contender.case,
        contender=contender.name,
        format=format,
        rows=rows,
        repeat=repeat,
        output_rows=count_rows(target) if wrote else None,
        digest=digest(target) if wrote and contender.name not in (*FLOORS, "mlflow") else None,
        **measured,
    )
    target.unlink(missing_ok=True)
    return run


def input_file(work: Path, format: str, rows: int) -> Path:
    return work / f"passengers-{rows}.{format}"


def make_inputs(work: Path, rows: Iterable[int], formats: Iterable[str]) -> None:
    for count in rows:
        files = [str(input_file(work, format, count)) for format in formats]
        call([sys.executable, str(HERE / "passengers.py"), str(count), *files])


def count_rows(output: Path) -> int:
    """Return how many predictions a file holds."""
    if output.suffix == ".json":  # {"predictions": [[0.8, 0.2], ...]}
        with output.open("rb") as file:
            return sum(piece.count(b"[") for piece in iter(lambda: file.read(1 << 20), b"")) - 1
    import pyarrow.parquet as pq

    return int(pq.read_metadata(output).num_rows)


def digest(output: Path) -> str:
    """Return what two files have in common exactly if they hold the same predictions in the same order."""
    import pyarrow.parquet as pq

    hashes = {name: hashlib.sha256() for name in ("PassengerId", "Survived", "Probability")}
    for batch in pq.ParquetFile(output).iter_batches(columns=list(hashes)):
        for name, summed in hashes.items():
            summed.update(batch[name].to_numpy(zero_copy_only=False).tobytes())
    return hashlib.sha256("".join(each.hexdigest() for each in hashes.values()).encode()).hexdigest()


def schedule(contenders: list[Contender], options: argparse.Namespace) -> Iterator[tuple[Contender, str, int]]:
    """Yield one turn of all contenders on all files."""
    for case in options.cases:
        entered = [each for each in contenders if each.case == case]
        if case == "help":
            yield from ((each, "-", 0) for each in entered)
            continue
        for format in options.formats:
            for rows in options.rows:
                yield from (
                    (each, format, rows) for each in entered if format in each.formats and rows <= each.most_rows
                )


def run_all(contenders: list[Contender], options: argparse.Namespace, work: Path, results: Results) -> None:
    """Let each contender warm up, then all take turns."""
    for contender, format, rows in schedule(contenders, options):
        if rows in (0, min(options.rows)):
            run_once(contender, format, rows, -1, work)
    for repeat in range(options.repeats):
        for contender, format, rows in schedule(contenders, options):
            run = run_once(contender, format, rows, repeat, work)
            results.runs.append(run)
            where = f"{run.case} {run.contender} {format} {rows}"
            print(f"{where}: {run.seconds:.3f} s", file=sys.stderr)
            if run.exit_code:
                reason = (run.stderr.strip().splitlines() or ["no words"])[-1]
                results.add_note(f"{where}: exit code {run.exit_code} ({reason})")


# Figures


def summarise(runs: Iterable[Run]) -> list[Summary]:
    """Return the medians of all runs that ended well."""
    groups: dict[tuple[str, str, str, int], list[Run]] = {}
    for run in runs:
        if run.exit_code == 0:
            groups.setdefault((run.case, run.contender, run.format, run.rows), []).append(run)
    return [summary_of(group) for group in groups.values()]


def summary_of(group: list[Run]) -> Summary:
    seconds = [run.seconds for run in group]
    peaks = [run.peak_bytes for run in group if run.peak_bytes is not None]
    median = statistics.median(seconds)
    return Summary(
        case=group[0].case,
        contender=group[0].contender,
        format=group[0].format,
        rows=group[0].rows,
        median=median,
        fastest=min(seconds),
        slowest=max(seconds),
        cpu_median=statistics.median(run.cpu_seconds for run in group),
        rows_per_second=group[0].rows / median,
        peak_bytes=round(statistics.median(peaks)) if peaks else None,
    )


@dataclass(frozen=True)
class Figures:
    """Medians by case, contender, format and rows."""

    summaries: list[Summary]

    def find(self, case: str, contender: str, format: str, rows: int) -> Summary | None:
        wanted = (case, contender, format, rows)
        return next((s for s in self.summaries if (s.case, s.contender, s.format, s.rows) == wanted), None)

    def whole(self, case: str, contender: str, format: str, rows: int) -> float | None:
        found = self.find(case, contender, format, rows)
        return found.median if found else None

    def less_start(self, case: str, contender: str, format: str, rows: int) -> float | None:
        whole, start = (self.find(case, contender, format, each) for each in (rows, START_ROWS))
        return whole.median - start.median if whole and start and whole.median > start.median else None

    def cpu_less_start(self, case: str, contender: str, format: str, rows: int) -> float | None:
        whole, start = (self.find(case, contender, format, each) for each in (rows, START_ROWS))
        return whole.cpu_median - start.cpu_median if whole and start and whole.cpu_median > start.cpu_median else None

    def files(self, case: str) -> list[tuple[str, int]]:
        return sorted({(s.format, s.rows) for s in self.summaries if s.case == case})


def all_ratios(figures: Figures) -> list[Ratio]:
    """Return every ratio that the runs allow."""
    return [
        *start_ratios(figures),
        *floor_ratios(figures, "score", "floor"),
        *rival_ratios(figures, "mlflow"),
        *rival_ratios(figures, "pandas"),
        *floor_ratios(figures, "validate", "floor's reading"),
        *help_ratio(figures),
        *jobs_ratios(figures),
        *memory_ratios(figures),
    ]


def start_ratios(figures: Figures) -> Iterator[Ratio]:
    """Yield our times for few rows over those of the script and of its imports."""
    for name in ("titanic score", "titanic score, no model", "titanic validate", "titanic serve"):
        for other in ("pandas", "imports"):
            ours, theirs = (figures.whole("start", each, "csv", START_ROWS) for each in (name, other))
            if ours is not None and theirs is not None:
                yield Ratio(f"{name} / {other}", "csv", START_ROWS, ours, theirs, other)


def floor_ratios(figures: Figures, case: str, name: str) -> Iterator[Ratio]:
    """Yield our time over the fastest floor's, and our CPU time, which a busy machine blurs less, over the least."""
    for format, rows in figures.files(case):
        for kind, time in (
            ("less start-up", figures.less_start),
            ("whole", figures.whole),
            ("CPU less start-up", figures.cpu_less_start),
        ):
            ours = time(case, "titanic", format, rows)
            floors = [(seconds, each) for each in FLOORS if (seconds := time(case, each, format, rows)) is not None]
            if ours is not None and floors:
                yield Ratio(f"{case} / {name}, {kind}", format, rows, ours, *min(floors))


def rival_ratios(figures: Figures, rival: str) -> Iterator[Ratio]:
    """Yield our whole time for scoring over another program's."""
    for format, rows in figures.files("score"):
        ours, theirs = (figures.whole("score", each, format, rows) for each in ("titanic", rival))
        if ours is not None and theirs is not None:
            yield Ratio(f"score / {rival}, whole", format, rows, ours, theirs, rival)


def help_ratio(figures: Figures) -> Iterator[Ratio]:
    ours, theirs = (figures.whole("help", each, "-", 0) for each in ("titanic", "typer"))
    if ours is not None and theirs is not None:
        yield Ratio("--help / bare Typer app", "-", 0, ours, theirs, "typer")


def jobs_ratios(figures: Figures) -> Iterator[Ratio]:
    """Yield what two jobs take over what one takes; 0.5 is the best there can be."""
    for format, rows in figures.files("jobs"):
        two, one = (figures.less_start("jobs", f"titanic --jobs {jobs}", format, rows) for jobs in (2, 1))
        if two is not None and one is not None:
            yield Ratio("--jobs 2 / --jobs 1, less start-up", format, rows, two, one, "titanic --jobs 1")


def memory_ratios(figures: Figures) -> Iterator[Ratio]:
    """Yield how our peak memory grows from each number of rows to the next."""
    for case in ("score", "validate"):
        for (format, fewer), (other, rows) in pairwise(figures.files(case)):
            more, less = (figures.find(case, "titanic", format, each) for each in (rows, fewer))
            if format == other and fewer != START_ROWS and more and less and more.peak_bytes and less.peak_bytes:
                name = f"{case}: peak memory / that of {fewer:,} rows"
                yield Ratio(name, format, rows, more.peak_bytes, less.peak_bytes, "titanic")


def agreements(runs: Iterable[Run]) -> dict[str, bool]:
    """Return, for each number of rows, whether all that score the same rows gave the same bits, from any format."""
    digests: dict[int, set[str]] = {}
    for run in runs:
        if run.exit_code == 0 and run.digest:
            digests.setdefault(run.rows, set()).add(run.digest)
    return {str(rows): len(found) == 1 for rows, found in digests.items()}


def busy_note(runs: Iterable[Run]) -> str | None:
    """Return a warning where other programs kept the machine busy."""
    shares = [run.other_cpu_seconds / run.seconds for run in runs if run.other_cpu_seconds is not None]
    share = statistics.mean(shares) if shares else 0.0
    if share < BUSY:
        return None
    return f"other programs took {share:.1f} of {os.cpu_count()} cores meanwhile: times are too high"


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    installed = {}
    for package in VERSIONS:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": installed,
    }


# Printing


def print_report(report: dict[str, Any], summaries: list[Summary], ratios: list[Ratio]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(summary_table(summaries))
    console.print(ratio_table(ratios))
    for rows, same in report["same_predictions"].items():
        verdict = "the same predictions, bit by bit," if same else "DIFFERENT predictions"
        console.print(f"{int(rows):,} rows: {verdict} from all that score")
    for note in report["notes"]:
        console.print(f"note: {note}", markup=False)


def summary_table(summaries: list[Summary]) -> Any:
    from rich.table import Table

    table = Table("case", "file", "program", title="Whole processes")
    for heading in ("median s", "min to max", "CPU s", "rows/s", "peak MB"):
        table.add_column(heading, justify="right")
    for one, following in pairwise([*summaries, None]):
        assert one
        table.add_row(
            one.case,
            f"{one.rows:,} {one.format}" if one.rows else "-",
            one.contender,
            f"{one.median:.3f}",
            f"{one.fastest:.3f} to {one.slowest:.3f}",
            f"{one.cpu_median:.2f}",
            f"{one.rows_per_second:,.0f}" if one.rows else "-",
            f"{one.peak_bytes / 1e6:,.0f}" if one.peak_bytes else "-",
            end_section=following is None or one.file != following.file,
        )
    return table


def ratio_table(ratios: list[Ratio]) -> Any:
    from rich.table import Table

    table = Table("ratio (ours / theirs)", "file", title="Ratios of medians")
    for heading in ("ours", "theirs", "value", "inverse"):
        table.add_column(heading, justify="right")
    table.add_column("theirs is")
    for one in ratios:
        scale, digits = (1e6, 0) if "memory" in one.name else (1, 3)
        table.add_row(
            one.name,
            f"{one.rows:,} {one.format}" if one.rows else "-",
            f"{one.ours / scale:,.{digits}f}",
            f"{one.theirs / scale:,.{digits}f}",
            f"{one.value:.3f}",
            f"{1 / one.value:.2f}",
            one.other,
        )
    return table


# The command line


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure titanic side by side with others.")
    parser.add_argument("--rows", type=int, nargs="+", default=[START_ROWS, 2_000_000, 8_000_000])
    parser.add_argument("--formats", nargs="+", default=["csv", "parquet"], choices=["csv", "parquet"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="for `titanic score`; its own default without")
    parser.add_argument("--skip", nargs="+", default=[], metavar="NAME", help="leave contenders out")
    parser.add_argument("--limit", nargs="+", default=[], metavar="NAME=ROWS", help="leave one out above some rows")
    parser.add_argument(
        "--titanic-python",
        metavar="FILE",
        default=sys.executable,
        help="an interpreter that has what titanic_batch needs and no more: pandera imports polars where it finds it",
    )
    parser.add_argument("--mlflow-python", metavar="FILE", help="an interpreter that has MLflow")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here, for chart.py too")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for the files; all that is made there is deleted")
    options = parser.parse_args(arguments)
    options.rows = sorted({START_ROWS, *options.rows})
    options.limit = {name: int(rows) for name, rows in (each.split("=") for each in options.limit)}
    return options


def chosen(contenders: Iterable[Contender], options: argparse.Namespace) -> list[Contender]:
    """Return who takes part, each up to the rows that it is limited to."""
    return [
        replace(each, most_rows=min(each.most_rows, options.limit.get(each.name, sys.maxsize)))
        for each in contenders
        if each.name not in options.skip
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the JSON; 1 where any run failed or predictions differ."""
    options = parse(arguments)
    results = Results()
    with tempfile.TemporaryDirectory(prefix="titanic-benchmark-", dir=options.work) as folder:
        work = Path(folder)
        contenders = chosen(all_contenders(options, work, results), options)
        if set(options.cases) != {"help"}:
            make_inputs(work, options.rows, options.formats)
        run_all(contenders, options, work, results)
    if note := busy_note(results.runs):
        results.add_note(note)
    summaries = summarise(results.runs)
    ratios = all_ratios(Figures(summaries))
    report: dict[str, Any] = {
        "machine": machine(),
        "notes": results.notes,
        "same_predictions": agreements(results.runs),
        "ratios": [{**asdict(ratio), "value": ratio.value} for ratio in ratios],
        "summaries": [asdict(summary) for summary in summaries],
        "runs": [asdict(run) for run in results.runs],
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print_report(report, summaries, ratios)
    failed = any(run.exit_code for run in results.runs) or not all(report["same_predictions"].values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
