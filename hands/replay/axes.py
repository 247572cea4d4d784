"""Scales and their marks: where a value lies on a drawing, and which round values stand beside it.

Owns that arithmetic. May not make markup. The one idea: a drawing is `WIDE` units wide, whatever the screen is; so places are
whole units, and text is never part of what is stretched.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from hands.core.units import NANO
from hands.replay.metrics import round_step

WIDE: Final = 1_000

Point = tuple[float, float]

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3_600, 86_400
_STEPS: Final = (
    _SECOND, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE,
    _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 182 * _DAY, 364 * _DAY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """From values in [low, high] to places in [begin, end]; a scale without extent puts everything in the middle."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        if self.high <= self.low:
            return (self.begin + self.end) / 2
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)

    def percent(self, value: float) -> float:
        """Return a value's place as a percentage of the whole extent of the drawing from 0 to the larger end."""
        return 100 * self.at(value) / max(self.begin, self.end)


def value_marks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round values within [low, high], some `about` of them."""
    if high <= low or not math.isfinite(high - low):
        return [low]
    step = round_step((high - low) / about)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def mark_text(value: float, marks: Sequence[float]) -> str:
    """Return a mark's label, with the decimals that tell it from its neighbours."""
    step = marks[1] - marks[0] if len(marks) > 1 else abs(value) or 1
    places = max(0, min(8, 1 - math.floor(math.log10(step)) if step < 1 else 0))
    text = f"{abs(value):,.{places}f}"
    return f"\u2212{text}" if value < 0 and text.strip("0.,") else text


def time_marks(from_ns: int, to_ns: int, zone: ZoneInfo, about: int = 6) -> list[tuple[int, str]]:
    """Return (time, label) at round local times in [from, to], at most some `about` of them."""
    seconds = (to_ns - from_ns) / NANO
    if seconds <= 0:
        return [(from_ns, _clock(from_ns, zone, _SECOND))]
    step = next((each for each in _STEPS if seconds / each <= about), None)
    if step is None:
        step = _STEPS[-1] * math.ceil(seconds / _STEPS[-1] / about)
    marks = _days(from_ns, to_ns, zone, step // _DAY) if step >= _DAY else _clocks(from_ns, to_ns, zone, step)
    return marks or [(from_ns, _clock(from_ns, zone, _SECOND))]


def _clocks(from_ns: int, to_ns: int, zone: ZoneInfo, step: int) -> list[tuple[int, str]]:
    """Return the times that are a multiple of `step` seconds after local midnight."""
    first = dt.datetime.fromtimestamp(from_ns // NANO, zone)
    offset = int((first.utcoffset() or dt.timedelta()).total_seconds())
    begin = -(-(from_ns // NANO + offset) // step)
    found = []
    for number in range(begin, (to_ns // NANO + offset) // step + 1):
        at_ns = (number * step - offset) * NANO
        if from_ns <= at_ns <= to_ns:
            found.append((at_ns, _clock(at_ns, zone, step)))
    return found


def _clock(at_ns: int, zone: ZoneInfo, step: int) -> str:
    at = dt.datetime.fromtimestamp(at_ns // NANO, zone)
    if step < _MINUTE:
        return f"{at:%H:%M:%S}"
    return f"{at.day} {at:%b}" if step >= _HOUR and at.hour == at.minute == 0 else f"{at:%H:%M}"


def _days(from_ns: int, to_ns: int, zone: ZoneInfo, step: int) -> list[tuple[int, str]]:
    """Return local midnights, `step` days apart; weeks begin on Mondays."""
    first, last = (dt.datetime.fromtimestamp(at // NANO, zone).date() for at in (from_ns, to_ns))
    monday = dt.date(1970, 1, 5).toordinal()
    begin = -(-(first.toordinal() - monday) // step) * step + monday
    found = []
    for ordinal in range(begin, last.toordinal() + 1, step):
        date = dt.date.fromordinal(ordinal)
        at_ns = int(dt.datetime.combine(date, dt.time(), zone).timestamp()) * NANO
        if from_ns <= at_ns <= to_ns:
            found.append((at_ns, f"{date:%b %Y}" if step >= 28 else f"{date.day} {date:%b}"))
    return found


def columns(points: Sequence[Point], width: int = WIDE) -> list[Point]:
    """Return at most four points per column of a curve (places, x not decreasing): its first, lowest, highest, last.

    There are `width` columns over the whole drawing. So a curve of any length is drawn with the extremes it has.
    """
    if len(points) <= 2 * width:
        return list(points)
    found: list[Point] = []
    begin = 0
    while begin < len(points):
        column = math.floor(points[begin][0] * width / WIDE)
        end = begin
        while end < len(points) and math.floor(points[end][0] * width / WIDE) == column:
            end += 1
        part = points[begin:end]
        heights = [y for _, y in part]
        numbers = {0, len(part) - 1, heights.index(min(heights)), heights.index(max(heights))}
        found += [part[number] for number in sorted(numbers)]
        begin = end
    return found


def apart(places: Sequence[float], least: float, end: float) -> list[float]:
    """Return places moved so that neighbours are `least` from each other and all lie in [0, end], in the order given."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved = [0.0] * len(places)
    before = -least
    for number in order:
        before = moved[number] = max(places[number], before + least)
    limit = end
    for number in reversed(order):
        limit = moved[number] = min(moved[number], limit)
        limit -= least
    return moved
