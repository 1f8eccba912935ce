"""Plots as SVG texts: lines over sizes with logarithmic axes, and bars. Readable on light and dark
pages: the ground is transparent, texts and grid are grey, and the colours have enough contrast to
both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

_WIDTH: Final = 720
_HEIGHT: Final = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 50
_COLOURS: Final = (
    "#1f83d0", "#d1622b", "#2a9d57", "#a05fc0", "#c0392b", "#8a7a1f", "#148f8f", "#b4508c",
)  # fmt: skip
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#76797d}.title{font-size:14px;font-weight:600}"
    ".grid{stroke:#76797d;stroke-opacity:.25}.line{fill:none;stroke-width:2}"
)

Points = Sequence[tuple[float, float]]


def lines_plot(title: str, across: str, up: str, series: Mapping[str, Points]) -> str:
    """Lines with a dot for each point, each named at its side; both axes are logarithmic."""
    points = [point for each in series.values() for point in each]
    if not points:
        return _svg(title, [])
    columns = _decades([x for x, _ in points])
    rows = _decades([y for _, y in points])

    def place(point: tuple[float, float]) -> tuple[float, float]:
        right = _share(point[0], columns) * (_WIDTH - _LEFT - _RIGHT)
        return _LEFT + right, _HEIGHT - _BOTTOM - _share(point[1], rows) * (
            _HEIGHT - _TOP - _BOTTOM
        )

    parts = [*_grid(columns, rows, place), *_axis_names(across, up)]
    names: list[tuple[float, str, str]] = []
    for (name, each), colour in zip(series.items(), _colours(), strict=False):
        if not each:
            continue
        places = [place(point) for point in each]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        parts += (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places)
        names.append((places[-1][1], colour, name))
    return _svg(title, [*parts, *_names_at_side(names)])


def bars_plot(title: str, unit: str, bars: Mapping[str, float]) -> str:
    """A bar for each value, one below the other, with its name and value."""
    longest = max(bars.values(), default=1.0) or 1.0
    parts: list[str] = []
    for at, ((name, value), colour) in enumerate(zip(bars.items(), _colours(), strict=False)):
        y = _TOP + 20 + at * 40
        length = value / longest * (_WIDTH - 2 * _LEFT - 40)
        parts.append(f'<text x="{_LEFT}" y="{y - 4}">{escape(name)}</text>')
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="16" rx="2" fill="{colour}"/>'
        )
        parts.append(f'<text x="{_LEFT + length + 6:.1f}" y="{y + 12}">{value:,.0f} {unit}</text>')
    return _svg(title, parts, _TOP + 40 + 40 * len(bars))


def _svg(title: str, parts: Sequence[str], height: int = _HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f'<text class="title" x="{_LEFT}" y="20">{escape(title)}</text>\n'
        + "".join(f"{part}\n" for part in parts)
        + "</svg>\n"
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values."""
    return math.floor(math.log10(min(values))), max(
        math.ceil(math.log10(max(values))), math.floor(math.log10(min(values))) + 1
    )


def _share(value: float, decades: tuple[int, int]) -> float:
    return (math.log10(value) - decades[0]) / (decades[1] - decades[0])


def _grid(columns: tuple[int, int], rows: tuple[int, int], place: object) -> Iterator[str]:
    assert callable(place)
    bottom, right = 10.0 ** rows[0], 10.0 ** columns[1]
    for power in range(columns[0], columns[1] + 1):
        x, y = place((10.0**power, bottom))
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{y:.1f}"/>'
        yield f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{10**power:,}</text>'
    for power in range(rows[0], rows[1] + 1):
        x, y = place((right, 10.0**power))
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{x:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>'


def _axis_names(across: str, up: str) -> Iterator[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>'
    half = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield (
        f'<text x="16" y="{half}" text-anchor="middle" transform="rotate(-90 16 {half})">'
        f"{escape(up)}</text>"
    )


def _names_at_side(names: Sequence[tuple[float, str, str]]) -> Iterator[str]:
    """The names beside the ends of their lines, moved apart where they would overlap."""
    free_from = 0.0
    for y, colour, name in sorted(names):
        at = max(y, free_from)
        free_from = at + 16
        yield (
            f'<text x="{_WIDTH - _RIGHT + 12}" y="{at + 4:.1f}"'
            f' style="font-size:11px;fill:{colour}">{escape(name)}</text>'
        )


def _colours() -> Iterator[str]:
    while True:
        yield from _COLOURS
