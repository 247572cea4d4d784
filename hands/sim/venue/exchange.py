"""The exchange: takes orders, matches them against the ticks it is given, and tells what happened.

Owns the one account, its books, orders and clock; synchronous, deterministic, without I/O: the clock is
injected, ids and random partial fills come from the seed. May not format anything for the wire. The one idea:
every public operation first does what fell due before it, each at its own time, then runs to its end (an entry's
last fill releases its legs, a target's fill cancels its stop) and leaves its events in the outbox.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from hands.core.units import NANO, Ns, Price, Qty, Usd, mul_ceil
from hands.core.vocab import OrderType, TimeInForce
from hands.sim.venue import admission, errors
from hands.sim.venue.account import Account, Funds, Position, closing_side
from hands.sim.venue.admission import Standing
from hands.sim.venue.amendments import Amendments
from hands.sim.venue.assets import Asset, AssetTable
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.calendar import MarketClock, Session
from hands.sim.venue.configurations import AccountFlags, Configurations
from hands.sim.venue.corporate import CorporateAction, CorporateActions
from hands.sim.venue.executions import Executions
from hands.sim.venue.exposure import Exposure, bare_qty
from hands.sim.venue.hours import TradingHours
from hands.sim.venue.lifecycle import Lifecycle
from hands.sim.venue.matching import Book
from hands.sim.venue.orders import NO_QTY, Order, OrderRequest, ReplaceRequest, TradeUpdate
from hands.sim.venue.quirks import IMMEDIATE, PLAIN, Latency, Quirks
from hands.sim.venue.schedule import Schedule
from hands.sim.venue.sessions import Sessions
from hands.sim.venue.tickets import write_successor, write_ticket
from hands.sim.venue.ticks import Notice, Status, Tick

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
        self.configurations = Configurations()
        self.flags = AccountFlags()
        self._multiplier = multiplier
        self.market_source: Callable[[str], Sequence[Tick]] | None = None
        self._schedule = Schedule()
        self._hours = TradingHours(self.clock)
        self._life = Lifecycle(
            self.blotter,
            Executions(self.account, self.blotter, chance),
            self._hours,
            self._schedule,
            sized=is_realistic,
            quirks=quirks,
            latency=latency,
        )
        self._life.t_ns = self.created_ns
        self._amendments = Amendments(self._life, self.blotter, self.clock, quirks=quirks, latency=latency)
        self._sessions = Sessions(self._life, self.account, self.blotter, self._hours, self._schedule, quirks)
        self._sessions.watch()
        self._corporate = CorporateActions(self._life, self.account, self.blotter, self.assets)

    def now_ns(self) -> Ns:
        return Ns(self._now_ns())

    def book(self, symbol: str) -> Book:
        """Return the book of `symbol`, listing the asset and opening an empty book for a new one."""
        book = self._life.books.get(symbol) or self._open_book(symbol)
        is_watched = symbol in self.blotter.live or symbol in self.account.positions
        if self.market_source is not None and not is_watched:
            for tick in self.market_source(symbol):
                book.take(tick)
        return book

    def _open_book(self, symbol: str) -> Book:
        self.assets.add(symbol)
        book = self._life.books[symbol] = Book(symbol)
        return book

    @property
    def watched(self) -> AbstractSet[str]:
        """The symbols with a live order or a holding: whose every tick the exchange has to see."""
        return self.blotter.live.keys() | self.account.positions.keys()

    @property
    def next_due_ns(self) -> Ns | None:
        """When `advance` next has something to do, None if nothing is promised. It may turn out to be nothing."""
        return self._schedule.next_due_ns

    @property
    def corporate_actions(self) -> Sequence[CorporateAction]:
        """The splits and renames so far."""
        return self._corporate.done

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

    def configure(self, changes: Mapping[str, Any]) -> Configurations:
        """Change the account's configurations and return them. Raises `VenueError` 422."""
        self.configurations = self.configurations.changed(changes)
        self.account.multiplier = min(self._multiplier, int(self.configurations.max_margin_multiplier))
        return self.configurations

    def take_updates(self) -> list[TradeUpdate]:
        """Return the events since the last call, oldest first."""
        return self.blotter.take_updates()

    def submit(self, request: OrderRequest) -> Order:
        """Take an order and return it as acknowledged: `pending_new`, or `accepted` if it has to wait for its session.

        Raises:
            VenueError: the venue does not take it; nothing has changed.
        """
        self._begin()
        admission.check_parameters(request, self.quirks)
        asset = admission.find_asset(request.symbol, self.assets)
        admission.check_client_order_id(self.blotter.with_client_id(request.client_order_id), self.quirks)
        admission.check_instrument(request, asset, self.quirks)
        standing = self._standing(asset)
        admission.check_market(request, standing)
        admission.check_account(request, standing)
        intent = admission.infer_intent(request.side, standing.position_qty)
        t_ns = self._life.t_ns
        order = write_ticket(
            request,
            asset,
            self.blotter,
            qty=admission.requested_qty(request, standing),
            intent=intent,
            ask=standing.ask,
            mark=standing.mark,
            t_ns=t_ns,
            expires_ns=self._hours.expires_ns(request.tif, t_ns, extended_hours=request.extended_hours),
        )
        self._life.take(order)
        acknowledged = order.snapshot()
        self._life.after(self.latency.ack_ns, lambda: self._life.release(order))
        self._end()
        return acknowledged

    def replace(self, order_id: str, request: ReplaceRequest) -> Order:
        """Replace a live order and return the new one as it was accepted. Raises `VenueError`."""
        self._begin()
        old = self.blotter.find(order_id)
        standing = self._standing(old.asset)
        admission.check_replace(old, request, standing)
        admission.check_client_order_id(self.blotter.with_client_id(request.client_order_id), self.quirks)
        t_ns = self._life.t_ns
        tif = request.tif
        new = write_successor(
            old,
            request,
            standing.ask,
            self.blotter,
            t_ns,
            expires_ns=self._hours.expires_ns(tif, t_ns, extended_hours=old.extended_hours) if tif else None,
            qty_is_total=self.quirks.replace_qty == "total",
        )
        admission.check_replacement(old, new, standing)
        replacement = self._amendments.replace(old, new, request)
        self._end()
        return replacement

    def cancel(self, order_id: str) -> None:
        """Cancel a live order and its group. Raises `VenueError` 404, or 422 when it is too late."""
        self._begin()
        self._amendments.cancel(self.blotter.find(order_id))
        self._end()

    def close_position(self, key: str, qty: Qty | None = None) -> Order:
        """Send a market order against the holding, or `qty` of it. Raises `VenueError`."""
        self._begin()
        position = self.position(key)
        tif = TimeInForce(self.quirks.close_crypto_tif) if position.asset.is_crypto else TimeInForce.DAY
        size = qty if qty is not None else Qty(abs(position.qty))
        side = closing_side(position.qty)
        return self.submit(OrderRequest(position.asset.symbol, side, OrderType.MARKET, tif, size))

    def on_ticks(self, ticks: Sequence[Tick]) -> None:
        """Take quotes and trades in order: update the books, elect stops, match what is live."""
        self._begin()
        books, live, halted = self._life.books, self.blotter.live, self._hours.halted
        for tick in ticks:
            symbol = tick.symbol
            book = books.get(symbol) or self._open_book(symbol)
            book.take(tick)
            if symbol in live and symbol not in halted:
                self._life.sweep(tuple(live[symbol]), tick)
        self._end()

    def see(self, tick: Tick) -> None:
        """Take a quote or print that can neither elect, fill nor queue an order that lives: only the book moves."""
        self._begin()
        book = self._life.books.get(tick.symbol) or self._open_book(tick.symbol)
        book.take(tick)

    def on_notice(self, notice: Notice) -> None:
        """Take a notice: halts stop a symbol and resumptions let it go on; what has filled stays as it is."""
        self._begin()
        if isinstance(notice, Status):
            self._sessions.take_status(notice)
        self._end()

    def advance(self) -> None:
        """Let time pass: do what is due up to now, each at its own time."""
        self._begin()
        self._end()

    def split(self, symbol: str, new: int, old: int) -> None:
        """Make `new` shares of every `old` and cancel the symbol's orders. Raises `CorporateActionError`."""
        self._begin()
        self._corporate.split(symbol, new, old)
        self._end()

    def rename(self, symbol: str, new_symbol: str) -> None:
        """Give a symbol another name and cancel its orders. Raises `CorporateActionError`."""
        self._begin()
        self._corporate.rename(symbol, new_symbol)
        self._end()

    def _begin(self) -> None:
        """Bring the exchange up to now, which is never before it was, whatever the injected clock does."""
        now_ns = max(self._life.t_ns, self._now_ns())
        while self._schedule.is_due(now_ns):
            due_ns, action = self._schedule.take()
            self._life.t_ns = Ns(max(self._life.t_ns, due_ns))
            action()
            self._end()
        self._life.t_ns = Ns(now_ns)

    def _end(self) -> None:
        """Look at the exposure of every symbol that was changed."""
        for symbol in sorted(self._life.touched):
            t_ns = self._life.t_ns
            bare = bare_qty(self.account.qty(symbol), self.blotter.live_of(symbol), t_ns)
            if self.assets.add(symbol).is_crypto and mul_ceil(bare, self.mark(symbol)) < _DUST_USD:
                bare = NO_QTY
            self.exposure.note(symbol, t_ns, is_naked=bare > 0)
        self._life.touched.clear()

    def _standing(self, asset: Asset) -> Standing:
        book, t_ns = self.book(asset.symbol), self._life.t_ns
        position = self.account.positions.get(asset.symbol)
        last_fill_ns = t_ns - position.updated_ns if position is not None else None
        session = Session.REGULAR if asset.is_crypto else self.clock.session(t_ns)
        bid, ask = admission.valuations(book, session)
        return Standing(
            asset=asset,
            t_ns=t_ns,
            clock=self.clock,
            mark=book.mark(),
            ask=ask,
            bid=bid,
            position_qty=position.qty if position is not None else Qty(0),
            live=tuple(self.blotter.live_of(asset.symbol)),
            funds=self.funds(),
            multiplier=self.account.multiplier,
            is_settling=last_fill_ns is not None and last_fill_ns < self.latency.settle_ns,
            is_halted=asset.symbol in self._hours.halted,
            quirks=self.quirks,
            configurations=self.configurations,
            flags=self.flags,
        )
