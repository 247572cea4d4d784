"""How much: every cap of the contract's rule, what is used up of each, and that the size is the largest allowed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from hands.core import sizing
from hands.core.case import Case
from hands.core.state import State
from hands.core.units import NANO, NS_PER_S, Ns, Qty, Usd, decimal_text, nano, usd_text
from hands.core.vocab import Leg, OrderStatus, TradeState
from tests.core.world import NOW, account, asset, case, intent, live, quote, world


def caps(asked: Case) -> dict[str, str]:
    """Return an intent's caps as decimal text."""
    assert asked.terms is not None
    return {name: decimal_text(qty) for name, qty in sizing.size(asked, asked.terms).caps.items()}


def sized(asked: Case) -> tuple[str, str]:
    """Return the quantity and the cap that binds."""
    assert asked.terms is not None
    found = sizing.size(asked, asked.terms)
    return decimal_text(sizing.sized_qty(found)), found.binding


def test_the_contracts_example() -> None:
    """Risk 2000 / 2.15 = 930, position 10 000 / 150.15 = 66.6: 66 shares."""
    asked = case(world())
    found = caps(asked)
    assert sized(asked) == ("66", "max_position_size")
    assert found["max_risk_per_trade"] == "930"
    assert found["max_position_size"] == "66"
    assert found["max_order_notional_usd"] == "166"
    assert found["max_gross_exposure"] == "199"
    assert found["max_daily_loss"] == "1860"
    assert found["buying_power"] == "1332"
    assert "qty" not in found


def test_a_short_mirrors_it_but_for_the_venues_margin() -> None:
    """Limit 149.85; an opening short takes 1.03 x the ask of buying power: 200 000 / 154.5 = 1294."""
    found = caps(case(world(allow_short="true"), intent(direction="SHORT")))
    assert found["max_risk_per_trade"] == "930"
    assert found["max_position_size"] == "66"
    assert found["buying_power"] == "1294"


def test_a_coin_is_sized_to_nine_digits_with_fees_both_ways() -> None:
    """Limit 150.15, worst exit 143.55: unit risk 6.60 + 0.73425 of fees; 2000 / 7.33425, 10 000 / 150.15."""
    found = caps(case(world(), intent(asset="SOL/USD")))
    assert found["max_risk_per_trade"] == "272.693186079"
    assert found["max_position_size"] == "66.6000666"
    assert found["buying_power"] == "666.000666"


@pytest.mark.parametrize(
    ("facts", "changes", "expected"),
    [
        ({"max_risk_per_trade": "0.001"}, {}, ("46", "max_risk_per_trade")),
        ({"max_position_size": "0.05"}, {}, ("33", "max_position_size")),
        ({"max_order_notional_usd": "1501.5"}, {}, ("10", "max_order_notional_usd")),
        ({"max_order_notional_usd": "1501.49"}, {}, ("9", "max_order_notional_usd")),
        ({"max_gross_exposure": "0.03"}, {}, ("19", "max_gross_exposure")),
        ({"max_daily_loss": "0.001"}, {}, ("46", "max_daily_loss")),
        ({"account": account(buying_power="3003")}, {}, ("20", "buying_power")),
        ({"account": account(buying_power="3002.99")}, {}, ("19", "buying_power")),
        ({}, {"qty": "5"}, ("5", "qty")),
        ({}, {"qty": "5.999"}, ("5", "qty")),
        ({}, {"qty": "100000"}, ("66", "max_position_size")),
        ({"capital_usd": "50000"}, {}, ("33", "max_position_size")),
        ({"capital_usd": "500000"}, {}, ("66", "max_position_size")),
        ({"account": account(equity="50000")}, {}, ("33", "max_position_size")),
        ({"day_equity": "50000"}, {}, ("33", "max_position_size")),
        ({"account": account(equity="200000")}, {}, ("66", "max_position_size")),
        ({"account": account(equity="-5")}, {}, ("0", "max_gross_exposure")),
        ({"max_risk_per_trade": "0.00000001"}, {}, ("0", "max_risk_per_trade")),
    ],
)
def test_each_cap_can_bind(facts: dict[str, Any], changes: dict[str, str], expected: tuple[str, str]) -> None:
    assert sized(case(world(**facts), intent(**changes))) == expected


def test_where_caps_are_equal_the_first_in_the_order_of_checks_binds() -> None:
    asked = case(world(max_gross_exposure="0.1"))
    assert sized(asked) == ("66", "max_gross_exposure")


def test_trap_13_equities_are_whole_shares() -> None:
    for equity in ("100000", "99999.99", "31234.56", "1501.5"):
        qty, _ = sized(case(world(account=account(equity=equity))))
        assert "." not in qty


def test_trap_21_the_risk_cap_binds_only_for_far_stops_so_others_hold() -> None:
    """With 10 % per position, 2 % of risk binds only when the stop is over 20 % away; stop distance and the day's
    loss are capped besides."""
    near = case(world(), intent(stop_loss="121"))
    assert sized(near)[1] == "max_position_size"
    far = case(world(), intent(stop_loss="119", take_profit="190"))
    assert sized(far)[1] == "max_risk_per_trade"
    assert sized(case(world(max_daily_loss="0.01"), intent(stop_loss="125")))[1] == "max_daily_loss"


# --- what is used up ---------------------------------------------------------------------------------------


def with_live(*trades: dict[str, object], **facts: Any) -> State:
    state = world(**facts)
    for number, trade in enumerate(trades, start=900):
        live(state, number, **trade)
    return state


SPY = {"asset": "SPY", "qty": "10"}
COIN = {"asset": "SOL/USD", "qty": "20", "limit": "150", "stop": "145", "target": "165"}


@pytest.mark.parametrize(
    ("trade", "exposure", "risk"),
    [
        # in flight counts as filled; limit 600, stop 592: 8 a share
        (SPY, "6000.00", "80.00"),
        (SPY | {"filled": "4"}, "6000.00", "79.92"),  # 4 x (599.98 - 592) + 6 x 8
        (SPY | {"filled": "10"}, "6000.00", "79.80"),
        (SPY | {"filled": "4", "status": OrderStatus.CANCELED}, "2400.00", "31.92"),
        (SPY | {"status": OrderStatus.UNKNOWN}, "6000.00", "80.00"),
        (SPY | {"status": OrderStatus.UNSENT}, "6000.00", "80.00"),
        (SPY | {"status": OrderStatus.PENDING_CANCEL}, "6000.00", "80.00"),
        (SPY | {"direction": "SHORT", "stop": "608", "target": "580", "filled": "10"}, "6000.00", "79.80"),
        (COIN, "3000.00", "114.75"),  # 20 x (5 + 0.7375)
    ],
)
def test_trap_19_what_is_in_flight_counts_as_filled(trade: dict[str, Any], exposure: str, risk: str) -> None:
    state = with_live(trade)
    assert usd_text(sizing.exposure_usd(state)) == exposure
    assert usd_text(sizing.open_risk_usd(state)) == risk


def test_trap_19_an_approved_entry_counts_before_it_is_known_to_the_venue() -> None:
    state = with_live(SPY)
    next(iter(state.tickets.values())).orders.clear()
    assert usd_text(sizing.exposure_usd(state)) == "6000.00"
    assert usd_text(sizing.open_risk_usd(state)) == "80.00"


def test_what_is_over_counts_no_more() -> None:
    state = with_live(SPY)
    ticket = next(iter(state.tickets.values()))
    ticket.state = TradeState.CLOSED
    assert sizing.exposure_usd(state) == sizing.open_risk_usd(state) == 0


def test_counts_are_kept_by_agent_too() -> None:
    state = with_live(SPY, COIN | {"agent": "other"})
    assert usd_text(sizing.exposure_usd(state)) == "9000.00"
    assert usd_text(sizing.exposure_usd(state, "other")) == "3000.00"
    assert usd_text(sizing.open_risk_usd(state, "default")) == "80.00"


def test_a_mark_through_the_stop_has_no_further_risk() -> None:
    state = with_live(SPY | {"filled": "10"})
    quote(state, "SPY", "590", "590.02")
    assert sizing.open_risk_usd(state) == 0
    assert usd_text(sizing.unrealised_usd(state)) == "-100.00"


@pytest.mark.parametrize(
    ("trade", "bid", "ask", "pnl"),
    [
        (SPY | {"filled": "10"}, "610", "610.02", "100.00"),  # longs at the bid
        (
            SPY | {"filled": "10", "direction": "SHORT", "stop": "608", "target": "580"},
            "610",
            "610.02",
            "-100.20",
        ),
        (SPY, "610", "610.02", "0.00"),
        (COIN | {"filled": "20"}, "160", "160.01", "192.00"),  # 200 less 25 bps of 3200
    ],
)
def test_positions_are_marked_where_they_could_be_closed(
    trade: dict[str, Any], bid: str, ask: str, pnl: str
) -> None:
    state = with_live(trade)
    quote(state, str(trade["asset"]), bid, ask)
    assert usd_text(sizing.unrealised_usd(state)) == pnl


def test_a_position_without_a_quote_is_marked_at_its_cost() -> None:
    state = with_live(SPY | {"filled": "10"}, quotes={"SPY": None})
    assert sizing.unrealised_usd(state) == 0


def test_the_days_loss_is_realised_and_unrealised_from_the_rolls_baseline() -> None:
    state = with_live(SPY | {"filled": "10"})
    quote(state, "SPY", "590", "590.02")
    assert usd_text(sizing.day_loss_usd(state)) == "100.00"
    state.day.realised["default"] = nano("-250")
    assert usd_text(sizing.day_loss_usd(state)) == "350.00"
    state.day.unrealised_at_roll = {"default": nano("-60")}
    assert usd_text(sizing.day_loss_usd(state)) == "290.00"
    state.day.realised["other"] = nano("1000")
    assert sizing.day_loss_usd(state) == 0
    assert usd_text(sizing.day_loss_usd(state, "default")) == "290.00"


def test_the_days_loss_is_of_the_equity_at_the_roll() -> None:
    state = world(account=account(equity="80000"))
    assert usd_text(sizing.day_loss_allowed(state, state.limits.hard)) == "4000.00"
    state.day.equity = None
    assert usd_text(sizing.day_loss_allowed(state, state.limits.hard)) == "3200.00"


def test_risk_and_loss_so_far_shrink_the_next_size() -> None:
    """4000 of the day, 80 at risk in SPY, 3 800 lost: 120 / 2.15 = 55 shares."""
    state = with_live(SPY)
    state.day.realised["default"] = nano("-3800")
    assert sized(case(state)) == ("55", "max_daily_loss")


def test_risk_and_loss_of_every_agent_count_for_the_account() -> None:
    state = with_live(SPY | {"agent": "other"})
    state.day.realised["other"] = nano("-3800")
    assert sized(case(state)) == ("55", "max_daily_loss")


def test_an_agents_own_risk_and_loss_count_for_its_own_limit() -> None:
    """0.5 % of 100 000: 500 less 80 at risk and 300 lost leave 120."""
    state = with_live(SPY | {"agent": "a"}, extra="[agents.a]\nmax_daily_loss = 0.005")
    state.day.realised["a"] = nano("-300")
    assert sized(case(state, agent="a")) == ("55", "max_daily_loss")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_position_size", "0.0015015"),
        ("max_gross_exposure", "0.0015015"),
        ("max_risk_per_trade", "0.0000215"),
        ("max_daily_loss", "0.0000215"),
    ],
)
def test_what_is_allowed_is_rounded_against_the_trade(name: str, value: str) -> None:
    """Of 100 000 it is exactly one share; a nano-dollar less of equity leaves none, however it would round."""
    less = "99999.999999999"
    assert sized(case(world(**{name: value}))) == ("1", name)
    poorer = world(account=account(equity=less), day_equity=less, **{name: value})
    assert sized(case(poorer)) == ("0", name)


def test_what_is_used_up_is_rounded_against_the_trade() -> None:
    """A billionth of a coin at 150.151 is 150.151 nano-dollars: it counts as 151."""
    dust = COIN | {"qty": "0.000000001", "limit": "150.151"}
    assert sizing.exposure_usd(with_live(dust)) == 151
    assert sizing.open_risk_usd(with_live(dust)) == 6  # 5.151 + 0.7378775
    assert sizing.open_risk_usd(with_live(dust | {"filled": "0.000000001"})) == 5  # 149.95 - 145


def test_an_agents_own_budget_is_inside_the_accounts() -> None:
    state = with_live(SPY | {"agent": "a"}, extra="[agents.a]\nmax_gross_exposure = 0.07")
    assert sized(case(state, agent="a")) == ("6", "max_gross_exposure")  # (7000 - 6000) / 150.15
    assert sized(case(state, agent="default")) == ("66", "max_position_size")


# --- buying power ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acked_ns", "power"),
    [(None, "194000.00"), (NOW, "194000.00"), (NOW + 1, "194000.00"), (NOW - 1, "200000.00")],
)
def test_trap_19_what_the_account_cannot_know_of_yet_is_taken_off(acked_ns: int | None, power: str) -> None:
    """Orders acknowledged before the account was asked for are in the venue's figure; all others are not."""
    state = with_live(SPY | {"acked_ns": acked_ns})
    assert usd_text(sizing.buying_power_usd(case(state))) == power


def test_a_coin_takes_cash_and_not_margin() -> None:
    state = world(account=account(buying_power="1", non_marginable_buying_power="300"))
    assert sized(case(state, intent(asset="SOL/USD"))) == ("1.998001998", "buying_power")


def test_no_account_no_power() -> None:
    assert sizing.buying_power_usd(case(world(account=None))) == 0


# --- the smallest order ------------------------------------------------------------------------------------


def smallest(symbol: str, **asset_facts: object) -> Decimal:
    state = world()
    state.assets[symbol] = asset(symbol, **asset_facts)
    asked = case(state, intent(asset=symbol))
    assert asked.terms is not None
    return Decimal(sizing.smallest_qty(asked, asked.terms)) / NANO


def test_trap_11_the_smallest_coin_order_can_be_sold_at_its_worst_exit() -> None:
    """Net of the fee taken in coins, 11 dollars at the stop-limit's limit of 143.55."""
    found = smallest("SOL/USD")
    fee = Decimal("0.9975")
    assert found * fee * Decimal("143.55") >= 11
    assert (found - Decimal("1e-8")) * fee * Decimal("143.55") < 11


@pytest.mark.parametrize("lot", ["0.000000001", "0.0001", "0.01", "0.3"])
def test_trap_11_the_smallest_coin_order_is_whole_lots_and_its_net_too(lot: str) -> None:
    found = smallest("SOL/USD", lot=Qty(nano(lot)))
    step = Decimal(lot)
    assert found % step == 0
    net = found * Decimal("0.9975") // step * step
    assert net * Decimal("143.55") >= 11
    less = (found - step) * Decimal("0.9975") // step * step
    assert less * Decimal("143.55") < 11


def test_the_venues_own_minimum_counts() -> None:
    assert smallest("SOL/USD", min_order_qty=Qty(nano("5"))) == 5
    assert smallest("AAPL") == 1
    assert (
        smallest("AAPL", min_order_qty=Qty(nano("2.5"))) == 3
    )  # never less than the venue takes, in whole lots


# --- rates and ends ----------------------------------------------------------------------------------------


def test_the_rate_counts_the_last_sixty_seconds() -> None:
    state = world()
    state.approvals.extend([(NOW - 60 * NS_PER_S, "a"), (NOW - 60 * NS_PER_S + 1, "a"), (NOW, "b")])
    assert sizing.entries_last_minute(state, NOW) == 2
    assert sizing.entries_last_minute(state, NOW, "a") == 1


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ({}, False),
        ({"filled": "1"}, True),
        ({"filled": "10"}, True),
        ({"status": OrderStatus.UNKNOWN}, True),
        ({"status": OrderStatus.REJECTED}, False),
    ],
)
def test_only_what_filled_uses_up_a_trade(facts: dict[str, Any], counts: bool) -> None:
    state = world()
    assert sizing.counts_as_trade(live(state, **facts)) is counts


def test_dust_is_what_the_venue_would_not_buy_back() -> None:
    state = world()
    coin = live(state, 1, "SOL/USD", qty="1", limit="150", stop="145", target="165", filled="1")
    share = live(state, 2, filled="10")
    assert sizing.is_dust(coin, nano("0.1"), nano("99.99"))
    assert not sizing.is_dust(coin, nano("0.1"), nano("100"))
    assert not sizing.is_dust(share, nano("0.001"), nano("1"))


def test_sold_parts_are_realised_while_the_rest_is_open() -> None:
    state = world()
    ticket = live(state, filled="10")
    entry = ticket.entry
    assert entry is not None
    entry_type = type(entry)
    ticket.orders["x"] = entry_type(
        client_order_id="x", intent_id=ticket.intent_id, leg=Leg.TAKE_PROFIT, symbol="SPY", side=entry.side.opposite,
        order_type=entry.order_type, order_class=entry.order_class, time_in_force=entry.time_in_force,
        qty=entry.qty, status=OrderStatus.PARTIALLY_FILLED, filled_qty=Qty(nano("4")), value=Usd(nano("2360")),
    )  # fmt: skip
    quote(state, "SPY", "590", "590.02")
    assert usd_text(sizing.day_realised_usd(state)) == "-40.00"
    assert usd_text(sizing.unrealised_usd(state)) == "-60.00"
    assert usd_text(sizing.exposure_usd(state)) == "3600.00"
    state.now_ns = Ns(NOW + 1)
    assert usd_text(sizing.day_loss_usd(state)) == "100.00"
