"""The figures of a report: what the trades of a time came to, altogether and apart, as plain data.

Owns which figures there are and what they are made of; their formulas are those of `hands.replay.metrics`. May not read a
ledger or draw. Dollars and ratios are floats here, made of exact amounts at the last step; None is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from hands.core.units import NANO, NS_PER_S
from hands.replay import metrics
from hands.replay.curves import Curve, Day, Step, days, returns
from hands.replay.trades import Trade
from hands.replay.unprotected import Cover, Stretch

Figures = dict[str, Any]

RANKS = (50.0, 90.0, 99.0, 100.0)
BPS = 10_000


def usd(value: int | None) -> float | None:
    """Return nano-units as a number; what is unknown stays it."""
    return None if value is None else value / NANO


def headline(trades: Sequence[Trade], curve: Curve, capital: int | None, zone: ZoneInfo) -> Figures:
    """Return the figures of all trades that ended and have a result, and of the curve they make with those still held."""
    ended = results(trades)
    amounts = [trade.pnl / NANO for trade in ended if trade.pnl is not None]
    won = sum(1 for amount in amounts if amount > 0)
    wins, losses = [a for a in amounts if a > 0], [a for a in amounts if a < 0]
    in_r = [trade.pnl / trade.risk for trade in ended if trade.pnl is not None and trade.risk]
    held_ns = [trade.closed_ns - trade.opened_ns for trade in ended if trade.closed_ns is not None]
    interval = metrics.wilson(won, len(amounts))
    net = sum(trade.pnl for trade in ended if trade.pnl is not None)
    known_fees = [trade.fees for trade in ended if trade.fees is not None]
    return {
        "trades": len(amounts),
        "still_held": sum(1 for trade in trades if trade.closed_ns is None),
        "result_unknown": sum(1 for trade in trades if trade.closed_ns is not None and trade.pnl is None),
        "won": won,
        "lost": len(losses),
        "net_pnl_usd": usd(net) if amounts else None,
        "return": net / capital if capital and amounts else None,
        "fees_usd": usd(sum(known_fees)) if len(known_fees) == len(ended) and ended else None,
        "fees_estimated": any(trade.fees_estimated for trade in ended),
        "win_rate": won / len(amounts) if amounts else None,
        "win_rate_95": list(interval) if interval else None,
        "expectancy_usd": metrics.mean(amounts),
        "expectancy_r": metrics.mean(in_r),
        "expectancy_r_of": len(in_r),
        "profit_factor": metrics.profit_factor(amounts),
        "average_win_usd": metrics.mean(wins),
        "average_loss_usd": metrics.mean(losses),
        "best_usd": max(amounts, default=None),
        "worst_usd": min(amounts, default=None),
        "average_held_s": metrics.mean([ns / NS_PER_S for ns in held_ns]),
        **of_curve(trades, curve, capital, zone),
    }


def of_curve(trades: Sequence[Trade], curve: Curve, capital: int | None, zone: ZoneInfo) -> Figures:
    """Return what is made of the equity curve: drawdown, and the ratios of its daily returns with their annualisation."""
    per_year = annualisation(trades)
    found = daily(trades, curve.points, zone)
    daily_returns = returns(found, capital)
    ratio = metrics.sharpe(daily_returns, per_year)
    begin_ns = min((trade.opened_ns for trade in trades), default=0)
    times = [begin_ns, *(at_ns for at_ns, _ in curve.points)]
    values = [(capital or 0) / NANO, *(((capital or 0) + total) / NANO for _, total in curve.points)]
    fall = metrics.drawdown(values)
    never = 0.0 if curve.points else None
    return {
        "curve": curve.basis,
        "marked": curve.marked,
        "markable": curve.held,
        "days": len(daily_returns),
        "days_per_year": per_year,
        "returns_of": "dollars" if capital is None else "equity",
        "sharpe": ratio,
        "sharpe_error": None if ratio is None else metrics.sharpe_error(ratio, len(daily_returns), per_year),
        "sortino": metrics.sortino(daily_returns, per_year),
        "max_drawdown_usd": fall.amount if fall else never,
        "max_drawdown": None if capital is None or not curve.points else metrics.deepest_fraction(values),
        "drawdown_from_ns": times[fall.peak] if fall else None,
        "drawdown_to_ns": times[fall.trough] if fall else None,
        "recovered_ns": times[fall.recovered] if fall and fall.recovered is not None else None,
    }


def annualisation(trades: Iterable[Trade]) -> int:
    """Return how many of the days that are counted a year has: all of them where coins were traded."""
    return (
        metrics.DAYS_PER_YEAR_ALWAYS
        if any(trade.is_crypto for trade in trades)
        else metrics.DAYS_PER_YEAR_EXCHANGE
    )


def daily(trades: Sequence[Trade], points: Sequence[Step], zone: ZoneInfo) -> list[Day]:
    """Return the days from that of the first trade's begin to that of the curve's last point."""
    if not points:
        return []
    every_day = annualisation(trades) == metrics.DAYS_PER_YEAR_ALWAYS
    begin_ns = min(trade.opened_ns for trade in trades)
    return days(points, min(begin_ns, points[0][0]), points[-1][0], zone, every_day=every_day)


def results(trades: Iterable[Trade]) -> list[Trade]:
    """Return the trades that ended and whose result is known."""
    return [trade for trade in trades if trade.closed_ns is not None and trade.pnl is not None]


# --- apart -----------------------------------------------------------------------------------------------------


def apart(trades: Iterable[Trade], key: Callable[[Trade], str | None]) -> list[Figures]:
    """Return the results by what `key` says of a trade (None is "unknown"), the best sum first."""
    groups: dict[str | None, list[Trade]] = {}
    for trade in results(trades):
        groups.setdefault(key(trade), []).append(trade)
    found = [_group(name, members) for name, members in groups.items()]
    return sorted(found, key=lambda group: (-group["pnl_usd"], group["name"] or ""))


def _group(name: str | None, members: list[Trade]) -> Figures:
    amounts = [trade.pnl / NANO for trade in members if trade.pnl is not None]
    won = sum(1 for amount in amounts if amount > 0)
    fees = [trade.fees for trade in members if trade.fees is not None]
    in_r = [trade.pnl / trade.risk for trade in members if trade.pnl is not None and trade.risk]
    return {
        "name": name,
        "trades": len(members),
        "won": won,
        "win_rate": won / len(members),
        "pnl_usd": sum(trade.pnl for trade in members if trade.pnl is not None) / NANO,
        "expectancy_usd": metrics.mean(amounts),
        "expectancy_r": metrics.mean(in_r),
        "profit_factor": metrics.profit_factor(amounts),
        "fees_usd": usd(sum(fees)) if len(fees) == len(members) else None,
        "fees_estimated": any(trade.fees_estimated for trade in members),
    }


# --- how it was executed ---------------------------------------------------------------------------------------


def entry_slippage(trades: Iterable[Trade]) -> list[float]:
    """Return each entry's slippage against its trigger price in basis points; positive is worse."""
    return [
        trade.slippage / trade.trigger_price * BPS
        for trade in trades
        if trade.slippage is not None and trade.trigger_price
    ]


def stop_slippage(trades: Iterable[Trade]) -> list[float]:
    """Return how far beyond its last stop each stopped trade was filled, in basis points; positive is worse."""
    found = []
    for trade in trades:
        stop = last_stop(trade)
        if trade.exit_reason == "SL" and stop and trade.exit_price is not None:
            found.append(trade.sign * (stop - trade.exit_price) / stop * BPS)
    return found


def last_stop(trade: Trade) -> int | None:
    """Return the level at which a trade's stop stood last."""
    stops = [
        order.stop_price
        for order in trade.orders
        if order.leg == "sl" and order.stop_price and order.status != "rejected"
    ]
    return stops[-1] if stops else trade.stop_loss


def slippage(trades: Sequence[Trade]) -> Figures:
    dollars = [
        trade.slippage * trade.qty / NANO / NANO
        for trade in trades
        if trade.slippage is not None and trade.qty is not None
    ]
    return {
        "entry_bps": _spread(entry_slippage(trades)),
        "entry_cost_usd": sum(dollars) if dollars else None,
        "stop_bps": _spread(stop_slippage(trades)),
    }


def _spread(values: list[float]) -> Figures:
    p50, p90, p99, most = metrics.percentiles(values, RANKS)
    return {
        "n": len(values),
        "mean": metrics.mean(values),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "max": most,
        "min": min(values, default=None),
        "histogram": [list(each) for each in metrics.spread(values, 24)],
    }


def latency(stages: dict[str, list[int]]) -> list[Figures]:
    """Return the percentiles of each stage, in microseconds."""
    found = []
    for name, values in stages.items():
        micros = [value / 1_000 for value in values]
        p50, p90, p99, most = metrics.percentiles(micros, RANKS)
        row = {"stage": name, "n": len(micros), "p50_us": p50, "p90_us": p90, "p99_us": p99, "max_us": most}
        row["histogram"] = [list(each) for each in metrics.spread_by_factor(micros, 8)]
        found.append(row)
    return found


# --- how it was protected --------------------------------------------------------------------------------------


def protection(covered: Sequence[tuple[Trade, Sequence[Stretch]]]) -> Figures:
    """Return how long positions were held, and how long without a live stop for all of them; the longest gaps first."""
    gaps = [
        (trade, stretch)
        for trade, found in covered
        for stretch in found
        if stretch.cover in (Cover.NONE, Cover.EXIT)
    ]
    gaps.sort(key=lambda gap: (-gap[1].ns, gap[1].from_ns))

    def total(*covers: Cover) -> int:
        return sum(stretch.ns for _, found in covered for stretch in found if stretch.cover in covers)

    known = [found for _, found in covered if found]
    naked = [stretch.ns for _, stretch in gaps if stretch.cover is Cover.NONE]
    return {
        "trades": len(covered),
        "known": len(known),
        "held_s": total(*Cover) / NS_PER_S if known else None,
        "unprotected_s": total(Cover.NONE) / NS_PER_S if known else None,
        "exit_on_its_way_s": total(Cover.EXIT) / NS_PER_S if known else None,
        "unknown_s": total(Cover.UNKNOWN) / NS_PER_S if known else None,
        "longest_unprotected_s": max(naked, default=0) / NS_PER_S if known else None,
        "gaps_histogram": [
            list(each) for each in metrics.spread_by_factor([gap[1].ns / 1_000 for gap in gaps], 4)
        ],
        "gaps": [
            {
                "intent_id": trade.intent_id,
                "symbol": trade.symbol,
                "from_ns": stretch.from_ns,
                "to_ns": stretch.to_ns,
                "ms": stretch.ns / 1_000_000,
                "exit_on_its_way": stretch.cover is Cover.EXIT,
            }
            for trade, stretch in gaps
        ],
    }
