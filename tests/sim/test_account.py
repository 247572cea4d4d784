"""Money: fees, average cost, reservations, buying power."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.units import decimal_text, usd_text
from hands.sim.server.rest_json import account_json, position_json
from hands.sim.venue.configurations import AccountFlags, Configurations, FlagError
from hands.sim.venue.errors import VenueError
from hands.sim.venue.quirks import Latency
from tests.sim.conftest import Desk


def test_coins_bought_pay_the_fee_in_coins_and_coins_sold_in_dollars(desk):
    order = desk.send("BTC/USD", "buy", "0.1", "limit", "ioc", limit_price="60100")
    assert decimal_text(order.filled_qty) == "0.1"  # gross
    assert desk.position("BTC/USD") == "0.09975"
    assert desk.cash() == "93999"
    desk.send("BTC/USD", "sell", "0.09975")
    assert desk.cash() == "99969.0375"  # 93999 + 5985 x 0.9975
    assert [(decimal_text(f.fee), f.fee_asset) for f in desk.exchange.blotter.fills] == [
        ("0.00025", "BTC"),
        ("14.9625", "USD"),
    ]


def test_stop_for_the_gross_quantity_is_refused(desk):
    desk.send("BTC/USD", "buy", "0.1")
    with pytest.raises(VenueError) as refusal:
        desk.send("BTC/USD", "sell", "0.1", "stop_limit", stop_price="59000", limit_price="58000")
    assert refusal.value.body() == {
        "code": 40310000,
        "message": "insufficient balance for BTC (requested: 0.1, available: 0.09975)",
        "available": "0.09975",
        "balance": "0.09975",
        "symbol": "BTC",
    }


def test_fee_is_rounded_up_to_the_last_decimal(desk):
    desk.send("BTC/USD", "buy", "0.000333333")
    assert desk.position("BTC/USD") == "0.000332499"


def test_average_price_follows_additions_and_not_reductions(desk):
    desk.send("AAPL", "buy", "10")
    desk.quote("AAPL", "151.98", "152")
    desk.send("AAPL", "buy", "10")
    position = desk.exchange.position("AAPL")
    assert decimal_text(position.avg_entry_price) == "151"
    desk.send("AAPL", "sell", "5")
    assert decimal_text(position.avg_entry_price) == "151"
    assert position_json(position, desk.exchange)["unrealized_pl"] == "14.85"


def test_short_position_has_negative_quantity_and_value(desk):
    desk.send("AAPL", "sell", "10")
    document = position_json(desk.exchange.position("AAPL"), desk.exchange)
    assert (document["qty"], document["side"]) == ("-10", "short")
    assert document["market_value"].startswith("-")
    assert desk.cash() == "101499.8"


def test_open_orders_reserve_buying_power(desk):
    order = desk.send("AAPL", "buy", "1000", "limit", limit_price="149")
    assert account_json(desk.exchange)["buying_power"] == "51000"
    with pytest.raises(VenueError, match="insufficient buying power"):
        desk.send("AAPL", "buy", "400", "limit", limit_price="149")
    desk.exchange.cancel(order.order_id)
    assert account_json(desk.exchange)["buying_power"] == "200000"


def test_exits_reserve_shares_and_no_money(desk):
    desk.bracket()
    document = account_json(desk.exchange)
    assert document["buying_power"] == decimal_text(desk.exchange.funds().buying_power)
    assert desk.exchange.funds().reserved == 0
    assert position_json(desk.exchange.position("AAPL"), desk.exchange)["qty_available"] == "0"


def test_coins_cannot_be_bought_on_margin(desk):
    desk.send("AAPL", "buy", "600")  # 90 000 of 100 000 dollars
    with pytest.raises(
        VenueError, match=r"insufficient balance for USD \(requested: 12002, available: 10000\)"
    ):
        desk.send("BTC/USD", "buy", "0.2")


RESERVED = [
    # what an order that opens holds back while it rests
    (("buy", "10", "limit"), {"limit_price": "140"}, "1400.00"),
    (("buy", "10", "stop"), {"stop_price": "160"}, "1640.00"),  # 2.5 % above the stop
    (("buy", "10", "stop_limit"), {"stop_price": "160", "limit_price": "161"}, "1610.00"),
    (("buy", "10", "trailing_stop"), {"trail_price": "10"}, "1639.90"),  # from 149.99: 2.5 % above 159.99
    (("buy", "10", "trailing_stop"), {"trail_percent": "1"}, "1552.77"),  # 151.4899, to the cent above
    (("sell", "10", "limit"), {"limit_price": "160"}, "1600.00"),
    (("sell", "10", "limit"), {"limit_price": "152"}, "1545.00"),  # 3 % above the ask
    (("sell", "10", "stop"), {"stop_price": "140"}, "1545.00"),
    (("buy", "0", "limit"), {"limit_price": "140", "notional": "700"}, "700.00"),
]


@pytest.mark.parametrize(("order", "fields", "cost"), RESERVED)
def test_resting_order_reserves_what_it_may_cost_and_is_refused_for_no_less(make_desk, order, fields, cost):
    desk = make_desk()
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", *order, **fields)
    funds = desk.exchange.funds()
    assert usd_text(funds.reserved) == cost
    assert usd_text(200_000 * 10**9 - funds.buying_power) == cost
    poor = make_desk(cash="2000")
    poor.quote("AAPL", "149.98", "150")
    many = {"notional": "70000"} if "notional" in fields else {}
    with pytest.raises(VenueError, match="insufficient buying power") as refusal:
        poor.send("AAPL", order[0], "0" if many else "1000", *order[2:], **(fields | many))
    assert round(float(refusal.value.extras["cost_basis"]) / 100, 2) == pytest.approx(float(cost), abs=0.011)


def test_shares_below_fifty_dollars_have_the_wider_stop(desk):
    desk.quote("BAC", "39.99", "40")
    desk.send("BAC", "buy", "10", "stop", stop_price="45")
    assert usd_text(desk.exchange.funds().reserved) == "468.00"


def test_orders_against_the_position_reserve_nothing(desk):
    desk.send("AAPL", "sell", "10")
    before = desk.exchange.funds()
    desk.send("AAPL", "buy", "4", "limit", limit_price="140")
    desk.send("AAPL", "buy", "6", "stop", stop_price="155")
    assert desk.exchange.funds() == before


def test_shares_without_credit_are_bought_with_cash_only(desk):
    desk.quote("MULN", "0.4", "0.41")
    desk.send("MULN", "buy", "100000", "limit", limit_price="0.4")
    funds = desk.exchange.funds()
    assert usd_text(funds.initial_margin) == "40000.00"
    assert usd_text(funds.buying_power) == "120000.00"
    with pytest.raises(VenueError, match="insufficient buying power") as refusal:
        desk.send("MULN", "buy", "160000", "limit", limit_price="0.4")
    assert refusal.value.extras == {"buying_power": "60000", "cost_basis": "64000"}


@pytest.mark.parametrize(("qty", "reserved"), [("2000", "280000"), ("500", "140000")])
def test_while_an_order_is_being_replaced_the_larger_of_the_two_is_reserved(make_desk, qty, reserved):
    desk = make_desk(cash="200000", latency=Latency.of_ms(replace=50))
    desk.quote("AAPL", "149.98", "150")
    order = desk.send("AAPL", "buy", "1000", "limit", limit_price="140")
    desk.replace(order, qty=qty)
    assert decimal_text(desk.exchange.funds().reserved) == reserved
    desk.pass_ms(50)
    assert decimal_text(desk.exchange.funds().reserved) == str(140 * int(qty))


def test_while_an_exit_is_being_replaced_the_larger_of_the_two_is_held(make_desk):
    desk = make_desk(latency=Latency.of_ms(replace=50))
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", "buy", "10")
    exit_order = desk.send("AAPL", "sell", "8", "limit", limit_price="160")
    desk.replace(exit_order, qty="3")
    with pytest.raises(VenueError, match=r"requested: 3, available: 2"):
        desk.send("AAPL", "sell", "3")
    desk.pass_ms(50)
    desk.send("AAPL", "sell", "3")


SYMBOLS = {"AAPL": 150, "BAC": 40, "MULN": 0.4, "BTC/USD": 60_000}
ORDERS = st.tuples(
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(["buy", "sell"]),
    st.sampled_from(["market", "limit", "stop", "stop_limit", "trailing_stop", "notional"]),
    st.integers(1, 120_000),  # dollars
    st.integers(1, 30),  # per cent away from the market
)


@given(orders=st.lists(ORDERS, max_size=25), multiplier=st.sampled_from([1, 2, 4]))
def test_what_is_taken_can_be_paid_for(orders, multiplier):
    """In a market that stands still no order that the venue takes leaves more tied up than there is."""
    desk = Desk(multiplier=multiplier)
    for symbol, at in SYMBOLS.items():
        desk.quote(symbol, str(at), str(at), size="100000000")
    for symbol, side, kind, usd, away in orders:
        at = SYMBOLS[symbol]
        better, worse = (
            (1 - away / 100, 1 + away / 100) if side == "buy" else (1 + away / 100, 1 - away / 100)
        )
        fields = {
            "limit": {"limit_price": f"{at * better:.2f}"},
            "stop": {"stop_price": f"{at * worse:.2f}"},
            "stop_limit": {"stop_price": f"{at * worse:.2f}", "limit_price": f"{at * worse:.2f}"},
            "trailing_stop": {"trail_percent": str(away)},
            "notional": {"notional": str(usd)},
        }.get(kind, {})
        qty = f"{usd / at:.4f}" if "/" in symbol else str(int(usd / at) or 1)
        try:
            desk.send(
                symbol, side, "0" if kind == "notional" else qty, kind.replace("notional", "market"), **fields
            )
        except VenueError:
            continue
        funds = desk.exchange.funds()
        assert funds.equity - funds.initial_margin >= 0
        assert funds.cash >= 0 or multiplier > 1


def test_buying_power_is_never_negative(desk):
    desk.send("AAPL", "buy", "1300")
    desk.quote("AAPL", "90", "90.02")
    funds = desk.exchange.funds()
    assert (funds.buying_power, funds.non_marginable_buying_power) == (0, 0)
    assert account_json(desk.exchange)["buying_power"] == "0"


@pytest.mark.parametrize(
    ("granted", "chosen", "power"), [(4, "4", 400_000), (2, "4", 200_000), (4, "1", 100_000)]
)
def test_buying_power_is_what_is_granted_and_chosen(make_desk, granted, chosen, power):
    desk = make_desk(multiplier=granted)
    desk.exchange.configure({"max_margin_multiplier": chosen})
    assert desk.exchange.funds().buying_power == power * 10**9
    assert account_json(desk.exchange)["multiplier"] == str(min(granted, int(chosen)))


def test_credit_given_up_counts_for_what_is_held_already(desk):
    desk.send("AAPL", "buy", "600")  # 90 000 of 100 000 dollars
    desk.exchange.configure({"max_margin_multiplier": "1"})
    assert usd_text(desk.exchange.funds().buying_power) == "10000.00"


def test_configurations_change_as_a_whole_or_not_at_all(desk):
    with pytest.raises(VenueError, match="pdt_check value is invalid"):
        desk.exchange.configure({"no_shorting": True, "pdt_check": "never"})
    assert desk.exchange.configurations == Configurations()
    chosen = desk.exchange.configure({"no_shorting": True, "dtbp_check": None, "colour": "blue"})
    assert chosen == desk.exchange.configurations == Configurations(no_shorting=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtbp_check": "sometimes"},
        {"trade_confirm_email": True},
        {"suspend_trade": "yes"},
        {"no_shorting": 0},
        {"max_margin_multiplier": 2},
        {"max_margin_multiplier": "3"},
        {"max_options_trading_level": True},
        {"max_options_trading_level": 4},
        {"fractional_trading": []},
    ],
)
def test_configuration_is_refused(changes):
    with pytest.raises(VenueError, match=f"{next(iter(changes))} value is invalid") as refusal:
        Configurations().changed(changes)
    assert (refusal.value.status, refusal.value.code) == (422, 40010001)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern_day_trader": True}, "no flag 'pattern_day_trader'"),
        ({"trading_blocked": 1}, "trading_blocked is 1; allowed: True, False"),
        ({"status": "SLEEPY"}, "status is 'SLEEPY'; allowed: ACTIVE"),
    ],
)
def test_flag_is_refused(changes, message):
    with pytest.raises(FlagError, match=message):
        AccountFlags().changed(changes)


@pytest.mark.parametrize("flag", [{"liquidation_only": True}, {"crypto_status": "INACTIVE"}])
def test_restricted_account_may_still_close(desk, flag):
    desk.send("AAPL", "buy", "10")
    desk.exchange.flags = desk.exchange.flags.changed(flag)
    desk.exchange.close_position("AAPL")
    assert desk.position("AAPL") == "0"


@pytest.mark.parametrize("setting", [{"fractional_trading": False}, {"no_shorting": True}])
def test_setting_refuses_what_it_names_and_nothing_else(desk, setting):
    desk.exchange.configure(setting)
    desk.send("AAPL", "buy", "10")
    desk.send("AAPL", "sell", "10")
    desk.send("BTC/USD", "buy", "0.01")
    assert desk.position("AAPL") == "0"


def test_partnership_can_be_bought_once_its_owner_says_so(desk):
    desk.quote("UVXY", "19.99", "20")
    desk.exchange.configure({"ptp_no_exception_entry": True})
    desk.send("UVXY", "buy", "1")
    desk.exchange.configure({"ptp_no_exception_entry": False})
    desk.send("UVXY", "sell", "1")
    assert desk.position("UVXY") == "0"
