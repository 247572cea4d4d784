"""The exchange of a replay: the simulator's own, shown only as much of the market as can matter to it.

Owns the exchange, its clock, and which rows it has seen. May not know of an engine. The one idea: before anything
happens at the exchange it is shown the newest quote and print of every symbol that is concerned, each at its own time;
in between, only the rows that can matter to an order that works (`hands.replay.reach`). With `every_row` it is shown all
of them, which takes a hundred times as long and must come to the same: a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hands.core.rows import ROW, RowFlag, RowKind
from hands.core.units import Ns, Price, Qty, Usd, mul_floor
from hands.replay import reach
from hands.sim.venue.account import Position
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Order, TradeUpdate
from hands.sim.venue.ticks import Quote, Tick, Trade

LOOK_AHEAD = 8_192
"""Rows looked through at once for one that matters: they are then still in the processor's cache for the engine."""

QUOTE, PRINT = 0, 1
"""What is kept of each symbol: its newest quote, and its newest print that counts."""

_KINDS = {int(RowKind.QUOTE): QUOTE, int(RowKind.TRADE): PRINT}
_RECV_NS = list(ROW.names or ()).index("recv_ns")
_NO_ORDERS = np.empty((0, reach.WIDTH), np.int64)


class Holding(NamedTuple):
    """What the account holds when it begins; a short one has a negative `qty`."""

    symbol: str
    qty: Qty
    avg_price: Price
    mark: Price


class Floor:
    """One account at one exchange, and the rows of the chunk in hand. Times in nanoseconds of the replay's clock."""

    def __init__(
        self,
        symbols: Sequence[str],
        now_ns: int,
        *,
        cash_usd: int,
        seed: int,
        fills: str,
        session: str,
        multiplier: int = 2,
        random_partials: bool = True,
        every_row: bool = False,
    ) -> None:
        self.now_ns = now_ns
        self._symbols = tuple(symbols)
        self._index = {symbol: number for number, symbol in enumerate(symbols)}
        self._is_sized = fills == "realistic"
        self._every_row = every_row
        self.exchange = Exchange(
            lambda: self.now_ns,
            symbols=symbols,
            cash_usd=cash_usd,  # type: ignore[arg-type]
            seed=seed,
            fills=fills,
            session=session,
            multiplier=multiplier,
            random_partials=random_partials,
        )
        self.ticks_shown = 0
        self._why = np.zeros(len(symbols), np.uint8)
        self._orders = _NO_ORDERS
        self._rows = np.empty(0, ROW)
        self._base = 0  # how many rows came before this chunk's first
        self._upto = 0
        self._looked = [0] * len(symbols)  # up to which row of the chunk a symbol was looked at
        self._clear_upto, self._matters = 0, False  # no row before it can matter; whether it does itself
        self._newest = np.zeros((len(symbols), 2), ROW)  # the newest quote and print known of each symbol
        self._numbers = np.full(
            (len(symbols), 2), -1, np.int64
        )  # which rows of the market they are, -1: none
        self._shown = [[-1, -1] for _ in symbols]  # the newest that the exchange has seen
        self._found = np.empty(2, np.int64)
        self._seen = np.zeros((len(symbols), 2), np.uint8)

    def begin_with(self, holdings: Iterable[Holding]) -> None:
        """Let the account hold something from before, and be worth what it then is."""
        exchange = self.exchange
        for symbol, qty, avg_price, mark in holdings:
            cost = Usd(mul_floor(abs(qty), avg_price))
            asset = exchange.assets.add(symbol)
            position = Position(asset, qty, cost, cost, Ns(self.now_ns))
            exchange.account.positions[symbol] = position
            exchange.book(symbol).take(Trade(symbol, mark, Qty(0), Ns(self.now_ns), 0))
        exchange.opening_equity_usd = exchange.funds().equity

    # --- the market ----------------------------------------------------------------------------------------

    def begin_chunk(self, rows: np.ndarray, *, keep: bool) -> None:
        """Go on with the next rows; with `keep` the newest of the last ones are kept, to be shown when it matters."""
        if keep and len(self._rows) and not self._every_row:
            count = len(self._rows)
            reach.keep_newest(self._rows, count, self._base, self._newest, self._numbers, self._seen)
        self._base += len(self._rows)
        self._rows = rows
        self._upto = 0
        self._looked = [0] * len(self._symbols)
        self._look_anew()

    def next_row(self, start: int, stop: int) -> int:
        """Return the first row of [start, stop) that the exchange or a strategy must see, `stop` if there is none."""
        if self._every_row:
            return start
        if not self._watching:
            return stop
        if stop > self._clear_upto and not (self._matters and start <= self._clear_upto):
            first = max(start, self._clear_upto)
            end = min(len(self._rows), max(stop, first + LOOK_AHEAD))
            found = int(reach.next_row(self._rows, first, end, self._why, self._orders, self._is_sized))
            self._clear_upto, self._matters = found, found < end
        return min(stop, self._clear_upto)

    def _look_anew(self) -> None:
        """Forget which rows cannot matter: what works, or the rows themselves, have changed."""
        self._clear_upto, self._matters = 0, False

    @property
    def is_watching(self) -> bool:
        """Whether rows have to be looked at before the engine consumes them."""
        return self._every_row or self._watching

    _watching = False

    def passed(self, upto: int) -> None:
        """Say up to where the market has come."""
        self._upto = upto

    def show_row(self, number: int) -> None:
        """Show the exchange one row, and first what of its symbol came before it and was not shown."""
        row = self._rows[number]
        sym, kind = int(row["sym"]), _KINDS.get(int(row["kind"]))
        self._upto = number
        if kind is None or not 0 <= sym < len(self._symbols):
            return
        if not self._every_row:
            self._catch_up(sym)
        if kind == QUOTE or _is_print(row):
            self._note(sym, kind, number)
            self._show(sym, kind, matters=True)

    def strategy_waits(self, sym: int, waits: bool) -> None:
        """Have the next row of a symbol looked at, or not any more."""
        if waits:
            self._why[sym] |= reach.BY_STRATEGY
        else:
            self._why[sym] &= ~np.uint8(reach.BY_STRATEGY)
        self._look_anew()
        self._watching = bool(self._why.any())

    def strategy_row(self, number: int) -> int | None:
        """Return the symbol of a row that a strategy waits for, None for any other row."""
        sym = int(self._rows[number]["sym"])
        return sym if 0 <= sym < len(self._why) and self._why[sym] & reach.BY_STRATEGY else None

    def catch_up(self, *symbols: str) -> None:
        """Show the newest quote and print of these symbols, and of all in which something is held or working."""
        if self._every_row:
            return
        for symbol in sorted({*symbols, *self.exchange.watched}):
            if (sym := self._index.get(symbol)) is not None:
                self._catch_up(sym)

    def _catch_up(self, sym: int) -> None:
        since = self._looked[sym]
        if since < self._upto:
            reach.latest(self._rows, since, self._upto, sym, self._found)
            for kind, at in enumerate(self._found.tolist()):
                if at >= 0:
                    self._note(sym, kind, at)
            self._looked[sym] = self._upto
        numbers = self._numbers
        in_order = (QUOTE, PRINT) if numbers.item(sym, QUOTE) < numbers.item(sym, PRINT) else (PRINT, QUOTE)
        for kind in in_order:
            self._show(sym, kind, matters=False)

    def _note(self, sym: int, kind: int, at: int) -> None:
        """Make a row of this chunk the newest of its kind, if it is."""
        if self._base + at > self._numbers.item(sym, kind):
            self._newest[sym, kind] = self._rows[at]
            self._numbers[sym, kind] = self._base + at

    def _show(self, sym: int, kind: int, *, matters: bool) -> None:
        """Show the newest quote or print, at the time at which it was received: what is due later waits its turn.

        One that is only caught up with cannot matter: it would have been found, and shown when it came.
        """
        number, shown = self._numbers.item(sym, kind), self._shown[sym]
        if number == shown[kind]:
            return
        shown[kind] = number
        row: Any = self._newest.item(sym, kind)
        now_ns = self.now_ns
        self.now_ns = row[_RECV_NS]
        tick = _tick(row, self._symbols[sym], kind)
        if matters:
            self.exchange.on_ticks((tick,))
        else:
            self.exchange.see(tick)
        self.ticks_shown += 1
        self.now_ns = now_ns

    def latest_quote(self, symbol: str) -> np.void | None:
        """Return the row of a symbol's latest quote, None before the first. Call `catch_up` first."""
        sym = self._index.get(symbol)
        return None if sym is None or self._numbers[sym, QUOTE] < 0 else self._newest[sym, QUOTE]

    # --- the exchange --------------------------------------------------------------------------------------

    def take_updates(self) -> list[TradeUpdate]:
        """Return what the exchange has to tell since the last call; and look anew which rows can matter."""
        self._watch()
        return self.exchange.take_updates()

    def _watch(self) -> None:
        """Note down every order that works, and what could happen to it."""
        found = []
        self._look_anew()
        clock = self.exchange.clock
        for symbol, orders in self.exchange.blotter.live.items():
            is_open = "/" in symbol or clock.is_always or clock.at(self.now_ns).is_open
            sym = self._index.get(symbol)
            if (
                sym is None or not is_open
            ):  # nothing trades before its session changes, and then we are called
                continue
            found += [row for order in orders if (row := _watched(sym, order)) is not None]
        self._why &= np.uint8(reach.BY_STRATEGY)
        if found:
            self._orders = np.array(found, np.int64)
            self._why[self._orders[:, reach.SYM]] |= reach.BY_ORDERS
        else:
            self._orders = _NO_ORDERS
        self._watching = bool(self._why.any())


def _watched(sym: int, order: Order) -> tuple[int, ...] | None:
    """Return what `reach` needs of an order, None for one that no row can touch."""
    sells = int(order.side == "sell")
    coin = int(order.asset.is_crypto)
    if order.awaits_election:
        if order.stop_price is None:
            return sym, reach.ANY, sells, 0, 0, coin
        return sym, reach.STOP, sells, order.stop_price, 0, coin
    if not order.can_trade:
        return None
    limit = order.worst_price
    if limit is None:
        return sym, reach.ANY, sells, 0, 0, coin
    ahead = reach.NO_PLACE if order.queue_ahead is None else order.queue_ahead
    return sym, reach.LIMIT, sells, limit, ahead, coin


def _is_print(row: np.void) -> bool:
    return bool(row["flags"] & RowFlag.ELIGIBLE) and _nano(float(row["price"])) > 0


def _tick(row: tuple[Any, ...], symbol: str, kind: int) -> Tick:
    """Return a row's values as the exchange takes them."""
    _, _, _, _, price, size, price2, size2, venue_ns, _, trade_id = row
    bid, bid_size = Price(_nano(price)), Qty(_nano(size))
    if kind == PRINT:
        return Trade(symbol, bid, bid_size, Ns(venue_ns), trade_id)
    return Quote(symbol, bid, Price(_nano(price2)), bid_size, Qty(_nano(size2)), Ns(venue_ns))


def _nano(amount: float) -> int:
    """Return an amount of a row in nano-units, 0 for what is no amount."""
    return round(amount * 1e9) if 0.0 < amount <= reach.AMOUNT_MAX else 0
