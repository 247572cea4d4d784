"""Whatever happens in whatever order, nothing is used twice, nothing beyond its limit, nothing given back without proof.

Owns a second, deliberately naive account of the budgets: every number is added up from scratch after every event, in
fractions, from the tickets' orders and from a ledger that the test keeps of every entry that left, across deaths and rolls.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from random import Random

import msgspec
import pytest

from hands.core.commands import AnyCommand, Record, SubmitEntry
from hands.core.events import AnyEvent, Started, Wake
from hands.core.limits import Limits
from hands.core.sizing import day_loss_usd, entries_last_minute, used
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO, NS_PER_S, Ns, nano
from hands.core.vocab import Code, Leg, OrderStatus, TradeState, Verdict
from tests.core.desk import Desk
from tests.core.world import NOW, ROLL, world
from tests.properties.test_protection_properties import middle, move, portion

GROUPS, PLAYS = (40 if os.environ.get("HANDS_SOAK") else 2), 14
STEPS = 50
ROLLS = tuple(Ns(NOW + seconds * NS_PER_S) for seconds in (40, 80, 120, 100_000))
SYMBOLS = (("AAPL", "LONG"), ("AAPL", "SHORT"), ("SPY", "LONG"), ("SOL/USD", "LONG"))
AGENT = """
[agents.a]
max_concurrent = 2
max_daily_trades = 3
orders_per_minute = 3
max_gross_exposure = 0.08
max_daily_loss = 0.002
"""
FAULTS = {"submit": 0.35}
OVER = {
    OrderStatus.FILLED,
    OrderStatus.CANCELED,
    OrderStatus.EXPIRED,
    OrderStatus.REPLACED,
    OrderStatus.REJECTED,
}
UNDER_WAY = {TradeState.WORKING, TradeState.UNKNOWN, TradeState.OPEN, TradeState.CLOSING, TradeState.FROZEN}
ROUNDING = Fraction(20, NANO)
"""The engine rounds each of a few terms against the trade, to nano-dollars."""


def dollars(*factors: int) -> Fraction:
    """Return a product of nano-units."""
    found = Fraction(1)
    for factor in factors:
        found *= Fraction(factor, NANO)
    return found


class Figures:
    """What one ticket amounts to, from its orders alone."""

    def __init__(self, state: State, ticket: Ticket) -> None:
        plan = ticket.plan
        assert plan is not None
        entry = [order for order in ticket.orders.values() if order.leg is Leg.ENTRY]
        sign = 1 if ticket.is_long else -1
        gone, proceeds = 0, Fraction(0)
        for order in ticket.orders.values():
            if order.leg is not Leg.ENTRY:
                back = -1 if order.leg is Leg.EXIT and order.side is plan.side else 1
                gone += back * order.filled_qty
                proceeds += back * dollars(order.value)
        self.owned = ticket.received_qty - gone - ticket.written_off
        self.waiting = sum(order.qty - order.filled_qty for order in entry if order.status not in OVER)
        paid = sum((dollars(order.value) for order in entry), Fraction(0))
        each = paid / dollars(ticket.received_qty) if ticket.received_qty else Fraction(0)
        hint = dollars(ticket.exit_price_hint or 0, ticket.written_off)
        fee = dollars(ticket.fee_rate)
        if not ticket.received_qty:  # an exit's fill may be heard of before the entry's: it has no cost yet
            proceeds = hint = Fraction(0)
        self.realised = sign * (proceeds + hint - each * dollars(gone + ticket.written_off)) - fee * proceeds
        quote = state.market.quote(state.market.index[ticket.symbol])
        side = None if quote is None else quote.bid if ticket.is_long else quote.ask
        mark = dollars(side or ticket.avg_entry or 0)  # before the first quote after a start: what was paid
        held = dollars(max(0, self.owned))
        self.unrealised = held * (sign * (mark - each) - fee * mark)
        self.exposure = dollars(plan.limit_price, abs(self.owned) + self.waiting)
        # while an exit's fill is heard of before the entry's, a trade counts double: it never is
        self.at_most = min(self.exposure, dollars(plan.limit_price, plan.qty))
        fall = max(Fraction(0), sign * (mark - dollars(plan.worst_exit)))
        self.risk = held * fall + dollars(plan.unit_risk, self.waiting)


class Ledger(Desk):
    """A desk that adds everything up after every event."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        state = world(
            extra=AGENT, allow_short="true", semantic_duplicate_s=0, max_drawdown="0.9", max_position_size="0.09",
            max_gross_exposure=rng.choice(("0.095", "0.17")), max_concurrent=rng.choice((2, 9)), max_daily_trades=rng.choice((4, 9)),
            orders_per_minute=rng.choice((4, 30)), max_daily_loss=rng.choice(("0.002", "0.05")),
        )  # fmt: skip
        state.rolls_ns = [ROLL, *ROLLS]
        state.wake_at(ROLLS[0], "roll", "")
        super().__init__(state, seed=seed)
        self.left: dict[str, tuple[int, str]] = {}  # every entry that ever left: when, and whose
        self.nothing_filled: set[str] = set()
        self.baselines = 0
        self.ended: dict[str, tuple[str, int, Fraction]] = {}  # whose, when, and what it made

    def feed(self, event: AnyEvent) -> list[AnyCommand]:
        if isinstance(event, Started):
            event = msgspec.structs.replace(event, rolls_ns=(ROLL, *ROLLS))
        day, held = self.state.day, self._results()
        out = super().feed(event)
        if self.state.day is not day and isinstance(event, Wake):
            self._hold_baseline(held)
        if not self.down:
            entries = [command.entry.intent_id for command in out if isinstance(command, SubmitEntry)]
            for intent_id in entries:
                ticket = self.state.tickets[intent_id]
                self.left[intent_id] = self.now_ns, ticket.agent
            self.add_up({self.left[intent_id][1] for intent_id in entries})
        return out

    def _results(self) -> dict[str, Fraction]:
        """Return what each agent's live trades have made so far, sold or not."""
        found: dict[str, Fraction] = {}
        for ticket in self.state.committed():
            figures = Figures(self.state, ticket)
            found[ticket.agent] = found.get(ticket.agent, Fraction(0)) + figures.realised + figures.unrealised
        return found

    def _hold_baseline(self, held: dict[str, Fraction]) -> None:
        """A day that begins with nothing but a timer begins with what was there just before."""
        found = self.state.day.unrealised_at_roll
        assert found.keys() == held.keys()
        for agent, value in held.items():
            assert abs(dollars(found[agent]) - value) <= ROUNDING
        self.baselines += 1

    # --- from scratch --------------------------------------------------------------------------------------

    def add_up(self, approved: set[str]) -> None:
        """Hold everything against everything; `approved`: whose entries left just now."""
        state = self.state
        live = [
            ticket for ticket in state.tickets.values()
            if ticket.verdict is Verdict.ACCEPTED and ticket.state in UNDER_WAY
        ]  # fmt: skip
        assert {t.intent_id for t in state.committed()} == {t.intent_id for t in live}
        self._note_ends()
        self._nothing_without_proof({ticket.intent_id for ticket in live})
        for agent, limits in ((None, state.limits.hard), ("a", state.limits.agents["a"].limits)):
            mine = [ticket for ticket in live if agent in (None, ticket.agent)]
            self._hold(agent, limits, mine, approved=bool(approved) and agent in {None, *approved})

    def _note_ends(self) -> None:
        """Keep what became of every entry; one that comes back to life (after a death, too) is no end."""
        state = self.state
        for intent_id in self.left:
            ticket = state.ticket(intent_id)
            if ticket is None:
                continue
            self.nothing_filled.discard(intent_id)
            self.ended.pop(intent_id, None)
            if intent_id in state.finished:
                assert ticket.closed_ns is not None
                self.ended[intent_id] = ticket.agent, ticket.closed_ns, Figures(state, ticket).realised
                if ticket.entry is not None and not ticket.entry.filled_qty:
                    self.nothing_filled.add(intent_id)

    def _nothing_without_proof(self, live: set[str]) -> None:
        """What can still fill at the venue, or has and was not sold again, is counted."""
        for order in self.venue.orders.values():
            intent_id = order.client_order_id[6:42]
            if intent_id in self.left and order.client_order_id.endswith("entry-1") and order.live:
                assert intent_id in live, f"{order.client_order_id} works, and nobody counts it"

    def _hold(self, agent: str | None, limits: Limits, live: list[Ticket], *, approved: bool) -> None:
        """Hold what is used up against the limits; the day's loss too, where an entry has left just now."""
        state = self.state
        figures = [Figures(state, ticket) for ticket in live]
        found = used(state, agent)
        sums = {
            "exposure": total(each.exposure for each in figures),
            "realised": total(each.realised for each in figures),
            "unrealised": total(each.unrealised for each in figures),
            "open_risk": total(each.risk for each in figures),
        }
        for name, value in sums.items():
            assert abs(dollars(getattr(found, name)) - value) <= ROUNDING, (agent, name)
        since = [
            at for at, who in self.left.values() if agent in (None, who) and at > self.now_ns - 60 * NS_PER_S
        ]
        assert entries_last_minute(state, self.now_ns, agent) == len(since)
        assert len(since) <= limits.orders_per_minute
        assert len(live) <= limits.max_concurrent
        equity = Fraction(100_000)
        assert (
            total(each.at_most for each in figures) <= equity * dollars(limits.max_gross_exposure) + ROUNDING
        )
        self._hold_day(agent, limits)
        made = sums["realised"] + sums["unrealised"] - dollars(state.day.unrealised_of(agent))
        loss = max(Fraction(0), -made - self._made_today(agent))
        assert abs(dollars(day_loss_usd(state, agent)) - loss) <= 5 * ROUNDING
        if approved:
            assert loss + sums["open_risk"] <= equity * dollars(limits.max_daily_loss) + 5 * ROUNDING, agent

    def _made_today(self, agent: str | None) -> Fraction:
        """Return what the trades that ended since the roll have made."""
        since = self.state.day.started_ns
        return total(made for who, at, made in self.ended.values() if agent in (None, who) and at >= since)

    def _hold_day(self, agent: str | None, limits: Limits) -> None:
        """A trade counts on the day it was approved, unless it is over and nothing of it was filled.

        One that was approved just before the roll and reached the venue just after it may count again after a start,
        where the venue is believed too.
        """
        taken, perhaps = (self._taken(agent, within_s) for within_s in (0, 1))
        counted = self.state.day.trades_of(agent)
        assert len(taken) <= counted <= len(perhaps), (agent, sorted(taken))
        assert len(taken) <= limits.max_daily_trades

    def _taken(self, agent: str | None, within_s: int) -> list[str]:
        began = self.state.day.started_ns - within_s * NS_PER_S
        return [
            intent_id for intent_id, (at, who) in self.left.items()
            if at >= began and agent in (None, who) and intent_id not in self.nothing_filled
        ]  # fmt: skip


def total(parts: Iterable[Fraction]) -> Fraction:
    return sum(parts, Fraction(0))


def act(desk: Ledger, rng: Random, number: int) -> None:
    """One random act of the world."""
    roll = rng.random()
    if roll < 0.45:
        free = [trade for trade in SYMBOLS if not desk.state.live_on(trade[0])]
        symbol, direction = rng.choice(free or SYMBOLS)
        move(desk, symbol, nano({"AAPL": "149.98", "SPY": "599.98", "SOL/USD": "149.98"}[symbol]))
        desk.poll()
        changes = rng.choice(({}, {}, {"max_hold_seconds": "5"}, {"entry": "touch"}, {"ttl_seconds": "1"}))
        desk.drop(number, symbol, direction, agent=rng.choice(("default", "a")), **changes)
    elif roll < 0.75:
        symbol = rng.choice(("AAPL", "SPY", "SOL/USD"))
        move(desk, symbol, middle(symbol, rng))
    elif roll < 0.82:
        desk.run(rng.random() / 10)
        desk.crash()
        desk.run(rng.random() * 3)
        desk.restart()
    desk.run(rng.choice((0.0, 0.0, 0.02, 0.3, 2.0, 9.0)))


def play(seed: int) -> Ledger:
    desk, rng = Ledger(seed), Random(seed)
    words = ("not_sent", "drop_request", "drop_answer")
    desk.faults = lambda kind: rng.choice(words) if rng.random() < FAULTS.get(kind, 0.1) else None
    desk.venue.portion = lambda order: 0 if rng.random() < 0.3 else portion(order, rng)
    for number in range(1, STEPS + 1):
        act(desk, rng, number)
    return desk


BUDGETS = {Code.CONCURRENT, Code.DAILY_TRADES, Code.DAILY_LOSS, Code.ORDER_RATE, Code.GROSS_EXPOSURE}


@pytest.mark.parametrize("group", range(GROUPS))
def test_caps_hold_and_nothing_is_given_back_without_proof(group: int) -> None:
    """Every event of every walk is added up; and the walks of a group together have met the budgets."""
    desks = [play(seed) for seed in range(group * PLAYS, (group + 1) * PLAYS)]
    if group > 1:
        return  # what the first walks meet is enough to know that walks meet it
    records = [command for desk in desks for command in desk.sent(Record)]
    denied = {record.row["code"] for record in records if record.table == "rejections"}
    assert len(BUDGETS - denied) <= 1, BUDGETS - denied
    assert sum(len(desk.left) for desk in desks) > 3 * PLAYS
    assert sum(len(desk.nothing_filled) for desk in desks) > PLAYS // 3
    assert sum(desk.baselines for desk in desks) > PLAYS // 2
    assert sum(desk.now_ns > roll for desk in desks for roll in ROLLS) > PLAYS
