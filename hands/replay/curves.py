"""The equity curve: what all trades together had come to at each moment, as booked and as marked.

Owns how a trade is marked to market between its fills. May not draw. The one idea: every trade is a row of steps (a time,
and what it had come to by then), the last of them what was booked at its end; the curve is the sum of all rows, in exact
nano-dollars, so it ends on what the ledger says.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zoneinfo import ZoneInfo

from hands.core.units import NANO
from hands.replay.prices import Bar, Prices
from hands.replay.trades import Fill, Trade
from hands.sim.venue.calendar import trading_days

Step = tuple[int, int]
"""(at_ns, nano-dollars)"""


@dataclass(frozen=True, slots=True)
class Curve:
    """The sum of all trades' results over time, nano-dollars from 0, one point per change.

    `marked` of `held` trades were marked between their fills; the others count from their end on only.
    """

    points: list[Step]
    marked: int
    held: int

    @property
    def basis(self) -> str:
        """What it shows: "marked", "partly marked" or "realised"."""
        if not self.marked:
            return "realised"
        return "marked" if self.marked == self.held else "partly marked"


def realised(trades: Iterable[Trade]) -> Curve:
    """Return the curve of results as they were booked, each at the end of its trade."""
    rows = [[(trade.closed_ns, trade.pnl)] for trade in trades if trade.closed_ns and trade.pnl is not None]
    return Curve(_summed(rows), 0, len(rows))


def marked(trades: Sequence[Trade], prices: Prices, to_ns: int, most: int) -> Curve:
    """Return the curve with every trade marked at the closes of at most `most` bars while it was held.

    Trades still held are marked up to `to_ns`; one without prices counts from its end on, and if it has none not at all.
    """
    rows, known, held = [], 0, 0
    for trade in trades:
        if trade.closed_ns is not None and trade.pnl is None:
            continue
        held += 1
        end_ns = to_ns if trade.closed_ns is None else trade.closed_ns
        steps = marks(trade, prices.bars(trade.symbol, trade.opened_ns, end_ns, most), end_ns)
        known += bool(steps)
        if trade.closed_ns is not None and trade.pnl is not None:
            steps.append((trade.closed_ns, trade.pnl))
        if steps:
            rows.append(steps)
    return Curve(_summed(rows), known, held)


def unrealised(trade: Trade, prices: Prices, to_ns: int, most: int) -> int | None:
    """Return what a trade that is still held has come to at the last price known, nano-dollars."""
    steps = marks(trade, prices.bars(trade.symbol, trade.opened_ns, to_ns, most), to_ns)
    return steps[-1][1] if steps else None


def marks(trade: Trade, bars: Sequence[Bar], end_ns: int) -> list[Step]:
    """Return what a trade had come to at the close of each bar; a bar lasts as long as the shortest step between two."""
    width = min((after[0] - bar[0] for bar, after in pairwise(bars)), default=end_ns - trade.opened_ns)
    steps: list[Step] = []
    for bar in bars:
        at_ns = min(bar[0] + width, end_ns)
        result = result_at(trade, at_ns, round(bar[4] * NANO))
        if result is not None:
            steps.append((at_ns, result))
    return steps


def result_at(trade: Trade, at_ns: int, mark: int) -> int | None:
    """Return what a trade has come to at `at_ns` with its rest valued at `mark`, nano-dollars, fees so far taken off.

    The fee of a crypto entry is taken in coins, so it shows in what is held. None where no fill, or a fee, is not known.
    """
    paid = held = fees = 0
    for fill in trade.fills:
        if fill.at_ns > at_ns:
            break
        if fill.fee is None:
            return None
        value = fill.qty * fill.price // NANO
        if fill.leg == "entry":
            paid += value
            held += fill.qty - _fee_in_coins(trade, fill)
            fees += 0 if trade.fees_in_coins else fill.fee
        else:
            paid -= value
            held -= fill.qty
            fees += fill.fee
    if not trade.fills or trade.fills[0].at_ns > at_ns:
        return None
    return trade.sign * (held * mark // NANO - paid) - fees


def _fee_in_coins(trade: Trade, fill: Fill) -> int:
    return (fill.fee or 0) * NANO // fill.price if trade.fees_in_coins else 0


def _summed(rows: Sequence[Sequence[Step]]) -> list[Step]:
    """Return the sum of step functions that all begin at 0; of several changes at one moment only the last is kept."""
    changes = sorted((at_ns, number, value) for number, steps in enumerate(rows) for at_ns, value in steps)
    current = [0] * len(rows)
    total = 0
    found: list[Step] = []
    for at_ns, number, value in changes:
        total += value - current[number]
        current[number] = value
        if found and found[-1][0] == at_ns:
            found[-1] = (at_ns, total)
        else:
            found.append((at_ns, total))
    return found


# --- day by day ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the curve in a time zone: what it added, and what there was at its end, nano-dollars from 0."""

    date: dt.date
    change: int
    total: int


def days(points: Sequence[Step], from_ns: int, to_ns: int, zone: ZoneInfo, *, every_day: bool) -> list[Day]:
    """Return the days from that of `from_ns` to that of `to_ns`, both included.

    `every_day` False leaves out those on which the exchanges are closed, but never one on which something changed.
    """
    first, last = _date(from_ns, zone), _date(to_ns, zone)
    totals: dict[dt.date, int] = {}
    for at_ns, total in points:
        totals[min(max(first, _date(at_ns, zone)), last)] = total
    exchange = set() if every_day else {day.date for day in trading_days(first, last)}
    found: list[Day] = []
    before = 0
    for number in range((last - first).days + 1):
        date = first + dt.timedelta(days=number)
        total = totals.get(date, before)
        if every_day or date in exchange or date in totals:
            found.append(Day(date, total - before, total))
        before = total
    return found


def returns(found: Sequence[Day], capital: int | None) -> list[float]:
    """Return each day's change over the equity it began with; without a capital the changes themselves, in dollars.

    Days that begin with no equity left have no return, and neither have those after them.
    """
    if capital is None:
        return [day.change / NANO for day in found]
    values: list[float] = []
    for day in found:
        equity = capital + day.total - day.change
        if equity <= 0:
            break
        values.append(day.change / equity)
    return values


def _date(at_ns: int, zone: ZoneInfo) -> dt.date:
    return dt.datetime.fromtimestamp(at_ns // NANO, zone).date()
