"""One trade on its price chart: the market around it, entry and exits, the stop as it moved, the target.

Owns that drawing. May not compute. The one idea: bars are a few bytes each (a wick and a body, both lines), because a report
can hold a thousand of these; where no market was recorded, the plan and the fills are drawn alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

from hands.core.units import NANO
from hands.replay.axes import WIDE, Point, Scale, apart
from hands.replay.charts import strip
from hands.replay.plots import Plot, path
from hands.replay.prices import Bar
from hands.replay.trades import Trade
from hands.replay.unprotected import Stretch
from hands.replay.words import price

HEIGHT = 200
TAG = 17
"""Labels at the right are this many pixels apart at least."""


def trade_chart(
    trade: Trade, bars: Sequence[Bar], window: tuple[int, int], spans: Sequence[Stretch], zone: ZoneInfo
) -> str:
    """Return the drawing of a trade in a stretch of time, and under it how it was covered."""
    plot = Plot(HEIGHT, f"{trade.symbol}, its price and this trade", "prices")
    stops = stop_path(trade, window[1])
    levels = _levels(trade, stops)
    seen = [value for bar in bars for value in (bar[2], bar[3])]
    seen += [value for _, value, _ in levels] + [value for _, value in stops]
    seen += [fill.price / NANO for fill in trade.fills]
    time = Scale(*window, 0, WIDE)
    value = plot.y(min(seen, default=0), max(seen, default=1), 0.08)
    opened, ended = time.at(trade.opened_ns), time.at(trade.closed_ns or window[1])
    plot.shape(f'<rect class="held" x="{opened:.0f}" y="0" width="{ended - opened:.0f}" height="{HEIGHT}"/>')
    plot.grid(value, 3)
    _draw_bars(plot, bars, time, value, window)
    for _, level, kind in levels:
        if kind in ("target", "entry"):
            plot.shape(f'<path class="lv {kind}" d="M{opened:.0f} {value.at(level):.1f}H{ended:.0f}"/>')
    places: list[Point] = [(time.at(at_ns), value.at(level)) for at_ns, level in stops]
    if places:
        plot.shape(f'<path class="lv stop" d="{path(places, steps=True)}"/>')
    for fill in trade.fills:
        kind = "in" if fill.leg == "entry" else "out"
        plot.dot(time.at(fill.at_ns), value.at(fill.price / NANO), kind)
    wanted = [value.at(level) for _, level, _ in levels]
    for (name, level, kind), at in zip(levels, apart(wanted, TAG, HEIGHT), strict=True):
        plot.tag(at, f"{name} {price(level)}", f"tag {kind}")
    plot.time_axis(time, zone, 4)
    return plot.markup() + strip(spans, time)


def stop_path(trade: Trade, until_ns: int) -> list[tuple[int, float]]:
    """Return where a trade's stop stood: (time, price) at its begin, at each move and at the trade's end."""
    end_ns = until_ns if trade.closed_ns is None else trade.closed_ns
    moves = [
        (order.acked_ns or order.created_ns or trade.opened_ns, order.stop_price / NANO)
        for order in trade.orders
        if order.leg == "sl" and order.stop_price and order.status != "rejected"
    ]
    if not moves and trade.stop_loss is not None:
        moves = [(trade.opened_ns, trade.stop_loss / NANO)]
    if not moves:
        return []
    first, *later = sorted(moves)
    found = [(trade.opened_ns, first[1])]
    found += [(max(at_ns, trade.opened_ns), level) for at_ns, level in later if level != found[-1][1]]
    return [*found, (end_ns, found[-1][1])]


def _levels(trade: Trade, stops: Sequence[tuple[int, float]]) -> list[tuple[str, float, str]]:
    """Return (name, price, class) of what is marked at the right; a chart's labels never say more than is known."""
    found = []
    for name, amount, kind in (
        ("target", trade.take_profit, "target"),
        ("entry", trade.entry_price, "entry"),
        ("exit", trade.exit_price, "exit"),
    ):
        if amount is not None:
            found.append((name, amount / NANO, kind))
    if stops:
        found.append(("stop", stops[-1][1], "stop"))
    return found


def _draw_bars(plot: Plot, bars: Sequence[Bar], time: Scale, value: Scale, window: tuple[int, int]) -> None:
    """Draw wicks and bodies, those that rose and those that fell each as one shape; single prints as a line."""
    if not bars:
        return
    if 2 * sum(high > low for _, _, high, low, _ in bars) < len(bars):
        plot.line([(time.at(bar[0]), value.at(bar[4])) for bar in bars], "line ticks", steps=True)
        return
    width = min((b[0] - a[0] for a, b in pairwise(bars)), default=window[1] - window[0])
    wide = max(1.5, WIDE * width / (window[1] - window[0]) * 0.62)
    wicks, bodies = {True: _Strokes(), False: _Strokes()}, {True: _Strokes(), False: _Strokes()}
    for start_ns, opened, high, low, closed in bars:
        x, rose = round(time.at(start_ns + width / 2)), closed >= opened
        top, bottom = (round(value.at(each)) for each in (max(opened, closed), min(opened, closed)))
        wicks[rose].add(x, round(value.at(high)), round(value.at(low)))
        bodies[rose].add(x, top, max(bottom, top + 1))
    for rose, name in ((True, "rose"), (False, "fell")):
        plot.shape(f'<path class="wick {name}" d="{wicks[rose].path}"/>')
        plot.shape(f'<path class="body {name}" stroke-width="{wide:.1f}" d="{bodies[rose].path}"/>')


class _Strokes:
    """Upright strokes as one path, each told from the end of the one before it: that is shorter."""

    def __init__(self) -> None:
        self.path = ""
        self._x = self._y = 0

    def add(self, x: int, top: int, bottom: int) -> None:
        down = top - self._y
        self.path += f"m{x - self._x}{'' if down < 0 else ' '}{down}v{bottom - top}"
        self._x, self._y = x, bottom
