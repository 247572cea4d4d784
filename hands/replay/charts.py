"""The report's drawings: equity and drawdown, days, spreads of values, verdicts over time, how positions were covered.

Owns what each drawing shows. May not compute a figure (`hands.replay.figures` does) or write prose around it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from hands.core.units import NANO
from hands.replay.axes import WIDE, Point, Scale
from hands.replay.plots import Plot
from hands.replay.report_data import Found
from hands.replay.unprotected import Cover, Stretch
from hands.replay.words import lasting, moment, money, plain, said

HOVERED = 400
"""So many points of a curve can be read off by pointing at it."""

SERIES = 7
"""So many codes have a colour of their own; the others share one."""


def equity(found: Found) -> str:
    """Return the equity curve with its drawdown below it; "" where there is no result."""
    points = found.curve.points
    if not points:
        return ""
    begin_ns = min(trade.opened_ns for trade in found.trades)
    base = (found.capital or 0) / NANO
    curve = [(begin_ns, base), *((at_ns, base + total / NANO) for at_ns, total in points)]
    steps = found.curve.basis == "realised"
    time = Scale(begin_ns, max(at_ns for at_ns, _ in curve), 0, WIDE)
    what = "Equity" if found.capital else "Result since the begin"
    upper = Plot(260, f"{what} over time, in dollars")
    value = upper.y(min(v for _, v in curve), max(v for _, v in curve))
    places = [(time.at(at_ns), value.at(v)) for at_ns, v in curve]
    name = "win" if curve[-1][1] >= base else "loss"
    upper.area(places, value.at(base), f"area {name}", steps=steps)
    upper.value_axis(value)
    upper.across(value.at(base), "base")
    upper.line(places, f"line {name}", steps=steps)
    upper.dot(*places[-1], name)
    upper.hover(_hovered(curve, time, value, base, found.zone))
    lower = _drawdown(curve, time, steps=steps, zone=found.zone, of_peak=bool(found.capital))
    upper.gutter = lower.gutter = max(upper.gutter, lower.gutter, key=len)
    return upper.markup() + lower.markup()


def _hovered(
    curve: Sequence[Point], time: Scale, value: Scale, base: float, zone: ZoneInfo
) -> list[tuple[float, float, str]]:
    step = max(1, len(curve) // HOVERED)
    picked = [*curve[:-1:step], curve[-1]]
    return [
        (
            round(time.percent(at_ns), 2),
            round(value.percent(v), 2),
            f"{moment(int(at_ns), zone)}: {plain(v, 2, '$')} ({money(v - base)})",
        )
        for at_ns, v in picked
    ]


def _drawdown(curve: Sequence[Point], time: Scale, *, steps: bool, zone: ZoneInfo, of_peak: bool) -> Plot:
    """Return how far below its peak the curve stood, as a part of the peak where that makes sense."""
    peak, falls = curve[0][1], []
    as_share = of_peak and curve[0][1] > 0
    for at_ns, v in curve:
        peak = max(peak, v)
        falls.append((at_ns, (v - peak) / peak * 100 if as_share else v - peak))
    lower = Plot(110, "Drawdown from the highest value so far, in " + ("percent" if as_share else "dollars"))
    deepest = min(fall for _, fall in falls)
    value = Scale(deepest * 1.12 if deepest < 0 else -1.0, 0, lower.height, 4)
    places = [(time.at(at_ns), value.at(fall)) for at_ns, fall in falls]
    lower.area(places, value.at(0), "area loss", steps=steps)
    lower.value_axis(value, 2, " %" if as_share else "")
    lower.line(places, "line loss thin", steps=steps)
    lower.time_axis(time, zone)
    return lower


def days(rows: Sequence[dict[str, Any]]) -> str:
    """Return one bar per day; "" for fewer than two days."""
    if len(rows) < 2:
        return ""
    plot = Plot(150, "What each day added, in dollars")
    amounts = [row["pnl_usd"] for row in rows]
    value = plot.y(min(0.0, *amounts), max(0.0, *amounts))
    plot.value_axis(value, 3)
    width = WIDE / len(rows)
    for number, row in enumerate(rows):
        amount = row["pnl_usd"]
        title = f"{row['day']}: {money(amount)}"
        left = number * width
        name = "win" if amount > 0 else "loss"
        plot.bar(left + width * 0.12, left + width * 0.88, value.at(amount), value.at(0), name, title)
    plot.across(value.at(0), "zero")
    every = max(1, -(-len(rows) // 7))
    plot.below(
        [(100 * (n + 0.5) / len(rows), _day(row["day"])) for n, row in enumerate(rows) if n % every == 0]
    )
    return plot.markup()


def _day(text: str) -> str:
    date = dt.date.fromisoformat(text)
    return f"{date.day} {date:%b}"


def histogram(
    bins: Sequence[Sequence[float]], label: str, unit: str, *, worse_is_positive: bool = True
) -> str:
    """Return how values are spread over bins of one width; 0 is marked where it lies within."""
    if not bins:
        return ""
    plot = Plot(130, label)
    x = Scale(bins[0][0], bins[-1][1], 0, WIDE)
    y = Scale(0, max(each[2] for each in bins) * 1.08, plot.height, 0)
    if x.high <= x.low:
        x = Scale(x.low - 1, x.high + 1, 0, WIDE)
    plot.value_axis(y, 2)
    for low, high, count in bins:
        if not count:
            continue
        wide = max(high - low, (x.high - x.low) / 60)
        name = "loss" if worse_is_positive and low >= 0 and high > 0 else "neutral"
        title = f"{low:,.4g} to {high:,.4g} {unit}: {count:.0f}"
        plot.bar(x.at(low) + 1, x.at(low + wide) - 1, y.at(count), y.at(0), name, title)
    if x.low < 0 < x.high:
        plot.shape(f'<path class="zero" d="M{x.at(0):.0f} 0V{plot.height}"/>')
    marks = [(x.percent(at), f"{at:,.3g} {unit}".replace("-", "\u2212")) for at in _ends(x)]
    plot.below(marks)
    return plot.markup()


def _ends(x: Scale) -> list[float]:
    return [x.low, 0.0, x.high] if x.low < 0 < x.high and 0.15 < x.at(0) / WIDE < 0.85 else [x.low, x.high]


def durations(bins: Sequence[Sequence[float]], label: str) -> str:
    """Return how lengths of time (µs) are spread over bins that grow by one factor."""
    if not bins:
        return ""
    plot = Plot(130, label)
    y = Scale(0, max(each[2] for each in bins) * 1.08, plot.height, 0)
    plot.value_axis(y, 2)
    width = WIDE / len(bins)
    for number, (low, high, count) in enumerate(bins):
        if count:
            title = f"{lasting(low * 1e3)} to {lasting(high * 1e3)}: {count:.0f}"
            left = number * width
            plot.bar(left + 1, left + width - 1, y.at(count), y.at(0), "neutral", title)
    every = max(1, -(-len(bins) // 4))
    marks = [(100 * n / len(bins), lasting(each[0] * 1e3)) for n, each in enumerate(bins) if n % every == 0]
    plot.below([*marks, (100.0, lasting(bins[-1][1] * 1e3))] if len(bins) % every == 0 else marks)
    return plot.markup()


def series_of(by_code: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return each code's colour: OK has its own, then the commonest; what is left shares the last."""
    codes = [row["code"] for row in by_code if row["code"] != "OK"]
    numbers = {code: min(number, SERIES) for number, code in enumerate(dict.fromkeys(codes), 1)}
    return numbers | {"OK": 0}


def verdicts(document: dict[str, Any], zone: ZoneInfo) -> str:
    """Return the verdicts by code over time, stacked."""
    buckets = document["over_time"]
    if not buckets:
        return ""
    series = series_of(document["by_code"])
    plot = Plot(170, "Documents by code over time")
    y = Scale(0, max(sum(each["codes"].values()) for each in buckets) * 1.06 or 1, plot.height, 0)
    plot.value_axis(y, 3)
    width = WIDE / len(buckets)
    for number, bucket in enumerate(buckets):
        below = 0
        for code, count in sorted(bucket["codes"].items(), key=lambda item: (series[item[0]], item[0])):
            title = f"{moment(bucket['from_ns'], zone)}: {code} {count}"
            left, right = number * width + width * 0.08, (number + 1) * width - width * 0.08
            plot.bar(left, right, y.at(below + count), y.at(below), f"s{series[code]}", title)
            below += count
    plot.time_axis(Scale(buckets[0]["from_ns"], buckets[-1]["to_ns"], 0, WIDE), zone)
    return plot.markup()


def legend(by_code: Sequence[dict[str, Any]]) -> str:
    """Return what the colours of `verdicts` mean."""
    series = series_of(by_code)
    own = {number: code for code, number in series.items() if number < SERIES}
    shared = [code for code, number in series.items() if number == SERIES]
    shown = {row["code"] for row in by_code}
    parts = [
        f'<span><i class="s{number}"></i>{said(code)}</span>'
        for number, code in sorted(own.items())
        if code in shown
    ]
    if shared:
        name = shared[0] if len(shared) == 1 else f"{len(shared)} others"
        parts.append(f'<span><i class="s{SERIES}"></i>{said(name)}</span>')
    return f'<div class="legend">{"".join(parts)}</div>'


BRIEF_NS = NANO
"""A gap shorter than a second is a mark below its lane: as wide as a line can be seen it would look like minutes."""

LANE = 26
"""The height of a lane in pixels."""

TITLED = 60
"""Up to so many stretches of a lane say what they are when they are pointed at."""

# --- lanes ---------------------------------------------------------------------------------------------------


Lane = tuple[str, list[tuple[int, int, str, str]]]
"""(name, [(from_ns, to_ns, class, title)])"""


def lanes(rows: Sequence[Lane], from_ns: int, to_ns: int, zone: ZoneInfo, label: str) -> str:
    """Return one lane per row with its stretches; a stretch too short to be seen is still a line."""
    if not rows:
        return ""
    tall = LANE
    plot = Plot(tall * len(rows), label, "lanes")
    time = Scale(from_ns, to_ns, 0, WIDE)
    for number, (name, stretches) in enumerate(rows):
        top = number * tall + 5
        plot.shape(f'<rect class="lane" x="0" y="{top}" width="{WIDE}" height="{tall - 10}"/>')
        placed = [
            (time.at(max(begin, from_ns)), time.at(min(end, to_ns)), kind, title)
            for begin, end, kind, title in stretches
        ]
        if len(placed) > TITLED:
            _lane_of_many(plot, placed, top)
        else:
            for left, right, kind, title in placed:
                begin = top + tall - 14 if kind == "c-brief" else top
                plot.bar(left, max(left + 0.8, right), begin, top + tall - 10, kind, title)
        plot.tag(number * tall + tall / 2, name, "ll")
    plot.time_axis(time, zone)
    return plot.markup()


def _lane_of_many(plot: Plot, placed: Sequence[tuple[float, float, str, str]], top: int) -> None:
    """Draw each kind as one shape, without words."""
    for kind in dict.fromkeys(each[2] for each in placed):
        down = LANE - 14 if kind == "c-brief" else 0
        boxes = "".join(
            f"M{left:.1f} {top + down}h{max(0.8, right - left):.1f}v{LANE - 10 - down}H{left:.1f}z"
            for left, right, own, _ in placed
            if own == kind
        )
        plot.shape(f'<path class="{kind}" d="{boxes}"/>')


_COVER = {
    Cover.STOP: ("c-stop", "live stop"),
    Cover.EXIT: ("c-exit", "exit on its way"),
    Cover.NONE: ("c-none", "no live stop"),
    Cover.UNKNOWN: ("c-unknown", "unknown"),
}


def covered_lanes(found: Found) -> list[Lane]:
    """Return a lane per symbol: how what was held of it was covered; gaps are drawn over the rest, so that none is lost."""
    by_symbol: dict[str, list[tuple[int, int, str, str]]] = {}
    for trade, stretches in found.covered:
        own = by_symbol.setdefault(trade.symbol, [])
        own += [_stretch(each) for each in stretches]
    order = {
        name: number for number, name in enumerate(("c-unknown", "c-stop", "c-brief", "c-exit", "c-none"))
    }
    return [
        (symbol, sorted(own, key=lambda each: (order[each[2]], each[0])))
        for symbol, own in sorted(by_symbol.items())
        if own
    ]


def _stretch(each: Stretch) -> tuple[int, int, str, str]:
    name, words = _COVER[each.cover]
    if each.ns < BRIEF_NS and each.cover in (Cover.NONE, Cover.EXIT):
        name = "c-brief"
    return each.from_ns, each.to_ns, name, f"{words}: {lasting(each.ns)}"


def strip(stretches: Sequence[Stretch], time: Scale) -> str:
    """Return how one trade was covered, as a strip as wide as its chart."""
    parts = []
    for each in sorted(stretches, key=lambda each: each.cover is not Cover.STOP):
        name, words = _COVER[each.cover]
        left, right = time.percent(each.from_ns), time.percent(each.to_ns)
        parts.append(
            f'<i class="{name}" style="left:{left:.1f}%;width:{max(0.2, right - left):.1f}%"'
            f' title="{words}: {lasting(each.ns)}"></i>'
        )
    return f'<div class="strip">{"".join(parts)}</div>' if parts else ""
