"""The life of a single order: what fills it, what does not, and what it leaves behind."""

from __future__ import annotations

import contextlib

import pytest

from hands.core.units import NANO, Ns, Price, Qty, decimal_text
from hands.core.vocab import OrderStatus
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import ReplaceRequest
from hands.sim.venue.quirks import Quirks
from hands.sim.venue.ticks import Quote


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


@pytest.mark.parametrize("recancel", ["accepted", "refused"])
def test_an_order_is_canceled_once_whatever_the_second_request_is_told(make_desk, recancel):
    desk = make_desk(quirks=Quirks(recancel=recancel))
    desk.quote("AAPL", "149.98", "150")
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="140")
    desk.exchange.cancel(order.order_id)
    assert (order.status, order.cancel_requested_ns) == (OrderStatus.CANCELED, desk.t_ns)
    again = contextlib.nullcontext()
    if recancel == "refused":
        again = pytest.raises(VenueError, match='order is already in "canceled" state')
    with again as refusal:
        desk.exchange.cancel(order.order_id)
    if refusal is not None:
        assert (refusal.value.status, refusal.value.code) == (422, 42210000)
    assert [event for event, _ in desk.events()] == ["pending_new", "new", "canceled"]


def test_a_filled_order_cannot_be_canceled(desk):
    order = desk.send("AAPL", "buy", "10")
    with pytest.raises(VenueError, match='order is already in "filled" state'):
        desk.exchange.cancel(order.order_id)


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


@pytest.mark.parametrize(
    ("stop", "ask", "filled_at"),
    [("151", "154.77", "154.77"), ("151", "154.78", None), ("40", "41.6", "41.6"), ("40", "41.61", None)],
)
@pytest.mark.parametrize("habit", ["limited", "market"])
def test_an_elected_buy_stop_is_bought_only_so_far_above_it(make_desk, habit, stop, ask, filled_at):
    desk = make_desk(quirks=Quirks(buy_stop=habit))
    desk.quote("AAPL", "30", "30.1")
    order = desk.send("AAPL", "buy", "10", "stop", stop_price=stop)
    desk.quote("AAPL", stop, ask)
    desk.trade("AAPL", stop)
    assert (order.elected, order.limit_price) == (True, None)
    if habit == "market" or filled_at is not None:
        assert decimal_text(order.filled_avg_price) == ask
    else:
        assert order.status is OrderStatus.NEW
        desk.quote("AAPL", stop, stop)  # it rests as a limit until the market comes back
        assert decimal_text(order.filled_avg_price) == stop


def test_a_stop_limit_that_the_market_jumps_over_rests(desk):
    desk.send("AAPL", "buy", "10")
    order = desk.send("AAPL", "sell", "10", "stop_limit", stop_price="149", limit_price="148.5")
    desk.quote("AAPL", "147", "147.1")
    desk.trade("AAPL", "147")
    assert (order.elected, order.status) == (True, OrderStatus.NEW)
    desk.quote("AAPL", "148.6", "148.7")
    assert decimal_text(order.filled_avg_price) == "148.6"


@pytest.mark.parametrize(("habit", "is_elected"), [("any", True), ("within_quote", False)])
def test_a_print_outside_the_quote_may_or_may_not_elect_a_stop(make_desk, habit, is_elected):
    desk = make_desk(quirks=Quirks(stop_prints=habit))
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", "buy", "10")
    order = desk.send("AAPL", "sell", "10", "stop", stop_price="149")
    desk.trade("AAPL", "148.9")
    assert order.elected is is_elected


def test_closing_a_coin_position_takes_the_venues_time_in_force(make_desk):
    for tif in ("gtc", "ioc"):
        desk = make_desk(quirks=Quirks(close_crypto_tif=tif))
        desk.quote("BTC/USD", "60000", "60010")
        desk.send("BTC/USD", "buy", "0.1")
        assert desk.exchange.close_position("BTCUSD").tif.value == tif
        assert desk.position("BTC/USD") == "0"


def test_unwatched_symbols_are_asked_for_when_they_are_needed(make_desk):
    desk = make_desk()
    asked = []

    def latest(symbol):
        asked.append(symbol)
        at = Price((100 + len(asked)) * NANO)
        return [Quote(symbol, at, at, Qty(10 * NANO), Qty(10 * NANO), Ns(desk.t_ns))]

    desk.exchange.market_source = latest
    assert desk.exchange.watched == set()
    assert desk.exchange.mark("SPY") == 101 * NANO
    order = desk.send("SPY", "buy", "1")
    assert order.filled_avg_price == 102 * NANO
    assert desk.exchange.watched == {"SPY"}
    assert desk.exchange.funds().long_market_value == 102 * NANO
    assert asked == ["SPY", "SPY"]  # from the order on every tick is expected to come by itself


def test_live_orders_are_watched(desk):
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    assert desk.exchange.watched == {"AAPL"}
    desk.exchange.cancel(order.order_id)
    assert desk.exchange.watched == set()
