"""A drawing: an SVG that stretches with the page, and beside it its labels as text that does not.

Owns the markup of drawings. May not know what is drawn. The one idea: lines keep their width and text its size on every
screen, because the drawing alone is stretched and everything that is read stands outside of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from hands.replay.axes import WIDE, Point, Scale, columns, mark_text, time_marks, value_marks
from hands.replay.words import said

LABEL_MOST = 7
"""A value of more characters needs a wider margin."""

Mark = tuple[float, str]
"""(place in percent, label)"""


class Plot:
    """One drawing of `height` pixels: add to it from back to front, then take its `markup`.

    `gutter` names the margins for its labels; two drawings of one time need the same.
    """

    def __init__(self, height: int, label: str, gutter: str = "") -> None:
        self.height = height
        self._label = label
        self.gutter = gutter
        self._shapes: list[str] = []
        self._labels: list[str] = []
        self._hover = ""

    def y(self, low: float, high: float, room: float = 0.06) -> Scale:
        """Return the scale from `low` at the bottom to `high` at the top, with some room at both ends."""
        extent = (high - low) or abs(high) or 1.0
        return Scale(low - room * extent, high + room * extent, self.height, 0)

    def line(self, points: Sequence[Point], name: str, *, steps: bool = False) -> None:
        """Add a line through places; `steps`: it stays until the next place, then jumps."""
        self._shapes.append(f'<path class="{name}" d="{path(columns(points, WIDE // 2), steps=steps)}"/>')

    def area(self, points: Sequence[Point], base: float, name: str, *, steps: bool = False) -> None:
        """Add the area between a line and the height `base`."""
        if not points:
            return
        thin = columns(points, WIDE // 2)
        outline = path(thin, steps=steps)
        edge = f"V{base:.0f}H{thin[0][0]:.0f}Z"
        self._shapes.append(f'<path class="{name}" d="{outline}{edge}"/>')

    def shape(self, markup: str) -> None:
        """Add any shape of SVG, made by this program."""
        self._shapes.append(markup)

    def across(self, y: float, name: str) -> None:
        """Add a line from edge to edge."""
        self._shapes.append(f'<path class="{name}" d="M0 {y:.1f}H{WIDE}"/>')

    def dot(self, x: float, y: float, name: str) -> None:
        """Add a dot that stays round."""
        self._shapes.append(f'<path class="dot {name}" d="M{x:.0f} {y:.1f}h0"/>')

    def bar(self, left: float, right: float, y: float, base: float, name: str, title: str = "") -> None:
        """Add a bar from `base` to `y`; `title` is plain text."""
        top, tall = min(y, base), abs(base - y)
        words = f"<title>{said(title)}</title>" if title else ""
        self._shapes.append(
            f'<rect class="{name}" x="{left:.1f}" y="{top:.1f}" width="{max(0.5, right - left):.1f}"'
            f' height="{tall:.1f}">{words}</rect>'
        )

    def hover(self, points: Sequence[tuple[float, float, str]]) -> None:
        """Let points be read off by pointing: (percent from the left, percent from the top, plain text)."""
        self._hover = f' data-h="{said(json.dumps(points, separators=(",", ":"), ensure_ascii=False))}"'

    def value_axis(self, scale: Scale, about: int = 4, after: str = "") -> None:
        """Add grid lines at round values, and the values at the right."""
        marks = self.grid(scale, about)
        labels = [mark_text(mark, marks) + after for mark in marks]
        if max(map(len, labels), default=0) > LABEL_MOST:
            self.gutter += " wide"
        for mark, label in zip(marks, labels, strict=True):
            self.tag(scale.at(mark), label, "yl")

    def grid(self, scale: Scale, about: int = 4) -> list[float]:
        """Add grid lines behind everything, and return the round values they stand for."""
        marks = value_marks(scale.low, scale.high, about)
        lines = "".join(f"M0 {scale.at(mark):.0f}H{WIDE}" for mark in marks)
        self._shapes.insert(0, f'<path class="grid" d="{lines}"/>')
        return marks

    def time_axis(self, scale: Scale, zone: ZoneInfo, about: int = 6) -> None:
        """Add round times below."""
        marks = time_marks(int(scale.low), int(scale.high), zone, about)
        self.below([(scale.percent(at_ns), label) for at_ns, label in marks])

    def below(self, marks: Sequence[Mark]) -> None:
        """Add labels below; where there are many, every other one gives way on a narrow screen."""
        for number, (percent, label) in enumerate(marks):
            optional = " opt" if len(marks) > 3 and number % 2 else ""
            edge = " first" if percent < 6 else " last" if percent > 94 else ""
            self._labels.append(
                f'<span class="xl{optional}{edge}" style="left:{percent:.1f}%">{said(label)}</span>'
            )

    def tag(self, y: float, text: str, name: str) -> None:
        """Add a label at the right, at the height `y`."""
        self._labels.append(
            f'<span class="{name}" style="top:{100 * y / self.height:.1f}%">{said(text)}</span>'
        )

    def markup(self) -> str:
        """Return the drawing."""
        return (
            f'<div class="plot {self.gutter}" style="height:{self.height}px"{self._hover}>'
            f'<svg viewBox="0 0 {WIDE} {self.height}" preserveAspectRatio="none" role="img"'
            f' aria-label="{said(self._label)}">{"".join(self._shapes)}</svg>{"".join(self._labels)}</div>'
        )


def path(points: Sequence[Point], *, steps: bool = False) -> str:
    """Return the path through places, as short as it can be said."""
    if not points:
        return ""
    parts = [f"M{_place(points[0][0])} {_place(points[0][1])}"]
    for x, y in points[1:]:
        parts.append(f"H{_place(x)}V{_place(y)}" if steps else f"L{_place(x)} {_place(y)}")
    return "".join(parts)


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str, name: str = "") -> str:
    """Return a table of cells that are already markup; a heading that begins with ">" is of numbers."""
    kinds = [' class="n"' if heading.startswith(">") else "" for heading in headings]
    head = "".join(
        f'<th scope="col"{kind}>{said(heading.removeprefix(">"))}</th>'
        for heading, kind in zip(headings, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{said(caption)}"><table class="{name}">'
        f'<caption class="sr">{said(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def behind(summary: str, inner: str) -> str:
    """Return what is there but not shown until it is asked for."""
    return f'<details class="behind"><summary>{said(summary)}</summary>{inner}</details>'


def section(identity: str, title: str, inner: str, lede: str = "") -> str:
    """Return a section; `lede` is markup."""
    words = f'<p class="lede">{lede}</p>' if lede else ""
    return f'<section id="{identity}"><h2>{said(title)}</h2>{words}{inner}</section>'


def empty(words: str) -> str:
    return f'<p class="none">{said(words)}</p>'
