"""Splits and new names: nothing is sent on prices that mean nothing any more, and nobody's shares are sold."""

from __future__ import annotations

import msgspec
import pytest

from hands.core.basis import SETTLED_NS
from hands.core.commands import SubmitExit
from hands.core.dues import want_exit
from hands.core.events import AssetsReport, Ns, OperatorAction, PositionSnapshot
from hands.core.units import NANO, NS_PER_S, Price, Qty, nano
from hands.core.vocab import ExitReason, OrderStatus, TradeState
from tests.core.desk import HALTED, REDUCE_ONLY, Desk
from tests.core.test_protection import opened
from tests.core.world import asset


def positions(desk: Desk, **held: tuple[str, str]) -> None:
    """Let the venue's snapshots show these positions: quantity and the cost of one."""
    truth = desk.venue.truth

    def told(now_ns: int, asked: tuple[str, ...]):
        shown = tuple(
            PositionSnapshot(
                symbol=name, qty=Qty(nano(q)), qty_available=Qty(nano(q)), avg_price=Price(nano(p))
            )
            for name, (q, p) in held.items()
        )
        return msgspec.structs.replace(truth(now_ns, asked), positions=shown)

    desk.venue.truth = told  # type: ignore[method-assign]


def split(desk: Desk, qty: str, cost: str, bid: str) -> None:
    """Do what a venue does in a split: count anew, cancel what rests, and quote at the new basis."""
    desk.venue.positions["AAPL"] = nano(qty)
    positions(desk, AAPL=(qty, cost))
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.run(0.005)
    desk.quote("AAPL", bid, f"{float(bid) + 0.02:.2f}")
    desk.run(5)


def bought(**changes: object) -> Desk:
    desk = opened(**changes)
    desk.run(2)
    return desk


@pytest.mark.parametrize(
    ("qty", "cost", "bid"),
    [("264", "37.5", "37.4"), ("99", "100", "99.8"), ("6", "1500", "1499"), ("72", "137.5", "137.4")],
    ids=["4 for 1", "3 for 2", "1 for 10, a fraction paid out", "a stock dividend"],
)
def test_a_split_freezes_the_trade_and_nothing_is_sent_on_the_old_prices(
    qty: str, cost: str, bid: str
) -> None:
    desk = bought()
    split(desk, qty, cost, bid)
    desk.run(20)
    assert desk.exits() == []
    assert desk.receipt()["state"] == "FROZEN"
    assert desk.state.trading_state in (
        REDUCE_ONLY,
        HALTED,
    )  # the marks of the moment before may look like a loss
    reason = desk.state.reasons["PRICE_BASIS"]
    assert reason.clears == "operator"
    assert "hands close" in reason.detail
    assert qty in reason.detail
    assert desk.ticket().owned == nano(qty)


def test_what_a_split_left_can_be_closed_by_the_new_count() -> None:
    desk = bought()
    split(desk, "264", "37.5", "37.4")
    want_exit(desk.state, desk.ticket(), ExitReason.MANUAL, "the operator closes it")
    desk.run(5)
    desk.link(next(iter(desk.state.links)), up=True)
    desk.run(10)
    assert desk.position() == "0"
    assert desk.venue.flips == []
    assert float(desk.receipt()["exit"]["pnl_usd"]) == pytest.approx(264 * (37.4 - 37.5), abs=0.02)


def test_resume_lets_it_go_and_it_is_the_owners() -> None:
    desk = bought()
    split(desk, "264", "37.5", "37.4")
    desk.operator(OperatorAction.RESUME)
    desk.run(30)
    assert desk.exits() == []
    assert desk.ticket().state is TradeState.CLOSED
    assert desk.position() == "264"
    assert "PRICE_BASIS" not in desk.state.reasons
    assert float(desk.receipt()["exit"]["pnl_usd"]) == pytest.approx(-26.4, abs=0.02)


def test_a_new_name_freezes_and_nothing_is_sold_under_the_old_one() -> None:
    desk = bought()
    desk.venue.positions = {"AAPX": 66 * NANO}
    positions(desk, AAPX=("66", "150"))
    desk.venue.quotes["AAPX"] = nano("150"), nano("150.02")
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.run(30)
    assert desk.receipt()["state"] == "FROZEN"
    assert "AAPX" in desk.state.reasons["PRICE_BASIS"].detail
    want_exit(desk.state, desk.ticket(), ExitReason.MANUAL, "the operator closes it")
    desk.run(10)
    assert desk.sent(SubmitExit) == []
    desk.operator(OperatorAction.RESUME)
    desk.run(10)
    assert desk.ticket().state is TradeState.CLOSED


def test_a_holding_that_is_gone_with_its_listing_is_frozen() -> None:
    desk = bought()
    desk.feed(AssetsReport(ts_ns=Ns(desk.now_ns), assets=(asset("AAPL", status="inactive"),)))
    desk.venue.positions = {}
    positions(desk)
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.run(30)
    assert desk.receipt()["state"] == "FROZEN"
    assert desk.sent(SubmitExit) == []


def test_a_split_while_we_were_down_is_seen_before_anything_is_sent() -> None:
    desk = bought()
    desk.durable = dict(desk.journal)
    desk.crash()
    desk.venue.positions["AAPL"] = 264 * NANO
    positions(desk, AAPL=("264", "37.5"))
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.venue.quotes["AAPL"] = nano("37.4"), nano("37.42")
    desk.run(3)
    desk.restart()
    desk.run(10)
    assert desk.exits() == []
    assert desk.receipt()["state"] == "FROZEN"


@pytest.mark.parametrize(("qty", "cost"), [("33", "150"), ("65", "150"), ("100", "151"), ("132", "140")])
def test_what_the_owner_sells_or_buys_is_no_split(qty: str, cost: str) -> None:
    desk = bought()
    positions(desk, AAPL=(qty, cost))
    desk.link(next(iter(desk.state.links)), up=True)
    for _ in range(5):
        from hands.core.pursuit import ask_for_truth

        out: list = []
        ask_for_truth(desk.state, "test", out)
        for command in out:
            desk._carry_out(command)
        desk.run(1.5)
    assert "PRICE_BASIS" not in desk.state.reasons
    assert desk.ticket().basis == ""


def test_protection_that_ends_unasked_is_back_within_its_bound_where_nothing_has_changed() -> None:
    desk = bought()
    positions(desk, AAPL=("66", "150"))
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.run(3)
    assert not desk.venue.is_naked("AAPL")
    assert desk.worst_naked_ns <= 1_700_000_000


def test_a_venue_that_does_not_answer_holds_protection_up_for_a_part_of_the_bound_only() -> None:
    desk = bought()
    desk._answer_truth = lambda *_: None  # type: ignore[method-assign]
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.CANCELED)
    desk.run(3)
    assert not desk.venue.is_naked("AAPL")
    assert desk.worst_naked_ns <= 1_700_000_000


def test_an_expired_stop_is_met_at_once() -> None:
    desk = bought()
    for order in desk.working():
        if order.live:
            desk.venue.end(order, OrderStatus.EXPIRED)
    desk.run(2)
    assert not desk.venue.is_naked("AAPL")
    assert desk.worst_naked_ns <= 600_000_000


def test_what_has_just_been_bought_is_protected_again_once_a_snapshot_shows_it() -> None:
    desk = opened()
    assert desk.now_ns < desk.ticket().last_fill_ns + SETTLED_NS
    target = next(o for o in desk.working() if o.limit is not None)
    desk.venue.cancel(target.order_id)  # in the broker's own app
    desk.run(0.2)
    assert desk.receipt()["protection"]["kind"] == "venue_oco"
    assert desk.worst_naked_ns < NS_PER_S // 10


@pytest.mark.parametrize("change", [{"status": "inactive"}, {"tradable": False}])
def test_a_held_symbol_that_is_not_traded_any_more_is_told_once(change: dict[str, object]) -> None:
    desk = bought()

    def listed(symbol: str, **changes: object) -> None:
        desk.feed(AssetsReport(ts_ns=Ns(desk.now_ns), assets=(asset(symbol, **changes),)))

    listed("SPY", **change)  # nothing is held of that
    listed("AAPL")
    assert "ASSET_INACTIVE" not in desk.alerts()
    listed("AAPL", **change)
    listed("AAPL", **change)
    assert desk.alerts().count("ASSET_INACTIVE") == 1
    assert desk.receipt()["protection"]["qty"] == "66"
    listed("AAPL")
    listed("AAPL", **change)
    assert desk.alerts().count("ASSET_INACTIVE") == 2


def test_a_split_right_after_a_fill_sends_nothing_on_the_old_prices() -> None:
    desk = opened()
    assert desk.now_ns < desk.ticket().last_fill_ns + SETTLED_NS
    split(desk, "264", "37.5", "37.4")
    assert desk.receipt()["state"] == "FROZEN"
    assert desk.exits() == []


def test_a_split_of_what_a_part_sale_left_sends_nothing_on_the_old_prices() -> None:
    desk = bought()
    desk.operator(OperatorAction.CLOSE, target="AAPL", qty=Qty(nano("6")))
    desk.run(5)
    assert desk.position() == "60"
    sent = len(desk.sent(SubmitExit))
    split(desk, "240", "37.5", "37.4")
    assert desk.receipt()["state"] == "FROZEN"
    assert len(desk.sent(SubmitExit)) == sent


def test_a_stop_that_ends_after_a_refused_move_of_it_is_a_doubt_like_any_other() -> None:
    desk = bought()
    desk.venue.refuse_moves = [(403, "forbidden.", {})]
    desk.operator(OperatorAction.AMEND, target="AAPL", stop_loss=Price(nano("148.5")))
    desk.run(0.1)
    stop = next(o for o in desk.venue.orders.values() if o.stop is not None)
    assert any(order.replaces == stop.client_order_id for order in desk.ticket().exits)
    desk.venue.positions["AAPL"] = nano("264")
    positions(desk, AAPL=("264", "37.5"))
    desk.venue.end(stop, OrderStatus.CANCELED)  # of the target beside it nobody tells
    desk.run(0.5)
    desk.quote("AAPL", "37.4", "37.42")
    desk.run(20)
    assert desk.receipt()["state"] == "FROZEN"
    assert desk.sent(SubmitExit) == []
