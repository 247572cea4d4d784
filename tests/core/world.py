"""A trading world for tests: a `State` that is ready to trade, and small ways to change one thing about it.

Owns the builders `world`, `intent`, `case`, `verdict`, and the acts on a state (`quote`, `live`). The one idea:
everything starts from the shipped `config/risk_limits.toml` and a market in which the contract's example passes,
so that a test names only what it changes. Numbers are written as decimal text ("149.98"), as the documents do.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from hands.core.case import Case
from hands.core.events import AccountReport, Asset, Link, SessionReport
from hands.core.intents import Intent, Refusal, read_document
from hands.core.limits import LimitsFile, read_limits
from hands.core.market import Market, RowKind, new_rows
from hands.core.orders import client_order_id
from hands.core.risk import CHECKS, Check, Judgement, judge
from hands.core.state import Reason, State
from hands.core.ticket import Order, Plan, Ticket
from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, Usd, nano
from hands.core.venue_rules import fee_rate
from hands.core.vocab import (
    AssetClass,
    Leg,
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradeState,
    TradingState,
    Venue,
    Verdict,
)

NOW = Ns(1_767_625_200 * NS_PER_S)
"""2026-01-05 15:00 UTC: half an hour into Monday's regular session."""

ROLL = NOW - 17 * 3600 * NS_PER_S
DAY = 24 * 3600 * NS_PER_S

SHIPPED = (Path(__file__).parents[2] / "config" / "risk_limits.toml").read_text()
QUOTES = {
    "AAPL": ("149.98", "150.00"),
    "SPY": ("599.98", "600.02"),
    "BTC/USD": ("99990", "100010"),
    "SOL/USD": ("149.95", "150.00"),
}


# --- limits ------------------------------------------------------------------------------------------------


def limits_text(*, without: tuple[str, ...] = (), extra: str = "", **changes: Any) -> str:
    """Return the shipped file with some `key = value` lines changed, some taken out, and text added at its end."""
    text = SHIPPED
    for key in without:
        text, count = re.subn(rf"(?m)^{key} *=.*\n", "", text)
        assert count == 1, key
    for key, value in changes.items():
        text, count = re.subn(rf"(?m)^{key} *= *[^#\n]*", f"{key} = {value} ".replace("\\", r"\\"), text)
        assert count == 1, key
    return f"{text}\n{extra}\n"


def limits(*, extra: str = "", **changes: Any) -> LimitsFile:
    """Return the shipped limits with some lines changed; `extra` adds tables for agents or symbols."""
    return read_limits(limits_text(extra=extra, **changes))


# --- the state ---------------------------------------------------------------------------------------------


def asset(symbol: str, **changes: Any) -> Asset:
    """Return an instrument as the venue describes it: whole shares, or coins to nine digits."""
    crypto = "/" in symbol
    facts: dict[str, Any] = {
        "symbol": symbol,
        "asset_class": AssetClass.CRYPTO if crypto else AssetClass.EQUITY,
        "status": "active",
        "tradable": True,
        "shortable": not crypto,
        "fractionable": True,
        "lot": Qty(1) if crypto else Qty(NANO),
        "min_order_qty": Qty(nano("0.000015739")) if crypto else Qty(NANO),
        "price_increment": Price(nano("0.001")) if crypto else None,
        "easy_to_borrow": not crypto,
    }
    return Asset(**{**facts, **changes})


def account(**changes: Any) -> AccountReport:
    """Return the venue's account: 100 000 USD, cash only; money in `changes` may be decimal text."""
    facts: dict[str, Any] = {
        "ts_ns": NOW,
        "asked_ns": NOW,
        "account_number": "PA000001",
        "status": "ACTIVE",
        "equity": "100000",
        "cash": "100000",
        "buying_power": "200000",
        "non_marginable_buying_power": "100000",
        "shorting_enabled": True,
        "crypto_status": "ACTIVE",
        "multiplier": 4,
    }
    facts |= changes
    for name in ("equity", "cash", "buying_power", "non_marginable_buying_power"):
        if isinstance(facts[name], str):
            facts[name] = Usd(nano(facts[name]))
    return AccountReport(**facts)


def session(**changes: Any) -> SessionReport:
    """Return Monday's session in progress: open since 14:30 UTC, closes at 21:00."""
    facts: dict[str, Any] = {
        "ts_ns": NOW,
        "is_open": True,
        "next_open_ns": NOW + 23 * 3600 * NS_PER_S + 1800 * NS_PER_S,
        "next_close_ns": NOW + 6 * 3600 * NS_PER_S,
        "open_ns": NOW - 1800 * NS_PER_S,
    }
    return SessionReport(**{**facts, **changes})


def quote(state: State, symbol: str, bid: str | float, ask: str | float, *, at_ns: int | None = None) -> None:
    """Feed one quote, received (and stamped by the venue) at `at_ns`, by default the state's now; "0": no side."""
    rows = new_rows(1)
    stamp = state.now_ns if at_ns is None else at_ns
    rows["sym"], rows["kind"] = state.market.index[symbol], RowKind.QUOTE
    rows["price"], rows["price2"] = float(bid), float(ask)
    rows["size"] = rows["size2"] = 1_000.0
    rows["venue_ns"] = rows["recv_ns"] = stamp
    assert state.market.consume(rows, 0, 1) == 1


def world(
    *,
    rules: LimitsFile | None = None,
    quotes: dict[str, tuple[str, str] | None] | None = None,
    extra: str = "",
    account: AccountReport | None = account(),  # noqa: B008  (immutable)
    session: SessionReport | None = session(),  # noqa: B008
    day_equity: str | None = "100000",
    **hard: Any,
) -> State:
    """Return a state that is ready to trade.

    `hard` and `extra` change lines of the limits file (or `rules` replaces it), `quotes` the quotes by symbol (None:
    no quote yet). Everything else is a field to set on what is returned.
    """
    file = rules if rules is not None else limits(extra=extra, **hard)
    named = QUOTES | (quotes or {})
    state = State(file, Market(tuple(named)), Venue.SIM, rolls_ns=[ROLL, ROLL + DAY, ROLL + 2 * DAY])
    state.now_ns = NOW
    state.account = account
    state.session = session
    state.assets = {symbol: asset(symbol) for symbol in named}
    state.links = dict.fromkeys(Link, True)
    state.reconciled = True
    state.day.started_ns = Ns(ROLL)
    state.day.equity = None if day_equity is None else Usd(nano(day_equity))
    for symbol, sides in named.items():
        if sides is not None:
            quote(state, symbol, *sides)
    return state


def halt(state: State, to: TradingState = TradingState.HALTED, code: str = "OPERATOR") -> State:
    """Set a reason that leads to the trading state `to`."""
    state.reasons[code] = Reason(code=code, state=to, since_ns=state.now_ns, clears="operator")
    return state


# --- documents ---------------------------------------------------------------------------------------------


def intent_id(number: int) -> str:
    """Return the `number`th id."""
    return f"00000000-0000-4000-8000-{number:012x}"


EXAMPLES: dict[tuple[str, str], dict[str, object]] = {
    ("AAPL", "LONG"): {"trigger_price": "150", "take_profit": "155", "stop_loss": "148"},
    ("AAPL", "SHORT"): {"trigger_price": "150", "take_profit": "145", "stop_loss": "152"},
    ("SPY", "LONG"): {"trigger_price": "600", "take_profit": "620", "stop_loss": "592"},
    ("SOL/USD", "LONG"): {"trigger_price": "150", "take_profit": "165", "stop_loss": "145"},
    ("BTC/USD", "LONG"): {"trigger_price": "100000", "take_profit": "110000", "stop_loss": "97000"},
}


class Literal(str):
    """Text that stands in a JSON document as it is, without quotes: a number to the last digit."""

    __slots__ = ()


def document(number: int = 1, asset: str = "AAPL", direction: str = "LONG", **changes: Any) -> dict[str, Any]:
    """Return an intent's members; the contract's example where nothing is changed, numbers as decimal text."""
    prices = EXAMPLES.get((asset, direction), EXAMPLES["AAPL", "LONG"])
    members: dict[str, object] = {
        "intent_id": intent_id(number),
        "asset": asset,
        "direction": direction,
        **prices,
        "confidence": "0.8",
        "strategy_ref": "test",
        "timestamp": "2026-01-05T15:00:00Z",
        "ttl_seconds": "15",
    }
    members |= changes
    numeric = {
        "trigger_price", "take_profit", "stop_loss", "confidence", "ttl_seconds", "arm_seconds", "qty",
        "max_hold_seconds", "trailing_stop_pct",
    }  # fmt: skip
    return {
        name: Literal(value) if name in numeric and isinstance(value, str) else value
        for name, value in members.items()
        if value is not None
    }


def encoded(members: dict[str, Any]) -> bytes:
    """Return members as JSON bytes, `Literal`s as the bare text they are."""
    parts = [
        f"{json.dumps(name)}: {value if isinstance(value, Literal) else json.dumps(value)}"
        for name, value in members.items()
    ]
    return ("{" + ", ".join(parts) + "}").encode()


def intent(number: int = 1, asset: str = "AAPL", direction: str = "LONG", **changes: Any) -> Intent:
    """Return a document as it was read from its bytes."""
    found = read_document(encoded(document(number, asset, direction, **changes)))
    assert isinstance(found, Intent), found
    return found


def refusal(data: bytes) -> Refusal:
    """Return why `data` is no document."""
    found = read_document(data)
    assert isinstance(found, Refusal), found
    return found


# --- judging -----------------------------------------------------------------------------------------------


def case(
    state: State,
    asked: Intent | None = None,
    *,
    agent: str = "default",
    received_ns: int | None = None,
    arming: bool = False,
    new: bool = True,
) -> Case:
    """Return a case as the engine makes it: deadline = min(timestamp, received) + ttl_seconds."""
    asked = intent() if asked is None else asked
    received = state.now_ns if received_ns is None else received_ns
    stamped = asked.timestamp_ns - state.wall_offset_ns
    return Case(
        state, asked, agent, state.now_ns, min(stamped, received) + asked.ttl_ns, arming=arming, new=new
    )


def verdict(state: State, asked: Intent | None = None, **facts: Any) -> Judgement:
    """Return what the guardian says of an intent, by default the contract's example."""
    return judge(case(state, asked, **facts))


def checks_without(name: str) -> tuple[Check, ...]:
    """Return the guardian's checks less one."""
    rest = tuple(check for check in CHECKS if check.name != name)
    assert len(rest) == len(CHECKS) - 1, name
    return rest


# --- trades that live --------------------------------------------------------------------------------------


def live(
    state: State,
    number: int = 900,
    asset: str = "SPY",
    *,
    direction: str = "LONG",
    qty: str = "10",
    limit: str = "600",
    stop: str = "592",
    target: str = "620",
    filled: str | None = None,
    status: OrderStatus | None = None,
    agent: str = "default",
    acked_ns: int | None = NOW,
) -> Ticket:
    """Put an approved trade of ours into the state; `filled` at the limit price (None: nothing yet)."""
    asked = intent(number, asset, direction, trigger_price=limit, stop_loss=stop, take_profit=target)
    asset_class = AssetClass.CRYPTO if "/" in asset else AssetClass.EQUITY
    risk = abs(nano(limit) - nano(stop)) + (nano(limit) + nano(stop)) * fee_rate(asset_class) // NANO
    side = Side.BUY if direction == "LONG" else Side.SELL
    plan = Plan(
        asset_class=asset_class,
        side=side,
        qty=Qty(nano(qty)),
        limit_price=Price(nano(limit)),
        take_profit=Price(nano(target)),
        stop_loss=Price(nano(stop)),
        worst_exit=Price(nano(stop)),
        unit_risk=Price(risk),
        lot=state.assets[asset].lot,
        price_increment=state.assets[asset].price_increment,
    )
    done = Qty(nano(filled or "0"))
    if status is None:
        status = OrderStatus.FILLED if done == plan.qty else OrderStatus.NEW
    order = Order(
        client_order_id=client_order_id(asked.intent_id, Leg.ENTRY, 1),
        intent_id=asked.intent_id,
        leg=Leg.ENTRY,
        symbol=asset,
        side=side,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.SIMPLE if plan.is_crypto else OrderClass.BRACKET,
        time_in_force=TimeInForce.GTC,
        qty=plan.qty,
        limit_price=plan.limit_price,
        status=status,
        order_id=f"venue-{number}",
        filled_qty=done,
        avg_price=plan.limit_price if done else None,
        value=Usd(nano(limit) * done // NANO),
        created_ns=state.now_ns,
        sent_ns=state.now_ns,
        acked_ns=None if acked_ns is None else Ns(acked_ns),
    )
    ticket = Ticket(
        intent=asked,
        agent=agent,
        name=f"{number}.json",
        document=b"",
        received_ns=state.now_ns,
        deadline_ns=Ns(state.now_ns + asked.ttl_ns),
        limits_sha256=state.limits.sha256,
        verdict=Verdict.ACCEPTED,
        state=TradeState.OPEN if done else TradeState.WORKING,
        plan=plan,
        orders={order.client_order_id: order},
        received_qty=done,
        fee_rate=fee_rate(asset_class),
        first_fill_ns=state.now_ns if done else None,
        opened_ns=state.now_ns if done else None,
    )
    state.add(ticket)
    state.index_order(order)
    return ticket


def frozen_bytes(state: State) -> bytes:
    """Return everything in a state as bytes, to see whether anything changed (the market by its digest)."""
    facts = {
        name: value
        for name, value in vars(state).items()
        if name
        not in (
            "market",
            "limits",
            "changed",
            "triggers",
            "armed_slots",
            "by_order_id",
            "accepted",
            "approvals",
        )
    }
    facts["accepted"], facts["approvals"] = list(state.accepted), list(state.approvals)
    facts["changed"] = sorted(str(key) for key in state.changed)
    facts["market"] = state.market.digest()
    return msgspec.msgpack.encode(facts, enc_hook=repr)
