"""Stops that trail and are tightened, targets that change, parts that are sold: covered or flat all the same, and once.

Owns the wishes on top of the random world of `test_protection_properties`: whatever the venue does with a replacement
(refused, lost, answered twice, raced by a fill), exits never sell more than there is, a stop never moves away from the
market, no wish for a part is sold twice, and at rest nothing is naked.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.commands import ReplaceOrder
from hands.core.events import Ns, Wake
from hands.core.ticket import Ticket
from hands.core.units import NANO, Price, Qty
from hands.core.vocab import Leg
from tests.core.desk import Desk
from tests.properties.test_protection_properties import act, assert_sound, build, settle

FEW = settings(max_examples=max(5, settings().max_examples // 16))
"""Each example is minutes of trading with a wish after every act."""

REFUSALS = (
    (422, "cannot replace order in accepted status", {}),
    (422, "order chain not fully replaced", {}),
    (403, "forbidden.", {}),
    (429, "rate limit exceeded", {}),
)


class Wishes:
    """What somebody wants of the open trades, and what was asked for so far."""

    def __init__(self, desk: Desk, rng: Random) -> None:
        self.desk, self.rng = desk, rng
        self.asked: dict[str, int] = {}
        self.bought: dict[str, int] = {}

    def wish(self) -> None:
        if self.desk.down:
            return
        open_trades = [
            t for t in self.desk.state.committed() if t.owned > 0 and t.entry and not t.entry.is_live
        ]
        if not open_trades:
            return
        ticket = self.rng.choice(open_trades)
        self.rng.choice((self._tighten, self._retarget, self._sell_part))(ticket)
        self.desk.state.touch(ticket)
        self.desk.state.wake_at(self.desk.now_ns, "ticket", ticket.intent_id)
        self.desk.feed(Wake(ts_ns=Ns(self.desk.now_ns)))

    def _tighten(self, ticket: Ticket) -> None:
        target: int = ticket.take_profit
        step = (target - ticket.stop_loss) * self.rng.randrange(1, 30) // 100 // (NANO // 100) * (NANO // 100)
        ticket.stop_moved = Price(ticket.stop_loss + step)

    def _retarget(self, ticket: Ticket) -> None:
        step = (ticket.take_profit - ticket.stop_loss) * self.rng.randrange(0, 20) // 100
        ticket.target_moved = Price(ticket.take_profit + step // (NANO // 100) * (NANO // 100))

    def _sell_part(self, ticket: Ticket) -> None:
        lot = NANO if ticket.plan is not None and not ticket.plan.is_crypto else NANO // 100
        part = ticket.owned // 4 // lot * lot
        if part and not ticket.close_qty:
            ticket.close_qty = Qty(part)
            self.asked[ticket.intent_id] = self.asked.get(ticket.intent_id, 0) + part


def assert_tightening(desk: Desk) -> None:
    """Every stop of a trade stood nearer to the market than the one before."""
    books = (*desk.state.tickets.values(), *desk.state.finished.values())
    for ticket in books:
        sign = 1 if ticket.is_long else -1
        for order in ticket.exits:
            before = ticket.orders.get(order.replaces or "")
            if before is not None and order.leg is Leg.STOP_LOSS:
                assert order.stop_price is not None
                assert before.stop_price is not None
                assert sign * order.stop_price > sign * before.stop_price


def assert_parts(desk: Desk, wishes: Wishes) -> None:
    """What exits for parts have sold is at most what was asked for."""
    for intent_id, asked in wishes.asked.items():
        ticket = desk.state.ticket(intent_id)
        if ticket is not None:
            assert sum(order.filled_qty for order in ticket.exits if order.part) <= asked


@pytest.mark.parametrize("mode", ["calm", "partial", "lossy", "deaths", "everything"])
@FEW
@given(seed=st.integers(0, 10**9))
def test_whatever_is_wanted_a_position_ends_up_covered_or_flat(mode: str, seed: int) -> None:
    every = mode == "everything"
    desk = build(seed, lossy=every or mode == "lossy", partial=every or mode != "calm")
    rng = Random(seed)
    drop = desk.drop

    def trailing(*args: object, **changes: object):
        pct = rng.choice((None, "0.01", "0.03"))
        return drop(*args, **(changes | {"trailing_stop_pct": pct}))

    desk.drop = trailing  # type: ignore[method-assign]
    wishes = Wishes(desk, rng)
    for number in range(1, 41):
        if every and rng.random() < 0.2:
            desk.venue.refuse_moves = [rng.choice(REFUSALS)] * rng.randrange(1, 4)
        act(desk, rng, number, deaths=every or mode == "deaths", gaps=every)
        wishes.wish()
        desk.run(rng.choice((0.0, 0.01, 0.03, 0.5)))
        assert_tightening(desk)
    settle(desk)
    desk.run(70)  # a part that nobody takes is given up
    settle(desk)
    assert_sound(desk)
    if mode not in ("deaths", "everything"):  # a crash may forget a wish that was not written down
        assert_parts(desk, wishes)
    assert all(isinstance(c.stop_price or c.limit_price, int) for c in desk.sent(ReplaceOrder))
