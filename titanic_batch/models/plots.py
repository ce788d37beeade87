"""Small plots: their scales and coordinates. ``templates/plots.html`` draws them, ``templates/page.css`` colours them.

The page needs five simple plots; a plotting library would be the largest of all dependencies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

WIDTH, HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 44  # margins
_NAMES, _ROW = 110, 26  # of a `BarPlot`: its left margin, and the height of a bar with the gaps around it

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to coordinates: ``values[0]`` to ``coordinates[0]``, ``values[1]`` to ``coordinates[1]``."""

    values: Span
    coordinates: Span

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        (low, high), (begin, end) = self.values, self.coordinates
        return begin + (value - low) / (high - low) * (end - begin)

    @property
    def ticks(self) -> list[float]:
        """Round values on the scale, four to nine of them."""
        low, high = self.values
        unit = 10.0 ** int(f"{high - low:e}".partition("e")[2])
        step = next(factor * unit for factor in (0.2, 0.5, 1.0, 2.0) if (high - low) / (factor * unit) <= 8)
        first = int(-(-low // step))
        return [round(number * step, 10) for number in range(first, int(high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Series:
    """A named line, or set of bars; ``style`` is a class of the style sheet, ``one`` or ``two``."""

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Bar:
    """A named value with its interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LinePlot:
    """Lines in the unit square, with its diagonal, and dots at their points if ``dots``."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    dots: bool = False

    x: ClassVar[Scale] = Scale((0, 1), (_LEFT, WIDTH - _RIGHT))
    y: ClassVar[Scale] = Scale((0, 1), (HEIGHT - _BOTTOM, _TOP))

    def points(self, series: Series) -> list[tuple[float, float]]:
        """Return the coordinates of a series."""
        return [(self.x(x), self.y(y)) for x, y in zip(series.x, series.y, strict=True)]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins, the bars of all series side by side; their ``x`` are the lower edges of the bins."""

    title: str
    x_label: str
    y_label: str
    edges: Sequence[float]
    series: Sequence[Series]

    @property
    def x(self) -> Scale:
        """The scale of the bins."""
        return Scale((self.edges[0], self.edges[-1]), (_LEFT, WIDTH - _RIGHT))

    @property
    def y(self) -> Scale:
        """The scale of the counts, with room for the legend."""
        return Scale((0, 1.2 * max(max(series.y) for series in self.series) or 1), (HEIGHT - _BOTTOM, _TOP))

    @property
    def bar_width(self) -> float:
        """The width of a bar, with the gap beside it."""
        return (self.x(self.edges[1]) - _LEFT) / len(self.series)

    def bars(self, place: int) -> Iterator[tuple[float, float]]:
        """Yield the left and upper coordinates of the bars of a series, which is given by its place."""
        for x, y in zip(self.series[place].x, self.series[place].y, strict=True):
            yield self.x(x) + place * self.bar_width, self.y(y)


@dataclass(frozen=True, slots=True)
class BarPlot:
    """Values as bars below each other, each with its interval as a line.

    ``span`` is what the scale covers; without it, all intervals and 0.
    """

    title: str
    x_label: str
    bars: Sequence[Bar]
    span: Span | None = None

    @property
    def x(self) -> Scale:
        """The scale of the values."""
        span = self.span or (min(0.0, *(bar.low for bar in self.bars)), max(bar.high for bar in self.bars) or 1.0)
        return Scale(span, (_NAMES, WIDTH - _RIGHT))

    @property
    def y(self) -> Scale:
        """The scale of the positions of the bars, from above."""
        return Scale((0, len(self.bars)), (_TOP, _TOP + _ROW * len(self.bars)))

    @property
    def height(self) -> int:
        """The height of the plot with its margins."""
        return _TOP + _ROW * len(self.bars) + _BOTTOM

    def clipped(self, value: float) -> float:
        """Return the coordinate of a value, or of the nearest on the scale."""
        low, high = self.x.values
        return self.x(min(max(value, low), high))

    def extent(self, bar: Bar) -> Span:
        """Return the left and right coordinates of a bar, which begins at 0."""
        begin, end = sorted((self.clipped(0.0), self.clipped(bar.value)))
        return begin, end
