"""The market of several symbols at one moment, and our business in them: the answer behind `hands watch`.

Owns what may be asked for and the document that is answered. A pure function of what it is given: it changes nothing,
reads no clock and asks nobody. The one idea: the answer is made in one go, between two events, so all of it is true at
one place in the order of inputs (`seq`, and `rows_seen` of the market); and because the thread it is made on has orders
to send, it is bounded: in symbols, in tickets looked at, and in bars, of which only those are told that the client
does not have.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hands.core.coverage import protected_qty
from hands.core.market import Bar, Market
from hands.core.receipts import time_text
from hands.core.sizing import day_realised_usd, mark_price, unrealised_usd
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Price, decimal_text, round_to_tick, usd_text
from hands.core.vocab import Leg
from hands.runtime import status

SYMBOLS_MAX = 32
BARS_MAX = 120
"""Closes told of one symbol. Once an answer has so many, the other symbols' are left for the next one."""

TICKETS_LOOKED_AT = 2_000
ARMED_SHOWN = 8
NAMES_SHOWN = 64

Document = dict[str, Any]


def watch(state: State, request: Mapping[str, Any], now_ns: int, *, seq: int) -> Document:
    """Answer `{"symbols": [...], "interval_s": 60, "have": {"AAPL": 1}}`; all of it may be left out.

    `have` is the start of the newest completed bar that the client has, by symbol. `bars` of a symbol are those since
    then, oldest first, as [start_ns, "close"], at most `BARS_MAX`; null where they are left for the next answer.
    Where the request cannot be meant, `usage` is true beside the error.
    """
    market = state.market
    symbols = request.get("symbols") or list(market.symbols[:SYMBOLS_MAX])
    interval_s = request.get("interval_s") or market.intervals_s[0]
    have = request.get("have") or {}
    wrong = _fault(market, symbols, interval_s, have)
    if wrong is not None:
        return {"ok": False, "usage": True, "error": wrong}
    trades, armed = _business(state, symbols)
    found, left = [], BARS_MAX
    for symbol in symbols:
        document = _symbol(state, symbol, now_ns, interval_s, trades.get(symbol), armed.get(symbol, []))
        bars = _bars_since(market, market.index[symbol], interval_s, have.get(symbol)) if left > 0 else None
        left -= len(bars or ())
        found.append(document | {"bars": bars})
    return {"ok": True, "watch": _head(state, now_ns, seq, interval_s) | {"symbols": found}}


def _fault(market: Market, symbols: Any, interval_s: Any, have: Any) -> str | None:
    """Return what is wrong with a request, None where nothing is."""
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        return "symbols must be a list of names"
    if not isinstance(have, dict) or not all(type(start) is int for start in have.values()):
        return "have must be the starts of bars by symbol"
    if len(symbols) > SYMBOLS_MAX:
        return f"{len(symbols)} symbols; at most {SYMBOLS_MAX} at once"
    if len(set(symbols)) != len(symbols):
        return "a symbol twice"
    unknown = [symbol for symbol in symbols if symbol not in market.index]
    if unknown:
        known = ", ".join(market.symbols[:NAMES_SHOWN]) or "none"
        more = len(market.symbols) - NAMES_SHOWN
        return f"not watched: {', '.join(unknown)}; the daemon watches {known}" + (
            f" and {more} more" if more > 0 else ""
        )
    if interval_s not in market.intervals_s:
        return f"no bars of {interval_s} s; the daemon keeps those of {', '.join(map(str, market.intervals_s))} s"
    return None


def _head(state: State, now_ns: int, seq: int, interval_s: int) -> Document:
    account, day, tickets = state.account, state.day, len(state.tickets)
    return {
        "seq": seq,
        "rows_seen": state.market.rows_seen,
        "at": time_text(now_ns + state.wall_offset_ns),
        "interval_s": interval_s,
        "state": str(state.trading_state),
        "venue": str(state.venue),
        "dry_run": state.dry_run,
        "not_ready": status.not_ready(state, now_ns),
        "reasons": [
            {"code": reason.code, "detail": reason.detail, "clears": reason.clears}
            for _, reason in sorted(state.reasons.items())
        ],
        "links_down": [str(link) for link, up in sorted(state.links.items()) if not up],
        "equity": None if account is None else usd_text(account.equity),
        "day_trades": day.trades_of(None),
        "day_trades_max": state.limits.hard.max_daily_trades,
        "day_pnl_usd": None if tickets > TICKETS_LOOKED_AT else usd_text(_day_pnl(state)),
        "tickets_left_out": max(0, tickets - TICKETS_LOOKED_AT),
    }


def _day_pnl(state: State) -> int:
    return day_realised_usd(state) + unrealised_usd(state) - state.day.unrealised_of(None)


def _symbol(
    state: State, symbol: str, now_ns: int, interval_s: int, trade: Ticket | None, armed: Sequence[Document]
) -> Document:
    """Return one symbol: its quote and indicators, what it may be, the bar in progress, and our business in it."""
    market = state.market
    index = market.index[symbol]
    quote, last = market.quote(index), market.last_trade(index)
    bid = None if quote is None else quote.bid
    ask = None if quote is None else quote.ask
    limits = state.limits.effective("", symbol)
    here = last.price if last is not None else bid or 0
    nearest = sorted(armed, key=lambda trigger: abs(trigger["level"] - here))[:ARMED_SHOWN]
    return status.quote(state, symbol, now_ns, interval_s) | {
        "last_age_ms": None if last is None else round((now_ns - last.recv_ns) / NS_PER_MS, 1),
        "spread_bps": None if bid is None or ask is None else round(20_000 * (ask - bid) / (ask + bid), 2),
        "quote_age_max_ms": limits.quote_age_max_ms / NS_PER_MS,
        "rsi_period": int(market.period(index, "rsi")),
        "spread_max_bps": limits.max_spread * 10_000 / NANO,
        "bar": _bar(market.forming(index, interval_s)),
        "position": None if trade is None else _position(state, trade),
        "armed": [trigger | {"level": decimal_text(trigger["level"], 2)} for trigger in nearest],
        "armed_total": len(armed),
        "foreign": state.foreign.get(symbol),
    }


def _price(price: float) -> str:
    return decimal_text(round_to_tick(price, 1), 2)


def _bar(bar: Bar | None) -> Document | None:
    if bar is None:
        return None
    prices = {name: _price(getattr(bar, name)) for name in ("open", "high", "low", "close")}
    return {"start": time_text(bar.start_ns), **prices, "volume": bar.volume, "trades": bar.trades}


def _bars_since(market: Market, index: int, interval_s: int, have_ns: int | None) -> list[tuple[int, str]]:
    """Return the completed bars after the one that started at `have_ns`; the last ones where that is not known."""
    newest = market.bars(index, interval_s, 1)
    if not newest or newest[0].start_ns == have_ns:
        return []
    missing, since_ns = BARS_MAX, -1
    if have_ns is not None and 0 < newest[0].start_ns - have_ns < BARS_MAX * interval_s * NS_PER_S:
        missing, since_ns = (newest[0].start_ns - have_ns) // (interval_s * NS_PER_S), have_ns
    bars = market.bars(index, interval_s, missing)
    return [(bar.start_ns, _price(bar.close)) for bar in bars if bar.start_ns > since_ns]


# --- our business --------------------------------------------------------------------------------------------


def _business(state: State, symbols: Sequence[str]) -> tuple[dict[str, Ticket], dict[str, list[Document]]]:
    """Return the committed trade and the armed triggers of each symbol, of the newest `TICKETS_LOOKED_AT` tickets."""
    wanted = set(symbols)
    trades: dict[str, Ticket] = {}
    armed: dict[str, list[Document]] = {}
    for ticket in itertools.islice(reversed(state.tickets.values()), TICKETS_LOOKED_AT):
        symbol = ticket.symbol
        if symbol not in wanted:
            continue
        if ticket.is_committed:
            trades[symbol] = ticket
        armed.setdefault(symbol, []).extend(_armed(state, ticket))
    return trades, armed


def _armed(state: State, ticket: Ticket) -> list[Document]:
    """Return what of a ticket waits for a price: its touch, its engine-held target, the watch on its stop."""
    levels: dict[str, tuple[Price, bool]] = {}
    if ticket.arming is not None:
        levels["touch"] = ticket.arming.level, ticket.arming.upward
    if ticket.plan is not None:
        if ticket.take_profit is not None:
            levels["target"] = ticket.take_profit, ticket.is_long
        levels["stop"] = ticket.stop_loss, not ticket.is_long
    return [
        {
            "kind": kind,
            "level": level,
            "fires": "ABOVE" if upward else "BELOW",
            "direction": str(ticket.intent.direction),
            "intent_id": ticket.intent_id,
        }
        for kind, (level, upward) in levels.items()
        if (ticket.intent_id, kind) in state.armed_slots
    ]


def _position(state: State, ticket: Ticket) -> Document | None:
    if ticket.plan is None:
        return None
    stops = [order for order in ticket.exits if order.leg is Leg.STOP_LOSS and order.is_live]
    stop = stops[-1].stop_price if stops else None
    mark, average, held = mark_price(state, ticket), ticket.avg_entry, max(0, ticket.owned)
    open_pnl = ticket.unrealised_usd(mark) if mark is not None and held else 0
    return {
        "intent_id": ticket.intent_id,
        "agent": ticket.agent,
        "direction": str(ticket.intent.direction),
        "state": str(ticket.state),
        "qty": decimal_text(held),
        "avg_price": None if average is None else decimal_text(average, 2),
        "stop": decimal_text(ticket.stop_loss if stop is None else stop, 2),
        "target": None if ticket.take_profit is None else decimal_text(ticket.take_profit, 2),
        "protected_qty": decimal_text(min(held, protected_qty(state, ticket))),
        "pnl_usd": usd_text(ticket.realised_usd() + open_pnl),
    }
