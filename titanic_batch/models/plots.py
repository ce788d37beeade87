"""Small plots as SVG, coloured by the page's style sheet; all text in them is escaped.

Written out by hand: the page needs five simple figures, and a plotting library would be the heaviest thing installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 44


@dataclass(frozen=True, slots=True)
class Series:
    """A named line or set of bars; ``kind`` is a class of the style sheet, ``one`` or ``two``."""

    name: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Bar:
    """A named value with its interval."""

    name: str
    value: float
    low: float
    high: float


def lines(title: str, x_label: str, y_label: str, series: Sequence[Series], *, dots: bool = False) -> str:
    """Return lines in the unit square, with its diagonal."""
    parts = [_axes(x_label, y_label, (0, 1), (0, 1)), _path([0, 1], [0, 1], "guide", (0, 1), (0, 1))]
    for one in series:
        parts.append(_path(one.x, one.y, f"line {one.kind}", (0, 1), (0, 1)))
        if dots:
            parts += [
                f'<circle class="dot {one.kind}" cx="{_x(x, (0, 1)):.1f}" cy="{_y(y, (0, 1)):.1f}" r="3"/>'
                for x, y in zip(one.x, one.y, strict=True)
            ]
    return _svg(title, HEIGHT, [*parts, _legend(series, WIDTH - 150, HEIGHT - _BOTTOM - 40)])


def histogram(title: str, x_label: str, y_label: str, edges: Sequence[float], series: Sequence[Series]) -> str:
    """Return bars side by side over bins with these edges; the ``x`` of the series are not looked at."""
    top = 1.2 * max(max(one.y) for one in series) or 1  # room for the legend
    span, width = (edges[0], edges[-1]), (_x(edges[1], (edges[0], edges[-1])) - _LEFT) / len(series)
    parts = [_axes(x_label, y_label, span, (0, top))]
    for place, one in enumerate(series):
        for edge, count in zip(edges, one.y, strict=False):
            x, y = _x(edge, span) + place * width, _y(count, (0, top))
            parts.append(
                f'<rect class="bar {one.kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width - 1, 1):.1f}" '
                f'height="{_y(0, (0, top)) - y:.1f}"/>'
            )
    return _svg(title, HEIGHT, [*parts, _legend(series, WIDTH - 110, _TOP)])


def whiskers(title: str, x_label: str, bars: Sequence[Bar], *, span: tuple[float, float] | None = None) -> str:
    """Return a bar for each value, below each other, with its interval as a line."""
    low, high = span or (min(0.0, *(bar.low for bar in bars)), max(bar.high for bar in bars) or 1.0)
    left, row = 110, 26
    height = _TOP + row * len(bars) + _BOTTOM
    scale = (WIDTH - left - _RIGHT) / (high - low)

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) * scale

    base = height - _BOTTOM
    parts = [f'<line class="axis" x1="{left}" y1="{base}" x2="{WIDTH - _RIGHT}" y2="{base}"/>']
    for tick in _ticks(low, high):
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" y1="{_TOP}" x2="{x(tick):.1f}" y2="{base}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{base + 15}" text-anchor="middle">{tick:g}</text>')
    for place, bar in enumerate(bars):
        middle = _TOP + row * (place + 0.5)
        begin, end = sorted((x(max(low, 0.0)), x(bar.value)))
        parts.append(
            f'<text class="name" x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.name)}</text>'
            f'<rect class="bar one" x="{begin:.1f}" y="{middle - 7:.1f}" width="{end - begin:.1f}" height="14"/>'
            f'<line class="whisker" x1="{x(bar.low):.1f}" y1="{middle:.1f}" x2="{x(bar.high):.1f}" y2="{middle:.1f}"/>'
        )
    parts.append(
        f'<text class="label" x="{(left + WIDTH - _RIGHT) / 2}" y="{height - 8}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    return _svg(title, height, parts)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def _axes(x_label: str, y_label: str, x_span: tuple[float, float], y_span: tuple[float, float]) -> str:
    base, end = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for tick in _ticks(*x_span):
        parts.append(
            f'<text class="tick" x="{_x(tick, x_span):.1f}" y="{base + 15}" text-anchor="middle">{tick:g}</text>'
        )
    for tick in _ticks(*y_span):
        y = _y(tick, y_span)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{end}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    middle = (_TOP + base) / 2
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{end}" y2="{base}"/>')
    parts.append(
        f'<text class="label" x="{(_LEFT + end) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="label" x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _legend(series: Sequence[Series], left: float, top: float) -> str:
    parts = []
    for place, one in enumerate(series):
        y = top + 12 + 16 * place
        parts.append(
            f'<rect class="bar {one.kind}" x="{left}" y="{y - 9}" width="10" height="10"/>'
            f'<text class="name" x="{left + 16}" y="{y}">{escape(one.name)}</text>'
        )
    return "".join(parts)


def _path(
    x: Sequence[float], y: Sequence[float], kind: str, x_span: tuple[float, float], y_span: tuple[float, float]
) -> str:
    points = " ".join(f"{_x(a, x_span):.1f},{_y(b, y_span):.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _x(value: float, span: tuple[float, float]) -> float:
    return _LEFT + (value - span[0]) / (span[1] - span[0]) * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, span: tuple[float, float]) -> float:
    return HEIGHT - _BOTTOM - (value - span[0]) / (span[1] - span[0]) * (HEIGHT - _TOP - _BOTTOM)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, four to nine of them, between two."""
    unit = 10.0 ** int(f"{high - low:e}".partition("e")[2])
    step = next(factor * unit for factor in (0.2, 0.5, 1.0, 2.0) if (high - low) / (factor * unit) <= 8)
    first = int(-(-low // step))
    return [round(number * step, 10) for number in range(first, int(high / step + 1e-9) + 1)]
