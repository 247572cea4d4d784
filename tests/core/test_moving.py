"""Resting orders follow the ticket: stops that were tightened or trail, targets that were changed, and refusals."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from hands.core.commands import CancelOrder, ReplaceOrder
from hands.core.units import NS_PER_MS, NS_PER_S, Price, nano
from hands.core.upkeep import look_after
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, TimeInForce
from tests.core.desk import Desk
from tests.core.test_protection import COIN, opened, partly


def wish(desk: Desk, *, stop: str | None = None, target: str | None = None) -> None:
    """Want other levels, as an amend does."""
    ticket = desk.ticket()
    if stop is not None:
        ticket.stop_moved = Price(nano(stop))
    if target is not None:
        ticket.target_moved = Price(nano(target))
    look(desk)


def look(desk: Desk) -> None:
    desk.at(0, lambda: desk.feed(_wake(desk)))
    desk.run(0.001)


def _wake(desk: Desk):
    """The next event, at which the ticket is looked at."""
    from hands.core.events import Ns, Wake

    desk.state.wake_at(desk.now_ns, "ticket", desk.ticket().intent_id)
    return Wake(ts_ns=Ns(desk.now_ns))


def stops(desk: Desk, symbol: str = "AAPL") -> list[str]:
    return [f"{o.stop / 1e9:g}" for o in desk.working(symbol) if o.stop is not None]


def targets(desk: Desk, symbol: str = "AAPL") -> list[str]:
    found = [o for o in desk.working(symbol) if o.limit is not None and o.stop is None]
    return [f"{o.limit / 1e9:g}" for o in found if o.limit is not None]


def oco(desk: Desk | None = None) -> Desk:
    """Return a desk whose trade stands under a pair of ours."""
    desk = desk or Desk()
    partly(desk, "40").run(2)
    assert desk.receipt()["protection"]["kind"] == "venue_oco"
    return desk


# --- the quiet way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [opened, oco], ids=["a bracket", "an OCO"])
def test_stop_and_target_are_moved_and_never_cancelled(make) -> None:
    desk = make()
    before = desk.worst_naked_ns
    wish(desk, stop="149", target="156")
    desk.run(2)
    assert (stops(desk), targets(desk)) == (["149"], ["156"])
    assert len(desk.sent(ReplaceOrder)) == 2
    assert desk.worst_naked_ns == before
    qty = desk.receipt()["protection"]["qty"]
    assert qty == desk.position()
    assert desk.receipt()["protection"]["stop"] == "149"
    asked = len(desk.commands)
    desk.run(30)
    assert not [c for _, c in desk.commands[asked:] if isinstance(c, ReplaceOrder | CancelOrder)]
    desk.quote("AAPL", "148.9", "148.95")
    desk.run(2)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "SL"


def test_a_coins_stop_limit_is_moved_with_its_limit() -> None:
    desk = opened(COIN)
    wish(desk, stop="147")
    desk.run(1)
    (stop,) = desk.working(COIN)
    assert (stop.stop, stop.limit) == (nano("147"), nano("145.53"))
    assert desk.receipt()["protection"]["kind"] == "venue_stop"
    desk.quote(COIN, "146.9", "147")
    desk.run(3)
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.venue.flips == []


def test_a_looser_stop_is_never_asked_for() -> None:
    desk = opened()
    wish(desk, stop="147")
    desk.run(5)
    assert desk.sent(ReplaceOrder) == []


def test_a_stop_that_the_market_is_already_through_is_an_exit() -> None:
    desk = opened()
    wish(desk, stop="149.99")
    desk.run(2)
    assert desk.sent(ReplaceOrder) == []
    assert desk.receipt()["exit"]["reason"] == "SL"


def test_a_moved_target_fills_and_counts_once() -> None:
    desk = opened()
    wish(desk, target="152")
    desk.run(1)
    desk.quote("AAPL", "152.01", "152.03")
    desk.run(2)
    assert desk.receipt()["exit"]["reason"] == "TP"
    assert desk.position() == "0"
    assert desk.ticket().owned == 0
    assert desk.venue.flips == []


def test_an_order_that_waits_for_the_session_is_moved_at_the_open() -> None:
    desk = opened()
    for order in desk.working():
        desk._tell("accepted", order, None, None)
    desk.run(0.5)
    for order in desk.ticket().exits:
        order.status = OrderStatus.ACCEPTED
    wish(desk, stop="149")
    desk.run(1)
    assert desk.sent(ReplaceOrder) == []
    for order in desk.ticket().exits:
        order.status = OrderStatus.NEW
    desk.set_session(is_open=True)
    desk.run(1)
    assert stops(desk) == ["149"]


# --- what can go wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["drop_request", "drop_answer", "not_sent"])
@pytest.mark.parametrize("asset", ["AAPL", COIN])
def test_a_move_that_was_lost_is_asked_for_and_never_doubled(asset: str, word: str) -> None:
    desk = opened(asset)
    left = [word]
    desk.faults = lambda kind: left.pop() if kind == "replace" and left else None
    wish(desk, stop="149")
    desk.run(8)
    assert stops(desk, asset) == ["149"]
    assert desk.venue.flips == []
    assert not desk.venue.is_naked(asset)
    assert len(desk.sent(ReplaceOrder)) == (1 if word == "drop_answer" else 2)
    assert desk.receipt()["protection"]["qty"] == desk.receipt()["position"]["qty"]


def test_a_silent_stream_does_not_leave_the_old_order_standing_beside_the_new() -> None:
    desk = opened()
    desk.muted = True
    wish(desk, stop="149")
    desk.run(2)
    ticket = desk.ticket()
    assert next(o.status for o in ticket.exits if o.leg is Leg.STOP_LOSS) is OrderStatus.REPLACED
    assert desk.receipt()["protection"]["qty"] == "66"
    assert desk.sent(CancelOrder) == []
    assert len(desk.sent(ReplaceOrder)) == 1


def test_a_move_of_which_every_word_was_lost_is_asked_for_and_not_repeated() -> None:
    desk = opened()
    desk.muted = True
    left = ["drop_answer"]
    desk.faults = lambda kind: left.pop() if kind == "replace" and left else None
    wish(desk, stop="149")
    desk.run(8)
    assert stops(desk) == ["149"]
    assert len(desk.sent(ReplaceOrder)) == 1


@pytest.mark.parametrize(
    ("refusal", "alerted"),
    [
        ((422, "cannot replace order in accepted status", {}), False),
        ((422, "order already pending replacement", {}), False),
        ((422, "order chain not fully replaced", {}), False),
        ((404, "order not found for x", {}), False),
        ((403, "forbidden.", {}), True),
        ((422, "oto orders cannot be replaced", {}), True),
        ((429, "rate limit exceeded", {}), True),
    ],
)
def test_a_refused_move_leaves_the_old_stop_and_is_tried_again(refusal: tuple, alerted: bool) -> None:
    desk = opened()
    desk.venue.refuse_moves = [refusal] * 3
    wish(desk, stop="149")
    desk.run(0.9)
    assert stops(desk) == ["148"]
    assert desk.receipt()["protection"]["stop"] == "148"
    desk.run(15)
    assert stops(desk) == ["149"]
    sent = [at for at, c in desk.commands if isinstance(c, ReplaceOrder)]
    gaps = [(b - a) // NS_PER_MS for a, b in itertools.pairwise(sent)]
    assert [round(gap / 1000) for gap in gaps] == [1, 2, 4]
    assert desk.alerts().count("MOVE_REFUSED") == int(alerted)
    assert desk.worst_naked_ns == 0 or desk.sent(CancelOrder) == []


def test_while_the_venue_refuses_to_move_the_engine_holds_the_tighter_stop() -> None:
    desk = opened()
    desk.venue.refuse_moves = [(403, "forbidden.", {})] * 100
    wish(desk, stop="149")
    desk.run(5)
    desk.quote("AAPL", "148.9", "148.95")
    desk.run(2)
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.position() == "0"


def test_an_unchanged_order_is_taken_at_its_word() -> None:
    desk = opened()
    desk.venue.refuse_moves = [(422, "order parameters are not changed", {})]
    wish(desk, stop="149")
    desk.run(10)
    assert len(desk.sent(ReplaceOrder)) == 1


def test_refused_through_the_market_is_an_exit() -> None:
    desk = opened()
    desk.venue.refuse_moves = [(422, "stop price must be less than current price", {})]
    wish(desk, stop="149")
    desk.run(2)
    assert desk.receipt()["exit"]["reason"] == "SL"


@pytest.mark.parametrize("fresh", [False, True])
def test_a_fill_that_races_the_move_counts_once(fresh: bool) -> None:
    """The target fills in part while it is being replaced; the successor counts on from there, or begins anew."""
    desk = opened()
    replace = desk.venue.replace

    def racing(command: ReplaceOrder):
        old = desk.venue.orders[command.order_id]
        desk.venue.fill(old, 10 * 10**9, nano("155"))
        made = replace(command)
        if fresh and not isinstance(made, tuple):
            made.qty, made.filled, made.value = 56 * 10**9, 0, 0
        return made

    desk.venue.replace = racing  # type: ignore[method-assign]
    wish(desk, target="156")
    desk.run(3)
    assert desk.position() == "56"
    assert desk.ticket().owned == 56 * 10**9
    assert not desk.venue.is_naked("AAPL")
    desk.quote("AAPL", "156.01", "156.03")
    desk.run(3)
    assert desk.position() == "0"
    assert desk.ticket().owned == 0
    pnl = float(desk.receipt()["exit"]["pnl_usd"])
    assert pnl == pytest.approx(10 * 5 + 56 * 6.01, abs=0.01)


def test_the_old_order_fills_before_it_can_be_replaced() -> None:
    desk = opened()
    replace = desk.venue.replace

    def racing(command: ReplaceOrder):
        desk.venue.quote("AAPL", nano("147.9"), nano("147.95"))
        return replace(command)

    desk.venue.replace = racing  # type: ignore[method-assign]
    wish(desk, stop="149")
    desk.run(4)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.venue.flips == []


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.015, 0.025, 0.04])
@pytest.mark.parametrize("asset", ["AAPL", COIN])
def test_a_death_in_the_middle_of_a_move(asset: str, seconds: float) -> None:
    desk = opened(asset)
    wish(desk, stop="149")
    desk.durable = dict(desk.journal)
    desk.run(seconds)
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(6)
    assert stops(desk, asset) == ["149"]
    assert not desk.venue.is_naked(asset)
    assert desk.venue.flips == []


def test_an_exit_waits_for_the_move_and_ends_everything() -> None:
    desk = opened(max_hold_seconds="5")
    desk.run(4.49)
    wish(desk, stop="149")
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "TIME"
    assert desk.working() == []
    assert desk.venue.flips == []


def test_a_pending_replacement_is_no_protection_and_its_clock_runs() -> None:
    desk = opened()
    stop = next(o for o in desk.ticket().exits if o.leg is Leg.STOP_LOSS)
    desk.state.links  # noqa: B018
    stop.status = OrderStatus.PENDING_REPLACE
    look_after(desk.state, desk.ticket(), [])
    assert desk.ticket().naked_since_ns is not None
    desk.run(1)  # asked for, and found as it is
    assert desk.ticket().naked_since_ns is None


# --- trailing ----------------------------------------------------------------------------------------------


def trailing(asset: str = "AAPL", pct: str = "0.02", **changes: object) -> Desk:
    return opened(asset, trailing_stop_pct=pct, **changes)


def climb(desk: Desk, bid: str, seconds: float = 3, asset: str = "AAPL") -> None:
    desk.quote(asset, bid, f"{float(bid) + 0.02:.2f}")
    desk.run(seconds)


@pytest.mark.parametrize(
    ("asset", "bids", "stop"),
    [
        ("AAPL", ["151"], "148"),  # 147.98 is no better
        ("AAPL", ["152"], "148.96"),
        ("AAPL", ["152", "154", "151.5"], "150.92"),
        (COIN, ["155", "160", "157"], "156.8"),
    ],
)
def test_the_stop_follows_the_best_price_and_never_goes_back(asset: str, bids: list[str], stop: str) -> None:
    desk = trailing(asset)
    before = desk.worst_naked_ns
    for bid in bids:
        climb(desk, bid, asset=asset)
    assert stops(desk, asset) == [stop]
    assert desk.worst_naked_ns == before


def test_a_peak_between_two_moves_is_not_forgotten() -> None:
    desk = trailing()
    climb(desk, "152", 0.3)
    climb(desk, "154", 0.3)
    climb(desk, "152.5", 0.3)
    assert stops(desk) == ["148.96"], "at most every two seconds"
    desk.run(2.2)
    assert stops(desk) == ["150.92"]


def test_a_fall_through_a_stop_that_waits_for_its_pace_is_an_exit() -> None:
    desk = trailing()
    climb(desk, "152", 0.3)
    climb(desk, "154", 0.3)
    climb(desk, "150.5", 1)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "SL"


def test_steps_are_at_least_a_tenth_of_the_distance_and_two_seconds_apart() -> None:
    desk = trailing(take_profit="200", stop_loss="147")
    for cents in range(0, 1000, 3):
        climb(desk, f"{150 + cents / 100:.2f}", 0.1)
    moves = [(at, c.stop_price) for at, c in desk.commands if isinstance(c, ReplaceOrder)]
    assert len(moves) > 5
    for (at, stop), (later, higher) in itertools.pairwise(moves):
        assert later - at >= 2 * NS_PER_S
        assert higher - stop >= nano("0.29")


def test_what_is_less_than_a_step_moves_nothing() -> None:
    desk = trailing(take_profit="200", stop_loss="147")
    climb(desk, "151", 5)
    moved = len(desk.sent(ReplaceOrder))
    for cents in range(1, 25, 4):  # a step is a tenth of some 3 USD
        climb(desk, f"151.{cents:02d}", 5)
    assert len(desk.sent(ReplaceOrder)) == moved
    climb(desk, "151.50", 5)
    assert len(desk.sent(ReplaceOrder)) == moved + 1


def test_many_that_trail_share_one_move_a_second() -> None:
    desk = Desk(max_concurrent=9)
    prices = {"take_profit": "200", "stop_loss": "147", "trailing_stop_pct": "0.02"}
    desk.drop(1, "AAPL", **prices)
    desk.drop(2, "SPY", trailing_stop_pct="0.02", take_profit="900", stop_loss="590")
    desk.drop(3, COIN, trailing_stop_pct="0.02", take_profit="300")
    desk.run(1)
    for number, symbol in enumerate(("AAPL", "SPY", COIN) * 40):
        bid = {"AAPL": 150, "SPY": 600, COIN: 150}[symbol] * (1 + number * 0.002)
        desk.quote(symbol, f"{bid:.2f}", f"{bid + 0.02:.2f}")
        desk.run(0.2)
    moves = [at for at, c in desk.commands if isinstance(c, ReplaceOrder)]
    assert len(moves) >= 15
    assert len(moves) <= (moves[-1] - moves[0]) / NS_PER_S + 3


def test_a_trail_never_crosses_the_target() -> None:
    desk = trailing(pct="0.001", take_profit="152", stop_loss="149")
    desk.venue.portion = lambda order: 0 if order.limit == nano("152") else order.remaining
    climb(desk, "152.5", 5)
    (stop,) = [o for o in desk.working() if o.stop is not None]
    assert stop.stop is not None
    assert stop.stop < nano("152")


def test_a_short_trails_down() -> None:
    desk = opened(
        desk=Desk(allow_short="true"), direction="SHORT", trailing_stop_pct="0.02", take_profit="140"
    )
    desk.quote("AAPL", "146.98", "147.00")
    desk.run(3)
    assert stops(desk) == ["149.94"]


def test_a_trail_survives_a_crash_and_goes_on_from_its_stop() -> None:
    desk = trailing()
    climb(desk, "154")
    climb(desk, "152.5")
    desk.durable = dict(desk.journal)
    desk.crash()
    desk.run(2)
    desk.restart()
    desk.run(3)
    assert stops(desk) == ["150.92"]
    climb(desk, "154.9")
    assert stops(desk) == ["151.8"]


def test_equities_do_not_trail_outside_the_session() -> None:
    desk = trailing()
    reopening = desk.now_ns + 3600 * NS_PER_S
    desk.set_session(is_open=False, next_open_ns=reopening, next_close_ns=reopening + NS_PER_S)
    climb(desk, "154")
    assert desk.sent(ReplaceOrder) == []
    assert desk.ticket().stop_moved is None


def test_it_trails_while_the_trade_stream_is_down() -> None:
    from hands.core.events import Link

    desk = trailing()
    desk.link(Link.TRADE_UPDATES, up=False)
    desk.muted = True
    climb(desk, "154")
    assert stops(desk) == ["150.92"]


# --- without a target --------------------------------------------------------------------------------------


def test_a_trade_without_a_target_stands_under_a_plain_stop_that_moves() -> None:
    desk = oco()
    ticket = desk.ticket()
    assert ticket.plan is not None
    ticket.plan = msgspec.structs.replace(ticket.plan, take_profit=None)
    for order in desk.working():
        if order.parent is None:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.run(2)
    (stop,) = desk.working()
    assert (stop.order_type, stop.order_class, stop.time_in_force) == (
        OrderType.STOP,
        OrderClass.SIMPLE,
        TimeInForce.GTC,
    )
    wish(desk, stop="149")
    desk.run(1)
    assert stops(desk) == ["149"]
    wish(desk, target="153")  # there is nothing at the venue that could hold it: the engine does
    desk.run(1)
    desk.quote("AAPL", "153.1", "153.12")
    assert desk.ticket().exit_reason == "TP"


# --- a part ------------------------------------------------------------------------------------------------


def ask_part(desk: Desk, qty: str) -> None:
    desk.ticket().close_qty = nano(qty)  # type: ignore[assignment]
    look(desk)


@pytest.mark.parametrize(("asset", "part", "left"), [("AAPL", "20", "46"), (COIN, "20", None)])
def test_a_part_is_sold_once_and_the_rest_is_protected_again(asset: str, part: str, left: str | None) -> None:
    desk = opened(asset)
    before = desk.venue.positions[asset]
    ask_part(desk, part)
    desk.run(3)
    assert desk.venue.positions[asset] == before - nano(part)
    assert desk.ticket().close_qty == 0
    assert desk.ticket().owned == desk.venue.positions[asset]
    assert not desk.venue.is_naked(asset)
    assert len(desk.exits(Leg.EXIT)) == 1
    assert desk.receipt()["state"] == "OPEN"
    assert desk.worst_naked_ns < 500 * NS_PER_MS
    if left is not None:
        assert desk.position() == left


def test_a_part_that_is_all_there_is_closes_the_trade() -> None:
    desk = opened()
    ask_part(desk, "66")
    desk.run(2)
    assert desk.receipt()["exit"]["reason"] == "MANUAL"


@pytest.mark.parametrize("seconds", [0.001, 0.015, 0.03, 0.045, 0.06, 0.08])
def test_a_death_in_the_middle_of_a_part_sells_it_once(seconds: float) -> None:
    desk = opened()
    ask_part(desk, "20")
    desk.durable = dict(desk.journal)
    desk.run(seconds)
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(5)
    assert desk.position() == "46"
    assert desk.ticket().close_qty == 0
    assert not desk.venue.is_naked("AAPL")


def test_a_part_that_does_not_sell_gives_way_to_protection_and_is_given_up() -> None:
    desk = opened(COIN)
    desk.venue.portion = lambda order: 0 if "-exit-" in order.client_order_id else order.remaining
    ask_part(desk, "20")
    for _ in range(70):
        desk.quote(COIN, "149.95", "150.00")
        desk.run(1)
    assert "PART_GIVEN_UP" in desk.alerts()
    assert desk.ticket().close_qty == 0
    assert not desk.venue.is_naked(COIN)
    assert desk.worst_naked_ns <= 1_500 * NS_PER_MS
    assert len(desk.exits(Leg.EXIT)) <= 30


def test_a_part_waits_for_the_open() -> None:
    desk = opened()
    reopening = desk.now_ns + 3600 * NS_PER_S
    desk.set_session(is_open=False, next_open_ns=reopening, next_close_ns=reopening + NS_PER_S)
    ask_part(desk, "20")
    desk.run(3700 - 200)
    assert desk.exits() == []
    desk.set_session(is_open=True, next_close_ns=desk.now_ns + 3600 * NS_PER_S)
    desk.run(3)
    assert desk.position() == "46"


def test_a_lost_part_is_sent_again_under_its_own_id() -> None:
    desk = opened()
    left = ["drop_request"]
    desk.faults = lambda kind: left.pop() if kind == "submit" and left else None
    ask_part(desk, "20")
    desk.run(5)
    assert desk.position() == "46"
    assert len({order.client_order_id for order in desk.exits(Leg.EXIT)}) == 1
