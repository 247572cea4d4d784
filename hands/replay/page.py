"""The report of a replay: the page that a state directory gets, with prices from the very rows that were played.

Owns which stretches of the market are read once more for it. May not compute or draw: `hands.replay.report` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hands.core.units import NS_PER_S
from hands.replay.given import Rows
from hands.replay.outcome import Replay
from hands.replay.prices import Span, TickPrices
from hands.replay.report import write_report

LEAD_LEAST_NS = 30 * NS_PER_S


def write_page(
    found: Replay, market: Rows, path: Path, *, title: str | None = None, tz: str = "UTC"
) -> dict[str, Any]:
    """Write the page of a replay of `market` to `path`, whole or not at all, and return its numbers.

    Raises:
        OSError: the file cannot be written.
    """
    prices = TickPrices.of_rows(market.symbols, market.chunks(), spans_of(found))
    return write_report(
        found.ledger,
        prices,
        path,
        title=title or f"Replay of {', '.join(found.symbols)}",
        tz=tz,
        capital=int(found.opening_equity * 10**9),
    )


def spans_of(found: Replay) -> list[Span]:
    """Return when each trade was held, and half as long before and after."""
    held: dict[str, tuple[str, int, int]] = {}
    for fill in found.fills:
        symbol, first_ns, _ = held.get(fill.intent_id, (fill.symbol, fill.at_ns, 0))
        held[fill.intent_id] = symbol, first_ns, found.to_ns
    for trade in found.trades:
        if trade.intent_id in held and trade.closed_ns is not None:
            symbol, first_ns, _ = held[trade.intent_id]
            held[trade.intent_id] = symbol, first_ns, trade.closed_ns
    return [_with_lead(*each) for each in held.values()]


def _with_lead(symbol: str, from_ns: int, to_ns: int) -> Span:
    lead_ns = max(LEAD_LEAST_NS, (to_ns - from_ns) // 2)
    return symbol, from_ns - lead_ns, to_ns + lead_ns
