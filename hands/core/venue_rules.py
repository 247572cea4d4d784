"""What the venue accepts and the engine sends, as data: the shapes of orders, increments, sizes and fees.

Owns the engine's side of the rules; the simulator owns its own, and a test puts every combination of the words to both.
The one idea: what is not in `SENT` is not sent, every other shape has its reason in `REFUSED`, and the two never meet;
so a shape that nobody thought of is refused and not let through. An order that is replaced keeps its shape: only its
prices change. Sources: the venue's published rules, and the refusals it is known to give.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

import msgspec

from hands.core.units import (
    CENT,
    NANO,
    Price,
    Qty,
    Ratio,
    Usd,
    decimal_text,
    equity_tick,
    floor_to,
    mul_floor,
    usd_text,
)
from hands.core.vocab import AssetClass, OrderClass, OrderType, PositionIntent, TimeInForce

CRYPTO_TAKER_FEE = Ratio(2_500_000)
"""25 bps, the first tier, taken from the received asset: coins on a buy, dollars on a sale."""

CRYPTO_MIN_NOTIONAL = Usd(10 * NANO)
"""The venue's floor for an order's cost basis in crypto, whatever the asset's own minimum says."""

CRYPTO_MAX_NOTIONAL = Usd(200_000 * NANO)
"""The venue's ceiling for one crypto order."""

SHORT_MARGIN = Ratio(1_030_000_000)
"""The venue values an opening short at 1.03 x the ask when it checks buying power."""

SHORT_EQUITY_MIN = Usd(2_000 * NANO)
"""The venue lets no account short that is worth less."""

SELLABLE_MARGIN = Ratio(1_100_000_000)
"""A crypto position must be worth 1.1 x the minimum even at its worst exit, so that it can always be sold."""

LEG_ROOM = CENT
"""How far a bracket's stop and target must be from its limit and from the market."""


class Amount(StrEnum):
    """How much is asked for: whole units, parts of one, or dollars."""

    WHOLE = "whole"
    PARTS = "parts"
    DOLLARS = "dollars"


class Phase(StrEnum):
    """The part of an equity's day in which an order is sent (coins have but one)."""

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"
    CLOSED = "closed"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about an order but its symbol and its numbers."""

    asset_class: AssetClass
    order_class: OrderClass
    order_type: OrderType
    tif: TimeInForce
    effect: PositionIntent
    amount: Amount
    phase: Phase = Phase.REGULAR
    extended_hours: bool = False

    @property
    def words(self) -> str:
        return f"{self.asset_class} {self.order_class} {self.order_type} {self.tif}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A box of shapes: those whose every member is in the row's set of the same name; None takes all."""

    asset_class: frozenset[AssetClass] | None = None
    order_class: frozenset[OrderClass] | None = None
    order_type: frozenset[OrderType] | None = None
    tif: frozenset[TimeInForce] | None = None
    effect: frozenset[PositionIntent] | None = None
    amount: frozenset[Amount] | None = None
    phase: frozenset[Phase] | None = None
    extended_hours: frozenset[bool] | None = None

    def holds(self, shape: Shape) -> bool:
        """Whether the shape is in the box."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(shape), strict=False)
        return all(members is None or member in members for members, member in pairs)


class Refused(Row, frozen=True, kw_only=True):
    """A box of shapes that are not sent, and why not. `ours`: the venue would take some; the engine is stricter."""

    why: str
    source: str
    ours: bool = False


_EQUITY, _CRYPTO = AssetClass.EQUITY, AssetClass.CRYPTO
_IN_EQUITIES, _IN_CRYPTO = frozenset({_EQUITY}), frozenset({_CRYPTO})
_OPENING = frozenset({PositionIntent.BUY_TO_OPEN, PositionIntent.SELL_TO_OPEN})
_CLOSING = frozenset({PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE})
_SIMPLE = frozenset({OrderClass.SIMPLE})
_GROUPS = frozenset(OrderClass) - _SIMPLE
_ENTRY_GROUPS = frozenset({OrderClass.BRACKET, OrderClass.OTO})
_MARKET, _LIMIT = frozenset({OrderType.MARKET}), frozenset({OrderType.LIMIT})
_TRAILING = frozenset({OrderType.TRAILING_STOP})
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
_DAY, _GTC = frozenset({TimeInForce.DAY}), frozenset({TimeInForce.GTC})
_CRYPTO_TIF = frozenset({TimeInForce.GTC, TimeInForce.IOC})
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_WHOLE, _UNITS = frozenset({Amount.WHOLE}), frozenset({Amount.WHOLE, Amount.PARTS})
_NOT_WHOLE = frozenset(Amount) - _WHOLE
_PLAIN = frozenset({False})

SENT: dict[str, Row] = {
    "an entry in shares": Row(
        asset_class=_IN_EQUITIES, order_class=frozenset({OrderClass.BRACKET}), order_type=_LIMIT, tif=_GTC,
        effect=_OPENING, amount=_WHOLE, phase=frozenset({Phase.REGULAR}), extended_hours=_PLAIN,
    ),
    "the protection of shares": Row(
        asset_class=_IN_EQUITIES, order_class=frozenset({OrderClass.OCO}), order_type=_LIMIT, tif=_GTC,
        effect=_CLOSING, amount=_WHOLE, extended_hours=_PLAIN,
    ),
    "an exit from shares": Row(
        asset_class=_IN_EQUITIES, order_class=_SIMPLE, order_type=frozenset(OrderType) - _TRAILING, tif=_DAY | _GTC,
        effect=_CLOSING, amount=_WHOLE, extended_hours=_PLAIN,
    ),
    "an entry in coins": Row(
        asset_class=_IN_CRYPTO, order_class=_SIMPLE, order_type=_LIMIT, tif=_CRYPTO_TIF,
        effect=frozenset({PositionIntent.BUY_TO_OPEN}), amount=_UNITS, extended_hours=_PLAIN,
    ),
    "an exit from coins": Row(
        asset_class=_IN_CRYPTO, order_class=_SIMPLE, order_type=_MARKET | _LIMIT, tif=_CRYPTO_TIF,
        effect=frozenset({PositionIntent.SELL_TO_CLOSE}), amount=_UNITS, extended_hours=_PLAIN,
    ),
    "the protection of coins": Row(
        asset_class=_IN_CRYPTO, order_class=_SIMPLE, order_type=frozenset({OrderType.STOP_LIMIT}), tif=_GTC,
        effect=frozenset({PositionIntent.SELL_TO_CLOSE}), amount=_UNITS, extended_hours=_PLAIN,
    ),
}  # fmt: skip
"""Every shape the engine may send. What is not here is not sent, and `REFUSED` says why."""

REFUSED: tuple[Refused, ...] = (
    # the venue's own
    Refused(why="crypto takes no bracket, OCO or OTO", source="422 crypto orders not allowed for advanced order_class",
            asset_class=_IN_CRYPTO, order_class=_GROUPS),
    Refused(why="crypto takes market, limit and stop-limit orders only", source="422 invalid order type for crypto order",
            asset_class=_IN_CRYPTO, order_type=frozenset({OrderType.STOP, OrderType.TRAILING_STOP})),
    Refused(why="crypto takes gtc and ioc only", source="422 invalid crypto time_in_force",
            asset_class=_IN_CRYPTO, tif=frozenset(TimeInForce) - _CRYPTO_TIF),
    Refused(why="crypto has no extended hours", source="not documented; the simulator refuses it",
            asset_class=_IN_CRYPTO, extended_hours=frozenset({True})),
    Refused(why="crypto cannot be sold short", source="403 insufficient balance; the crypto trading page",
            asset_class=_IN_CRYPTO, effect=frozenset({PositionIntent.SELL_TO_OPEN, PositionIntent.BUY_TO_CLOSE})),
    Refused(why="parts of a share are day orders", source="422 fractional orders must be DAY orders",
            asset_class=_IN_EQUITIES, amount=_NOT_WHOLE, tif=frozenset(TimeInForce) - _DAY),
    Refused(why="parts of a share are simple orders", source="422 fractional orders must be simple orders",
            asset_class=_IN_EQUITIES, amount=_NOT_WHOLE, order_class=_GROUPS),
    Refused(why="parts of a share cannot be sold short", source="422 fractional orders cannot be sold short",
            asset_class=_IN_EQUITIES, amount=_NOT_WHOLE, effect=frozenset({PositionIntent.SELL_TO_OPEN})),
    Refused(why="parts of a share do not trail", source="the table of times in force and types",
            asset_class=_IN_EQUITIES, amount=_NOT_WHOLE, order_type=_TRAILING),
    Refused(why="stops in equities are day or gtc", source="the table of times in force and types",
            asset_class=_IN_EQUITIES, order_type=_STOPS, tif=_AUCTIONS | _AT_ONCE),
    Refused(why="brackets, OCO and OTO are day or gtc", source="the order classes' page",
            asset_class=_IN_EQUITIES, order_class=_GROUPS, tif=_AUCTIONS | _AT_ONCE),
    Refused(why="brackets, OCO and OTO have no extended hours", source="the order classes' page",
            asset_class=_IN_EQUITIES, order_class=_GROUPS, extended_hours=frozenset({True})),
    Refused(why="brackets and OTO begin with a market or limit order", source="the order classes' page",
            asset_class=_IN_EQUITIES, order_class=_ENTRY_GROUPS, order_type=_STOPS),
    Refused(why="an OCO is a limit order with a stop beside it", source="the order classes' page: type must be limit",
            asset_class=_IN_EQUITIES, order_class=frozenset({OrderClass.OCO}), order_type=frozenset(OrderType) - _LIMIT),
    Refused(why="brackets and OTO are entries", source="422 bracket orders must be entry orders",
            asset_class=_IN_EQUITIES, order_class=_ENTRY_GROUPS, effect=_CLOSING),
    Refused(why="an OCO is an exit", source="422 oco orders must be exit orders",
            asset_class=_IN_EQUITIES, order_class=frozenset({OrderClass.OCO}), effect=_OPENING),
    Refused(why="extended hours take limit orders only", source="422 extended hours order must be DAY or GTC limit orders",
            asset_class=_IN_EQUITIES, order_type=frozenset(OrderType) - _LIMIT, extended_hours=frozenset({True})),
    Refused(why="extended hours take day and gtc only", source="422 extended hours order must be DAY or GTC limit orders",
            asset_class=_IN_EQUITIES, tif=_AUCTIONS | _AT_ONCE, extended_hours=frozenset({True})),
    # stricter than the venue
    Refused(ours=True, why="no position is held for an auction", source="its hours are not the engine's",
            asset_class=_IN_EQUITIES, tif=_AUCTIONS),
    Refused(ours=True, why="not every account may send ioc and fok in equities", source="documented: contact sales",
            asset_class=_IN_EQUITIES, tif=_AT_ONCE),
    Refused(ours=True, why="the engine trails no stop at the venue", source="a bracket's legs cannot trail",
            order_type=_TRAILING),
    Refused(ours=True, why="a trade is protected on both sides", source="the engine's own rule",
            order_class=frozenset({OrderClass.OTO})),
    Refused(ours=True, why="equities trade in the regular session only", source="the engine's own rule",
            asset_class=_IN_EQUITIES, extended_hours=frozenset({True})),
    Refused(ours=True, why="equities trade in whole shares", source="parts cannot be bracketed; not every asset has them",
            asset_class=_IN_EQUITIES, amount=_NOT_WHOLE),
    Refused(ours=True, why="orders are for quantities", source="dollars bound no quantity that could be protected",
            amount=frozenset({Amount.DOLLARS})),
    Refused(ours=True, why="shares are entered with their bracket", source="a simple entry would be naked",
            asset_class=_IN_EQUITIES, order_class=_SIMPLE, effect=_OPENING),
    Refused(ours=True, why="entries are limit orders", source="the engine's own rule: no price, no entry",
            order_type=frozenset(OrderType) - _LIMIT, effect=_OPENING),
    Refused(ours=True, why="protection outlives the day", source="a day order's legs expire with the session",
            asset_class=_IN_EQUITIES, order_class=_GROUPS, tif=_DAY),
    Refused(ours=True, why="shares are entered in the regular session", source="queued, it would fill at another time's price",
            asset_class=_IN_EQUITIES, effect=_OPENING, phase=frozenset(Phase) - {Phase.REGULAR}),
    Refused(ours=True, why="a stop that is cancelled at once protects nothing", source="ioc does not rest",
            asset_class=_IN_CRYPTO, order_type=frozenset({OrderType.STOP_LIMIT}), tif=frozenset({TimeInForce.IOC})),
)  # fmt: skip
"""Why every other shape is not sent: first what the venue refuses, with its words, then where the engine is stricter."""


@cache
def illegal(shape: Shape) -> str | None:
    """Return why such an order is not sent, None if it may be. What no row speaks of is not sent either."""
    if any(row.holds(shape) for row in SENT.values()):
        return None
    return next((row.why for row in REFUSED if row.holds(shape)), "the venue's rules do not speak of it")


def amount_of(qty: int) -> Amount:
    """Return whether a quantity is whole units."""
    return Amount.PARTS if qty % NANO else Amount.WHOLE


def entry_shape(asset_class: AssetClass, *, long: bool, qty: int = NANO) -> Shape:
    """Return how an entry is sent: a GTC bracket where the venue keeps one (its legs then outlive the day)."""
    return _ENTRIES[asset_class, long, qty % NANO == 0]


_ENTRIES = {
    (asset_class, long, whole): Shape(
        asset_class=asset_class,
        order_class=OrderClass.BRACKET if asset_class is _EQUITY else OrderClass.SIMPLE,
        order_type=OrderType.LIMIT,
        tif=TimeInForce.GTC,
        effect=PositionIntent.BUY_TO_OPEN if long else PositionIntent.SELL_TO_OPEN,
        amount=Amount.WHOLE if whole else Amount.PARTS,
    )
    for asset_class in AssetClass
    for long in (True, False)
    for whole in (True, False)
}


def legs_room(limit: int, stop: int, target: int, market: tuple[int, int] | None, *, long: bool) -> int:
    """Return how far stop and target are from what the venue holds them against: the limit, and bid and ask."""
    low = high = limit
    if market is not None:
        low, high = min(limit, market[0]), max(limit, market[1])
    return min(low - stop, target - high) if long else min(stop - high, low - target)


def off_increment(asset_class: AssetClass, price: int, increment: int | None) -> bool:
    """Whether a price is none that the venue takes: not above nothing, or between two increments."""
    return price <= 0 or price % price_tick(asset_class, price, increment) != 0


def wrong_size(asset_class: AssetClass, qty: int, price: int, *, lot: int, least: int) -> str | None:
    """Return why the venue would refuse an order for its size alone, None if it would not."""
    if qty <= 0 or qty % lot:
        return f"{decimal_text(qty)} is not a multiple of {decimal_text(lot)}"
    if qty < least:
        return f"{decimal_text(qty)} is less than the asset's smallest order of {decimal_text(least)}"
    cost = mul_floor(price, qty)
    if asset_class is _CRYPTO and not CRYPTO_MIN_NOTIONAL <= cost <= CRYPTO_MAX_NOTIONAL:
        between = f"between {usd_text(CRYPTO_MIN_NOTIONAL)} and {usd_text(CRYPTO_MAX_NOTIONAL)}"
        return f"{usd_text(cost)} USD is not {between}, what the venue takes of coins"
    return None


_NO_FEE = Ratio(0)


def fee_rate(asset_class: AssetClass) -> Ratio:
    """Return the share of an execution's value that the venue keeps (equities: none)."""
    return CRYPTO_TAKER_FEE if asset_class is _CRYPTO else _NO_FEE


def price_tick(asset_class: AssetClass, price: int, increment: int | None) -> Price:
    """Return the price increment in force at `price`; `increment` is the asset's own, where it states one."""
    return equity_tick(price) if asset_class is _EQUITY else Price(increment or 1)


def received_qty(asset_class: AssetClass, filled: int, lot: int) -> Qty:
    """Return what a buy of `filled` leaves at worst after the fee taken in coins, floored to a lot."""
    if asset_class is AssetClass.EQUITY:
        return Qty(filled)
    return Qty(floor_to(filled * (NANO - CRYPTO_TAKER_FEE) // NANO, lot))
