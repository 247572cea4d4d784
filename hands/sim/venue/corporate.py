"""Corporate actions, on demand: splits and changes of symbol.

Owns what they do to orders, the holding and the book. The rules:

- every open order of the symbol is canceled. The venue says so of gtc orders; a day order does not live through the
  night in which these things happen, and would be for a quantity or a name that is no more;
- a split multiplies the quantity and divides every known price of the book; the cost stays. Where whole shares were
  held, whole shares are held afterwards, and the fraction left over is paid out (of a short: bought back) at the
  last known price, with its share of the cost;
- after a rename the holding and the market are those of the new symbol, and the old one can no longer be traded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hands.core.units import NANO, Ns, Price, Qty, Usd, div_ceil, div_half_up, floor_to
from hands.core.vocab import OrderStatus
from hands.sim.venue.account import Account, Position
from hands.sim.venue.assets import Asset, AssetTable
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.lifecycle import Lifecycle
from hands.sim.venue.matching import Book


class CorporateActionError(ValueError):
    """The action makes no sense for this symbol; nothing has changed."""


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """One action as it was carried out: `new` for `old` shares, 1 for 1 in a rename; `cash` was paid for fractions."""

    symbol: str
    new_symbol: str
    new: int
    old: int
    qty_before: Qty
    qty_after: Qty
    cash: Usd
    t_ns: Ns


class CorporateActions:
    """Carries them out; `done` is the record."""

    def __init__(self, life: Lifecycle, account: Account, blotter: Blotter, assets: AssetTable) -> None:
        self.done: list[CorporateAction] = []
        self._life = life
        self._account = account
        self._blotter = blotter
        self._assets = assets

    def split(self, symbol: str, new: int, old: int) -> None:
        """Make `new` shares of every `old`. Raises `CorporateActionError`."""
        asset = self._listed(symbol)
        if asset.is_crypto or new <= 0 or old <= 0:
            raise CorporateActionError(f"{asset.symbol} cannot be split {new} for {old}")
        self._cancel_orders(asset.symbol)
        book = self._life.books.get(asset.symbol)
        before, cash = self._account.qty(asset.symbol), 0
        position = self._account.positions.get(asset.symbol)
        if position is not None:
            cash = self._split_position(position, new, old, book.mark() if book is not None else Price(0))
        if book is not None:
            _split_book(book, asset, new, old)
        self._note(asset.symbol, asset.symbol, new, old, before, cash)

    def _split_position(self, position: Position, new: int, old: int, price: Price) -> int:
        """Split the holding and return the cash paid for the fraction; negative if that was bought back."""
        symbol, exact = position.asset.symbol, abs(position.qty) * new
        lot = 1 if position.qty % NANO else NANO
        kept = floor_to(exact // old, lot)
        # In old shares the fraction is (exact - kept * old) / new, each worth `price`.
        is_long, worth = position.qty > 0, (exact - kept * old) * price
        cash = worth // (new * NANO) if is_long else -div_ceil(worth, new * NANO)
        self._account.cash = Usd(self._account.cash + cash)
        position.cost = Usd(position.cost * kept * old // exact)
        position.day_cost = Usd(position.day_cost * kept * old // exact)
        position.qty = Qty(kept if is_long else -kept)
        position.updated_ns = self._life.t_ns
        if not kept:
            del self._account.positions[symbol]
        return cash

    def rename(self, symbol: str, new_symbol: str) -> None:
        """Give a symbol another name. Raises `CorporateActionError`."""
        asset = self._listed(symbol)
        old = asset.symbol
        if new_symbol == old or ("/" in new_symbol) != asset.is_crypto:
            raise CorporateActionError(f"{old} cannot be renamed to {new_symbol!r}")
        if new_symbol in self._account.positions or self._blotter.live_of(new_symbol):
            raise CorporateActionError(f"{new_symbol} has a holding or orders of its own")
        self._cancel_orders(old)
        successor = self._assets.rename(asset, new_symbol)
        qty = self._account.qty(old)
        position = self._account.positions.pop(old, None)
        if position is not None:
            position.asset, position.updated_ns = successor, self._life.t_ns
            self._account.positions[new_symbol] = position
        book = self._life.books.get(old)
        if book is not None and not self._life.books.get(new_symbol, Book(new_symbol)).mark():
            self._life.books[new_symbol] = replace(book, symbol=new_symbol)
        self._note(old, new_symbol, 1, 1, qty, 0)

    def _listed(self, symbol: str) -> Asset:
        asset = self._assets.find(symbol)
        if asset is None:
            raise CorporateActionError(f"no asset {symbol!r}")
        return asset

    def _cancel_orders(self, symbol: str) -> None:
        for order in tuple(self._blotter.live_of(symbol)):
            if order.is_live:
                self._life.end(order, OrderStatus.CANCELED)

    def _note(self, symbol: str, new_symbol: str, new: int, old: int, before: Qty, cash: int) -> None:
        self._life.touched |= {symbol, new_symbol}
        after = self._account.qty(new_symbol)
        self.done.append(
            CorporateAction(symbol, new_symbol, new, old, before, after, Usd(cash), self._life.t_ns)
        )


def _split_book(book: Book, asset: Asset, new: int, old: int) -> None:
    for name in ("bid", "ask", "last", "reference", "close"):
        price = div_half_up(getattr(book, name) * old, new)
        tick = asset.tick(price)
        setattr(book, name, Price(div_half_up(price, tick) * tick))
    for name in ("bid_left", "ask_left", "last_left"):
        setattr(book, name, Qty(getattr(book, name) * new // old))
