"""Every refusal that is built, word for word: (status, code, message, extras) of the venue's catalogue."""

from __future__ import annotations

import pytest

from hands.core.units import NANO
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import ReplaceRequest

BRACKET = {
    "order_class": "bracket",
    "limit_price": "150.15",
    "take_profit_limit_price": "155",
    "stop_loss_stop_price": "148",
}
LIMIT = {"limit_price": "150"}


def refusal_of(desk, *args, **fields):
    before = len(desk.exchange.blotter)
    with pytest.raises(VenueError) as caught:
        desk.send(*args, **fields)
    assert len(desk.exchange.blotter) == before, "a refused order leaves nothing behind"
    error = caught.value
    return error.status, error.code, error.message


P, R, F = (422, 40010001), (422, 42210000), (403, 40310000)
SUBPENNY = "sub-penny increment does not fulfill minimum pricing criteria"


@pytest.mark.parametrize(
    ("order", "fields", "outcome"),
    [
        (("AAPL", "buy", "0"), {}, (*P, "qty must be > 0")),
        (("AAPL", "buy", "1", "limit"), {"limit_price": "0"}, (*P, "limit price must be > 0")),
        (("AAPL", "buy", "1"), LIMIT, (*P, "market orders require no stop or limit price")),
        (("AAPL", "buy", "1", "limit"), {}, (*P, "limit orders require a limit price")),
        (("AAPL", "sell", "1", "stop"), {}, (*P, "stop orders require a stop price")),
        (
            ("AAPL", "sell", "1", "stop_limit"),
            LIMIT,
            (*P, "stop limit orders require both stop and limit price"),
        ),
        (("AAPL", "buy", "1", "trailing_stop"), {}, (*P, "invalid order type")),
        (
            ("AAPL", "buy", "1"),
            {"client_order_id": "x" * 129},
            (*P, "client_order_id must be no more than 128 characters"),
        ),
        (("ZZZ", "buy", "1"), {}, (*R, 'asset "ZZZ" not found')),
        (
            ("AAPL", "buy", "1", "limit"),
            {"limit_price": "290.123"},
            (*R, f"invalid limit_price 290.123. {SUBPENNY}"),
        ),
        (
            ("AAPL", "buy", "1", "limit"),
            BRACKET | {"stop_loss_stop_price": "148.001"},
            (*R, f"invalid stop_loss.stop_price 148.001. {SUBPENNY}"),
        ),
        (("AAPL", "buy", "1.5", "market", "gtc"), {}, (*R, "fractional orders must be DAY orders")),
        (("AAPL", "buy", "1.5", "limit", "gtc"), BRACKET, (*R, "fractional orders must be DAY orders")),
        (("AAPL", "buy", "1.5", "limit"), BRACKET, (*R, "fractional orders must be simple orders")),
        (("AAPL", "sell", "1.5"), {}, (*R, "fractional orders cannot be sold short")),
        (("AAPL", "buy", "0.001"), {}, (*F, "cost basis must be >= minimal amount of order 1")),
        (
            ("AAPL", "buy", "1"),
            {"extended_hours": True},
            (*R, "extended hours order must be DAY or GTC limit orders"),
        ),
        (
            ("AAPL", "buy", "1", "limit"),
            BRACKET | {"extended_hours": True},
            (*R, "extended hours order must be DAY or GTC limit orders"),
        ),
        (
            ("AAPL", "sell", "1", "stop"),
            {"stop_price": "149", "extended_hours": True},
            (*R, "stop orders are not eligible for extended hours trading"),
        ),
        (("BTC/USD", "buy", "1", "market", "day"), {}, (*R, "invalid crypto time_in_force")),
        (("BTC/USD", "sell", "1", "stop"), {"stop_price": "1"}, (*P, "invalid order type for crypto order")),
        (
            ("BTC/USD", "buy", "0.1", "limit"),
            BRACKET,
            (*R, "crypto orders not allowed for advanced order_class: otoco"),
        ),
        (
            ("BTC/USD", "sell", "0.1", "limit"),
            BRACKET | {"order_class": "oco"},
            (*R, "crypto orders not allowed for advanced order_class: oco"),
        ),
        (("BTC/USD", "buy", "0.0001"), {}, (*F, "cost basis must be >= minimal amount of order 10")),
        (
            ("BTC/USD", "buy", "2"),
            {},
            (*F, "insufficient balance for USD (requested: 120020, available: 100000)"),
        ),
        (("BTC/USD", "sell", "1"), {}, (*F, "insufficient balance for BTC (requested: 1, available: 0)")),
        (
            ("AAPL", "buy", "1", "limit"),
            {"order_class": "bracket", "limit_price": "150", "stop_loss_stop_price": "148"},
            (*P, "bracket orders require take_profit.limit_price"),
        ),
        (
            ("AAPL", "buy", "1", "limit"),
            {"order_class": "bracket", "limit_price": "150", "take_profit_limit_price": "155"},
            (*P, "bracket orders require stop_loss.stop_price"),
        ),
        (
            ("AAPL", "buy", "1", "limit"),
            BRACKET | {"stop_loss_stop_price": "149.99"},
            (*R, "stop_loss.stop_price must be <= base_price - 0.01"),
        ),
        (
            ("AAPL", "buy", "1", "limit"),
            BRACKET | {"take_profit_limit_price": "150.15"},
            (*R, "take_profit.limit_price must be >= base_price + 0.01"),
        ),
        (
            ("AAPL", "sell", "1", "limit"),
            BRACKET | {"take_profit_limit_price": "140", "stop_loss_stop_price": "150.15"},
            (*R, "stop_loss.stop_price must be >= base_price + 0.01"),
        ),
        (
            ("AAPL", "sell", "1", "limit"),
            BRACKET,
            (*R, "take_profit.limit_price must be < stop_loss.stop_price"),
        ),
        (
            ("AAPL", "sell", "1", "limit", "gtc"),
            BRACKET | {"order_class": "oco"},
            (*R, "oco orders must be exit orders"),
        ),
        (
            ("AAPL", "sell", "1", "stop"),
            {"stop_price": "149.99"},
            (*R, "stop price must be less than current price"),
        ),
        (
            ("AAPL", "buy", "1", "stop"),
            {"stop_price": "149.99"},
            (*R, "stop price must be greater than current price"),
        ),
        (("AAPL", "buy", "1400"), {}, (*F, "insufficient buying power")),
        (
            ("MSFT", "buy", "1"),
            {},
            (*F, "order has been rejected due to no available quote for symbol. please reenter with a limit"),
        ),
        (
            ("AAPL", "sell", "1"),
            {"position_intent": "sell_to_close"},
            (*R, "position intent mismatch, inferred: sell_to_open, specified: sell_to_close"),
        ),
    ],
)
def test_refusal(desk, order, fields, outcome):
    assert refusal_of(desk, *order, **fields) == outcome


def test_buying_power_refusal_names_the_numbers(desk):
    with pytest.raises(VenueError) as refusal:
        desk.send("AAPL", "buy", "1400", "limit", limit_price="150")
    assert refusal.value.body() == {
        "code": 40310000,
        "message": "insufficient buying power",
        "buying_power": "200000",
        "cost_basis": "210000",
    }


def test_used_client_order_id_is_refused_forever_and_a_refused_one_is_not_used_up(desk):
    refusal_of(desk, "ZZZ", "buy", "1", client_order_id="once")
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140", client_order_id="once")
    assert refusal_of(desk, "AAPL", "buy", "1", client_order_id="once") == (
        *R,
        "client_order_id must be unique",
    )
    desk.exchange.cancel(order.order_id)
    desk.wait(13 * 86_400_000)
    assert refusal_of(desk, "AAPL", "buy", "1", client_order_id="once") == (
        *P,
        "client_order_id must be unique",
    )


def test_held_shares_refuse_a_second_exit(desk):
    desk.send("AAPL", "buy", "10")
    first = desk.send("AAPL", "sell", "8", "limit", limit_price="160")
    with pytest.raises(VenueError) as refusal:
        desk.exchange.close_position("AAPL")
    assert refusal.value.body() == {
        "code": 40310000,
        "message": "insufficient qty available for order (requested: 10, available: 2)",
        "available": "2",
        "existing_qty": "10",
        "held_for_orders": "8",
        "related_orders": [first.order_id],
        "symbol": "AAPL",
    }
    desk.exchange.cancel(first.order_id)
    desk.exchange.close_position("AAPL")
    assert desk.position("AAPL") == "0"


def test_sale_larger_than_the_position_is_no_flip(desk):
    desk.send("AAPL", "buy", "10")
    assert refusal_of(desk, "AAPL", "sell", "11") == (
        *F,
        "insufficient qty available for order (requested: 11, available: 10)",
    )


def test_resting_bracket_reserves_the_shares_against_an_emergency_exit(desk):
    entry = desk.bracket()
    with pytest.raises(VenueError, match=r"requested: 10, available: 0"):
        desk.exchange.close_position("AAPL")
    desk.exchange.cancel(desk.legs(entry)[0].order_id)
    desk.exchange.close_position("AAPL")
    assert desk.position("AAPL") == "0"


def test_bracket_must_be_an_entry(desk):
    desk.send("AAPL", "sell", "10")
    assert refusal_of(desk, "AAPL", "buy", "5", "limit", **BRACKET) == (
        *R,
        "bracket orders must be entry orders",
    )


@pytest.mark.parametrize(
    ("resting", "new", "reason"),
    [
        (("buy", "limit", {"limit_price": "140"}), ("sell", "limit", {"limit_price": "141"}), None),
        (("buy", "limit", {"limit_price": "140"}), ("sell", "limit", {"limit_price": "140"}), "limit"),
        (("buy", "limit", {"limit_price": "140"}), ("sell", "stop", {"stop_price": "130"}), "market/stop"),
        (("buy", "stop", {"stop_price": "160"}), ("sell", "market", {}), "market/stop"),
        (("buy", "limit", {"limit_price": "140"}), ("buy", "limit", {"limit_price": "140"}), None),
    ],
)
def test_wash_trade(desk, resting, new, reason):
    side, kind, fields = resting
    existing = desk.send("AAPL", side, "1", kind, **fields)
    side, kind, fields = new
    if reason is None:
        desk.send("AAPL", side, "1", kind, **fields)
        return
    with pytest.raises(VenueError, match="potential wash trade detected") as refusal:
        desk.send("AAPL", side, "1", kind, **fields)
    assert refusal.value.extras == {
        "existing_order_id": existing.order_id,
        "reject_reason": f"opposite side {reason} order exists",
    }


def test_short_sale_needs_a_shortable_asset_and_two_thousand_dollars(make_desk):
    desk = make_desk(cash="1999")
    desk.quote("AAPL", "149.98", "150")
    assert refusal_of(desk, "AAPL", "sell", "1") == (*F, "account is not allowed to short")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (ReplaceRequest(), "order parameters are not changed"),
        (ReplaceRequest(qty=10 * NANO), "order parameters are not changed"),
        (ReplaceRequest(qty=4 * NANO), "qty must be > filled_qty"),
        (ReplaceRequest(qty=0), "qty must be > 0"),
        (ReplaceRequest(qty=2000 * NANO), "insufficient buying power"),
        (ReplaceRequest(stop_price=NANO), "limit orders require no stop price"),
        (ReplaceRequest(limit_price=150 * NANO + 1), f"invalid limit_price 150.000000001. {SUBPENNY}"),
        (ReplaceRequest(client_order_id="mine"), "client_order_id must be unique"),
    ],
)
def test_replacement_refusal(make_desk, change, message):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="150", client_order_id="mine")
    with pytest.raises(VenueError) as refusal:
        desk.exchange.replace(order.order_id, change)
    assert refusal.value.message == message
    assert order.is_live


def test_finished_order_cannot_be_replaced(desk):
    order = desk.send("AAPL", "buy", "10")
    with pytest.raises(VenueError, match="unable to replace order, order is not open"):
        desk.exchange.replace(order.order_id, ReplaceRequest(qty=11 * NANO))
    resting = desk.send("AAPL", "buy", "10", "limit", limit_price="140")
    desk.exchange.replace(resting.order_id, ReplaceRequest(qty=11 * NANO))
    with pytest.raises(VenueError, match="order already replaced"):
        desk.exchange.replace(resting.order_id, ReplaceRequest(qty=12 * NANO))


def test_unknown_order_and_position(desk):
    with pytest.raises(VenueError, match="order not found for nope") as refusal:
        desk.exchange.cancel("nope")
    assert (refusal.value.status, refusal.value.code) == (404, 40410000)
    with pytest.raises(VenueError, match="position does not exist"):
        desk.exchange.close_position("AAPL")
