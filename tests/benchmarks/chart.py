"""Draw time against rows, both logarithmic, as a self-contained SVG.

    python tests/benchmarks/chart.py results.json chart.svg [--format csv] [--title TITLE]

``results.json`` is what ``compare.py --json`` wrote, of any numbers of rows; each program that scored gets a line
through its medians. The SVG brings its own background and needs neither a font nor a script, so that it reads the same
on a light page and on a dark one.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 78, 190, 64, 62
FEWEST_ROWS = 1_000  # below, all is start-up
BACKGROUND, INK, FAINT, GRID = "#fbfbfd", "#24292f", "#57606a", "#d8dee4"
OTHERS = ("#8250df", "#bf8700", "#cf222e", "#57606a")
LOOKS = {
    "titanic": ("titanic score", "#0969da"),
    "mlflow": ("mlflow models predict", "#cf222e"),
    "pandas": ("plain pandas script", "#bf8700"),
    "polars": ("polars, I/O only", "#1a7f37"),
    "duckdb": ("DuckDB, I/O only", "#6e7781"),
    "pyarrow": ("pyarrow, I/O only", "#8250df"),
}
LABEL_HEIGHT = 34  # of two lines
UNITS = ((1_000_000_000, " billion"), (1_000_000, " million"), (1_000, " thousand"), (1, ""))


@dataclass(frozen=True)
class Line:
    """A program's name, colour, and points of rows and seconds."""

    name: str
    colour: str
    points: list[tuple[float, float]]
    bold: bool


@dataclass(frozen=True)
class Axis:
    """A logarithmic scale from a range of values to a range of pixels."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def powers(self) -> Iterator[float]:
        """Yield the powers of ten within."""
        for exponent in range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1):
            yield 10.0**exponent


def draw(report: dict[str, Any], format: str = "csv", title: str = "") -> str:
    """Return the SVG for the runs of ``titanic score`` and its rivals on files of one format."""
    lines = list(lines_of(report["summaries"], format))
    if not lines:
        raise SystemExit(f"no runs on {format} files of {FEWEST_ROWS:,} rows or more")
    rows = [x for line in lines for x, _ in line.points]
    seconds = [y for line in lines for _, y in line.points]
    across = Axis(min(FEWEST_ROWS, *rows), max(10 * FEWEST_ROWS, *rows), LEFT, WIDTH - RIGHT)
    up = Axis(floor_125(min(seconds)), ceil_125(max(seconds)), HEIGHT - BOTTOM, TOP)
    title = title or f"Time to score passengers, {'CSV' if format == 'csv' else 'Parquet'} to Parquet"
    described = f"{title}: seconds for each program, from {rows_label(across.low)} to {rows_label(across.high)} rows."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{BACKGROUND}"/>',
        text(LEFT, 28, title, size=17, weight=600),
        text(LEFT, 48, subtitle(report), colour=FAINT, size=12),
        *axes(across, up),
        *(curve(line, across, up) for line in lines),
        *legend(lines, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def lines_of(summaries: Iterable[dict[str, Any]], format: str) -> Iterator[Line]:
    """Yield a line for each contender that scored, ours last and so on top."""
    points: dict[str, list[tuple[float, float]]] = {}
    for each in summaries:
        if each["case"] == "score" and each["format"] == format and each["rows"] >= FEWEST_ROWS:
            points.setdefault(each["contender"], []).append((each["rows"], each["median"]))
    for position, name in enumerate(sorted(points, key=lambda name: name == "titanic")):
        label, colour = LOOKS.get(name, (name, OTHERS[position % len(OTHERS)]))
        yield Line(label, colour, sorted(points[name]), bold=name == "titanic")


def subtitle(report: dict[str, Any]) -> str:
    repeats = 1 + max((run["repeat"] for run in report["runs"]), default=0)
    cores = report["machine"]["cores"]
    return f"whole processes from start to end, {cores} cores, median of {repeats}, both axes logarithmic"


def axes(across: Axis, up: Axis) -> Iterator[str]:
    """Yield grid lines with their numbers, and what the axes mean."""
    for rows in {*across.powers(), across.high}:
        x = across.place(rows)
        yield f'<path d="M{x:.1f} {up.end}V{up.start}" stroke="{GRID}"/>'
        if rows == across.high or x < across.end - 60:
            yield text(x, up.start + 20, rows_label(rows), anchor="middle", colour=FAINT)
    for seconds in up.powers():
        y = up.place(seconds)
        yield f'<path d="M{across.start} {y:.1f}H{across.end}" stroke="{GRID}"/>'
        yield text(across.start - 10, y + 4, f"{seconds:g} s", anchor="end", colour=FAINT)
    yield f'<path d="M{across.start} {up.end}V{up.start}H{across.end}" fill="none" stroke="{FAINT}"/>'
    yield text((across.start + across.end) / 2, HEIGHT - 16, "rows", anchor="middle")
    middle = (up.start + up.end) / 2
    yield text(20, middle, "time", anchor="middle", more=f' transform="rotate(-90 20 {middle:g})"')


def curve(line: Line, across: Axis, up: Axis) -> str:
    """Return a contender's line, with a dot for each measured point."""
    places = [(across.place(x), up.place(y)) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if line.bold else 3}"/>' for x, y in places)
    width = 3.5 if line.bold else 2
    return (
        f'<g fill="{line.colour}"><path d="{path}" fill="none" stroke="{line.colour}" stroke-width="{width}" '
        f'stroke-linejoin="round" stroke-linecap="round"><title>{escape(line.name)}</title></path>{dots}</g>'
    )


def legend(lines: list[Line], across: Axis, up: Axis) -> Iterator[str]:
    """Yield each line's name and last time, beside its end as far as the names leave room."""
    ordered = sorted(lines, key=lambda line: line.points[-1][1], reverse=True)
    heights = spread([up.place(line.points[-1][1]) for line in ordered], up.end, up.start)
    x = across.end + 12
    for line, y in zip(ordered, heights, strict=True):
        last_rows, seconds = line.points[-1]
        short = "" if last_rows == across.high else f" at {rows_label(last_rows)}"
        yield f'<path d="M{x} {y:.1f}h14" stroke="{line.colour}" stroke-width="{4 if line.bold else 3}"/>'
        yield text(x + 20, y + 4, line.name, weight=600 if line.bold else 400)
        yield text(x + 20, y + 17, f"{seconds_label(seconds)}{short}", colour=FAINT, size=11)


def spread(wanted: list[float], top: float, bottom: float) -> list[float]:
    """Return rising heights near those wanted, far enough apart for labels, and none below ``bottom``."""
    heights: list[float] = []
    for each in wanted:
        heights.append(max(each, heights[-1] + LABEL_HEIGHT if heights else top))
    limit = bottom
    for position in reversed(range(len(heights))):
        heights[position] = min(heights[position], limit)
        limit = heights[position] - LABEL_HEIGHT
    return heights


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    colour: str = INK,
    size: int = 13,
    weight: int = 400,
    more: str = "",
) -> str:
    style = f'fill="{colour}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}{more}>{escape(words)}</text>'


def rows_label(rows: float) -> str:
    unit, name = next(each for each in UNITS if rows >= each[0])
    return f"{rows / unit:.3g}{name}"


def seconds_label(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.2g} s" if seconds >= 10 else f"{seconds:.1f} s"


def floor_125(value: float) -> float:
    """Return the next lower of 1, 2, 5, 10, 20, ..."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value)


def ceil_125(value: float) -> float:
    """Return the next higher of 1, 2, 5, 10, 20, ..."""
    power = 10.0 ** math.floor(math.log10(value))
    return min(step * power for step in (1, 2, 5, 10) if step * power >= value)


def main() -> None:
    """Read the JSON, write the SVG."""
    parser = argparse.ArgumentParser(description="Draw the chart of time against rows.")
    parser.add_argument("results", type=Path)
    parser.add_argument("chart", type=Path)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv", help="of the input files")
    parser.add_argument("--title", default="")
    options = parser.parse_args()
    report = json.loads(options.results.read_text(encoding="utf-8"))
    options.chart.write_text(draw(report, options.format, options.title), encoding="utf-8")


if __name__ == "__main__":
    main()
