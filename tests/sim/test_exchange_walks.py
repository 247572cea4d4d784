"""Long walks through the exchange: they look before they act, and so get where blind scripts seldom do.

The audit of `exchange_world` goes along; at the end every class of order must have been through every status.
`HANDS_SOAK=1` walks further.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
from typing import Any

import pytest

from hands.core.units import CENT, NANO, NS_PER_MS, Price, Qty, Ratio, Usd
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import OrderRequest, ReplaceRequest
from hands.sim.venue.quirks import Latency, Quirks, catalogue
from tests.sim.exchange_world import IS_SOAK, SYMBOLS, S, World


class Walk(World):
    """A long run that looks at the exchange before it acts, so that it gets where blind scripts seldom do."""

    def __init__(self, seed: int, **options: Any) -> None:
        self.random = random.Random(seed)
        self.mid = dict.fromkeys(SYMBOLS, 10_000)
        super().__init__(seed=seed, **options)

    def price(self, symbol: str, low: int, high: int) -> Price:
        return Price((self.mid[symbol] + self.random.randint(low, high)) * CENT)

    def step(self) -> None:
        self.t_ns += self.random.randint(1, 50) * NS_PER_MS
        symbol = self.random.choice(SYMBOLS)
        moves = [self.quote, self.quote, self.quote, self.trade, self.trade, self.simple, self.bracket]
        moves += [self.oco, self.coin_stop, self.trail, self.dollars, self.replace, self.replace]
        moves += [self.close, self.cancel, self.part, self.part] if self.random.random() < 0.2 else []
        if self.random.random() < 0.02:
            moves = [self.halt, self.split, self.sleep]
        self.random.choice(moves)(symbol)

    def quote(self, symbol: str) -> None:
        self.mid[symbol] = max(5_000, self.mid[symbol] + self.random.randint(-60, 60))
        bid, spread = Price(self.mid[symbol] * CENT), self.random.randint(1, 10)
        self.act(("quote", symbol, bid, spread, self.random.randint(1, 60)))

    def trade(self, symbol: str) -> None:
        self.act(("trade", symbol, self.price(symbol, -80, 80), self.random.randint(1, 60)))

    def simple(self, symbol: str) -> None:
        is_limit = self.random.random() < 0.7
        tif = self.random.choice([TimeInForce.GTC, TimeInForce.IOC])
        kind = OrderType.LIMIT if is_limit else OrderType.MARKET
        limit = self.price(symbol, -50, 50) if is_limit else None
        qty = Qty(self.random.randint(1, 40) * NANO)
        self.exchange.submit(OrderRequest(symbol, self.random.choice(list(Side)), kind, tif, qty, limit))

    def dollars(self, symbol: str) -> None:
        tif = TimeInForce.DAY if symbol == "AAPL" else TimeInForce.GTC
        amount = Usd(self.random.randint(10 * NANO, 2_000 * NANO))
        side = self.random.choice(list(Side))
        self.exchange.submit(OrderRequest(symbol, side, OrderType.MARKET, tif, notional=amount))

    def trail(self, _: str) -> None:
        trail = Price(self.random.randint(20, 100) * CENT)
        held = self.exchange.account.qty("AAPL")
        side, qty = (Side.SELL if held > 0 else Side.BUY), Qty(NANO)
        self.exchange.submit(
            OrderRequest("AAPL", side, OrderType.TRAILING_STOP, TimeInForce.GTC, qty, trail_price=trail)
        )

    def bracket(self, _: str) -> None:
        side = self.random.choice(list(Side))
        sign = 1 if side is Side.BUY else -1
        is_oto = self.random.random() < 0.3
        self.exchange.submit(
            OrderRequest(
                "AAPL",
                side,
                OrderType.LIMIT,
                TimeInForce.GTC,
                Qty(self.random.randint(1, 60) * NANO),
                limit_price=self.price("AAPL", -10, 20),
                order_class=OrderClass.OTO if is_oto else OrderClass.BRACKET,
                take_profit_limit_price=None if is_oto else self.price("AAPL", sign * 120, sign * 120),
                stop_loss_stop_price=self.price("AAPL", -sign * 120, -sign * 120),
            )
        )

    def oco(self, _: str) -> None:
        held = self.exchange.account.qty("AAPL")
        if abs(held) < 2 * NANO:
            return
        sign = 1 if held > 0 else -1
        self.exchange.submit(
            OrderRequest(
                "AAPL",
                Side.SELL if held > 0 else Side.BUY,
                OrderType.LIMIT,
                TimeInForce.GTC,
                Qty(abs(held) // 2 // NANO * NANO),
                order_class=OrderClass.OCO,
                take_profit_limit_price=self.price("AAPL", sign * 90, sign * 90),
                stop_loss_stop_price=self.price("AAPL", -sign * 90, -sign * 90),
            )
        )

    def coin_stop(self, _: str) -> None:
        qty = self.exchange.account.qty("BTC/USD")
        if not qty:
            return
        stop, limit = self.price("BTC/USD", -50, -50), self.price("BTC/USD", -200, -150)
        request = OrderRequest("BTC/USD", Side.SELL, OrderType.STOP_LIMIT, TimeInForce.GTC, qty, limit, stop)
        self.exchange.submit(request)

    def replace(self, symbol: str) -> None:
        live = self.exchange.blotter.live_of(symbol)
        if live:
            order = self.random.choice(live)
            price = Price(
                (order.stop_price or order.limit_price or CENT) + self.random.randint(-40, 40) * CENT
            )
            change = (
                ReplaceRequest(trail=Ratio(self.random.randint(20, 100) * CENT))
                if order.order_type is OrderType.TRAILING_STOP
                else ReplaceRequest(stop_price=price)
                if order.stop_price
                else ReplaceRequest(limit_price=price)
            )
            if self.random.random() < 0.3:
                change.qty = order.qty
            self.exchange.replace(order.order_id, change)

    def cancel(self, symbol: str) -> None:
        live = self.exchange.blotter.live_of(symbol)
        if live:
            self.exchange.cancel(self.random.choice(live).order_id)

    def close(self, symbol: str) -> None:
        for order in list(self.exchange.blotter):
            if order.is_live and order.status is not S.PENDING_REPLACE:
                self.exchange.cancel(order.order_id)
        self.exchange.close_position(symbol)

    def part(self, symbol: str) -> None:
        """Close a part of the holding at the market, whatever waits for it to be complete."""
        held = abs(self.exchange.account.qty(symbol))
        self.exchange.close_position(symbol, Qty(max(NANO, held // 3 // NANO * NANO)))

    def halt(self, _: str) -> None:
        self.act(("halt", "H"))
        self.quote("AAPL")
        self.act(("halt", "T"))

    def split(self, _: str) -> None:
        self.act(("split", (self.random.choice([(2, 1), (1, 2), (3, 2)]))))
        self.mid["AAPL"] = max(5_000, int(self.exchange.mark("AAPL")) // CENT)

    def sleep(self, _: str) -> None:
        self.act(("wait", self.random.choice([1_000, 3_600_000])))


SLOW = Latency.of_ms(ack=20, fill=10, cancel=60, replace=40)
# With additions refused there would hardly be a group left to look at.
OTHER_WAY = dataclasses.replace(
    Quirks.of({name: entry.allowed[-1] for name, entry in catalogue().items()}), bracket_additions="accepted"
)
REPLACING = {S.REPLACED, S.PENDING_REPLACE}
"""What no order of an OTO becomes: the venue documents that it replaces none."""
WALKS: dict[str, dict[str, Any]] = {
    "instant": {"fills": "instant"},
    "realistic": {"fills": "realistic"},
    "slow": {"fills": "realistic", "latency": SLOW},
    "the other way": {"fills": "realistic", "latency": SLOW, "quirks": OTHER_WAY},
}


@pytest.mark.parametrize("options", WALKS.values(), ids=WALKS.keys())
def test_long_walks_keep_the_books_and_reach_every_corner(options):
    seen: set[tuple[OrderClass, OrderStatus]] = set()
    for seed in range(100 if IS_SOAK else 15):
        walk = Walk(seed, **options)
        for n in range(250):
            with contextlib.suppress(VenueError):
                walk.step()
            if n % 5 == 0:
                walk.audit()
        walk.audit()
        seen.update(
            (order.order_class, status) for order in walk.exchange.blotter for _, status in order.history
        )
    wanted = [S.FILLED, S.CANCELED, S.REPLACED]
    wanted += [S.PARTIALLY_FILLED] if options["fills"] == "realistic" else []
    wanted += [S.PENDING_CANCEL, S.PENDING_REPLACE] if "latency" in options else []
    missing = [
        (order_class, status)
        for order_class in OrderClass
        for status in wanted
        if (order_class, status) not in seen
        and (order_class is not OrderClass.OTO or status not in REPLACING)
    ]
    assert missing == []
