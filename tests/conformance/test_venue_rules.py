"""The engine's table of what is sent against the simulator's own rules, by enumeration.

The two are written independently and share only their words, so a disagreement is a defect of one of them. Every
combination of asset class, order class, type, time in force, position intent, amount, part of the day and extended
hours is put to both: the engine may be stricter than the venue, where a row says so, and is never looser.
"""

from __future__ import annotations

import ast
import datetime as dt
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import msgspec
import pytest

from hands.core import checks, exits
from hands.core.moving import MOVABLE
from hands.core.units import CENT, NANO, NS_PER_S, Ns, Price, Qty, Usd, nano
from hands.core.venue_rules import (
    CRYPTO_MAX_NOTIONAL,
    CRYPTO_MIN_NOTIONAL,
    LEG_ROOM,
    REFUSED,
    SENT,
    Amount,
    Phase,
    Refused,
    Shape,
    amount_of,
    entry_shape,
    illegal,
    legs_room,
    off_increment,
    wrong_size,
)
from hands.core.vocab import AssetClass, OrderClass, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import NOT_REPLACEABLE, OrderRequest, ReplaceRequest
from hands.sim.venue.quirks import Quirks
from hands.sim.venue.ticks import Quote

EQUITY, CRYPTO = AssetClass.EQUITY, AssetClass.CRYPTO
SYMBOLS = {EQUITY: "AAPL", CRYPTO: "SOL/USD"}
HELD = Qty(20 * NANO)
NOON = dt.datetime(2026, 11, 24, 12, 0, tzinfo=NEW_YORK)
MOMENTS = {
    Phase.PRE: dt.datetime(2026, 11, 25, 9, 0, tzinfo=NEW_YORK),
    Phase.REGULAR: dt.datetime(2026, 11, 25, 12, 0, tzinfo=NEW_YORK),
    Phase.POST: dt.datetime(2026, 11, 25, 17, 0, tzinfo=NEW_YORK),
    Phase.CLOSED: dt.datetime(2026, 11, 25, 2, 0, tzinfo=NEW_YORK),
}
SELLS = (PositionIntent.SELL_TO_OPEN, PositionIntent.SELL_TO_CLOSE)
CLOSES = (PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE)
SHAPES = [
    Shape(
        asset_class=facts[0],
        order_class=facts[1],
        order_type=facts[2],
        tif=facts[3],
        effect=facts[4],
        amount=facts[5],
        phase=facts[6],
        extended_hours=facts[7],
    )
    for facts in product(
        AssetClass, OrderClass, OrderType, TimeInForce, PositionIntent, Amount, Phase, (False, True)
    )
]


def price(text: str) -> Price:
    return Price(nano(text))


class Venue:
    """Exchanges at 149.98/150.00 that hold 20 of a symbol or owe them; one is used until it has taken an order."""

    def __init__(self, quirks: Quirks | None = None) -> None:
        self._quirks = quirks or Quirks()
        self._ready: dict[tuple[AssetClass, int, Phase], Exchange] = {}

    def refusal(self, shape: Shape) -> str | None:
        """Return the simulator's refusal of such an order, None where it is accepted."""
        return self.answer(shape, request(shape))

    def answer(self, shape: Shape, order: OrderRequest) -> str | None:
        """Return the refusal of one order in the market and with the holding of such a shape."""
        held = 0 if shape.effect not in CLOSES else 1 if shape.effect in SELLS else -1
        if held < 0 and shape.asset_class is CRYPTO:
            held = 0  # nobody can owe coins
        key = shape.asset_class, held, shape.phase
        exchange = self._ready.pop(key, None) or self._open(*key)
        try:
            exchange.submit(order)
        except VenueError as refusal:
            self._ready[key] = exchange  # nothing has changed
            return str(refusal.message)
        return None

    def _open(self, asset_class: AssetClass, held: int, phase: Phase) -> Exchange:
        now = [NOON]
        exchange = Exchange(
            lambda: int(now[0].timestamp()) * NS_PER_S,
            cash_usd=Usd(nano("1000000")),
            session="calendar",
            quirks=self._quirks,
        )
        symbol, size = SYMBOLS[asset_class], Qty(nano("100000"))
        quote = Quote(
            symbol, price("149.98"), price("150.00"), size, size, Ns(int(NOON.timestamp()) * NS_PER_S)
        )
        exchange.on_ticks([quote])
        if held:
            tif = TimeInForce.GTC if asset_class is CRYPTO else TimeInForce.DAY
            side = Side.BUY if held > 0 else Side.SELL
            exchange.submit(OrderRequest(symbol, side, OrderType.MARKET, tif, HELD))
        now[0] = MOMENTS[phase]
        return exchange


def request(shape: Shape, **changes: Any) -> OrderRequest:
    """Return such an order, with prices that fit: a refusal is then about its shape and not about its numbers."""
    sell = shape.effect in SELLS
    fields: dict[str, Any] = {"order_class": shape.order_class, "position_intent": shape.effect}
    if shape.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        fields["limit_price"] = price("149" if sell else "151")
    if shape.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
        fields["stop_price"] = price("149" if sell else "151")
    if shape.order_type is OrderType.TRAILING_STOP:
        fields["trail_price"] = price("5")
    if shape.order_class in (OrderClass.BRACKET, OrderClass.OTO):
        fields["stop_loss_stop_price"] = price("160" if sell else "140")
    if shape.order_class is OrderClass.BRACKET:
        fields["take_profit_limit_price"] = price("140" if sell else "160")
    if shape.order_class is OrderClass.OCO:
        fields.pop("limit_price", None)
        fields["take_profit_limit_price"] = price("160" if sell else "140")
        fields["stop_loss_stop_price"] = price("140" if sell else "160")
    if shape.amount is Amount.DOLLARS:
        fields["notional"] = Usd(nano("1500"))
    else:
        fields["qty"] = Qty(10 * NANO + (NANO // 2 if shape.amount is Amount.PARTS else 0))
    fields |= {"extended_hours": shape.extended_hours} | changes
    side = Side.SELL if sell else Side.BUY
    return OrderRequest(SYMBOLS[shape.asset_class], side, shape.order_type, shape.tif, **fields)


# --- the table -------------------------------------------------------------------------------------------------


@cache
def reasons() -> list[tuple[Shape, list[Refused]]]:
    """Every shape with the rows that speak against it."""
    return [(shape, [row for row in REFUSED if row.holds(shape)]) for shape in SHAPES]


def test_every_shape_is_either_sent_or_has_its_reason_and_none_both() -> None:
    for shape, rows in reasons():
        sent = [name for name, row in SENT.items() if row.holds(shape)]
        assert len(sent) <= 1, (shape, sent)
        assert bool(sent) is not bool(rows), (shape, sent, rows)
        assert illegal(shape) == (None if sent else rows[0].why)


@pytest.mark.parametrize("row", REFUSED, ids=[row.why for row in REFUSED])
def test_no_row_could_be_left_out(row: Refused) -> None:
    assert any(
        row in rows and all(other is row or (other.ours and not row.ours) for other in rows)
        for _, rows in reasons()
    )


def test_what_no_row_speaks_of_is_not_sent() -> None:
    shape = msgspec.structs.replace(entry_shape(EQUITY, long=True), tif="tomorrow")  # type: ignore[arg-type]
    assert illegal(shape) == "the venue's rules do not speak of it"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("asset_class", AssetClass)
def test_the_venue_takes_what_is_sent_and_refuses_what_the_rows_say_it_refuses(
    asset_class: AssetClass, phase: Phase
) -> None:
    venue = Venue()
    wrong = []
    for shape, rows in reasons():
        refused = any(not row.ours for row in rows)
        if shape.asset_class is asset_class and shape.phase is phase and (refused or not rows):
            theirs = venue.refusal(shape)
            if (theirs is None) is refused:
                wrong.append((shape, illegal(shape), theirs))
    assert not wrong, f"{len(wrong)}, the first: {wrong[0]}"


def test_the_strictest_venue_there_may_be_takes_what_is_sent() -> None:
    venue = Venue(
        Quirks(extended_tif="day", ioc_fok="refused", auctions="refused", bracket_additions="refused")
    )
    sent = [shape for shape, rows in reasons() if not rows]
    assert len(sent) > 50
    assert {shape: said for shape in sent if (said := venue.refusal(shape)) is not None} == {}


@pytest.mark.parametrize("row", [row for row in REFUSED if row.ours], ids=lambda row: row.why)
def test_where_the_engine_is_stricter_the_venue_would_take_some(row: Refused) -> None:
    venue = Venue()
    assert any(
        venue.refusal(shape) is None
        for shape, rows in reasons()
        if row in rows and all(other.ours for other in rows)
    )


# --- numbers ---------------------------------------------------------------------------------------------------

BUY_SHARES, BUY_COINS = (
    entry_shape(EQUITY, long=True),
    entry_shape(CRYPTO, long=True, qty=NANO // 2),
)


@pytest.mark.parametrize(
    ("asset_class", "text", "off"),
    [
        (EQUITY, "150.01", False),
        (EQUITY, "150.001", True),
        (EQUITY, "1.00", False),
        (EQUITY, "1.0001", True),
        (EQUITY, "0.9999", False),
        (EQUITY, "0.99999", True),
        (EQUITY, "0", True),
        (CRYPTO, "150.01", False),
        (CRYPTO, "0", True),
        (CRYPTO, "150.000000001", True),
    ],
)
def test_prices_between_two_increments_are_refused_by_both(
    asset_class: AssetClass, text: str, off: bool
) -> None:
    shape = msgspec.structs.replace(
        entry_shape(asset_class, long=True), order_class=OrderClass.SIMPLE, tif=TimeInForce.GTC
    )
    exchange = Venue()._open(asset_class, 0, Phase.REGULAR)
    increment = exchange.assets.get(SYMBOLS[asset_class]).price_increment if asset_class is CRYPTO else None
    assert off_increment(asset_class, nano(text), increment) is off
    said = Venue().answer(shape, request(shape, limit_price=price(text)))
    assert (said is not None and ("increment" in said or "> 0" in said)) is off


@pytest.mark.parametrize(
    ("qty", "refused"),
    [("0.0624999", True), ("0.0625", False), ("1250", False), ("1250.00001", True), ("0", True)],
)
def test_the_smallest_and_the_largest_order_in_coins(qty: str, refused: bool) -> None:
    """At 160: 10 and 200 000 dollars."""
    ours = wrong_size(CRYPTO, nano(qty), nano("160"), lot=1, least=1)
    theirs = Venue().answer(BUY_COINS, request(BUY_COINS, qty=Qty(nano(qty)), limit_price=price("160")))
    assert (ours is not None) is refused
    assert (theirs is not None) is refused
    assert (CRYPTO_MIN_NOTIONAL, CRYPTO_MAX_NOTIONAL) == (10 * NANO, 200_000 * NANO)


@pytest.mark.parametrize(
    ("qty", "lot", "least", "wrong"),
    [("10", "1", "1", False), ("10.5", "1", "1", True), ("-1", "1", "1", True), ("0", "1", "0", True), ("2", "1", "3", True), ("3", "1", "3", False)],
)  # fmt: skip
def test_sizes_are_whole_lots_and_not_too_small(qty: str, lot: str, least: str, wrong: bool) -> None:
    assert (wrong_size(EQUITY, nano(qty), nano("150"), lot=nano(lot), least=nano(least)) is not None) is wrong
    assert amount_of(nano(qty)) is (Amount.PARTS if "." in qty else Amount.WHOLE)


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("leg", ["stop", "target"])
@pytest.mark.parametrize("limit", ["149.90", "150.10"])
def test_legs_a_cent_from_limit_and_market_are_taken_and_nearer_ones_are_not(
    limit: str, leg: str, off: int, long: bool
) -> None:
    """The venue holds the stop against the market too, and the target against the limit; the engine both against both."""
    bid, ask, at = nano("149.98"), nano("150.00"), nano(limit)
    sign = 1 if long else -1
    near = {"stop": min(at, bid) if long else max(at, ask), "target": max(at, ask) if long else min(at, bid)}[
        leg
    ]
    leg_price = near + (-sign if leg == "stop" else sign) * (CENT + off * CENT)
    stop = leg_price if leg == "stop" else near - sign * 10 * NANO
    target = leg_price if leg == "target" else near + sign * 10 * NANO
    ours = legs_room(at, stop, target, (bid, ask), long=long) >= LEG_ROOM
    assert ours is (off >= 0)
    shape = entry_shape(EQUITY, long=long)
    theirs = Venue().answer(
        shape,
        request(
            shape,
            limit_price=Price(at),
            stop_loss_stop_price=Price(stop),
            take_profit_limit_price=Price(target),
        ),
    )
    assert theirs is None or not ours


# --- what is moved ----------------------------------------------------------------------------------------------


MOVED = {
    "a bracket's stop": (entry_shape(EQUITY, long=True), "stop_loss", {"stop_price": "141"}),
    "a bracket's target": (entry_shape(EQUITY, long=True), "take_profit", {"limit_price": "161"}),
    "an OCO's stop": (OrderClass.OCO, "stop_loss", {"stop_price": "141"}),
    "an OCO's target": (OrderClass.OCO, "take_profit", {"limit_price": "161"}),
    "a plain stop": (OrderType.STOP, None, {"stop_price": "141"}),
    "a coin's stop-limit": (OrderType.STOP_LIMIT, None, {"stop_price": "141", "limit_price": "140"}),
}


@pytest.mark.parametrize("leg_status", ["held", "new"])
@pytest.mark.parametrize("case", MOVED)
def test_what_the_engine_moves_the_venue_replaces(case: str, leg_status: str) -> None:
    """By prices and a name alone, in a status in which the engine asks for it; what it replaces keeps its quantity."""
    what, leg, prices = MOVED[case]
    exchange = Venue(Quirks(stop_leg_status=leg_status))._open(
        CRYPTO if what is OrderType.STOP_LIMIT else EQUITY, 0 if isinstance(what, Shape) else 1, Phase.REGULAR
    )
    symbol = SYMBOLS[CRYPTO if what is OrderType.STOP_LIMIT else EQUITY]
    gtc, qty = TimeInForce.GTC, Qty(19 * NANO)
    legs = {"stop_loss_stop_price": price("140"), "take_profit_limit_price": price("160")}
    if isinstance(what, Shape):
        made = OrderRequest(
            symbol, Side.BUY, OrderType.LIMIT, gtc, qty, price("151"), order_class=what.order_class, **legs
        )
    elif what is OrderClass.OCO:
        made = OrderRequest(symbol, Side.SELL, OrderType.LIMIT, gtc, qty, order_class=what, **legs)
    else:
        limit = price("139") if what is OrderType.STOP_LIMIT else None
        made = OrderRequest(symbol, Side.SELL, what, gtc, qty, limit, price("140"))
    head = exchange.blotter.find(exchange.submit(made).order_id)
    old = head if leg is None or head.group is None else getattr(head.group, leg)
    assert old.status in MOVABLE
    new = exchange.replace(
        old.order_id,
        ReplaceRequest(client_order_id="ours", **{name: price(text) for name, text in prices.items()}),
    )
    assert (new.client_order_id, new.qty, new.replaces) == ("ours", old.qty, old.order_id)
    assert {name: getattr(new, name) for name in prices} == {n: price(t) for n, t in prices.items()}
    assert not set(MOVABLE) & NOT_REPLACEABLE


# --- everything that is sent -----------------------------------------------------------------------------------


def exits_made() -> Iterator[tuple[OrderClass, OrderType, TimeInForce]]:
    """Yield class, type and time in force of every reducing order that `exits` can make, from its source."""
    for call in ast.walk(ast.parse(inspect.getsource(exits))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "_reducing":
            words = {each.arg: ast.unparse(each.value).rpartition(".")[2] for each in call.keywords}
            order_class = OrderClass[words.get("order_class", "SIMPLE")]
            yield order_class, OrderType[words["order_type"]], TimeInForce[words["time_in_force"]]


EXITS = {
    (OrderClass.OCO, OrderType.LIMIT, TimeInForce.GTC): EQUITY,
    (OrderClass.SIMPLE, OrderType.STOP, TimeInForce.GTC): EQUITY,
    (OrderClass.SIMPLE, OrderType.MARKET, TimeInForce.DAY): EQUITY,
    (OrderClass.SIMPLE, OrderType.STOP_LIMIT, TimeInForce.GTC): CRYPTO,
    (OrderClass.SIMPLE, OrderType.MARKET, TimeInForce.IOC): CRYPTO,
    (OrderClass.SIMPLE, OrderType.LIMIT, TimeInForce.IOC): CRYPTO,
}


def test_every_order_the_engine_can_make_is_in_the_table() -> None:
    assert set(exits_made()) == set(EXITS)
    for (order_class, order_type, tif), asset_class in EXITS.items():
        effects = CLOSES if asset_class is EQUITY else (PositionIntent.SELL_TO_CLOSE,)
        amounts = (Amount.WHOLE,) if asset_class is EQUITY else (Amount.WHOLE, Amount.PARTS)
        for effect, amount, phase in product(effects, amounts, Phase):
            shape = Shape(
                asset_class=asset_class, order_class=order_class, order_type=order_type, tif=tif, effect=effect,
                amount=amount, phase=phase,
            )  # fmt: skip
            assert illegal(shape) is None, shape
    entries = {key for key, why in checks.ILLEGAL_ENTRIES.items() if why is None}
    assert entries == {(False, True), (False, False), (True, True)}
