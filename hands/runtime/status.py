"""What is, as plain documents: the answers behind `hands status`, `hands quote` and the live view.

Owns the rendering of the engine's state for people. Pure functions of what they are given: they change nothing,
read no clock and ask nobody. The one idea: prices, quantities and money leave as decimal strings, ages as
milliseconds against the `now_ns` that is passed in, and what is not known is null.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from hands.core.breakers import AT_ROLL, OPERATOR
from hands.core.checks import missing_for_ready
from hands.core.freshness import quote_age_ns
from hands.core.protection import protected_qty
from hands.core.receipts import receipt, time_text
from hands.core.sizing import (
    day_loss_allowed,
    day_loss_usd,
    day_realised_usd,
    exposure_usd,
    mark_price,
    sizing_equity,
    unrealised_usd,
)
from hands.core.skew import skew_ns
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_MS, decimal_text, mul_floor, usd_text
from hands.core.vocab import Verdict
from hands.journal import reader
from hands.runtime.gaps import Filled
from hands.runtime.holdings import order_row, wishes
from hands.runtime.limits_table import changes
from hands.venues.alpaca.market_feed import MarketFeed

VERDICTS_SHOWN = 12
ORDERS_SHOWN = 14
FILLS_SHOWN = 10
TRADES_SHOWN = 100
SYMBOLS_SHOWN = 64
KNOWN_LOOKED_AT = 200
"""These answers are made on the engine's thread: what they look at is bounded, however much has happened."""

Document = dict[str, Any]


def status(
    state: State, now_ns: int, *, intents: str | None = None, latency: Document | None = None
) -> Document:
    """Return what Hands may do now and why not more; `intents` is the drop folder's path, for its clients."""
    missing, live = not_ready(state, now_ns), _live(state)
    return {
        "state": str(state.trading_state),
        "venue": str(state.venue),
        "ready": missing is None,
        "not_ready": missing,
        "stopping": state.stopping,
        "fenced": None if state.fenced_ns is None else time_text(state.fenced_ns + state.wall_offset_ns),
        "clock_skew_ms": _skew_ms(state),
        "dry_run": state.dry_run,
        "reasons": _reasons(state),
        "links": {str(link): up for link, up in sorted(state.links.items())},
        "account": _account(state, now_ns),
        "session": _session(state),
        "day": _day(state),
        "agents": {
            name: {"faults": book.faults, "latched": book.latched}
            for name, book in sorted(state.agents.items())
        },
        "foreign": dict(sorted(state.foreign.items())),
        "trades": [trade(state, ticket, now_ns) for ticket in live[:TRADES_SHOWN]],
        "trades_live": len(live),
        "latency_us": latency if latency is not None else latencies(_known(state)),
        "limits_sha256": state.limits.sha256,
        "limits": changes(state),
        "intents": intents,
        "at": time_text(now_ns + state.wall_offset_ns),
    }


def not_ready(state: State, now_ns: int) -> str | None:
    """Return what entries still wait for, None where nothing is missing: the guardian's own words."""
    return missing_for_ready(state, now_ns, state.limits.hard, is_crypto=False)


def _skew_ms(state: State) -> float | None:
    """Return how far the wall clock is provably off the venue's (positive: ahead), None where nothing is known."""
    found = skew_ns(state)
    return None if found is None else _ms(found)


def _reasons(state: State) -> list[Document]:
    return [
        {
            "code": reason.code,
            "state": str(reason.state),
            "since": time_text(reason.since_ns + state.wall_offset_ns),
            "clears": reason.clears,
            "detail": reason.detail,
        }
        for _, reason in sorted(state.reasons.items())
    ]


def _account(state: State, now_ns: int) -> Document | None:
    account = state.account
    if account is None:
        return None
    return {
        "account_number": account.account_number,
        "status": account.status,
        "equity": usd_text(account.equity),
        "cash": usd_text(account.cash),
        "buying_power": usd_text(account.buying_power),
        "age_ms": _age_ms(now_ns, account.asked_ns),
    }


def _session(state: State) -> Document | None:
    session = state.session
    if session is None:
        return None
    return {
        "is_open": session.is_open,
        "phase": session.phase or None,
        "next_open": time_text(session.next_open_ns),
        "next_close": time_text(session.next_close_ns),
    }


def _day(state: State) -> Document:
    hard = state.limits.hard
    return {
        "since": time_text(state.day.started_ns) if state.day.started_ns else None,
        "equity": None if state.day.equity is None else usd_text(state.day.equity),
        "trades": state.day.trades_of(None),
        "max_daily_trades": hard.max_daily_trades,
        "live": len(state.committed()),
        "max_concurrent": hard.max_concurrent,
        "realised_usd": usd_text(day_realised_usd(state)),
        "unrealised_usd": usd_text(unrealised_usd(state)),
        "loss_usd": usd_text(day_loss_usd(state)),
        "max_daily_loss_usd": usd_text(day_loss_allowed(state, hard)),
        "agents_stopped": list(state.day.stopped),
        "exposure_usd": usd_text(exposure_usd(state)),
        "max_gross_exposure_usd": usd_text(mul_floor(sizing_equity(state), hard.max_gross_exposure)),
    }


def _age_ms(now_ns: int, then_ns: int) -> float:
    return _ms(now_ns - then_ns)


def _ms(ns: int) -> float:
    return round(ns / NS_PER_MS, 1)


def _live(state: State) -> list[Ticket]:
    return [ticket for ticket in state.tickets.values() if ticket.is_live]


def _known(state: State) -> list[Ticket]:
    """Return the live and the lately finished tickets, oldest first, `KNOWN_LOOKED_AT` of each at most."""
    lately = itertools.islice(reversed(state.finished.values()), KNOWN_LOOKED_AT)
    live = itertools.islice(reversed(state.tickets.values()), KNOWN_LOOKED_AT)
    return sorted([*lately, *live], key=lambda ticket: ticket.received_ns)


def set_aside_fault(rows: int) -> str | None:
    """Return what is wrong where ledger rows did not fit their tables, None where all did."""
    return f"{rows} rows did not fit the tables of hands.db and were set aside there" if rows else None


def feed_fault(feed: MarketFeed) -> str | None:
    """Return what came in on a market-data stream and could not be used, None where nothing did."""
    counts = feed.counts
    strange = {
        "frames that could not be read": counts.unreadable_frames,
        "malformed rows": counts.malformed,
        "rows of symbols that were not asked for": counts.unknown_symbols,
        "rows stamped in the future": feed.from_future,
    }
    return ", ".join(f"{count} {what}" for what, count in strange.items() if count) or None


def stream(
    feed: MarketFeed, filled: Filled, now_ns: int, wall_offset_ns: int, *, is_filling: bool, suspicious: int
) -> Document:
    """Return how a market-data stream is, and what was lost on it: `dropped` came and could not be used.

    `suspicious` is how many prints of its symbols were held aside.
    """
    counts, last_ns = feed.counts, filled.last_ns
    return {
        "up": feed.is_up,
        "since": time_text(feed.up_since_ns + wall_offset_ns) if feed.is_up else None,
        "symbols": len(feed.symbols),
        "last_age_ms": _age_ms(now_ns, feed.last_row_ns) if feed.last_row_ns else None,
        "rows": counts.rows,
        "repeated": feed.repeated,
        "dropped": counts.malformed + counts.unknown_symbols + counts.unreadable_frames + feed.from_future,
        "suspicious": suspicious,
        "offset_ms": _ms(feed.venue_offset_ns),
        "gaps": {
            "filled": filled.gaps,
            "trades": filled.trades,
            "last": None if last_ns is None else time_text(last_ns + wall_offset_ns),
            "filling": is_filling,
        },
    }


# --- the market ----------------------------------------------------------------------------------------------


def quotes(state: State, symbols: Sequence[str], now_ns: int) -> list[Document]:
    """Return the market of each symbol; `known` is false for one that is not subscribed."""
    return [quote(state, str(symbol), now_ns) for symbol in symbols]


def quote(state: State, symbol: str, now_ns: int, interval_s: int | None = None) -> Document:
    """Return the market of one symbol; the indicators of bars are of `interval_s`, by default the first interval."""
    index = state.market.index.get(symbol)
    if index is None:
        return {"symbol": symbol, "known": False, "bid": None, "ask": None, "last": None, "age_ms": None}
    now, last = state.market.quote(index), state.market.last_trade(index)
    bid = None if now is None else now.bid
    ask = None if now is None else now.ask
    return {
        "symbol": symbol,
        "known": True,
        "bid": None if bid is None else decimal_text(bid, 2),
        "ask": None if ask is None else decimal_text(ask, 2),
        "bid_size": None if now is None else now.bid_size,
        "ask_size": None if now is None else now.ask_size,
        "last": None if last is None else decimal_text(last.price, 2),
        "age_ms": None if now is None else _ms(quote_age_ns(state, symbol, now, now_ns)),
        "suspicious": state.market.suspicious(index),
        "indicators": msgspec.structs.asdict(state.market.indicators(index, interval_s)),
    }


# --- trades, orders and fills --------------------------------------------------------------------------------


def trade(state: State, ticket: Ticket, now_ns: int) -> Document:
    """Return a trade in one line: what it is, what it holds, what protects it, what is wanted, what it has earned."""
    whole = receipt(state, ticket)
    intent, plan = ticket.intent, ticket.plan
    target = ticket.take_profit if plan else intent.take_profit
    mark = mark_price(state, ticket)
    pnl = ticket.realised_usd()
    if mark is not None and ticket.owned > 0:
        pnl = type(pnl)(pnl + ticket.unrealised_usd(mark))
    return {
        "intent_id": ticket.intent_id,
        "agent": ticket.agent,
        "symbol": ticket.symbol,
        "direction": str(intent.direction),
        "entry": intent.entry,
        "state": str(ticket.state),
        "strategy_ref": intent.strategy_ref,
        "trigger_price": decimal_text(intent.trigger_price, 2),
        "stop_loss": decimal_text(ticket.stop_loss if plan else intent.stop_loss, 2),
        "take_profit": None if target is None else decimal_text(target, 2),
        "position": whole["position"],
        "protection": whole["protection"],
        "protected_qty": decimal_text(protected_qty(state, ticket)),
        "pnl_usd": usd_text(pnl),
        "exit": whole["exit"],
        "since": time_text(ticket.received_ns + state.wall_offset_ns),
        **wishes(state, ticket, now_ns),
        "next": whole["next"],
    }


def _verdict(ticket: Ticket) -> Document:
    return {
        "intent_id": ticket.intent_id,
        "symbol": ticket.symbol,
        "direction": str(ticket.intent.direction),
        "verdict": str(ticket.verdict),
        "code": str(ticket.code),
        "message": ticket.message,
        "state": str(ticket.state),
    }


def view(state: State, now_ns: int, *, latency: Document | None = None) -> Document:
    """Return the live view: the market, the newest verdicts, orders and fills, the trades, the latencies."""
    known = _known(state)
    orders = sorted(
        (order for ticket in known for order in ticket.orders.values()), key=lambda order: order.created_ns
    )
    fills = sorted(
        ((fill, ticket) for ticket in known for fill in ticket.executions.values()),
        key=lambda pair: pair[0].at_ns,
    )
    return {
        "state": str(state.trading_state),
        "venue": str(state.venue),
        "ready": not_ready(state, now_ns) is None,
        "now_ns": now_ns,
        "account": _account(state, now_ns),
        "day": _day(state),
        "symbols": quotes(state, state.market.symbols[:SYMBOLS_SHOWN], now_ns),
        "verdicts": [_verdict(ticket) for ticket in known[-VERDICTS_SHOWN:]],
        "trades": [trade(state, t, now_ns) for t in known if t.verdict is Verdict.ACCEPTED][-VERDICTS_SHOWN:],
        "orders": [order_row(order) for order in orders[-ORDERS_SHOWN:]],
        "fills": [
            {
                "symbol": ticket.symbol,
                "leg": str(fill.leg),
                "qty": decimal_text(fill.qty),
                "price": decimal_text(fill.price, 2),
                "at_ns": fill.at_ns,
            }
            for fill, ticket in fills[-FILLS_SHOWN:]
        ],
        "latency_us": latency if latency is not None else latencies(known),
    }


# --- latencies -----------------------------------------------------------------------------------------------

SPANS = (
    ("file_to_decided", "file_event", "decided"),
    ("decided_to_sent", "decided", "sent"),
    ("file_to_sent", "file_event", "sent"),
    ("sent_to_acked", "sent", "acked"),
)
"""The ways a document goes, by the receipt's stamps."""


def latencies(tickets: Iterable[Ticket]) -> Document:
    """Return n, p50, p99 and max in microseconds of each span, over the documents that were judged at once."""
    stamps = [msgspec.structs.asdict(t.stamps) for t in tickets if t.intent.entry == "now"]
    return span_percentiles(stamps)


def span_percentiles(stamps: Iterable[dict[str, int | None]]) -> Document:
    """Return n, p50, p99 and max in microseconds of each span, given the `stamps_ns` of receipts."""
    found: dict[str, list[int]] = {name: [] for name, _, _ in SPANS}
    for row in stamps:
        for name, first, last in SPANS:
            begin, end = row.get(first), row.get(last)
            if begin is not None and end is not None:
                found[name].append(end - begin)
    return {name: percentiles_us(values) for name, values in found.items()}


def percentiles_us(values_ns: Sequence[int]) -> Document:
    """Return the nearest-rank percentiles of durations, in microseconds; null where there are none."""
    ordered = sorted(values_ns)

    def rank(per_cent: int) -> float | None:
        if not ordered:
            return None
        return round(ordered[max(0, -(-per_cent * len(ordered) // 100) - 1)] / 1000, 1)

    return {"n": len(ordered), "p50": rank(50), "p99": rank(99), "max": rank(100)}


# --- with the daemon down ------------------------------------------------------------------------------------


SELF_CLEARING = frozenset(
    {"ACCOUNT_BLOCKED", "CLOCK_SKEW", "FENCED", "JOURNAL", "STALE_FEED", "UNPROTECTED", "VENUE_UNREACHABLE"}
)
"""Reasons that are about a running daemon: of one that is down they say nothing. Unknown ones count as latched."""


def down(db: sqlite3.Connection) -> Document:
    """Return what the ledger still tells while no daemon runs: `state` is "DOWN". Raises sqlite3.Error."""
    return {
        "state": "DOWN",
        "venue": None,
        "ready": False,
        "reasons": [
            {
                "code": row["reason"],
                "state": row["state"],
                "since": time_text(row["at_ns"]),
                "clears": AT_ROLL if row["reason"] == "DAILY_LOSS" else OPERATOR,
                "detail": row["detail"],
            }
            for row in reader.reasons(db)
            if row["reason"] not in SELF_CLEARING
        ],
        "trades": [
            {
                "intent_id": row["intent_id"],
                "agent": row["agent"],
                "symbol": row["symbol"],
                "direction": row["direction"],
                "state": row["state"],
                "strategy_ref": row["strategy_ref"],
                **reader.levels(row),
            }
            for row in reader.open_trades(db)
        ],
        "verdicts": reader.recent_verdicts(db, VERDICTS_SHOWN),
    }
