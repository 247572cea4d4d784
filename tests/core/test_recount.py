"""What a lost, older or swapped state directory has forgotten of the day, the venue still knows. Trap 19."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hands.core.commands import RequestDayOrders
from hands.core.engine import decide
from hands.core.events import DayOrdersReport, PositionSnapshot, Started, TruthReport, VenueOrder
from hands.core.orders import client_order_id
from hands.core.state import UNNAMED, Seen, State
from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, Usd, nano
from hands.core.vocab import Code, Leg, OrderClass, OrderStatus, OrderType, Side, TradingState
from tests.core.desk import Desk
from tests.core.world import NOW, ROLL, account, case, intent, intent_id, live, verdict, world

FILLED, CANCELED, NEW = OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.NEW


def order(number: int, leg: Leg = Leg.ENTRY, **changes: Any) -> VenueOrder:
    """One of our orders as the venue lists it: 10 AAPL bought at 150, ten minutes ago, unless changed."""
    fields: dict[str, Any] = {
        "client_order_id": client_order_id(intent_id(number), leg, 1),
        "symbol": "AAPL",
        "side": Side.BUY if leg is Leg.ENTRY else Side.SELL,
        "status": FILLED,
        "qty": "10",
        "filled": None,
        "price": "150",
        "sent_ns": NOW - 600 * NS_PER_S,
        "legs": (),
    } | changes
    qty = Qty(nano(fields["qty"]))
    ended = {FILLED: qty}.get(fields["status"], Qty(0))
    return VenueOrder(
        order_id=f"v-{number}-{leg}",
        client_order_id=fields["client_order_id"],
        symbol=fields["symbol"],
        side=fields["side"],
        order_type=OrderType.LIMIT,
        order_class=OrderClass.SIMPLE,
        status=fields["status"],
        status_text=str(fields["status"]),
        qty=qty,
        filled_qty=ended if fields["filled"] is None else Qty(nano(fields["filled"])),
        avg_price=Price(nano(fields["price"])),
        limit_price=Price(nano("151")) if leg is Leg.ENTRY else None,
        submitted_ns=Ns(fields["sent_ns"]),
        legs=fields["legs"],
    )


def sold(number: int, price: str, **changes: Any) -> VenueOrder:
    """The stop or target of such a trade, which the venue named itself."""
    return order(number, Leg.STOP_LOSS, client_order_id=f"leg-{number}", price=price, **changes)


def counted(state: State, *orders: VenueOrder, times: int = 1) -> State:
    """Count the venue's list, as often as the engine is started."""
    for _ in range(times):
        rolls = tuple(state.rolls_ns)
        decide(state, Started(ts_ns=NOW, version="", limits_sha256="", rolls_ns=rolls))
        assert state.recount_due
        decide(state, DayOrdersReport(ts_ns=NOW, since_ns=Ns(ROLL), orders=orders))
        assert not state.recount_due
    return state


def known(state: State, number: int, agent: str) -> None:
    state.seen[intent_id(number)] = Seen(
        sha256="", agent=agent, name="", at_ns=Ns(NOW - 600 * NS_PER_S), settled=True
    )


def test_an_entry_that_ended_while_the_list_was_on_its_way_is_not_counted_again() -> None:
    """After a start the entry's deadline has passed: it is cancelled at once, and the list still shows it working."""
    desk = Desk()
    desk.venue.portion = lambda order: 0
    desk.drop(ttl_seconds="1")
    desk.run(0.5)
    desk.crash()
    desk.now_ns += 10 * NS_PER_S
    desk.restart()
    late: list[Any] = []
    carry_out = desk._carry_out
    desk._carry_out = lambda command: (  # type: ignore[method-assign]
        late.append(command) if isinstance(command, RequestDayOrders) else carry_out(command)
    )
    desk.run(1)
    assert len(late) == 1
    assert desk.receipt()["state"] == "EXPIRED"
    assert desk.state.day.trades_of(None) == 0
    entry = order(1, status=NEW, filled="0", qty="66", sent_ns=desk.now_ns - 12 * NS_PER_S)
    desk.feed(DayOrdersReport(ts_ns=Ns(desk.now_ns), since_ns=Ns(ROLL), orders=(entry,)))
    assert not desk.state.recount_due
    assert desk.state.day.trades_of(None) == 0
    assert desk.state.day.notional_of("default") == 0


def test_a_fresh_state_directory_on_an_account_that_traded_five_times_denies_the_sixth() -> None:
    state = world()
    assert verdict(state).code is Code.OK
    counted(state, *(order(n, legs=(sold(n, "150"),)) for n in range(1, 6)), times=2)
    assert verdict(state).code is Code.DAILY_TRADES
    assert state.day.trades == {UNNAMED: 5}
    assert state.changed["day", ""] is state.day  # it is written ahead like any other change


@pytest.mark.parametrize(
    ("found", "trades"),
    [
        ({}, 1),
        ({"status": NEW}, 1),
        ({"status": None}, 1),
        ({"status": OrderStatus.PARTIALLY_FILLED, "filled": "3"}, 1),
        ({"status": CANCELED, "filled": "3"}, 1),
        ({"status": CANCELED}, 0),
        ({"status": OrderStatus.REJECTED}, 0),
        ({"sent_ns": ROLL - 1}, 0),
        ({"sent_ns": ROLL}, 1),
        ({"client_order_id": "somebody-elses"}, 0),
        ({"leg": Leg.EXIT}, 0),
    ],
    ids=str,
)
def test_what_filled_or_may_still_fill_since_the_roll_is_a_trade(found: dict[str, Any], trades: int) -> None:
    state = counted(world(), order(1, **found))
    assert state.day.trades_of(None) == trades
    assert state.day.notional_of("default") == (Usd(nano("1510")) if trades else 0)


@pytest.mark.parametrize(
    ("journal", "venue", "expected"), [(0, 3, 3), (2, 3, 3), (3, 3, 3), (5, 3, 5), (5, 0, 5)]
)
def test_the_greater_of_journal_and_venue_counts_for_the_agent_that_the_journal_knows(
    journal: int, venue: int, expected: int
) -> None:
    state = world()
    state.day.trades["a"], state.day.notional["a"] = journal, Usd(nano(str(1510 * journal)))
    for number in range(1, venue + 1):
        known(state, number, "a")
    counted(state, *(order(n) for n in range(1, venue + 1)), times=2)
    assert state.day.trades == {"a": expected}
    assert state.day.notional == {"a": nano(str(1510 * expected))}
    assert state.day.realised == {}


def test_what_nobody_can_be_named_for_counts_against_every_agent_and_once_against_the_account() -> None:
    state = world(extra="[agents.a]\nmax_daily_trades = 3\ndaily_notional_usd = 4000")
    state.day.trades["a"], state.day.notional["a"] = 1, Usd(nano("1000"))
    known(state, 1, "a")
    counted(state, order(1), order(2), order(3))
    assert state.day.trades_of(None) == 3
    assert (state.day.trades_of("a"), state.day.trades_of("b")) == (3, 2)
    assert state.day.notional_of("a") == nano("1510") + nano("3020")
    assert verdict(state, intent(9), agent="a").code is Code.DAILY_TRADES
    assert verdict(state, intent(9), agent="default").code is Code.OK


def test_the_last_minutes_entries_count_against_the_rate_whatever_became_of_them() -> None:
    state = world(orders_per_minute="3")
    recent = [order(n, status=CANCELED, sent_ns=NOW - n * NS_PER_S) for n in (1, 2)]
    counted(state, *recent, order(3, status=CANCELED, sent_ns=NOW - 61 * NS_PER_S), times=2)
    assert verdict(state).code is Code.OK
    counted(
        state, *recent, order(4, status=CANCELED, sent_ns=NOW + 5 * NS_PER_S)
    )  # the venue's clock is ahead
    assert list(state.approvals) == sorted(state.approvals)
    assert state.approvals[-1] == (NOW, UNNAMED)
    assert verdict(state).code is Code.ORDER_RATE


def test_an_agents_own_rate_counts_the_entries_nobody_can_be_named_for() -> None:
    state = world(extra="[agents.a]\norders_per_minute = 1")
    assert verdict(state, agent="a").code is Code.OK
    counted(state, order(5, status=CANCELED, sent_ns=NOW - NS_PER_S))
    assert verdict(state, agent="a").code is Code.ORDER_RATE


LOSSES = {
    "a stop": ([order(1, legs=(sold(1, "140"),))], "-100"),
    "a profit is not counted": ([order(1, legs=(sold(1, "160"),))], "0"),
    "half of it": ([order(1, legs=(sold(1, "140", status=CANCELED, filled="5"),))], "-50"),
    "still open": ([order(1)], "0"),
    "an exit of ours": ([order(1), order(1, Leg.EXIT, price="149")], "-10"),
    "an OCO pair": ([order(1), order(1, Leg.TAKE_PROFIT, status=CANCELED, legs=(sold(1, "148"),))], "-20"),
    "two trades": ([order(1, legs=(sold(1, "160"),)), order(2, legs=(sold(2, "130"),))], "-100"),
    "a short": ([order(1, side=Side.SELL, legs=(sold(1, "152", side=Side.BUY),))], "-20"),
    "coins, with the fee both ways": (
        [order(1, symbol="SOL/USD"), order(1, Leg.EXIT, symbol="SOL/USD", qty="9.975", price="150")], "-7.490625",
    ),
    "entered before the roll": ([order(1, sent_ns=ROLL - 1), order(1, Leg.EXIT, price="100")], "0"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_the_days_loss_is_worked_out_from_the_fills(name: str) -> None:
    orders, result = LOSSES[name]
    state = counted(world(), *orders, times=2)
    assert state.day.realised_of(None) == nano(result)


def test_a_loss_that_reaches_the_days_limit_stops_entries_at_once() -> None:
    state = counted(world(), order(1, qty="100", legs=(sold(1, "110", qty="100"),)))
    assert state.reasons["DAILY_LOSS"].state is TradingState.REDUCE_ONLY


@pytest.mark.parametrize(
    ("last_equity", "orders", "loss", "equity"),
    [
        (
            "100500",
            [order(1, Leg.EXIT)],
            "-500",
            "100000",
        ),  # entered before the roll: nobody knows its result
        ("100500", [order(1, legs=(sold(1, "50"),))], "-1000", "100000"),
        ("99000", [order(1)], "0", "99000"),  # what was earned since does not raise a limit
        ("100500", [], "0", "100000"),  # nothing of ours: the owner's own loss is none of ours
        (None, [order(1)], "0", "100000"),
    ],
)
def test_what_cannot_be_worked_out_is_at_least_the_accounts_own_loss(
    last_equity: str | None, orders: list[VenueOrder], loss: str, equity: str
) -> None:
    then = None if last_equity is None else Usd(nano(last_equity))
    state = counted(world(account=account(last_equity=then)), *orders, times=2)
    assert state.day.realised_of(None) == nano(loss)
    assert state.day.equity == nano(equity)


def test_a_loss_once_counted_stays_when_the_account_has_recovered() -> None:
    then = Usd(nano("100500"))
    state = counted(world(account=account(last_equity=then)), order(1))
    state.account = account(last_equity=then, equity=then)
    counted(state, order(1))
    assert state.day.realised_of(None) == nano("-500")


@pytest.mark.parametrize(
    ("left", "held", "state_then"),
    [
        ("10", "10", TradingState.REDUCE_ONLY),
        ("10", "0", TradingState.ACTIVE),
        ("0", "10", TradingState.ACTIVE),
    ],
)
def test_a_holding_of_a_forgotten_trade_stops_entries_until_the_operator_has_looked(
    left: str, held: str, state_then: TradingState
) -> None:
    state = world()
    if held != "0":
        qty = Qty(nano(held))
        state.positions["AAPL"] = PositionSnapshot(
            symbol="AAPL", qty=qty, qty_available=qty, avg_price=Price(1)
        )
    out = (sold(1, "150"),) if left == "0" else ()
    counted(state, order(1, legs=out))
    assert state.trading_state is state_then
    assert ("UNEXPLAINED_POSITION" in state.reasons) is (state_then is TradingState.REDUCE_ONLY)


def test_forgotten_trades_from_before_the_roll_are_named_with_the_evidence_one_by_one() -> None:
    state = world()
    for symbol, held in (("AAPL", "10"), ("SPY", "-10")):
        qty = Qty(nano(held))
        state.positions[symbol] = PositionSnapshot(
            symbol=symbol, qty=qty, qty_available=qty, avg_price=Price(1)
        )
    long_ago = ROLL - 40 * 86_400 * NS_PER_S
    counted(
        state,
        order(1, sent_ns=long_ago, legs=(sold(1, "150", status=CANCELED, filled="4"),)),
        order(2, symbol="SPY", side=Side.SELL, sent_ns=long_ago),
        order(3, symbol="SPY", sent_ns=long_ago),  # bought: no part of what is short now
    )
    detail = state.reasons["UNEXPLAINED_POSITION"].detail
    assert detail == (
        f"AAPL: the venue holds 10, we have 0; hands-{intent_id(1)}-entry-1 (order v-1-entry) filled 10, of which 6 are"
        " left; the journal does not know it; SPY: the venue holds -10, we have 0;"
        f" hands-{intent_id(2)}-entry-1 (order v-2-entry) filled 10, of which 10 are left; the journal does not know it"
    )
    assert state.day.trades == {}  # of an earlier day: no counter of this one
    assert state.changed["reason", "UNEXPLAINED_POSITION"] == state.reasons["UNEXPLAINED_POSITION"]


def test_at_a_start_what_is_held_without_a_trade_is_looked_up_however_old() -> None:
    desk = Desk()
    desk.venue.positions.update({"SPY": 5 * NANO, "AAPL": 0})
    desk.crash()
    desk.restart()
    desk.run(1)
    assert [(c.since_ns, c.symbols) for c in desk.sent(RequestDayOrders)] == [(ROLL, ("SPY",))]


def test_dust_and_what_a_trade_of_ours_holds_are_no_forgotten_holding() -> None:
    state = world()
    live(state, 900, "AAPL", qty="10", limit="150", stop="148", target="155", filled="10")
    for symbol, text in (("AAPL", "10"), ("SOL/USD", "0.05")):
        qty = Qty(nano(text))
        state.positions[symbol] = PositionSnapshot(
            symbol=symbol, qty=qty, qty_available=qty, avg_price=Price(1)
        )
    counted(state, order(1), order(2, symbol="SOL/USD"))
    assert state.trading_state is TradingState.ACTIVE


def test_the_day_is_asked_for_once_however_many_truths_come_first() -> None:
    state = world()
    state.reconciled = False
    decide(state, Started(ts_ns=NOW, version="", limits_sha256="", rolls_ns=tuple(state.rolls_ns)))
    truth = TruthReport(ts_ns=NOW, asked_ns=NOW, orders=(), missing=(), positions=())
    asked = [command for _ in range(3) for command in decide(state, truth)]
    assert [each for each in asked if isinstance(each, RequestDayOrders)] == [
        RequestDayOrders(since_ns=Ns(ROLL))
    ]


def test_until_the_venue_has_named_the_days_orders_nothing_is_entered() -> None:
    state = world()
    decide(state, Started(ts_ns=NOW, version="", limits_sha256="", rolls_ns=tuple(state.rolls_ns)))
    found = verdict(state)
    assert (found.code, found.denial and found.denial.message) == (
        Code.NOT_READY,
        "not ready: the venue has not yet named the day's orders",
    )
    decide(state, DayOrdersReport(ts_ns=NOW, since_ns=Ns(ROLL), orders=()))
    assert verdict(state).code is Code.OK
    assert case(state).state.day.trades == {}


def test_a_swapped_state_directory_is_made_up_for_at_the_next_start() -> None:
    """Two trades under one journal, one under another, and back: three of the day's three are used up."""
    desk = Desk(max_daily_trades="3")
    for number, symbol in ((1, "AAPL"), (2, "SPY")):
        desk.drop(number, symbol)
        desk.run(2)
    first = dict(desk.durable)
    desk.crash()
    desk.durable = desk.journal = {}
    desk.restart()
    desk.run(2)
    assert desk.state.day.trades == {UNNAMED: 2}
    assert "UNEXPLAINED_POSITION" in desk.state.reasons
    for code in list(desk.state.reasons):
        del desk.state.reasons[code]
    desk.drop(3, "SOL/USD")
    desk.run(2)
    assert desk.receipt(3)["verdict"] == "ACCEPTED"
    desk.crash()
    desk.journal = desk.durable = first
    desk.restart()
    desk.run(2)
    assert desk.state.day.trades == {"default": 2, UNNAMED: 1}
    desk.state.reasons.clear()
    desk.drop(4, "BTC/USD")
    assert desk.receipt(4)["code"] == Code.DAILY_TRADES
    asked = desk.sent(RequestDayOrders)
    assert [request.since_ns for request in asked] == [ROLL, ROLL]


def test_a_restart_with_its_own_journal_changes_no_counter() -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(2)
    before = msgspec.structs.asdict(desk.state.day)
    for _ in range(2):
        desk.crash()
        desk.restart()
        desk.run(2)
        assert msgspec.structs.asdict(desk.state.day) == before
    assert not desk.state.recount_due


def test_a_fill_so_small_that_its_fee_took_all_of_it_is_counted_as_no_result() -> None:
    state = counted(world(), order(1, symbol="BTC/USD", qty="1", filled="0.000000001", price="60000"))
    assert state.day.trades_of(None) == 1
    assert state.day.realised_of(None) == 0
