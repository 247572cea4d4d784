"""The life of a single order: what fills it, what does not, and what it leaves behind."""

from __future__ import annotations

import datetime as dt

import pytest

from hands.core.units import NS_PER_S, decimal_text
from hands.core.vocab import OrderStatus
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import ReplaceRequest


def statuses(order):
    return [status.value for _, status in order.history]


def test_submit_is_acknowledged_as_pending_new_and_fills_afterwards(desk):
    acknowledged = desk.exchange.submit(desk.request("AAPL", "buy", "10"))
    assert acknowledged.status is OrderStatus.PENDING_NEW
    assert desk.events() == [("pending_new", "entry"), ("new", "entry"), ("fill", "entry")]
    assert desk.position("AAPL") == "10"
    assert desk.cash() == "98500"


@pytest.mark.parametrize(
    ("side", "kind", "fields", "then", "outcome"),
    [
        ("buy", "limit", {"limit_price": "150.15"}, [], "150"),  # price improvement
        ("buy", "limit", {"limit_price": "149.99"}, [], None),
        ("buy", "limit", {"limit_price": "149.99"}, [("q", "149.9", "149.95")], "149.95"),
        ("buy", "limit", {"limit_price": "149.99"}, [("t", "149.99")], None),  # printed at, not through
        ("buy", "limit", {"limit_price": "149.99"}, [("t", "149.98")], "149.99"),
        ("sell", "limit", {"limit_price": "150"}, [("t", "150.01")], "150"),
        ("sell", "limit", {"limit_price": "149"}, [], "149.98"),
        ("sell", "stop", {"stop_price": "149"}, [("q", "148.9", "149")], None),  # quotes elect no equity stop
        ("sell", "stop", {"stop_price": "149"}, [("q", "148.9", "149"), ("t", "149")], "148.9"),
        ("buy", "stop", {"stop_price": "151"}, [("q", "151", "151.02"), ("t", "151")], "151.02"),
        (
            "sell",
            "stop_limit",
            {"stop_price": "149", "limit_price": "148.95"},
            [("q", "148.9", "149"), ("t", "149")],
            None,
        ),
        (
            "sell",
            "stop_limit",
            {"stop_price": "149", "limit_price": "148.95"},
            [("q", "148.9", "149"), ("t", "149"), ("q", "148.97", "149")],
            "148.97",
        ),
    ],
)
def test_fill_price(desk, side, kind, fields, then, outcome):
    order = desk.send("AAPL", side, "10", kind, **fields)
    for tick in then:
        if tick[0] == "q":
            desk.quote("AAPL", *tick[1:])
        else:
            desk.trade("AAPL", tick[1])
    price = order.filled_avg_price
    assert (decimal_text(price) if price is not None else None) == outcome


def test_displayed_size_bounds_realistic_fills(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="150.15")
    assert (order.status, decimal_text(order.filled_qty)) == (OrderStatus.PARTIALLY_FILLED, "4")
    desk.trade("AAPL", "150")
    assert decimal_text(order.filled_qty) == "4"  # the same quote is not eaten twice
    desk.quote("AAPL", "149.98", "150.01", "5")
    desk.quote("AAPL", "149.98", "150.02", "5")
    assert statuses(order) == ["pending_new", "new", "partially_filled", "partially_filled", "filled"]
    assert decimal_text(order.filled_avg_price) == "150.007"
    assert [event for event, _ in desk.events()][2:] == ["partial_fill", "partial_fill", "fill"]


def test_two_orders_share_one_displayed_size(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "6")
    first, second = desk.send("AAPL", "buy", "4"), desk.send("AAPL", "buy", "4")
    assert [decimal_text(o.filled_qty) for o in (first, second)] == ["4", "2"]


def test_random_partials_repeat_with_the_seed(make_desk):
    def run(seed):
        desk = make_desk(fills="realistic", seed=seed)
        for n in range(60):
            desk.quote("AAPL", "149.98", "150")
            desk.send("AAPL", "buy", "10", client_order_id=f"c{n}")
        desk.quote("AAPL", "149.98", "150")
        return [(fill.client_order_id, fill.qty, fill.execution_id) for fill in desk.exchange.blotter.fills]

    assert run(3) == run(3)
    assert [qty for _, qty, _ in run(3)] != [qty for _, qty, _ in run(4)]
    assert len(run(3)) > 60


def test_ioc_fills_what_it_can_and_is_canceled(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    order = desk.send("AAPL", "buy", "10", "limit", "ioc", limit_price="150")
    assert (order.status, decimal_text(order.filled_qty)) == (OrderStatus.CANCELED, "4")
    missed = desk.send("AAPL", "buy", "10", "limit", "ioc", limit_price="149")
    assert (missed.status, missed.filled_qty) == (OrderStatus.CANCELED, 0)


def test_fok_fills_everything_or_nothing(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    assert desk.send("AAPL", "buy", "5", "limit", "fok", limit_price="150").filled_qty == 0
    assert desk.send("AAPL", "buy", "4", "limit", "fok", limit_price="150").status is OrderStatus.FILLED


def test_one_sided_market_fills_nothing(make_desk):
    desk = make_desk()
    desk.quote("AAPL", "149.98", "150")
    desk.quote("AAPL", "149.98", "0")
    order = desk.send("AAPL", "buy", "1")
    assert order.status is OrderStatus.NEW
    desk.quote("AAPL", "149.98", "150.5")
    assert decimal_text(order.filled_avg_price) == "150.5"


def test_coin_stop_is_elected_by_the_near_quote(desk):
    desk.send("BTC/USD", "buy", "0.1")
    stop = desk.send("BTC/USD", "sell", "0.09975", "stop_limit", stop_price="59000", limit_price="58000")
    desk.quote("BTC/USD", "59010", "59020")
    assert not stop.elected
    desk.quote("BTC/USD", "59000", "59010")
    assert (stop.status, decimal_text(stop.filled_avg_price)) == (OrderStatus.FILLED, "59000")


def test_cancel_happens_once(desk):
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="140")
    desk.exchange.cancel(order.order_id)
    assert order.status is OrderStatus.CANCELED
    with pytest.raises(VenueError, match='order is already in "canceled" state') as refusal:
        desk.exchange.cancel(order.order_id)
    assert (refusal.value.status, refusal.value.code) == (422, 42210000)


def test_replacement_takes_over_and_carries_the_fills(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    old = desk.send("AAPL", "buy", "10", "limit", limit_price="150")
    desk.events()
    request = ReplaceRequest(limit_price=desk.request("AAPL", "buy", "1", limit_price="149.5").limit_price)
    new = desk.exchange.blotter.find(desk.exchange.replace(old.order_id, request).order_id)
    assert desk.events() == [("replaced", "entry"), ("new", "entry")]
    assert (old.status, old.replaced_by, new.replaces) == (OrderStatus.REPLACED, new.order_id, old.order_id)
    assert (new.remaining, new.status) == (6 * 10**9, OrderStatus.PARTIALLY_FILLED)
    desk.quote("AAPL", "149", "149.5", "20")
    assert desk.position("AAPL") == "10"


def test_replacement_to_a_marketable_price_fills_at_once(desk):
    desk.send("AAPL", "buy", "10")
    resting = desk.send("AAPL", "sell", "10", "limit", limit_price="160")
    request = ReplaceRequest(limit_price=desk.request("AAPL", "buy", "1", limit_price="149").limit_price)
    new = desk.exchange.replace(resting.order_id, request)
    assert desk.exchange.blotter.find(new.order_id).status is OrderStatus.FILLED
    assert desk.position("AAPL") == "0"


def _ns(*parts: int) -> int:
    return int(dt.datetime(*parts, tzinfo=NEW_YORK).timestamp()) * NS_PER_S


def test_day_order_waits_for_the_open_and_expires_at_the_close(make_desk):
    desk = make_desk(session="calendar")
    desk.t_ns = _ns(2026, 11, 25, 8, 0)
    desk.quote("AAPL", "149.98", "150")
    market = desk.send("AAPL", "buy", "1")
    resting = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    kept = desk.send("AAPL", "buy", "1", "limit", "gtc", limit_price="140")
    assert market.status is OrderStatus.ACCEPTED
    with pytest.raises(VenueError, match="cannot replace order in accepted status"):
        desk.exchange.replace(resting.order_id, ReplaceRequest(tif=kept.tif))
    desk.t_ns = _ns(2026, 11, 25, 9, 30)
    desk.exchange.advance()
    assert market.status is OrderStatus.FILLED
    desk.t_ns = _ns(2026, 11, 25, 16, 0)
    desk.exchange.advance()
    assert (resting.status, kept.status) == (OrderStatus.EXPIRED, OrderStatus.NEW)
    assert desk.events()[-1] == ("expired", "entry")
    desk.quote("AAPL", "130", "131")
    assert kept.status is OrderStatus.NEW  # nothing trades after hours


def test_extended_hours_order_trades_before_the_open(make_desk):
    desk = make_desk(session="calendar")
    desk.t_ns = _ns(2026, 11, 25, 8, 0)
    desk.quote("AAPL", "149.98", "150")
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="150", extended_hours=True)
    assert order.status is OrderStatus.FILLED
