"""What a replay's engine is told is what a live one would be told over the wire, and what it asks is what it would send."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from hands.core.commands import ReplaceOrder
from hands.core.orders import ReducingOrder
from hands.core.reducing import Holding, reducing_order
from hands.core.units import NANO, Ns, Price, Qty, Usd, nano
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderType, Side, TimeInForce
from hands.replay import translation
from hands.sim.server import rest_parse
from hands.sim.server.activities import activity_json
from hands.sim.server.rest_json import account_json, asset_json, order_json, position_json, update_json
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import OrderRequest
from hands.sim.venue.ticks import Quote
from hands.venues.alpaca import decode, encode
from tests.replay.markets import NOON

SLASHES = {"SOLUSD": "SOL/USD"}


class Moment:
    """An exchange with a filled bracket, a working sale of coins, a refusal and a replaced stop behind it."""

    def __init__(self) -> None:
        self.now_ns = NOON
        self.exchange = Exchange(lambda: self.now_ns, symbols=("AAPL", "SOL/USD"), fills="instant")
        self.show("AAPL", "149.98", "150.00")
        self.show("SOL/USD", "149.95", "150.00")
        exchange = self.exchange
        self.acknowledged = exchange.submit(self.bracket("hands-a"))
        exchange.submit(self.coins("hands-b", Side.BUY))
        exchange.submit(self.coins("hands-c", Side.SELL, qty="1", limit="160"))
        stop = next(o for o in exchange.blotter.live_of("AAPL") if o.stop_price is not None)
        self.replaced = exchange.replace(
            stop.order_id,
            translation.replace_request(
                ReplaceOrder(
                    order_id=stop.order_id,
                    client_order_id=stop.client_order_id,
                    new_client_order_id="hands-d",
                    stop_price=Price(nano("148.5")),
                )
            ),
        )
        self.updates = exchange.take_updates()

    def show(self, symbol: str, bid: str, ask: str) -> None:
        size = Qty(1_000 * NANO)
        self.exchange.on_ticks(
            (Quote(symbol, Price(nano(bid)), Price(nano(ask)), size, size, Ns(self.now_ns)),)
        )

    @staticmethod
    def bracket(client_id: str) -> OrderRequest:
        return OrderRequest(
            "AAPL", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, Qty(10 * NANO), limit_price=Price(nano("150.15")),
            order_class=OrderClass.BRACKET, take_profit_limit_price=Price(nano("155")),
            stop_loss_stop_price=Price(nano("148")), client_order_id=client_id,
        )  # fmt: skip

    @staticmethod
    def coins(client_id: str, side: Side, qty: str = "2.5", limit: str = "150.1") -> OrderRequest:
        return OrderRequest(
            "SOL/USD", side, OrderType.LIMIT, TimeInForce.GTC, Qty(nano(qty)), limit_price=Price(nano(limit)),
            client_order_id=client_id,
        )  # fmt: skip


@pytest.fixture(scope="module")
def moment() -> Moment:
    return Moment()


def test_orders_are_told_as_over_the_wire(moment: Moment) -> None:
    orders = [moment.acknowledged, *(order.snapshot() for order in moment.exchange.blotter)]
    assert any(order.legs for order in orders)
    for order in orders:
        told = decode.decode_order(orjson.dumps(order_json(order)), SLASHES)
        assert translation.venue_order(order) == told
        alone = decode.decode_order(orjson.dumps(order_json(order, nested=False)), SLASHES)
        assert translation.venue_order(order, nested=False) == alone


def test_trade_updates_are_told_as_over_the_wire(moment: Moment) -> None:
    events = set()
    for update in moment.updates:
        document = msgspec.json.decode(orjson.dumps(update_json(update)), type=dict)
        assert translation.order_report(update, NOON) == decode.order_report_from(document, SLASHES, NOON)
        events.add(update.event)
    assert {"pending_new", "new", "fill", "replaced"} <= events


def test_account_positions_and_assets_are_told_as_over_the_wire(moment: Moment) -> None:
    exchange = moment.exchange
    told = decode.decode_account(orjson.dumps(account_json(exchange)), asked_ns=NOON, ts_ns=NOON + 5)
    ours = translation.account_report(exchange, asked_ns=NOON, ts_ns=NOON + 5)
    assert msgspec.structs.replace(ours, account_number=told.account_number) == told
    held = exchange.account.positions.values()
    document = orjson.dumps([position_json(position, exchange) for position in held])
    assert [translation.position(each, exchange) for each in held] == decode.decode_positions(
        document, SLASHES
    )
    assert len(held) == 2
    for symbol in ("AAPL", "SOL/USD", "GME", "MULN", "ZZZ"):
        asset = exchange.assets.add(symbol)
        assert translation.asset(asset) == decode.decode_asset(orjson.dumps(asset_json(asset)))


def test_fills_are_listed_as_over_the_wire(moment: Moment) -> None:
    from hands.sim.server.activities import FILL, Activity
    from hands.sim.venue.quirks import PLAIN
    from hands.venues.alpaca.activities import decode_fills

    fills = moment.exchange.blotter.fills
    listed = [activity_json(Activity(FILL, fill, fill.t_ns), PLAIN) for fill in fills]
    told = [row.fill for row in decode_fills(orjson.dumps(listed))]
    ours = [translation.venue_fill(fill) for fill in fills]
    assert [msgspec.structs.replace(fill, execution_id="") for fill in ours] == [
        msgspec.structs.replace(fill, execution_id="") for fill in told
    ]
    assert len(ours) == 2


def test_a_refusal_is_told_as_over_the_wire(moment: Moment) -> None:
    with pytest.raises(VenueError) as caught:
        moment.exchange.submit(moment.bracket("hands-a"))
    code, message, extras = decode.decode_error(orjson.dumps(caught.value.body()))
    assert translation.refusal(caught.value) == {
        "status": caught.value.status, "code": code, "message": message, "extras": extras,
    }  # fmt: skip


def exit_order(symbol: str, order_type: OrderType, **more: object) -> ReducingOrder:
    crypto = "/" in symbol
    holding = Holding(
        intent_id="00000000-0000-4000-8000-000000000001",
        symbol=symbol,
        asset_class=AssetClass.CRYPTO if crypto else AssetClass.EQUITY,
        qty=Qty(5 * NANO),
        lot=Qty(1 if crypto else NANO),
    )
    tif = TimeInForce.GTC
    return reducing_order(
        holding,
        Leg.STOP_LOSS,
        1,
        5 * NANO,
        order_type=order_type,
        time_in_force=tif,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("close_intent", [True, False])
@pytest.mark.parametrize(
    "order",
    [
        exit_order("AAPL", OrderType.STOP, stop_price=Price(nano("148"))),
        exit_order("AAPL", OrderType.MARKET),
        exit_order(
            "AAPL", OrderType.LIMIT, order_class=OrderClass.OCO, take_profit=Price(nano("155")), stop_price=Price(nano("148"))
        ),
        exit_order("SOL/USD", OrderType.STOP_LIMIT, stop_price=Price(nano("148")), limit_price=Price(nano("146.5"))),
    ],
    ids=["stop", "market", "oco", "coins"],
)  # fmt: skip
def test_an_exit_is_asked_for_as_over_the_wire(order: ReducingOrder, close_intent: bool) -> None:
    body = rest_parse.read_body(encode.submit_body(order, close_intent=close_intent))
    assert translation.order_request(order, close_intent=close_intent) == rest_parse.order_request(body)


def test_an_amount_of_dollars_is_no_quantity(moment: Moment) -> None:
    exchange = Exchange(lambda: NOON, symbols=("AAPL",), cash_usd=Usd(10_000 * NANO))
    size = Qty(1_000 * NANO)
    exchange.on_ticks((Quote("AAPL", Price(nano("149.98")), Price(nano("150")), size, size, Ns(NOON)),))
    order = exchange.submit(
        OrderRequest("AAPL", Side.BUY, OrderType.MARKET, TimeInForce.DAY, notional=Usd(500 * NANO))
    )
    assert translation.venue_order(order) == decode.decode_order(orjson.dumps(order_json(order)), {})
