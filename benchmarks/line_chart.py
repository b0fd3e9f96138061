"""A small writer of line charts as SVG: panels below each other over one horizontal axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

COLOURS = ("#1b1b1b", "#8a8a8a", "#d1760c", "#0b62a4", "#2a8a4a", "#9b3fa0")
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _RIGHT = 760, 230, 70, 30, 44, 215


@dataclass(frozen=True)
class Line:
    """One series; `colour` indexes COLOURS, a dashed line is a second run of the same thing."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines over one vertical axis."""

    title: str
    lines: Sequence[Line]


def chart(panels: Sequence[Panel], x_title: str) -> str:
    """The SVG document; the legend names the first panel's lines once."""
    height = _TOP + len(panels) * (_HEIGHT + _GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _RIGHT} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH + _RIGHT}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, _TOP + number * (_HEIGHT + _GAP))
    parts.append(_text(x_title, (_LEFT + _WIDTH) / 2, height - 8, "middle"))
    parts += _legend(panels[0].lines)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, top: float) -> list[str]:
    xs = [x for line in panel.lines for x in line.xs]
    ys = [y for line in panel.lines for y in line.ys]
    left, right = 0.0, max(xs)
    low, high = min(ys), max(ys)
    margin = (high - low) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / (right - left) * (_WIDTH - _LEFT)
        return across, top + (high - y) / (high - low) * _HEIGHT

    parts = [_text(panel.title, _LEFT, top - 8, "start", bold=True)]
    for y in _ticks(low, high):
        _, down = at(0, y)
        parts.append(_rule(_LEFT, down, _WIDTH, down))
        parts.append(_text(f"{y:g}", _LEFT - 6, down + 4, "end"))
    for x in _ticks(left, right):
        across, _ = at(x, low)
        parts.append(_text(f"{x:g}", across, top + _HEIGHT + 16, "middle"))
    for line in panel.lines:
        points = " ".join(f"{a:.1f},{d:.1f}" for a, d in map(at, line.xs, line.ys))
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        stroke = f'stroke="{COLOURS[line.colour]}"'
        parts.append(f'<polyline fill="none" stroke-width="1.6" {stroke}{dash} points="{points}"/>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the bounds, about five of them."""
    step = 10.0 ** floor(log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 6)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _legend(lines: Sequence[Line]) -> list[str]:
    parts = []
    for i, line in enumerate(lines):
        y = _TOP + 14 + 18 * i
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        parts.append(
            f'<line x1="{_WIDTH + 14}" x2="{_WIDTH + 40}" y1="{y}" y2="{y}" stroke-width="2" '
            f'stroke="{COLOURS[line.colour]}"{dash}/>'
        )
        parts.append(_text(line.label, _WIDTH + 46, y + 4, "start"))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(words: str, x: float, y: float, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
