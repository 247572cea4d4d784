"""A report as data: everything the page says, as one JSON document.

Owns the document's shape and which stretch of time it is about. May not draw. The one idea: the page is made from this
document (and prices), so what a program reads and what a person sees cannot differ.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hands.core.units import NANO, decimal_text
from hands.replay import curves, figures, report_rows
from hands.replay.curves import Curve
from hands.replay.prices import Prices, Span
from hands.replay.trades import Trade, trades
from hands.replay.unprotected import Stretch, stretches

Document = dict[str, Any]

VERSION: Final = 1
MARKS_TOTAL: Final = 60_000
"""So many bars are asked for to mark all trades; each gets its part."""

MARKS_MAX: Final = 400
CURVE_POINTS: Final = 2_000
LEAD: Final = 4
"""A trade's chart begins and ends one part in so many of its length outside the trade."""

LEAD_LEAST_NS: Final = NANO // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of a stretch of time, exact: the document and the page are made of it.

    `until_ns`: up to when what still holds is drawn; nothing is known after the ledger's last happening.
    """

    title: str
    tz: str
    zone: ZoneInfo
    from_ns: int
    to_ns: int
    until_ns: int
    capital: int | None
    capital_from: str | None
    trades: list[Trade]
    curve: Curve
    covered: list[tuple[Trade, list[Stretch]]]
    unrealised: dict[str, int]
    document: Document


def report_data(
    ledger: sqlite3.Connection,
    prices: Prices,
    *,
    title: str,
    tz: str = "UTC",
    from_ns: int | None = None,
    to_ns: int | None = None,
    capital: int | None = None,
) -> Document:
    """Return the numbers of a report as JSON has them. See `find` for what may be raised."""
    return find(ledger, prices, title=title, tz=tz, from_ns=from_ns, to_ns=to_ns, capital=capital).document


def find(
    ledger: sqlite3.Connection,
    prices: Prices,
    *,
    title: str,
    tz: str = "UTC",
    from_ns: int | None = None,
    to_ns: int | None = None,
    capital: int | None = None,
) -> Found:
    """Return everything about [from, to) of a ledger (None: its first, its last happening); `capital` in nano-dollars.

    Without a capital the equity is taken that sizing had before it at the first refusal, if one was kept.

    Raises:
        ValueError: `tz` is no time zone, the time is empty, or the capital is not above 0.
        sqlite3.Error: the ledger cannot be read.
    """
    zone = zone_of(tz)
    if capital is not None and capital <= 0:
        raise ValueError("the capital must be above 0")
    known = report_rows.edges(ledger)
    first, last = known or (0, 0)
    begin_ns = first if from_ns is None else from_ns
    end_ns = last + 1 if to_ns is None else to_ns
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        raise ValueError("the report's time ends before it begins")
    end_ns = max(end_ns, begin_ns)
    seen = report_rows.capital_seen(ledger, begin_ns, end_ns) if capital is None else None
    source = "given" if capital is not None else "refusal" if seen is not None else None
    found = trades(ledger, begin_ns, end_ns)
    mark_ns = min(end_ns, last + 1)
    each = max(1, min(MARKS_MAX, MARKS_TOTAL // max(1, len(found))))
    curve = curves.marked(found, prices, mark_ns, each)
    if not curve.marked:
        curve = curves.realised(found)
    covered = [(trade, stretches(trade, mark_ns)) for trade in found]
    marked = {
        trade.intent_id: curves.unrealised(trade, prices, mark_ns, each)
        for trade in found
        if trade.closed_ns is None
    }
    held = {intent_id: amount for intent_id, amount in marked.items() if amount is not None}
    document = _document(ledger, found, curve, covered, begin_ns, end_ns, capital or seen, zone)
    document["headline"]["unrealised_usd"] = (
        sum(held.values()) / NANO if held and len(held) == len(marked) else None
    )
    for row in document["trades"]:
        row["unrealised"] = _text(held.get(row["intent_id"]))
    head = {
        "v": VERSION,
        "title": title,
        "tz": tz,
        "venue": report_rows.venue(ledger),
        "from_ns": begin_ns if known else None,
        "to_ns": end_ns if known else None,
        "capital_usd": figures.usd(capital or seen),
        "capital_from": source,
    }
    return Found(
        title=title,
        tz=tz,
        zone=zone,
        from_ns=begin_ns,
        to_ns=end_ns,
        until_ns=max(begin_ns, mark_ns),
        capital=capital or seen,
        capital_from=source,
        trades=found,
        curve=curve,
        covered=covered,
        unrealised=held,
        document=head | document,
    )


def zone_of(tz: str) -> ZoneInfo:
    """Return a time zone by its name. Raises ValueError."""
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {tz!r}; one is called America/New_York, say") from error


def windows(ledger: sqlite3.Connection, from_ns: int | None = None, to_ns: int | None = None) -> list[Span]:
    """Return the stretches of the market that a report on this ledger draws: what `TickPrices.of_rows` is to keep."""
    known = report_rows.edges(ledger)
    if known is None:
        return []
    begin_ns = known[0] if from_ns is None else from_ns
    end_ns = known[1] + 1 if to_ns is None else to_ns
    mark_ns = min(end_ns, known[1] + 1)
    return [(trade.symbol, *chart_window(trade, mark_ns)) for trade in trades(ledger, begin_ns, end_ns)]


def chart_window(trade: Trade, until_ns: int) -> tuple[int, int]:
    """Return the time that a trade's chart shows: the trade, and some of what came before and after."""
    end_ns = max(trade.opened_ns + 1, until_ns if trade.closed_ns is None else trade.closed_ns)
    lead = max(LEAD_LEAST_NS, (end_ns - trade.opened_ns) // LEAD)
    return trade.opened_ns - lead, end_ns + (lead if trade.closed_ns is not None else 0)


def _document(
    ledger: sqlite3.Connection,
    found: list[Trade],
    curve: Curve,
    covered: list[tuple[Trade, list[Stretch]]],
    from_ns: int,
    to_ns: int,
    capital: int | None,
    zone: ZoneInfo,
) -> Document:
    stage_ns = report_rows.stages(ledger, from_ns, to_ns)
    touched = [trade.latency_ns for trade in found if trade.latency_ns is not None and _is_touch(trade)]
    stage_ns["file_to_sent"] += touched
    return {
        "headline": figures.headline(found, curve, capital, zone),
        "equity": [[at_ns, total / NANO] for at_ns, total in thinned(curve.points, CURVE_POINTS)],
        "days": [
            {"day": day.date.isoformat(), "pnl_usd": day.change / NANO, "total_usd": day.total / NANO}
            for day in figures.daily(found, curve.points, zone)
        ],
        "by_strategy": figures.apart(found, lambda trade: trade.strategy_ref),
        "by_agent": figures.apart(found, lambda trade: trade.agent),
        "by_symbol": figures.apart(found, lambda trade: trade.symbol),
        "by_exit": figures.apart(found, lambda trade: trade.exit_reason),
        "slippage": figures.slippage(found),
        "latency": figures.latency(stage_ns),
        "protection": figures.protection(covered),
        "verdicts": report_rows.verdicts(ledger, from_ns, to_ns),
        "gates": report_rows.gates(ledger, from_ns, to_ns),
        "reasons": report_rows.reasons(ledger, from_ns, to_ns),
        "alerts": report_rows.alerts(ledger, from_ns, to_ns),
        "trades": [_trade(trade, spans) for trade, spans in covered],
    }


def _is_touch(trade: Trade) -> bool:
    """Whether a trade's latency began elsewhere than with its file: with its price."""
    begun, sent = trade.stamps_ns.get("file_event"), trade.stamps_ns.get("sent")
    return begun is not None and sent is not None and sent - begun != trade.latency_ns


def thinned(points: list[curves.Step], most: int) -> list[curves.Step]:
    """Return at most `most` points of a curve (some four more): of each stretch the first, last, least and greatest."""
    if len(points) <= most:
        return points
    parts = max(1, most // 4)
    size = -(-len(points) // parts)
    found: list[curves.Step] = []
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        picked = {part[0], part[-1], min(part, key=_value), max(part, key=_value)}
        found += sorted(picked)
    return found


def _value(point: curves.Step) -> int:
    return point[1]


def _trade(trade: Trade, spans: list[Stretch]) -> Document:
    return {
        "intent_id": trade.intent_id,
        "agent": trade.agent,
        "symbol": trade.symbol,
        "direction": "LONG" if trade.is_long else "SHORT",
        "strategy_ref": trade.strategy_ref,
        "confidence": figures.usd(trade.confidence),
        "thesis": trade.thesis,
        "opened_ns": trade.opened_ns,
        "closed_ns": trade.closed_ns,
        "exit_reason": trade.exit_reason,
        **{
            name: _text(getattr(trade, name))
            for name in (
                "qty", "entry_price", "exit_price", "trigger_price", "limit_price", "stop_loss", "take_profit",
                "pnl", "expected", "fees", "risk", "slippage",
            )
        },
        "fees_estimated": trade.fees_estimated,
        "pnl_pct": figures.usd(trade.pnl_fraction),
        "r": trade.pnl / trade.risk if trade.pnl is not None and trade.risk else None,
        "latency_ns": trade.latency_ns,
        "fills": [
            {"at_ns": fill.at_ns, "leg": fill.leg, "side": fill.side, "qty": _text(fill.qty), "price": _text(fill.price)}
            for fill in trade.fills
        ],
        "cover": [[span.from_ns, span.to_ns, str(span.cover)] for span in spans],
    }  # fmt: skip


def _text(value: int | None) -> str | None:
    """Return an exact amount as decimal text."""
    return None if value is None else decimal_text(int(value))
