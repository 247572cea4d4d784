"""What the account and the market look like to one order, and what the order would cost as they stand.

Owns `Standing` and the valuation of an order; refuses nothing. The rule of valuation: a market order counts at the
far side of the quote while the session is open, at its middle in extended hours and at the last print when the
market is closed; a limit order at its limit; an opening short sale at 3 % above the ask at least; a buy stop at
the price it is protected with when elected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hands.core.units import NANO, Ns, Price, Qty, Usd, ceil_to, mul_ceil
from hands.core.vocab import OrderType, PositionIntent, Side
from hands.sim.venue.account import Funds
from hands.sim.venue.assets import Asset
from hands.sim.venue.calendar import MarketClock, Session
from hands.sim.venue.configurations import AccountFlags, Configurations
from hands.sim.venue.matching import Book, reserve_price
from hands.sim.venue.orders import Order, OrderRequest
from hands.sim.venue.quirks import Quirks

CRYPTO_COST_MIN: Final = Usd(10 * NANO)


@dataclass(frozen=True, slots=True)
class Standing:
    """One order's view: its market, holding, open orders of the symbol, funds, and what has been set."""

    asset: Asset
    t_ns: Ns
    clock: MarketClock
    mark: Price
    ask: Price
    """What a buyer is reckoned to pay (`valuations`), 0 if nobody knows; `bid`: what a seller is to get."""
    bid: Price
    position_qty: Qty
    live: Sequence[Order]
    funds: Funds
    multiplier: int
    is_settling: bool
    """Whether the books have not yet caught up with a fill."""
    is_halted: bool
    quirks: Quirks
    configurations: Configurations
    flags: AccountFlags

    @property
    def spendable(self) -> Usd:
        """What may be spent on this asset: buying power, without the broker's money where it is not marginable."""
        funds = self.funds
        return funds.buying_power if self.asset.marginable else funds.non_marginable_buying_power


def valuations(book: Book, session: Session) -> tuple[Price, Price]:
    """Return (bid, ask): what a seller gets and a buyer pays as the session has it; 0 if there is no price."""
    mark = book.mark()
    if session is Session.REGULAR:
        return book.bid or mark, book.ask or mark
    middle = Price((book.bid + book.ask) // 2) if book.bid and book.ask else mark
    price = middle if session is Session.EXTENDED else book.last or mark
    return price, price


def infer_intent(side: Side, position_qty: int) -> PositionIntent:
    """Return what an order of `side` does to the holding."""
    if side is Side.BUY:
        return PositionIntent.BUY_TO_CLOSE if position_qty < 0 else PositionIntent.BUY_TO_OPEN
    return PositionIntent.SELL_TO_CLOSE if position_qty > 0 else PositionIntent.SELL_TO_OPEN


def reduces(side: Side, position_qty: int) -> bool:
    """Return whether an order of `side` is against the holding."""
    return position_qty < 0 if side is Side.BUY else position_qty > 0


def is_fractional(request: OrderRequest) -> bool:
    """Return whether the order asks for part of a share: by quantity, or by dollars."""
    return request.notional is not None or request.qty % NANO != 0


def traded_price(request: OrderRequest, standing: Standing) -> Price:
    """Return what one unit is reckoned to trade at: the limit, or the far side; 0 if nobody knows."""
    return request.limit_price or (standing.ask if request.side is Side.BUY else standing.bid)


def requested_qty(request: OrderRequest, standing: Standing) -> Qty:
    """Return the quantity asked for; of an order in dollars what they buy, 0 where there is no price.

    A purchase is reckoned by what it may cost, a sale by what it may bring: neither is larger than was looked at.
    """
    if request.notional is None:
        return request.qty
    price = traded_price(request, standing)
    if request.side is Side.BUY:
        price = reserve_price(
            request.order_type, Side.BUY, request.limit_price, request.stop_price, standing.ask
        )
    return Qty(request.notional * NANO // price) if price else Qty(0)


def cost_basis(request: OrderRequest, standing: Standing) -> Usd:
    """Return what the order is worth at the price it is reckoned to trade at."""
    return request.notional or Usd(mul_ceil(request.qty, traded_price(request, standing)))


def opening_cost(request: OrderRequest, standing: Standing) -> Usd:
    """Return what the order may cost at most, all of it opening: what it will hold back while it is open."""
    if request.notional is not None:
        return request.notional
    stop = request.stop_price
    if request.order_type is OrderType.TRAILING_STOP:
        stop = _first_stop(request, standing.asset, standing.mark)
    price = reserve_price(request.order_type, request.side, request.limit_price, stop, standing.ask)
    return Usd(mul_ceil(request.qty, price))


def _first_stop(request: OrderRequest, asset: Asset, mark: Price) -> Price | None:
    """Return where a buy's trailing stop begins, None without a market: it only ever comes down from there."""
    if not mark:
        return None
    trail = request.trail_price or mark * (request.trail_percent or 0) // (100 * NANO)
    return Price(ceil_to(mark + trail, asset.tick(mark + trail)))
