"""An exchange under a hand-wound clock, and the audit that is held after every step whatever was done to it.

The audit knows the rules from outside: it keeps its own cash and holdings from the fills alone, and looks at what the
orders say. Nothing is created, overfilled or resurrected; nothing trades that may not; nothing closes more than is held.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
from collections import Counter
from typing import Any

from hands.core.units import CENT, NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, Usd, mul_ceil, mul_floor
from hands.core.vocab import OrderStatus, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.venue.calendar import NEW_YORK, Session
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Order
from hands.sim.venue.ticks import Quote, Status, Trade

CASH = Usd(50_000 * NANO)
SYMBOLS = ("AAPL", "BTC/USD")
# Ten minutes before the close of a Wednesday, so that a script sees sessions change.
START_NS = int(dt.datetime(2026, 11, 18, 15, 50, tzinfo=NEW_YORK).timestamp()) * NS_PER_S
IS_SOAK = bool(os.environ.get("HANDS_SOAK"))

S = OrderStatus
ENDS = {S.CANCELED, S.EXPIRED}
CLOSING = {PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE}
PENDING = {S.PENDING_CANCEL, S.PENDING_REPLACE}
ARCS = {
    S.PENDING_NEW: ENDS
    | {S.ACCEPTED, S.NEW, S.PENDING_CANCEL, S.REJECTED, S.PARTIALLY_FILLED, S.HELD, S.DONE_FOR_DAY},
    S.ACCEPTED: ENDS | {S.NEW, S.PENDING_CANCEL},
    S.HELD: ENDS | PENDING | {S.NEW, S.REPLACED},
    S.NEW: ENDS | PENDING | {S.PARTIALLY_FILLED, S.FILLED, S.REPLACED, S.DONE_FOR_DAY},
    S.PARTIALLY_FILLED: ENDS | PENDING | {S.PARTIALLY_FILLED, S.FILLED, S.REPLACED, S.DONE_FOR_DAY},
    S.DONE_FOR_DAY: ENDS | PENDING | {S.NEW, S.PARTIALLY_FILLED, S.REPLACED},
    S.PENDING_CANCEL: ENDS | {S.FILLED, S.REPLACED, S.REJECTED},
    S.PENDING_REPLACE: ENDS | {S.FILLED, S.REPLACED, S.HELD, S.NEW, S.PARTIALLY_FILLED, S.DONE_FOR_DAY},
}
"""Where an order may go from where; what is terminal goes nowhere."""


class World:
    """An exchange under a hand-wound clock, and the account as its fills alone say it should be."""

    def __init__(self, **options: Any) -> None:
        self.t_ns = START_NS
        self.exchange = Exchange(lambda: self.t_ns, cash_usd=CASH, **options)
        self.cash: int = CASH
        self.holdings = dict.fromkeys(SYMBOLS, 0)
        self.fills = self.splits = 0
        self.filled: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.closable: dict[int, int] = {}
        self.stops: dict[str, int] = {}
        self.halted_ns: int | None = None
        for symbol in SYMBOLS:
            self.act(("quote", symbol, Price(10_000 * CENT), 2, 50))

    def play(self, script: list[tuple[Any, ...]]) -> None:
        for action in script:
            self.t_ns += NS_PER_MS
            with contextlib.suppress(VenueError):
                self.act(action)

    def act(self, action: tuple[Any, ...]) -> None:
        exchange, t_ns = self.exchange, Ns(self.t_ns)
        match action:
            case ("submit", request):
                exchange.submit(request)
            case ("quote", symbol, bid, spread, size):
                sizes = Qty(size * NANO)
                exchange.on_ticks([Quote(symbol, bid, Price(bid + spread * CENT), sizes, sizes, t_ns)])
            case ("trade", symbol, price, size):
                exchange.on_ticks([Trade(symbol, price, Qty(size * NANO), t_ns, t_ns)])
            case ("close", symbol):
                exchange.close_position(symbol)
            case ("cancel", n):
                exchange.cancel(self.any_order(n))
            case ("replace", n, change):
                exchange.replace(self.any_order(n), change)
            case ("halt", code):
                exchange.on_notice(Status("AAPL", code, "", "", "", t_ns))
                self.halted_ns = None if code == "T" else self.halted_ns or self.t_ns
            case ("wait", ms):
                self.t_ns += ms * NS_PER_MS
                exchange.advance()
            case ("split", (new, old)):
                exchange.advance()
                self.audit_money()
                exchange.split("AAPL", new, old)
                self.audit_money()
            case _:
                raise AssertionError(action)

    def any_order(self, n: int) -> str:
        orders = list(self.exchange.blotter)
        return orders[n % len(orders)].order_id if orders else "none"

    # --- the audit

    def audit(self) -> None:
        self.audit_money()
        for order in self.exchange.blotter:
            self.audit_order(order)
        for symbol in SYMBOLS:
            self.audit_closing(symbol)
        funds = self.exchange.funds()
        assert funds.buying_power >= 0
        assert funds.non_marginable_buying_power >= 0

    def audit_money(self) -> None:
        fills, done = self.exchange.blotter.fills, self.exchange.corporate_actions
        for fill in fills[self.fills :]:
            sign = 1 if fill.side is Side.BUY else -1
            value = mul_ceil(fill.price, fill.qty) if sign > 0 else mul_floor(fill.price, fill.qty)
            before = self.holdings[fill.symbol]
            self.cash -= sign * value + (fill.fee if fill.fee_asset == "USD" else 0)
            self.holdings[fill.symbol] += sign * fill.qty - (fill.fee if fill.fee_asset != "USD" else 0)
            assert before * self.holdings[fill.symbol] >= 0, "one order takes a holding through zero"
            self.filled[fill.order_id] += fill.qty
            self.paid[fill.order_id] += mul_ceil(fill.price, fill.qty)
            order = self.exchange.blotter.find(fill.order_id)
            self.audit_price(order, fill.price)
            self.audit_time(order, fill.t_ns)
        for action in done[self.splits :]:
            assert self.holdings[action.symbol] == action.qty_before
            self.cash += action.cash
            self.holdings[action.symbol] = action.qty_after
        self.fills, self.splits = len(fills), len(done)
        assert self.exchange.account.cash == self.cash
        assert {symbol: self.exchange.account.qty(symbol) for symbol in SYMBOLS} == self.holdings
        assert self.holdings["BTC/USD"] >= 0, "coins cannot be sold short"

    def audit_price(self, order: Order, price: int) -> None:
        limit = order.limit_price
        if limit is None and order.order_type is OrderType.STOP and order.side is Side.BUY:
            is_limited = self.exchange.quirks.buy_stop == "limited"
            assert order.stop_price is not None
            limit = order.stop_price * 104 // 100 if is_limited else None  # never looser than 4 %
        if limit is not None:
            assert price <= limit if order.side is Side.BUY else price >= limit

    def audit_time(self, order: Order, t_ns: int) -> None:
        """Nothing fills in a halt or outside the order's session; the close has its auction."""
        is_halted = order.symbol == "AAPL" and self.halted_ns is not None and t_ns > self.halted_ns
        assert not is_halted
        session = Session.REGULAR if order.asset.is_crypto else self.exchange.clock.session(t_ns)
        may_trade = session is Session.REGULAR or (session is Session.EXTENDED and order.extended_hours)
        assert may_trade or order.tif is TimeInForce.CLS

    def audit_closing(self, symbol: str) -> None:
        """The orders that close, a group counted once, close no more than is held; without a holding there are none."""
        held: dict[int, int] = {}
        for order in self.exchange.blotter.live_of(symbol):
            if order.position_intent in CLOSING and not order.is_dormant:
                key = id(order.group or order)
                held[key] = max(held.get(key, 0), order.reach)
        assert sum(held.values()) <= abs(self.holdings[symbol])

    def audit_order(self, order: Order) -> None:
        assert 0 <= order.filled_qty <= order.qty
        assert self.filled[order.order_id] <= order.filled_qty
        assert (order.status is S.FILLED) == (order.remaining == 0)
        assert order.notional is None or self.paid[order.order_id] <= order.notional
        if order.tif is TimeInForce.FOK:
            assert order.filled_qty in (0, order.qty)
        seen = [status for _, status in order.history]
        for before, after in itertools.pairwise(seen):
            assert after in ARCS.get(before, set()), f"{before} -> {after}"
        assert [at for at, _ in order.history] == sorted(at for at, _ in order.history)
        waits_to_take_over = order.takes_over_ns is not None
        is_listed = order in self.exchange.blotter.live_of(order.symbol)
        assert is_listed == (order.is_live and not waits_to_take_over)
        if order.is_live and order.takes_over_ns is None and not self.exchange.clock.is_always:
            latest_ns = order.expires_ns + 15 * 60 * NS_PER_S * (order.tif is TimeInForce.GTC)
            assert self.t_ns < latest_ns or order.asset.is_crypto
        if order.order_type is OrderType.TRAILING_STOP and order.stop_price is not None:
            seen_stop = self.stops.setdefault(order.order_id, order.stop_price)
            is_looser = (
                order.stop_price < seen_stop if order.side is Side.SELL else order.stop_price > seen_stop
            )
            assert not is_looser
            self.stops[order.order_id] = order.stop_price
        if order.group is not None:
            self.audit_group(order)

    def audit_group(self, order: Order) -> None:
        """Both legs together never fill more than there is to close, and a group lives or ends as a whole."""
        group = order.group
        assert group is not None
        closed = sum(leg.filled_qty for leg in group.legs())
        if group.entry is not None:
            assert closed <= group.entry.filled_qty
        else:
            assert closed <= self.closable.setdefault(id(group), group.parent.qty)
        first = group.legs() if group.active else group.members()
        if any(member.status in ENDS | {S.FILLED, S.REJECTED} for member in first):
            assert not any(member.is_live for member in first)
