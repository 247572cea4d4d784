"""The exchange: takes orders, matches them against the ticks it is given, and tells what happened.

Owns the one account, its books, orders and clock; synchronous, deterministic, without I/O: the clock is
injected, ids and random partial fills come from the seed. May not format anything for the wire. The one idea:
every public operation runs to its end (an entry's last fill releases its legs, a target's fill cancels its
stop) before the next one starts, and leaves its events in the outbox.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hands.core.units import NANO, Ns, Price, Qty, Usd, mul_ceil
from hands.core.vocab import OrderClass, OrderStatus, OrderType, TimeInForce
from hands.sim.venue import admission, errors
from hands.sim.venue.account import Account, Funds, Position, closing_side, protected_qty
from hands.sim.venue.admission import Standing
from hands.sim.venue.assets import Asset, AssetTable
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.calendar import MarketClock
from hands.sim.venue.exposure import Exposure
from hands.sim.venue.lifecycle import Lifecycle
from hands.sim.venue.matching import Book
from hands.sim.venue.orders import Order, OrderRequest, ReplaceRequest, TradeUpdate
from hands.sim.venue.quirks import IMMEDIATE, PLAIN, Latency, Quirks
from hands.sim.venue.tickets import expiry_ns, write_successor, write_ticket
from hands.sim.venue.ticks import Quote, Tick

OPENING_CASH_USD: Final = Usd(100_000 * NANO)
_DUST_USD: Final = admission.CRYPTO_COST_MIN


class Exchange:
    """One account on one exchange; `cash_usd` in nano-dollars.

    `fills` "instant": a marketable order fills completely at the touch. "realistic": at most the displayed size
    per quote, and (`random_partials`) a tenth of the fills are cut at random.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        *,
        symbols: Iterable[str] = (),
        cash_usd: Usd = OPENING_CASH_USD,
        seed: int = 0,
        fills: str = "instant",
        session: str = "always",
        random_partials: bool = True,
        multiplier: int = 2,
        quirks: Quirks = PLAIN,
        latency: Latency = IMMEDIATE,
    ) -> None:
        if fills not in {"instant", "realistic"}:
            raise ValueError(f"fills {fills!r} is neither 'instant' nor 'realistic'")
        is_realistic = fills == "realistic"
        # Its own generator, so that ids do not depend on how many fills were drawn.
        chance = random.Random(seed + 1) if is_realistic and random_partials else None  # noqa: S311
        self._now_ns = now_ns
        self.created_ns = Ns(now_ns())
        self.assets = AssetTable(symbols)
        self.account = Account(cash_usd, multiplier)
        self.blotter = Blotter(seed, self.created_ns)
        self.clock = MarketClock(session)
        self.exposure = Exposure()
        self.opening_equity_usd = cash_usd
        self.quirks = quirks
        self.latency = latency
        self._life = Lifecycle(self.account, self.blotter, self.clock, sized=is_realistic, chance=chance)
        self._life.quirks = quirks
        self._life.t_ns = self.created_ns

    def now_ns(self) -> Ns:
        return Ns(self._now_ns())

    def book(self, symbol: str) -> Book:
        """Return the book of `symbol`, listing the asset and opening an empty book for a new one."""
        book = self._life.books.get(symbol)
        if book is None:
            self.assets.add(symbol)
            book = self._life.books[symbol] = Book(symbol)
        return book

    def mark(self, symbol: str) -> Price:
        """Return the current price, 0 if unknown."""
        return self.book(symbol).mark()

    def funds(self) -> Funds:
        """Return what the account is worth and may spend now."""
        return self.account.funds(self.mark, self.blotter.live)

    def position(self, key: str) -> Position:
        """Return the holding of a symbol ("BTC/USD", "BTCUSD") or asset id. Raises `VenueError` 404."""
        asset = self.assets.find(key)
        position = self.account.positions.get(asset.symbol) if asset is not None else None
        if position is None:
            raise errors.not_found("position does not exist")
        return position

    def take_updates(self) -> list[TradeUpdate]:
        """Return the events since the last call, oldest first."""
        return self.blotter.take_updates()

    def submit(self, request: OrderRequest) -> Order:
        """Take an order and return it as first acknowledged (`pending_new`). Raises `VenueError`."""
        self._begin()
        admission.check_parameters(request)
        asset = self.assets.get(request.symbol)
        self.blotter.check_client_order_id(request.client_order_id)
        admission.check_rules(request, asset)
        standing = self._standing(asset)
        if request.order_class is OrderClass.SIMPLE:
            admission.check_stop(request.side, request.stop_price, standing.mark)
        admission.check_group(request, standing.mark)
        admission.check_account(request, standing)
        intent = admission.infer_intent(request.side, standing.position_qty)
        t_ns = self._life.t_ns
        order = write_ticket(
            request,
            asset,
            self.blotter,
            intent=intent,
            ask=standing.ask,
            t_ns=t_ns,
            expires_ns=expiry_ns(request.tif, t_ns, self.clock),
        )
        self.blotter.emit("pending_new", order, t_ns)
        acknowledged = order.snapshot()
        self._life.release(order)
        self._end()
        return acknowledged

    def replace(self, order_id: str, request: ReplaceRequest) -> Order:
        """Replace a live order and return the new one as it was accepted. Raises `VenueError`."""
        self._begin()
        old = self.blotter.find(order_id)
        admission.check_replace(old, request, self.mark(old.symbol))
        self.blotter.check_client_order_id(request.client_order_id)
        standing = self._standing(old.asset)
        t_ns = self._life.t_ns
        new = write_successor(old, request, standing.ask, self.blotter, t_ns)
        if request.tif is not None:
            new.expires_ns = expiry_ns(new.tif, t_ns, self.clock)
        admission.check_replacement(old, new, standing)
        if new.group is not None:
            new.group.substitute(old, new)
        old.replaced_by = new.order_id
        self.blotter.finish(old, OrderStatus.REPLACED, t_ns)
        self.blotter.add(new)
        self._life.touched.add(new.symbol)
        self.blotter.emit("replaced", old, t_ns)
        replacement = new.snapshot()
        if new.status is not OrderStatus.HELD:
            self.blotter.emit("new", new, t_ns)
        self._life.match(new)
        self._end()
        return replacement

    def cancel(self, order_id: str) -> None:
        """Cancel a live order and its group. Raises `VenueError` 404, or 422 when it is no longer live."""
        self._begin()
        order = self.blotter.find(order_id)
        if not order.is_live:
            raise errors.rule(f'order is already in "{order.status}" state')
        self._life.end(order, OrderStatus.CANCELED)
        self._end()

    def cancel_all(self) -> list[str]:
        """Cancel every live order and return the ids of those that were live."""
        open_orders = [order for order in self.blotter if order.is_live]
        for order in open_orders:
            if order.is_live:
                self.cancel(order.order_id)
        return [order.order_id for order in open_orders]

    def close_position(self, key: str, qty: Qty | None = None) -> Order:
        """Send a market order against the holding, or `qty` of it. Raises `VenueError`."""
        position = self.position(key)
        tif = TimeInForce.GTC if position.asset.is_crypto else TimeInForce.DAY
        size = qty if qty is not None else Qty(abs(position.qty))
        side = closing_side(position.qty)
        return self.submit(OrderRequest(position.asset.symbol, side, OrderType.MARKET, tif, size))

    def on_ticks(self, ticks: Sequence[Tick]) -> None:
        """Take quotes and trades in order: update the books, elect stops, match what is live."""
        self._begin()
        books, live = self._life.books, self.blotter.live
        for tick in ticks:
            book = books.get(tick.symbol) or self.book(tick.symbol)
            if isinstance(tick, Quote):
                book.take_quote(tick)
            else:
                book.take_trade(tick)
            if tick.symbol in live:
                self._life.sweep(tuple(live[tick.symbol]), tick)
        self._end()

    def advance(self) -> None:
        """Let time pass: wake orders that waited for the session, expire what has run out."""
        self._begin()
        for order in [order for orders in self.blotter.live.values() for order in orders]:
            if not order.is_live:
                continue
            outlives_day = self.clock.is_always and order.tif is TimeInForce.DAY
            if order.expires_ns <= self._life.t_ns and not outlives_day:
                self._life.end(order, OrderStatus.EXPIRED)
            elif order.status is OrderStatus.ACCEPTED and self._life.is_trading(order):
                self._life.release(order)
        self._end()

    def _begin(self) -> None:
        # Never backwards, whatever the injected clock does.
        self._life.t_ns = Ns(max(self._life.t_ns, self._now_ns()))

    def _end(self) -> None:
        """Look at the exposure of every symbol this operation changed."""
        for symbol in sorted(self._life.touched):
            qty = self.account.qty(symbol)
            bare = abs(qty) - protected_qty(self.blotter.live_of(symbol), qty) if qty else 0
            if (
                bare > 0
                and self.assets.add(symbol).is_crypto
                and mul_ceil(bare, self.mark(symbol)) < _DUST_USD
            ):
                bare = 0  # what the venue would take no order for cannot be protected
            self.exposure.note(symbol, self._life.t_ns, is_naked=bare > 0)
        self._life.touched.clear()

    def _standing(self, asset: Asset) -> Standing:
        book = self.book(asset.symbol)
        mark = book.mark()
        position = self.account.positions.get(asset.symbol)
        last_fill_ns = self._life.t_ns - position.updated_ns if position is not None else None
        return Standing(
            asset=asset,
            mark=mark,
            ask=book.ask or mark,
            bid=book.bid or mark,
            position_qty=position.qty if position is not None else Qty(0),
            live=tuple(self.blotter.live_of(asset.symbol)),
            funds=self.funds(),
            is_settling=last_fill_ns is not None and last_fill_ns < self.latency.settle_ns,
        )
