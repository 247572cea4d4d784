"""What the venue refuses, as tables: the order of its checks, wash trades, auction hours, what may be replaced.

The words of every refusal are in the conformance suite's catalogue; here it is about when.
"""

from __future__ import annotations

import pytest

from hands.core.vocab import OrderStatus, TimeInForce
from hands.sim.venue.errors import VenueError
from hands.sim.venue.quirks import Quirks

BRACKET = {
    "order_class": "bracket",
    "limit_price": "150.15",
    "take_profit_limit_price": "155",
    "stop_loss_stop_price": "148",
}


def refusal_of(desk, *args, **fields):
    """The message an order is refused with, None if it is taken; a refused one leaves nothing behind."""
    before = len(desk.exchange.blotter)
    desk.exchange.take_updates()
    try:
        desk.send(*args, **fields)
    except VenueError as refusal:
        assert len(desk.exchange.blotter) == before
        assert desk.exchange.take_updates() == []
        return refusal.message
    return None


# --- the order of the checks

MISTAKES = [
    # what is wrong, in the order in which it is noticed: (what mends it, the refusal until then)
    ({"qty": "1.5"}, "qty must be > 0"),
    ({"limit_price": "150.123"}, "limit orders require a limit price"),
    ({"client_order_id": "mine"}, "client_order_id must be no more than 128 characters"),
    ({"stop_loss_stop_price": "149.99"}, "bracket orders require stop_loss.stop_price"),
    ({"symbol": "GME"}, 'asset "ZZZ" not found'),
    ({"client_order_id": "another"}, "client_order_id must be unique"),
    ({"tif": "day"}, "fractional orders must be DAY orders"),
    ({"qty": "20000"}, "fractional orders must be simple orders"),
    (
        {"limit_price": "150.15"},
        "invalid limit_price 150.123. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    ({"take_profit_limit_price": "155"}, "take_profit.limit_price must be > stop_loss.stop_price"),
    ({"stop_loss_stop_price": "148"}, "stop_loss.stop_price must be <= base_price - 0.01"),
    ({"position_intent": None}, "position intent mismatch, inferred: buy_to_open, specified: sell_to_open"),
    ({"authority": True}, "account is not authorized to trade"),
    ({"qty": "1"}, "insufficient buying power"),
    ({}, None),
]


def test_mistakes_are_noticed_in_the_order_parameters_rules_account(desk):
    desk.quote("GME", "149.98", "150")
    desk.send("AAPL", "buy", "1", client_order_id="mine")
    desk.exchange.flags = desk.exchange.flags.changed({"trading_blocked": True})
    order = {
        "symbol": "ZZZ",
        "qty": "0",
        "tif": "gtc",
        "order_class": "bracket",
        "take_profit_limit_price": "147",
        "client_order_id": "x" * 129,
        "position_intent": "sell_to_open",
    }
    for mend, message in MISTAKES:
        fields = dict(order)
        asked = fields.pop("symbol"), "buy", fields.pop("qty"), "limit", fields.pop("tif")
        fields = {key: value for key, value in fields.items() if value is not None}
        assert refusal_of(desk, *asked, **fields) == message
        if "authority" in mend:
            desk.exchange.flags = desk.exchange.flags.changed({"trading_blocked": False})
        order |= {key: value for key, value in mend.items() if key != "authority"}


# --- wash trades

CROSSING, APART = "160", "159.99"
EXISTING = {
    "limit": {"limit_price": "160"},
    "stop": {"stop_price": "140"},
    "stop_limit": {"stop_price": "161", "limit_price": "160"},
    "trailing_stop": {"trail_price": "10"},
}
NEW = {
    "market": {},
    "limit crossing": {"limit_price": CROSSING},
    "limit apart": {"limit_price": APART},
    "stop": {"stop_price": "151"},
    "stop_limit crossing": {"stop_price": "151", "limit_price": CROSSING},
    "stop_limit apart": {"stop_price": "151", "limit_price": APART},
    "trailing_stop": {"trail_price": "10"},
    "bracket crossing": BRACKET | {"limit_price": CROSSING, "take_profit_limit_price": "170"},
}
LIMIT, STOP, FINE = "limit", "market/stop", None
WASH_TRADES = {
    # the new order:   market crossing apart stop  s.l. crossing apart trailing bracket
    "limit": (LIMIT, LIMIT, FINE, LIMIT, LIMIT, FINE, FINE, FINE),
    "stop_limit": (LIMIT, LIMIT, FINE, LIMIT, LIMIT, FINE, FINE, FINE),
    "stop": (STOP, STOP, STOP, STOP, STOP, STOP, FINE, FINE),
    "trailing_stop": (FINE,) * 8,
}


@pytest.mark.parametrize(
    ("existing", "new", "reason"),
    [(old, new, why) for old, row in WASH_TRADES.items() for new, why in zip(NEW, row, strict=True)],
)
def test_wash_trade(desk, existing, new, reason):
    """A holding is on sale, and more of it is bought."""
    desk.send("AAPL", "buy", "10")
    if existing == "stop_limit":
        desk.quote("AAPL", "170", "170.02")  # a sale below the market
    resting = desk.send("AAPL", "sell", "10", existing, **EXISTING[existing])
    if existing == "stop_limit":
        desk.quote("AAPL", "149.98", "150")
        assert not resting.elected  # no print yet
    kind = "limit" if new.startswith("bracket") else new.partition(" ")[0]
    if reason is FINE:
        desk.send("AAPL", "buy", "1", kind, **NEW[new])
        return
    with pytest.raises(VenueError, match="potential wash trade detected") as refusal:
        desk.send("AAPL", "buy", "1", kind, **NEW[new])
    assert refusal.value.extras == {
        "existing_order_id": resting.order_id,
        "reject_reason": f"opposite side {reason} order exists",
    }


def test_wash_trade_rule_holds_the_other_way_round(desk):
    """More of a holding is bid for, and the holding is sold."""
    desk.send("AAPL", "buy", "10")
    desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    wash = "potential wash trade detected. use complex orders"
    assert refusal_of(desk, "AAPL", "sell", "1") == wash
    assert refusal_of(desk, "AAPL", "sell", "1", "stop", stop_price="130") == wash
    assert refusal_of(desk, "AAPL", "sell", "1", "limit", limit_price="140") == wash
    assert refusal_of(desk, "AAPL", "sell", "1", "limit", limit_price="140.01") is None


def test_coins_are_watched_for_wash_trades_and_groups_are_not(desk):
    desk.send("BTC/USD", "buy", "0.1")
    desk.send("BTC/USD", "sell", "0.09", "stop_limit", stop_price="59000", limit_price="58000")
    assert refusal_of(desk, "BTC/USD", "buy", "0.01") == "potential wash trade detected. use complex orders"
    desk.bracket()
    assert refusal_of(desk, "AAPL", "buy", "1") is None  # its legs sell


def test_two_orders_of_one_side_are_taken(desk):
    for _ in range(2):
        desk.send("AAPL", "buy", "1", "limit", limit_price="140")


# --- hours

CALENDAR = {"session": "calendar"}
OPG, CLS = "opg orders must be submitted", "cls orders must be submitted"


@pytest.mark.parametrize(
    ("at", "opg", "cls"),
    [
        ((2026, 11, 24, 9, 27), True, True),
        ((2026, 11, 24, 9, 28), False, True),
        ((2026, 11, 24, 15, 54), False, True),
        ((2026, 11, 24, 15, 55), False, False),
        ((2026, 11, 24, 18, 59), False, False),
        ((2026, 11, 24, 19, 0), True, True),
        ((2026, 11, 27, 12, 54), False, True),  # a half day
        ((2026, 11, 27, 12, 55), False, False),
        ((2026, 11, 28, 3, 0), True, True),  # a Saturday: as on any day
        ((2026, 11, 28, 12, 0), False, True),
        ((2026, 11, 28, 16, 0), False, False),
    ],
)
def test_auction_orders_have_hours(make_desk, at, opg, cls):
    desk = make_desk(**CALENDAR)
    desk.at(*at)
    desk.quote("AAPL", "149.98", "150")
    for tif, words, taken in (("opg", OPG, opg), ("cls", CLS, cls)):
        refusal = refusal_of(desk, "AAPL", "buy", "1", "market", tif)
        assert (refusal is None) == taken
        assert taken or refusal.startswith(words)


def test_deadline_of_the_close_may_be_earlier(make_desk):
    desk = make_desk(quirks=Quirks(cls_cutoff="3:50pm"), **CALENDAR)
    desk.at(2026, 11, 24, 15, 49)
    desk.quote("AAPL", "149.98", "150")
    assert refusal_of(desk, "AAPL", "buy", "1", "market", "cls") is None
    desk.at(2026, 11, 24, 15, 50)
    assert refusal_of(desk, "AAPL", "buy", "1", "market", "cls").endswith("before 3:50pm")


def test_session_that_never_ends_holds_no_auction(desk):
    assert refusal_of(desk, "AAPL", "buy", "1", "market", "opg").startswith(OPG)
    assert refusal_of(desk, "AAPL", "buy", "1", "limit", "cls", limit_price="150").startswith(CLS)


@pytest.mark.parametrize(
    ("at", "cost"),
    [
        ((2026, 11, 24, 12, 0), "1500"),  # the ask
        ((2026, 11, 24, 17, 0), "1499.9"),  # the middle
        ((2026, 11, 24, 21, 0), "1480"),  # the last print
        ((2026, 11, 27, 16, 59), "1499.9"),
        ((2026, 11, 27, 17, 0), "1480"),  # after a half day
        ((2026, 11, 29, 12, 0), "1480"),
    ],
)
def test_market_order_is_valued_as_the_session_has_it(make_desk, at, cost):
    desk = make_desk(cash="700", **CALENDAR)
    desk.at(*at)
    desk.trade("AAPL", "148")
    desk.quote("AAPL", "149.98", "150")
    with pytest.raises(VenueError, match="insufficient buying power") as refusal:
        desk.send("AAPL", "buy", "10")
    assert refusal.value.extras["cost_basis"] == cost


# --- what one reading of the venue refuses and another takes

HALTED = 'market order rejected due to trading halt on symbol: "AAPL", please place a limit order instead'
GTC_LIMIT = ("limit", "gtc")


@pytest.mark.parametrize(
    ("taking", "refusing", "order", "fields"),
    [
        ("ioc_fok=accepted", "ioc_fok=refused", ("AAPL", "buy", "1", "market", "ioc"), {}),
        (
            "ioc_fok=accepted",
            "ioc_fok=refused",
            ("AAPL", "buy", "1", "limit", "fok"),
            {"limit_price": "150"},
        ),
        (
            "extended_tif=day_gtc",
            "extended_tif=day",
            ("AAPL", "buy", "1", *GTC_LIMIT),
            {"limit_price": "150", "extended_hours": True},
        ),
        (
            "bracket_additions=accepted",
            "bracket_additions=refused",
            ("SPY", "buy", "1", *GTC_LIMIT),
            BRACKET,
        ),
        (
            "hard_to_borrow_tif=sells",
            "hard_to_borrow_tif=all",
            ("GME", "buy", "1", *GTC_LIMIT),
            {"limit_price": "20"},
        ),
        ("halted_market=queued", "halted_market=refused", ("MSFT", "buy", "1"), {}),
    ],
)
def test_habit_refuses_or_does_not(make_desk, taking, refusing, order, fields):
    """SPY is held, GME hard to borrow, and MSFT halted."""
    for habit, taken in ((taking, True), (refusing, False)):
        desk = make_desk(quirks=Quirks.parse([habit]))
        for symbol in ("AAPL", "SPY", "GME", "MSFT"):
            desk.quote(symbol, "149.98", "150")
        desk.send("SPY", "buy", "1")
        desk.status("MSFT", "H")
        assert (refusal_of(desk, *order, **fields) is None) == taken, habit


@pytest.mark.parametrize("kind", ["limit", "stop"])
def test_only_market_orders_are_refused_in_a_halt(desk, kind):
    desk.status("AAPL", "H")
    assert refusal_of(desk, "AAPL", "buy", "1") == HALTED
    assert refusal_of(desk, "AAPL", "buy", "1", kind, **{f"{kind}_price": "151"}) is None
    desk.status("AAPL", "T")
    assert refusal_of(desk, "AAPL", "buy", "1") is None


# --- one side opens at a time

OTO = {"order_class": "oto", "limit_price": "149", "stop_loss_stop_price": "140"}


@pytest.mark.parametrize("group", [BRACKET | {"limit_price": "149"}, OTO])
def test_the_legs_of_a_group_open_nothing(desk, group):
    """Legs that sell do not stand against another purchase, be they asleep or released; a short sale would."""
    refused = "cannot open a short sell while a long buy order is open"
    for _ in range(2):
        assert refusal_of(desk, "AAPL", "buy", "1", "limit", "gtc", **group) is None
        # Coming from the other side with a group of its own, so that no wash trade is what is refused.
        short = {"order_class": "oto", "limit_price": "151", "stop_loss_stop_price": "160"}
        assert refusal_of(desk, "AAPL", "sell", "1", "limit", "gtc", **short) == refused
    desk.quote("AAPL", "148.9", "148.95")
    assert desk.position("AAPL") == "2"
    assert refusal_of(desk, "AAPL", "buy", "1", "limit", "gtc", **group | {"limit_price": "148.5"}) is None


# --- shares that are spoken for


def test_held_shares_refuse_a_second_exit(desk):
    desk.send("AAPL", "buy", "10")
    first = desk.send("AAPL", "sell", "8", "limit", limit_price="160")
    with pytest.raises(VenueError) as refusal:
        desk.exchange.close_position("AAPL")
    assert refusal.value.extras["held_for_orders"] == "8"
    desk.exchange.cancel(first.order_id)
    desk.exchange.close_position("AAPL")
    assert desk.position("AAPL") == "0"


def test_resting_bracket_reserves_the_shares_against_an_emergency_exit(desk):
    entry = desk.bracket()
    with pytest.raises(VenueError, match=r"requested: 10, available: 0"):
        desk.exchange.close_position("AAPL")
    desk.exchange.cancel(desk.legs(entry)[0].order_id)
    desk.exchange.close_position("AAPL")
    assert desk.position("AAPL") == "0"


@pytest.mark.parametrize(("notional", "taken"), [("1499.8", True), ("1499.9", False)])
def test_sale_in_dollars_is_of_what_is_held(desk, notional, taken):
    """Ten shares at a bid of 149.98."""
    desk.send("AAPL", "buy", "10")
    refusal = refusal_of(desk, "AAPL", "sell", "0", notional=notional)
    assert (refusal is None) == taken


def test_trailing_stop_is_an_exit_like_any_other(desk):
    desk.send("AAPL", "buy", "10")
    assert refusal_of(desk, "AAPL", "sell", "10", "trailing_stop", trail_percent="1.5") is None
    assert refusal_of(desk, "AAPL", "sell", "1").startswith("insufficient qty available")


# --- replacement


def test_replaceable_is_what_rests(desk):
    resting = desk.send("AAPL", "buy", "10", "limit", limit_price="140")
    new = desk.replace(resting, qty="12", limit_price="141")
    assert (new.status, resting.status) == (OrderStatus.NEW, OrderStatus.REPLACED)
    assert desk.replace(new, client_order_id="named").client_order_id == "named"


@pytest.mark.parametrize(("meaning", "taken"), [("total", False), ("remaining", True)])
def test_quantity_of_a_replacement_may_be_the_whole_or_the_rest(make_desk, meaning, taken):
    desk = make_desk(fills="realistic", random_partials=False, quirks=Quirks(replace_qty=meaning))
    desk.quote("AAPL", "149.98", "150", "4")
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="150")
    if taken:
        assert desk.replace(order, qty="4").qty == 8_000_000_000
        return
    with pytest.raises(VenueError, match="qty must be > filled_qty"):
        desk.replace(order, qty="4")


def test_part_of_a_share_keeps_its_quantity_and_changes_its_price(desk):
    order = desk.send("AAPL", "buy", "1.5", "limit", limit_price="140")
    with pytest.raises(VenueError, match="qty must be an integer"):
        desk.replace(order, qty="2")
    assert desk.replace(order, limit_price="141").qty == 1_500_000_000


def test_target_may_be_moved_to_the_market_and_not_past_the_stop(desk):
    entry = desk.bracket()
    profit, _ = desk.legs(entry)
    with pytest.raises(VenueError, match=r"take_profit.limit_price must be > stop_loss.stop_price"):
        desk.replace(profit, limit_price="148")
    assert desk.replace(profit, limit_price="149").status is OrderStatus.FILLED
    assert desk.position("AAPL") == "0"


def test_stop_leg_keeps_to_its_side_of_an_entry_to_come(desk):
    entry = desk.bracket(limit="149")
    _, stop = desk.legs(entry)
    with pytest.raises(VenueError, match=r"stop_loss.stop_price must be <= base_price - 0.01"):
        desk.replace(stop, stop_price="149")
    assert desk.replace(stop, stop_price="148.99").status is OrderStatus.HELD


@pytest.mark.parametrize(
    ("fields", "tif", "message"),
    [
        ({}, "day", None),
        ({}, "ioc", None),
        ({}, "opg", "invalid time_in_force"),
        ({}, "cls", "invalid time_in_force"),
        ({"extended_hours": True}, "ioc", "extended hours order must be DAY or GTC limit orders"),
        (BRACKET | {"limit_price": "149"}, "day", "time_in_force of a complex order cannot be replaced"),
        (BRACKET | {"limit_price": "149"}, "gtc", "order parameters are not changed"),
    ],
)
def test_time_in_force_of_a_replacement(make_desk, fields, tif, message):
    desk = make_desk(session="calendar")
    desk.at(2026, 11, 18, 12, 0)  # when orders for both auctions could have been sent
    desk.quote("AAPL", "149.98", "150")
    order = desk.send("AAPL", "buy", "10", "limit", "gtc", **({"limit_price": "140"} | fields))
    if message is None:
        assert desk.replace(order, tif=TimeInForce(tif)).tif.value == tif
        return
    with pytest.raises(VenueError, match=message):
        desk.replace(order, tif=TimeInForce(tif))


def test_sale_of_what_is_hard_to_borrow_does_not_come_to_outlive_the_day(make_desk):
    desk = make_desk(quirks=Quirks(hard_to_borrow_tif="sells"))
    desk.quote("GME", "19.99", "20")
    sale = desk.send("GME", "sell", "1", "limit", "day", limit_price="21")
    with pytest.raises(VenueError, match="only day orders are allowed for hard-to-borrow"):
        desk.replace(sale, tif=TimeInForce.GTC)


@pytest.mark.parametrize("habit", ["refused", "ignored"])
def test_legs_of_a_simple_order(make_desk, habit):
    desk = make_desk(quirks=Quirks(simple_legs=habit))
    desk.quote("AAPL", "149.98", "150")
    fields = BRACKET | {"order_class": "simple"}
    if habit == "refused":
        message = "simple orders must not have take_profit or stop_loss"
        assert refusal_of(desk, "AAPL", "buy", "1", "limit", **fields) == message
        return
    order = desk.send("AAPL", "buy", "1", "limit", **fields)
    assert (order.group, len(desk.exchange.blotter)) == (None, 1)


def test_trail_can_be_replaced(desk):
    desk.send("AAPL", "buy", "10")
    order = desk.send("AAPL", "sell", "10", "trailing_stop", trail_price="5")
    assert desk.replace(order, trail="3").trail_price == 3_000_000_000


def test_unknown_order_and_position(desk):
    with pytest.raises(VenueError, match="order not found for nope") as refusal:
        desk.exchange.cancel("nope")
    assert (refusal.value.status, refusal.value.code) == (404, 40410000)
    with pytest.raises(VenueError, match="position does not exist"):
        desk.exchange.close_position("AAPL")
