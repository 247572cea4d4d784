"""Every key of the limits in force, as a table: its value and where that is from, its use now, and whether it can bind.

Owns the rendering of limits for people (`hands limits`). Pure functions of what they are given; without a running
daemon there is no state, and no use is known. May not decide what is tighter: the keys' own table says that.
"""

from __future__ import annotations

from typing import Any

from hands.core.breakers import drawdown
from hands.core.freshness import quote_age_ns
from hands.core.limit_keys import LIMIT_KEYS, SESSION_KEYS, LimitKey
from hands.core.limits import DEFAULT_AGENT, LimitsFile
from hands.core.receipts import time_text
from hands.core.sizing import (
    day_loss_allowed,
    day_loss_usd,
    entries_last_minute,
    exposure_usd,
    open_risk_usd,
    sizing_equity,
)
from hands.core.state import State
from hands.core.tightening import value_text
from hands.core.units import NS_PER_MS, decimal_text, mul_floor, ratio_up, usd_text
from hands.runtime.binding import YES, Binding, binding

Document = dict[str, Any]
Use = tuple[str, str | None]
"""What is used up, and of what, as text."""

_TIGHTER = {-1: "lower", 1: "higher", 0: None}


def limits_table(
    file: LimitsFile, state: State | None, now_ns: int, *, agent: str | None = None, symbol: str | None = None
) -> Document:
    """Return the limits that hold for an agent's intent on a symbol (None: the account's, any symbol).

    Raises:
        KeyError: the file knows no such agent, or does not allow the symbol; the argument says which.
    """
    if agent is not None and not file.knows(agent):
        raise KeyError(f"there is no agent {agent!r}")
    if symbol is not None and symbol not in file.allow:
        raise KeyError(f"{symbol!r} is not on the allow-list")
    equity = None if state is None or state.account is None else sizing_equity(state)
    uses = {} if state is None else _uses(state, now_ns, agent, symbol)
    rows = [_row(file, key, agent, symbol, equity, uses) for key in LIMIT_KEYS]
    rows += [_session_row(file, key) for key in SESSION_KEYS]
    return {
        "sha256": file.sha256,
        "agent": agent,
        "symbol": symbol,
        "equity_usd": None if equity is None else usd_text(equity),
        "rows": rows + _list_rows(file, agent),
        **changes(state),
    }


def changes(state: State | None) -> Document:
    """Return what became of a changed file: why the last one was not taken up, and what the last start loosened."""
    refused = None if state is None else state.limits_refused
    return {
        "refused": None
        if state is None or refused is None
        else {
            "since": time_text(refused.since_ns + state.wall_offset_ns),
            "sha256": refused.sha256,
            "problems": list(refused.problems),
        },
        "loosened_at_start": [] if state is None else list(state.limits_loosened),
    }


def _row(
    file: LimitsFile,
    key: LimitKey,
    agent: str | None,
    symbol: str | None,
    equity: int | None,
    uses: dict[str, Use],
) -> Document:
    limits = file.hard if agent is None and symbol is None else file.effective(agent or "", symbol or "")
    found = binding(key.name, limits, file, equity, symbol)
    used, allowed = uses.get(key.name, (None, None))
    return {
        "key": key.name,
        "value": value_text(key, getattr(limits, key.name)),
        "unit": str(key.unit),
        "from": _source(file, key, agent, symbol),
        "tighter": _TIGHTER[key.tighter],
        "used": used,
        "allowed": allowed,
        "binds": found.can,
        "why": found.why,
        "meaning": key.meaning,
    }


def _source(file: LimitsFile, key: LimitKey, agent: str | None, symbol: str | None) -> str:
    """Return the table whose value holds: the last one that is tighter than those before it."""
    value = getattr(file.effective(agent or "", symbol or ""), key.name)
    if value == getattr(file.hard, key.name):
        return "hard_limits"
    own = file.agents.get(agent or "")
    return f"agents.{agent}" if own and getattr(own.limits, key.name) == value else f'symbols."{symbol}"'


def _session_row(file: LimitsFile, key: LimitKey) -> Document:
    value = getattr(file.session, key.name)
    found = YES if value else Binding("never", "off")
    if all("/" in symbol for symbol in file.allow):
        found = Binding("never", "no equity is allowed")
    return _plain_row(key.name, value_text(key, value), "session", "higher", key.meaning, found)


def _list_rows(file: LimitsFile, agent: str | None) -> list[Document]:
    may = file.may(agent or "")
    shorts = Binding("yes" if not file.allow_short else "never", "" if not file.allow_short else "off")
    roll = f"{file.roll_time} {file.roll_zone}"
    rows = [
        _plain_row(
            "allow", ", ".join(file.allow) or "nothing", "symbols", "fewer", "what may be traded", YES
        ),
        _plain_row("allow_short", str(file.allow_short).lower(), "symbols", "false", "equities only", shorts),
        _plain_row("roll", roll, "day", None, "when counters and the loss baseline start again", YES),
    ]
    own = {
        "symbols": None if may.symbols is None else ", ".join(may.symbols),
        "directions": ", ".join(may.directions) if file.may("") != may else None,
        "daily_notional_usd": None if may.daily_notional_usd is None else usd_text(may.daily_notional_usd),
        "expires": may.expires or None,
    }
    rows += [
        _plain_row(name, value, f"agents.{agent}", "fewer", "what this agent may do", YES)
        for name, value in own.items()
        if value is not None
    ]
    return rows


def _plain_row(
    name: str, value: str, table: str, tighter: str | None, meaning: str, found: Binding
) -> Document:
    return {
        "key": name,
        "value": value,
        "unit": None,
        "from": table,
        "tighter": tighter,
        "used": None,
        "allowed": None,
        "binds": found.can,
        "why": found.why,
        "meaning": meaning,
    }


# --- the use now ---------------------------------------------------------------------------------------------


def _uses(state: State, now_ns: int, agent: str | None, symbol: str | None) -> dict[str, Use]:
    """Return what is used of each limit that is used up, by an agent (None: by all)."""
    limits = state.limits.hard if agent is None else state.limits.effective(agent, symbol or "")
    used_loss = day_loss_usd(state, agent) + open_risk_usd(state, agent)
    faults = state.agents.get(agent or DEFAULT_AGENT)
    uses: dict[str, Use] = {
        "max_daily_trades": (str(state.day.trades_of(agent)), str(limits.max_daily_trades)),
        "max_concurrent": (str(len(state.committed(agent))), str(limits.max_concurrent)),
        "max_daily_loss": (
            f"{usd_text(used_loss)} USD lost or at risk",
            usd_text(day_loss_allowed(state, limits)),
        ),
        "max_gross_exposure": (
            f"{usd_text(exposure_usd(state, agent))} USD",
            usd_text(mul_floor(sizing_equity(state), limits.max_gross_exposure)),
        ),
        "orders_per_minute": (
            str(entries_last_minute(state, now_ns, agent)),
            str(limits.orders_per_minute),
        ),
        "rejections_latch": ("0" if faults is None else str(faults.faults), str(limits.rejections_latch)),
        "capital_usd": (f"E is {usd_text(sizing_equity(state))} USD", None),
    }
    fall = drawdown(state)
    if fall is not None:
        uses["max_drawdown"] = f"{usd_text(fall[0])} USD below the peak", usd_text(fall[1])
    if state.account is not None:
        uses["account_age_max_ms"] = _ms(now_ns - state.account.asked_ns), None
    return uses | _market_uses(state, now_ns, symbol)


def _market_uses(state: State, now_ns: int, symbol: str | None) -> dict[str, Use]:
    index = None if symbol is None else state.market.index.get(symbol)
    quote = None if index is None else state.market.quote(index)
    if symbol is None or quote is None:
        return {}
    uses: dict[str, Use] = {"quote_age_max_ms": (_ms(quote_age_ns(state, symbol, quote, now_ns)), None)}
    if quote.bid and quote.ask:
        uses["max_spread"] = decimal_text(ratio_up(2 * (quote.ask - quote.bid), quote.bid + quote.ask)), None
    stopped = state.stopped_out.get(symbol)
    if stopped is not None:
        uses["cooldown_after_stop_s"] = f"stopped out {_ms(now_ns - stopped)} ms ago", None
    return uses


def _ms(ns: int) -> str:
    return str(round(ns / NS_PER_MS))
