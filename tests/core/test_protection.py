"""Never naked: the life of brackets, of engine-held pairs in coins, and everything that can go wrong with a stop."""

from __future__ import annotations

import pytest

from hands.core.commands import CancelOrder, QueryOrder, SubmitExit
from hands.core.events import RequestKind
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, TimeInForce, TradeState
from tests.core.desk import ACTIVE, REDUCE_ONLY, Desk
from tests.core.venue_model import Resting

COIN = "SOL/USD"
HOUR_NS = 3600 * NS_PER_S


def opened(asset: str = "AAPL", desk: Desk | None = None, **changes: object) -> Desk:
    """Return a desk with one open, protected trade."""
    desk = desk or Desk()
    desk.drop(1, asset, **changes)
    desk.run(0.5)
    assert desk.receipt()["state"] == "OPEN"
    return desk


def partly(desk: Desk, qty: str, *, asset: str = "AAPL") -> Desk:
    """Return a desk whose next entry fills `qty` and no more."""
    from hands.core.units import nano

    def portion(order: Resting) -> int:
        return (
            min(order.remaining, nano(qty) - order.filled)
            if "-entry-" in order.client_order_id
            else order.remaining
        )

    desk.venue.portion = portion
    desk.drop(1, asset)
    return desk


def stop_leg(desk: Desk, asset: str = "AAPL") -> Resting:
    return next(o for o in desk.working(asset) if o.stop is not None)


# --- the venue's bracket -----------------------------------------------------------------------------------


def test_a_filled_bracket_is_protected_by_its_held_stop_leg() -> None:
    desk = opened()
    assert desk.receipt()["protection"]["kind"] == "venue_bracket"
    assert desk.receipt()["protection"]["qty"] == "66"
    desk.run(120)
    assert desk.sent(CancelOrder) == []
    assert desk.exits() == []


@pytest.mark.parametrize(("bid", "reason"), [("155.01", "TP"), ("147.9", "SL")])
def test_a_leg_that_fills_closes_the_trade_once_the_group_was_read(bid: str, reason: str) -> None:
    desk = opened()
    desk.quote("AAPL", bid, f"{float(bid) + 0.02:.2f}")
    queries = len(desk.sent(QueryOrder))
    desk.until(lambda: desk.position() == "0", 1)
    desk.until(lambda: desk.receipt()["state"] == "CLOSED", 2)
    assert desk.receipt()["exit"]["reason"] == reason
    if reason == "TP":  # the stop's cancel was not told: the venue had to be asked
        assert len(desk.sent(QueryOrder)) > queries
    assert desk.working() == []
    assert desk.state.committed() == []


def test_a_target_that_fills_in_parts_keeps_the_group() -> None:
    desk = opened()
    parts = iter((20 * 10**9, 0, 0, 46 * 10**9))
    desk.venue.portion = lambda order: next(parts, order.remaining)
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(2)
    assert desk.receipt()["position"]["qty"] == "46"
    assert desk.sent(CancelOrder) == []
    desk.venue.portion = lambda order: order.remaining
    desk.quote("AAPL", "155.02", "155.04")
    desk.run(1)
    assert desk.receipt()["exit"]["reason"] == "TP"


def test_trap_09_a_group_ended_by_its_target_is_replaced_though_the_stops_cancel_is_never_told() -> None:
    desk = opened()
    desk.run(1)  # the fill has settled: a snapshot can tell that nothing but the group has changed
    target = next(o for o in desk.working() if o.limit is not None)
    desk.venue.cancel(target.order_id)  # in the broker's own app
    desk.run(1)
    assert desk.venue.is_naked("AAPL") is False
    assert [order.order_class for order in desk.exits()] == [OrderClass.OCO]
    assert desk.worst_naked_ns <= 300 * NS_PER_MS


def test_a_replaced_leg_is_found_by_reading_the_group_and_kept() -> None:
    desk = opened()
    old = stop_leg(desk)
    parent = old.parent
    assert parent is not None
    new = desk.venue._leg(parent, OrderType.STOP, None, 149 * 10**9)
    new.active = True
    desk.venue.end(old, OrderStatus.REPLACED)
    for order in parent.legs:  # a replacement ends nothing else
        if order.limit is not None:
            order.status = OrderStatus.NEW
    new.status = OrderStatus.HELD
    desk.run(2)
    assert desk.exits() == []
    assert desk.sent(CancelOrder) == []
    assert desk.receipt()["protection"]["stop"] == "149"


@pytest.mark.parametrize("ended", [OrderStatus.EXPIRED, OrderStatus.CANCELED])
def test_trap_08_legs_that_end_without_a_fill_are_replaced(ended: OrderStatus) -> None:
    desk = opened()
    desk.venue.end(stop_leg(desk), ended)
    desk.run(1)
    assert not desk.venue.is_naked("AAPL")
    assert desk.exits()[-1].order_class is OrderClass.OCO
    assert desk.exits()[-1].time_in_force is TimeInForce.GTC


def test_trap_14_both_legs_fill_and_the_flip_is_bought_back() -> None:
    desk = opened()
    legs = desk.working()
    for leg in legs:  # the venue lets both through
        leg.order_class = OrderClass.SIMPLE
        leg.status = OrderStatus.NEW
        desk.venue.fill(leg, leg.qty, 150 * 10**9)
    desk.run(3)
    assert desk.position() == "0"
    assert desk.state.trading_state is REDUCE_ONLY
    assert desk.state.reasons["UNEXPLAINED_POSITION"].clears == "operator"
    back = desk.exits(Leg.EXIT)
    assert [(order.side, order.qty) for order in back] == [("buy", 66 * 10**9)]
    assert desk.receipt()["state"] == "CLOSED"


def test_a_buy_back_that_is_refused_is_not_repeated_without_pause() -> None:
    desk = opened()
    desk.venue.refuse = [(403, "account is restricted", {})] * 1_000
    for leg in desk.working():
        leg.order_class, leg.status = OrderClass.SIMPLE, OrderStatus.NEW
        desk.venue.fill(leg, leg.qty, 150 * 10**9)
    desk.run(60)
    assert len(desk.sent(SubmitExit)) <= 80


# --- partial fills -----------------------------------------------------------------------------------------


def test_trap_06_a_partial_fill_is_protected_after_the_grace() -> None:
    desk = partly(Desk(), "40")
    desk.run(2)
    oco = desk.exits()
    assert [(o.order_class, o.qty) for o in oco] == [(OrderClass.OCO, 40 * 10**9)]
    assert (oco[0].stop_price, oco[0].take_profit) == (148 * 10**9, 155 * 10**9)
    assert not desk.venue.is_naked("AAPL")
    assert desk.worst_naked_ns <= 400 * NS_PER_MS + 150 * NS_PER_MS
    assert desk.receipt()["protection"]["kind"] == "venue_oco"


def test_legs_the_venue_kept_for_a_partial_fill_are_adopted() -> None:
    desk = partly(Desk(), "40")
    desk.run(0.1)
    entry = desk.venue.by_client[desk.ticket().entry.client_order_id]
    legs, entry.legs = entry.legs, []
    desk.venue.end(entry, OrderStatus.CANCELED)
    entry.legs = legs
    for leg in legs:
        leg.qty, leg.active = entry.filled, True
        if leg.limit is not None:
            leg.status = OrderStatus.NEW
    desk.run(1)
    assert desk.exits() == []
    assert desk.receipt()["protection"] == desk.receipt()["protection"] | {
        "kind": "venue_bracket",
        "qty": "40",
    }


def test_an_entry_that_fills_within_the_grace_keeps_its_bracket() -> None:
    desk = partly(Desk(), "40")
    desk.run(0.1)
    desk.venue.portion = lambda order: order.remaining
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(2)
    assert desk.sent(CancelOrder) == []
    assert desk.exits() == []


@pytest.mark.parametrize(
    "message", ["oco orders must be exit orders", "insufficient qty available for order"]
)
def test_an_oco_refused_while_the_books_settle_is_tried_again(message: str) -> None:
    desk = Desk()
    desk.venue.refuse = [(422, message, {})] * 2
    partly(desk, "40").run(2)
    assert [order.leg for order in desk.exits()] == [Leg.TAKE_PROFIT] * 3
    assert not desk.venue.is_naked("AAPL")


def test_an_oco_refused_for_too_long_ends_in_a_flatten() -> None:
    desk = Desk()
    desk.venue.refuse = [(422, "oco orders must be exit orders", {})] * 100
    partly(desk, "40")
    desk.until(lambda: desk.exits(Leg.EXIT), 3)
    first_fill = desk.ticket().opened_ns
    assert first_fill is not None
    assert desk.now_ns - first_fill <= 2_020 * NS_PER_MS
    desk.venue.refuse = []
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "LIQUIDATED"
    assert "UNPROTECTED" in desk.alerts()


def test_a_stop_that_the_venue_rejects_on_the_stream_counts_as_refused() -> None:
    desk = Desk()
    tell = desk.venue.tell

    def rejecting(event: str, order: Resting, *rest: object) -> None:
        if event == "new" and order.order_class is OrderClass.OCO:
            desk.venue.end(order, OrderStatus.REJECTED)
            return
        tell(event, order, *rest)  # type: ignore[arg-type]

    desk.venue.tell = rejecting  # type: ignore[assignment]
    partly(desk, "40").run(8)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "LIQUIDATED"
    assert len(desk.exits(Leg.TAKE_PROFIT)) < 12


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("stop price must be less than current price", "SL"),
        ("stop_loss.stop_price must be <= base_price - 0.01", "SL"),
        ("take_profit.limit_price must be >= base_price + 0.01", "TP"),
    ],
)
def test_trap_07_protection_refused_through_the_market_is_an_exit_at_once(message: str, reason: str) -> None:
    desk = Desk()
    desk.venue.refuse = [(422, message, {})]
    partly(desk, "40").run(2)
    assert [order.leg for order in desk.exits()] == [Leg.TAKE_PROFIT, Leg.EXIT]
    assert desk.receipt()["exit"]["reason"] == reason
    assert desk.worst_naked_ns <= 600 * NS_PER_MS


def test_an_acknowledged_stop_whose_new_is_never_told_is_asked_for_and_kept() -> None:
    desk = Desk()
    tell = desk.venue.tell
    desk.venue.tell = lambda event, order, *rest: None if event == "new" else tell(event, order, *rest)
    partly(desk, "40").run(3)
    assert desk.receipt()["protection"]["kind"] == "venue_oco"
    assert len(desk.exits()) == 1


# --- lost messages -----------------------------------------------------------------------------------------


def drop_next(desk: Desk, word: str, kind: RequestKind = RequestKind.SUBMIT) -> None:
    """Let one request of a kind meet a fault."""
    left = [word]
    desk.faults = lambda asked: left.pop() if asked == str(kind) and left else None


@pytest.mark.parametrize("word", ["drop_request", "drop_answer"])
def test_a_lost_protective_order_is_sent_again_under_its_own_id_at_most_once(word: str) -> None:
    desk = partly(Desk(), "40")
    desk.run(0.3)
    drop_next(desk, word)
    desk.run(3)
    sent = [order.client_order_id for order in desk.exits()]
    assert len(set(sent)) == 1
    assert len(sent) == (2 if word == "drop_request" else 1)
    assert not desk.venue.is_naked("AAPL")


def test_a_lost_exit_is_sent_again_under_its_own_id() -> None:
    desk = opened(COIN, max_hold_seconds="5")
    desk.run(4.4)
    left = ["drop_request"]
    desk.faults = lambda kind: left.pop() if kind == "submit" and left else None
    desk.run(5)
    ids = [order.client_order_id for order in desk.exits(Leg.EXIT)]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert desk.receipt()["exit"]["reason"] == "TIME"
    assert desk.venue.flips == []


def test_a_lost_exit_is_not_sent_again_for_more_than_is_owned_by_then() -> None:
    desk = opened(max_hold_seconds="5")
    desk.run(4.4)
    left = ["drop_request"]
    desk.faults = lambda kind: left.pop() if kind == "submit" and left else None
    desk.until(lambda: desk.exits(Leg.EXIT), 2)
    desk.venue.positions["AAPL"] = 0  # the owner was quicker
    desk.run(0.02)
    ticket = desk.ticket()
    ticket.written_off = ticket.received_qty  # as a snapshot would have told
    desk.run(10)
    assert len(desk.exits(Leg.EXIT)) == 1
    assert desk.position() == "0"
    assert desk.receipt()["state"] == "CLOSED"


def test_a_connection_that_is_refused_is_not_hammered() -> None:
    desk = partly(Desk(), "40")
    desk.run(0.3)
    desk.faults = lambda kind: "not_sent" if kind == "submit" else None
    desk.run(30)
    assert len(desk.sent(SubmitExit)) <= 45
    desk.faults = lambda _kind: None
    desk.run(5)
    assert not desk.venue.is_naked("AAPL")


def test_a_lost_cancel_is_repeated_until_the_venue_says_it_is_over() -> None:
    desk = Desk()
    desk.venue.quotes["AAPL"] = 151 * 10**9, 152 * 10**9  # nothing will fill
    desk.drop(ttl_seconds="5")
    left = ["drop_request", "drop_request"]
    desk.faults = lambda kind: left.pop() if kind == "cancel" and left else None
    desk.run(12)
    assert len(desk.sent(CancelOrder)) == 3
    assert desk.receipt()["state"] == "EXPIRED"


# --- coins: the engine holds the pair ----------------------------------------------------------------------


def test_trap_11_the_stop_is_for_what_the_fee_left() -> None:
    desk = opened(COIN)
    (stop,) = desk.exits()
    entry = desk.ticket().entry
    assert entry is not None
    assert stop.order_type is OrderType.STOP_LIMIT
    assert stop.qty < entry.filled_qty
    assert stop.qty == desk.venue.positions[COIN]
    assert (stop.stop_price, stop.limit_price) == (145 * 10**9, 143_550_000_000)
    assert desk.venue.refused == []


def test_a_fee_rounded_fill_by_fill_shrinks_the_book_and_the_stop_stays() -> None:
    desk = Desk()
    tell = desk.venue.tell
    desk.venue.tell = lambda event, order, execution, position: tell(
        event, order, execution, None
    )  # no witness
    partly(desk, "20.000000003", asset=COIN)
    desk.run(0.1)
    desk.venue.positions[COIN] -= 2
    desk.run(5)
    assert not desk.venue.is_naked(COIN)
    assert len(desk.exits()) == 2
    assert desk.ticket().owned == desk.venue.positions[COIN]
    assert desk.worst_naked_ns <= 600 * NS_PER_MS  # the grace, the proof, and one refusal more
    desk.venue.tell = tell
    entry = desk.ticket().entry
    assert entry is not None
    desk.venue.tell("canceled", desk.venue.by_client[entry.client_order_id], None, None)  # told again
    desk.run(1)
    assert desk.ticket().owned == desk.venue.positions[COIN]
    assert desk.sent(CancelOrder)[1:] == []


def test_the_target_is_taken_by_cancel_proof_and_one_limit() -> None:
    desk = opened(COIN)
    desk.quote(COIN, "165.1", "165.2")
    desk.run(1)
    (out,) = desk.exits(Leg.EXIT)
    assert (out.order_type, out.time_in_force, out.limit_price) == (
        OrderType.LIMIT,
        TimeInForce.IOC,
        165 * 10**9,
    )
    assert desk.receipt()["exit"]["reason"] == "TP"
    history = desk.venue.by_client[desk.exits()[0].client_order_id].history
    assert history[-1] is OrderStatus.CANCELED


def test_a_target_that_slips_away_puts_the_stop_back_at_once() -> None:
    desk = opened(COIN)
    desk.quote(COIN, "165.1", "165.2")
    desk.venue.quotes[COIN] = 160 * 10**9, 161 * 10**9  # gone before the exit arrives
    desk.run(2)
    assert [order.leg for order in desk.exits()] == [Leg.STOP_LOSS, Leg.EXIT, Leg.STOP_LOSS]
    assert not desk.venue.is_naked(COIN)
    assert desk.receipt()["state"] == "OPEN"
    desk.quote(COIN, "165.3", "165.4")
    desk.run(1)
    assert desk.receipt()["exit"]["reason"] == "TP"


def test_a_price_that_flickers_around_the_target_costs_few_requests() -> None:
    desk = opened(COIN)
    desk.venue.portion = lambda order: 0 if order.time_in_force is TimeInForce.IOC else order.remaining
    before = len(desk.commands)
    for _ in range(600):
        for bid in ("165.1", "164.9"):
            desk.quote(COIN, bid, f"{float(bid) + 0.1:.1f}")
            desk.run(0.05)
    requests = [c for _, c in desk.commands[before:] if isinstance(c, SubmitExit | CancelOrder | QueryOrder)]
    assert len(requests) <= 40
    assert not desk.venue.is_naked(COIN)


def test_a_stop_that_was_elected_but_not_filled_is_an_exit_after_the_bound() -> None:
    desk = opened(COIN)
    desk.quote(COIN, "140", "140.1")  # gapped through the stop's limit
    desk.run(1.5)
    assert desk.exits(Leg.EXIT) == []
    desk.run(2)
    assert desk.position(COIN) == "0"
    assert desk.receipt()["exit"]["reason"] == "SL"


def test_an_exit_in_coins_goes_to_market_from_the_second_try() -> None:
    desk = opened(COIN, max_hold_seconds="5")
    desk.venue.portion = lambda order: 0 if order.order_type is OrderType.LIMIT else order.remaining
    desk.run(3)
    desk.quote(COIN, "149.95", "150.00")
    desk.run(5)
    assert [o.order_type for o in desk.exits(Leg.EXIT)] == [OrderType.LIMIT, OrderType.MARKET]
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_dust_is_booked_and_closed() -> None:
    desk = partly(Desk(), "0.05", asset=COIN)
    desk.run(20)
    assert desk.receipt()["state"] == "CLOSED"
    assert desk.exits() == []
    assert "DUST" in desk.alerts()


def test_one_absurd_quote_does_not_make_a_position_dust() -> None:
    desk = opened(COIN)
    (stop,) = desk.working(COIN)
    desk.venue.end(stop, OrderStatus.CANCELED)
    rows = desk.venue.quotes[COIN]
    desk.quote(COIN, "0.01", "0.02")
    desk.venue.quotes[COIN] = rows
    desk.run(10)
    assert "DUST" not in desk.alerts()
    assert not desk.venue.is_naked(COIN)


# --- time and the session ----------------------------------------------------------------------------------


def test_max_hold_closes_the_trade() -> None:
    desk = opened(max_hold_seconds="60")
    desk.run(58)
    assert desk.receipt()["state"] == "OPEN"
    desk.run(4)
    assert desk.receipt()["exit"]["reason"] == "TIME"
    assert desk.exits(Leg.EXIT)[0].order_type is OrderType.MARKET


def test_trap_10_what_rests_is_proven_gone_before_the_exit_is_sent() -> None:
    desk = opened(max_hold_seconds="5")
    desk.run(6)
    assert desk.venue.refused == []
    assert len(desk.exits(Leg.EXIT)) == 1


def test_the_exit_waits_for_the_open_and_says_so() -> None:
    desk = opened(max_hold_seconds="60")
    reopening = desk.now_ns + HOUR_NS
    desk.set_session(is_open=False, next_open_ns=reopening, next_close_ns=reopening + HOUR_NS)
    desk.run(120)
    assert desk.exits() == []
    assert desk.receipt()["state"] == "CLOSING"
    assert "the exit waits for" in desk.receipt()["next"]
    assert desk.receipt()["protection"]["kind"] == "venue_bracket"
    desk.run(3600)
    desk.set_session(is_open=True, next_close_ns=desk.now_ns + HOUR_NS)
    desk.run(1)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_flatten_before_close_ends_equities_in_time() -> None:
    from tests.core.world import limits_text, world

    text = limits_text().replace("flatten_before_close_s = 0", "flatten_before_close_s = 300")
    from hands.core.limits import read_limits

    desk = opened(desk=Desk(world(rules=read_limits(text))))
    closes = desk.state.session.next_close_ns
    desk.run((closes - desk.now_ns) / NS_PER_S - 302)
    assert desk.receipt()["state"] == "OPEN"
    desk.run(5)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_a_short_is_protected_and_closed_by_buying() -> None:
    desk = opened(desk=Desk(allow_short="true"), direction="SHORT", max_hold_seconds="60")
    assert desk.position() == "-66"
    assert not desk.venue.is_naked("AAPL")
    desk.run(61)
    assert [order.side for order in desk.exits(Leg.EXIT)] == ["buy"]
    assert desk.position() == "0"
    assert desk.venue.flips == []


# --- unknown behaviour -------------------------------------------------------------------------------------


def test_a_frozen_trade_is_still_protected() -> None:
    import msgspec

    desk = Desk()
    deliver = desk.feed

    def odd(event):
        """The fill's report says a word nobody knows."""
        order = getattr(event, "order", None)
        if order is not None and getattr(event, "event", "") == "partial_fill":
            event = msgspec.structs.replace(
                event, order=msgspec.structs.replace(order, status=None, status_text="restated")
            )
        return deliver(event)

    desk.feed = odd  # type: ignore[method-assign]
    partly(desk, "40").run(3)
    assert desk.receipt()["state"] == "FROZEN"
    assert desk.state.trading_state is REDUCE_ONLY
    assert not desk.venue.is_naked("AAPL")
    assert desk.exits()[-1].qty == 40 * 10**9


def test_nothing_is_sent_for_a_restored_trade_before_the_venue_has_spoken() -> None:
    desk = partly(Desk(), "40")
    desk.run(0.1)
    desk.crash()
    desk.run(5)
    answer, desk._answer_truth = desk._answer_truth, lambda *_: None  # type: ignore[method-assign]
    desk.restart()
    before = len(desk.sent(SubmitExit)) + len(desk.sent(CancelOrder))
    desk.run(5)
    assert len(desk.sent(SubmitExit)) + len(desk.sent(CancelOrder)) == before
    desk._answer_truth = answer  # type: ignore[method-assign]
    desk.run(10)
    from hands.core.events import Link

    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(3)
    assert not desk.venue.is_naked("AAPL")


def test_a_trade_that_ends_leaves_nothing_for_the_next_start() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    entry = desk.venue.by_client[desk.ticket().entry.client_order_id]
    desk._tell("fill", entry, None, None)  # once more, late
    desk.run(1)
    assert desk.ticket().state is TradeState.CLOSED
    assert not [key for key in desk.journal if key[0] == "ticket"]
    assert desk.state.trading_state is ACTIVE
