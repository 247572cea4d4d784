"""The engine's table of what the venue accepts against the simulator's own rules, by enumeration.

The two are written independently and share only their words, so a disagreement is a defect of one of them, unless
it is one of the few that are meant. Every combination of asset class, order class, type, time in force, direction
and whole or broken quantity is put to both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, Usd, nano
from hands.core.venue_rules import illegal
from hands.core.vocab import AssetClass, OrderClass, OrderType, Side, TimeInForce
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import OrderRequest
from hands.sim.venue.ticks import Quote

SYMBOLS = {AssetClass.EQUITY: "AAPL", AssetClass.CRYPTO: "SOL/USD"}
WHOLE, BROKEN = Qty(10 * NANO), Qty(10 * NANO + NANO // 2)
IN_SESSION = dt.datetime(2026, 11, 24, 12, 0, tzinfo=NEW_YORK)
BEFORE_THE_OPENING = dt.datetime(2026, 11, 25, 9, 0, tzinfo=NEW_YORK)
"""When orders are taken for either auction, and the others queue."""


@dataclass(frozen=True)
class Combination:
    asset_class: AssetClass
    order_class: OrderClass
    kind: OrderType
    tif: TimeInForce
    short: bool
    qty: Qty

    @property
    def is_broken_equity(self) -> bool:
        return self.asset_class is AssetClass.EQUITY and self.qty == BROKEN

    def __str__(self) -> str:
        words = [self.asset_class, self.order_class, self.kind, self.tif]
        return "-".join(
            [*words, "short" if self.short else "long", "whole" if self.qty == WHOLE else "broken"]
        )


COMBINATIONS = [
    Combination(*facts)
    for facts in product(AssetClass, OrderClass, OrderType, TimeInForce, (False, True), (WHOLE, BROKEN))
    if not (facts[1] is OrderClass.OCO and facts[4])  # an OCO is an exit: it opens nothing
]

Difference = tuple[str, Callable[[Combination], bool]]
NEVER_SENT: tuple[Difference, ...] = (
    ("the engine holds no position for an auction", lambda c: c.tif in (TimeInForce.OPG, TimeInForce.CLS)),
    ("the engine trails stops itself", lambda c: c.kind is OrderType.TRAILING_STOP),
    ("the engine protects both ways or with a stop of its own", lambda c: c.order_class is OrderClass.OTO),
)
"""What the venue takes and the engine's table does not know: on purpose."""
NEVER_MADE: tuple[Difference, ...] = (
    (
        "a lot of shares is one share, so that sizing makes no broken quantity for the table to refuse",
        lambda c: c.is_broken_equity and c.order_class is OrderClass.SIMPLE and c.tif is not TimeInForce.DAY,
    ),
)
"""What the engine's table lets pass and the venue refuses: it cannot come up."""


def price(text: str) -> Price:
    return Price(nano(text))


def exchange_with(symbol: str, held: Qty) -> Exchange:
    """An exchange before the opening, at 149.98/150.00, that holds `held` units of the symbol for us."""
    moment = IN_SESSION
    exchange = Exchange(
        lambda: int(moment.timestamp()) * NS_PER_S, cash_usd=Usd(nano("1000000")), session="calendar"
    )
    size, t_ns = Qty(nano("100000")), Ns(int(moment.timestamp()) * NS_PER_S)
    exchange.on_ticks([Quote(symbol, price("149.98"), price("150.00"), size, size, t_ns)])
    if held:
        tif = TimeInForce.GTC if "/" in symbol else TimeInForce.DAY
        exchange.submit(OrderRequest(symbol, Side.BUY, OrderType.MARKET, tif, held))
    moment = BEFORE_THE_OPENING
    return exchange


def fitting(order_class: OrderClass, kind: OrderType, *, sell: bool) -> dict[str, Any]:
    """Prices that such an order would have; so a refusal is about its shape and not about its numbers."""
    fields: dict[str, Any] = {"order_class": order_class}
    if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        fields["limit_price"] = price("149" if sell else "151")
    if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
        fields["stop_price"] = price("149" if sell else "151")
    if kind is OrderType.TRAILING_STOP:
        fields["trail_price"] = price("5")
    if order_class in (OrderClass.BRACKET, OrderClass.OTO):
        fields["stop_loss_stop_price"] = price("160" if sell else "140")
    if order_class is OrderClass.BRACKET:
        fields["take_profit_limit_price"] = price("140" if sell else "160")
    if order_class is OrderClass.OCO:
        fields.pop("limit_price", None)
        fields["take_profit_limit_price"] = price("160")
        fields["stop_loss_stop_price"] = price("140")
    return fields


def venue_says(case: Combination) -> str | None:
    """Return the simulator's refusal of such an order, None where it is accepted."""
    symbol = SYMBOLS[case.asset_class]
    exit_only = case.order_class is OrderClass.OCO
    exchange = exchange_with(symbol, held=case.qty if exit_only else Qty(0))
    side = Side.SELL if exit_only or case.short else Side.BUY
    fields = fitting(case.order_class, case.kind, sell=side is Side.SELL)
    try:
        exchange.submit(OrderRequest(symbol, side, case.kind, case.tif, case.qty, **fields))
    except VenueError as refusal:
        return str(refusal.message)
    return None


def engine_says(case: Combination) -> str | None:
    return illegal(case.asset_class, case.order_class, case.kind, case.tif, case.qty, short=case.short)


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_what_the_engine_holds_for_legal_the_venue_accepts_and_the_reverse(case: Combination) -> None:
    ours, theirs = engine_says(case), venue_says(case)
    if (ours is None) == (theirs is None):
        return
    meant = NEVER_SENT if theirs is None else NEVER_MADE
    assert any(covers(case) for _, covers in meant), f"we say {ours!r}, the venue says {theirs!r}"


@pytest.mark.parametrize(
    ("taken_by_the_venue", "why", "covers"),
    [(True, *difference) for difference in NEVER_SENT] + [(False, *difference) for difference in NEVER_MADE],
)
def test_a_difference_that_is_meant_exists(
    taken_by_the_venue: bool, why: str, covers: Callable[[Combination], bool]
) -> None:
    differing = [
        case for case in COMBINATIONS if covers(case) and (engine_says(case) is None) != taken_by_the_venue
    ]
    assert any((venue_says(case) is None) == taken_by_the_venue for case in differing), why


def test_the_enumeration_meets_both_answers() -> None:
    said = [engine_says(case) is None for case in COMBINATIONS]
    assert said.count(True) > 40
    assert said.count(False) > 600
