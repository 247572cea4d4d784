"""Caps hold, and the oracle's verdict is the engine's, along whole sessions: approvals, fills, cancels, rolls, restarts.

Owns a book of its own, kept from what can be seen from outside: the documents that were dropped, the entries that left, and
the venue's own orders. May not look into the engine's tickets or counters. In a calm walk every message arrives before the
next document, so the book knows what the engine knows, and the oracle predicts each verdict and size from it. In a stormy
one requests and answers get lost and the process dies in the middle, and what the venue holds must be within every cap.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from hands.core.commands import AnyCommand, SubmitEntry
from hands.core.events import AnyEvent, Started
from hands.core.orders import ApprovedEntry
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns
from tests.core.desk import Desk
from tests.core.venue_model import Resting
from tests.core.world import NOW, ROLL, asset, intent_id, world
from tests.oracle import guardian, reckoning, seat
from tests.oracle.reckoning import CRYPTO_FEE, floor_to
from tests.oracle.scenario import (
    Account,
    Agent,
    Day,
    Document,
    Idea,
    Instrument,
    Outcome,
    Quote,
    Scenario,
    Session,
    Trade,
)

D = Decimal
WALKS, STEPS = (200, 300) if os.environ.get("HANDS_SOAK") else (16, 50)
SYMBOLS = ("AAPL", "SPY", "SOL/USD", "BTC/USD")
PRICE = {"AAPL": D(150), "SPY": D(600), "SOL/USD": D(150), "BTC/USD": D(100_000)}
BUDGET = D(9_000)
ROUNDING = D("2e-8")
"""The engine keeps results in nano-dollars: a handful of terms, each rounded."""

ROLLS = tuple(Ns(NOW + seconds * NS_PER_S) for seconds in (150, 400, 700, 100_000))
TIGHT = {
    "max_concurrent": D(2), "max_daily_trades": D(3), "orders_per_minute": D(2), "max_gross_exposure": D("0.12"),
    "max_daily_loss": D("0.004"), "max_position_size": D("0.06"),
}  # fmt: skip


@dataclass
class Entry:
    """An entry that left, and the document that asked for it."""

    order: ApprovedEntry
    document: Document
    agent: str
    at_ns: int


class Walk(Desk):
    """A desk with a book kept from outside."""

    def __init__(self, seed: int, *, stormy: bool) -> None:
        self.dice = Random(seed)
        choose = self.dice.choice
        changes: dict[str, Any] = {
            "max_concurrent": choose((2, 9, 9)), "max_daily_trades": choose((4, 9)), "orders_per_minute": choose((3, 9)),
            "max_gross_exposure": choose(("0.17", "0.3")), "max_daily_loss": choose(("0.006", "0.04")),
            "max_position_size": "0.09", "max_drawdown": "0.9",
        }  # fmt: skip
        self.hard = seat.shipped_values() | {key: D(str(value)) for key, value in changes.items()}
        own = "\n".join(f"{key} = {value}" for key, value in TIGHT.items())
        state = world(
            allow_short="true", extra=f"[agents.a]\n{own}\ndaily_notional_usd = {BUDGET}", **changes
        )
        state.rolls_ns = [ROLL, *ROLLS]
        super().__init__(state, seed=seed if stormy else None)
        self.stormy = stormy
        self.latency_ns = NS_PER_MS
        self.entries: dict[str, Entry] = {}
        self.asked: dict[str, tuple[Document, str, int]] = {}
        self.over: dict[str, int] = {}
        self.roll_ns = int(ROLL)
        self.open_at_roll: dict[str, Decimal] = {}
        self.codes: Counter[str] = Counter()
        self.crash()
        self.restart()  # the only way to start
        self.run(1)

    def feed(self, event: AnyEvent) -> list[AnyCommand]:
        if isinstance(event, Started):
            event = msgspec.structs.replace(event, rolls_ns=(ROLL, *ROLLS))
        out = super().feed(event)
        for command in out:
            if isinstance(command, SubmitEntry):
                order = command.entry
                assert order.intent_id not in self.entries, "an entry left twice"
                document, agent, _ = self.asked[order.intent_id]
                self.entries[order.intent_id] = Entry(order, document, agent, self.now_ns)
                self.hold_caps()
        return out

    # --- the book ------------------------------------------------------------------------------------------------

    def exits_of(self, key: str) -> list[Resting]:
        """Return what the venue has of a trade beside its entry: by its id, or as a leg of something of it."""
        found = []
        for order in self.venue.orders.values():
            head = order.parent or order
            if head.client_order_id[6:42] == key and order is not self.venue.by_client.get(self.id_of(key)):
                found.append(order)
        return found

    def id_of(self, key: str) -> str:
        return self.entries[key].order.client_order_id

    def trade(self, number: int, key: str) -> Trade:
        entry = self.entries[key]
        order, document = entry.order, entry.document
        at_venue = self.venue.by_client.get(order.client_order_id)
        status, filled, paid = "unsent" if entry.at_ns == self.now_ns else "rejected", 0, 0
        if at_venue is not None:
            status, filled, paid = str(at_venue.status), at_venue.filled, at_venue.value
        sold = sum(each.filled for each in self.exits_of(key))
        proceeds = sum(each.value for each in self.exits_of(key))
        received = D(filled) / NANO
        if document.crypto:
            received = floor_to(received * (1 - CRYPTO_FEE), D("1e-9"))
        lives = status not in reckoning.OVER or received > D(sold) / NANO
        p = reckoning.Prices(self.scenario_of(document, entry.agent, []), self.quote_of(document.asset))
        return Trade(
            number=number,
            symbol=order.symbol,
            direction=document.direction,
            agent=entry.agent,
            qty=D(order.qty) / NANO,
            limit=D(order.limit_price) / NANO,
            stop=p.stop,
            target=p.target,
            state="OPEN" if lives else "CLOSED",
            status=status,
            filled=D(filled) / NANO,
            price=D(paid) / D(filled) if filled else D(0),
            received=received,
            sold=D(sold) / NANO,
            sold_at=D(proceeds) / D(sold) if sold else D(0),
        )

    def trades(self) -> list[Trade]:
        return [self.trade(number, key) for number, key in enumerate(self.entries)]

    def quote_of(self, symbol: str) -> Quote:
        bid, ask = self.venue.quotes[symbol]
        return Quote(D(bid) / NANO, D(ask) / NANO)

    def day(self, trades: list[Trade]) -> Day:
        """Add the day up: results of what ended since the roll, and the approvals that were not for nothing."""
        day = Day(D(100_000), unrealised_at_roll=self.open_at_roll, stopped=set(self.state.day.stopped))
        for trade, (key, entry) in zip(trades, self.entries.items(), strict=True):
            if trade.state == "CLOSED" and self.over.setdefault(key, self.now_ns) >= self.roll_ns:
                day.realised[trade.agent] = day.realised.get(trade.agent, D(0)) + reckoning.realised(trade)
            if entry.at_ns >= self.roll_ns and (trade.state != "CLOSED" or trade.filled):
                day.trades[trade.agent] = day.trades.get(trade.agent, 0) + 1
                day.notional[trade.agent] = day.notional.get(trade.agent, D(0)) + trade.limit * trade.qty
        return day

    def scenario_of(self, document: Document, agent: str, trades: list[Trade]) -> Scenario:
        things = {}
        for symbol in SYMBOLS:
            known = asset(symbol)
            increment = None if known.price_increment is None else D(known.price_increment) / NANO
            things[symbol] = Instrument(D(known.lot) / NANO, D(known.min_order_qty) / NANO, increment)
        return Scenario(
            now_ns=self.now_ns,
            document=document,
            agent=agent,
            account=Account(D(100_000), buying_power=D(200_000), non_marginable=D(100_000)),
            day=self.day(trades) if trades else Day(D(100_000), unrealised_at_roll=self.open_at_roll),
            session=Session(),
            hard=self.hard,
            agents={"a": Agent(dict(TIGHT), daily_notional=BUDGET)},
            instruments=things,
            quotes={symbol: self.quote_of(symbol) for symbol in SYMBOLS},
            reasons={code: str(reason.state) for code, reason in self.state.reasons.items()},
            trades=trades,
            entries=[(self.now_ns - entry.at_ns, entry.agent) for entry in self.entries.values()],
            ideas=self.ideas(trades),
            foreign=set(self.state.foreign),
        )

    def ideas(self, trades: list[Trade]) -> list[Idea]:
        """Return what was accepted, and whether it still counts: not if it died without a fill."""
        found = []
        for trade, entry in zip(trades, self.entries.values() if trades else (), strict=True):
            document = entry.document
            prices = guardian.rounded_prices(document)
            fate = "expired" if trade.state == "CLOSED" and not trade.filled else "forgotten"
            ago = self.now_ns - entry.at_ns
            found.append(
                Idea(trade.number, document.asset, document.direction, *prices, ago_ns=ago, fate=fate)
            )
        return found

    def hold_caps(self) -> None:
        """What the venue holds, with the entry that has just left, is within every cap of the account and of the agent."""
        trades = self.trades()
        *_, newest = self.entries.values()
        s = self.scenario_of(newest.document, newest.agent, trades)
        recent = [who for ago, who in s.entries if ago < 60 * NS_PER_S]
        e = reckoning.equity(s)
        for who in reckoning.scopes(s):
            mine = reckoning.of(s, who)
            exposed = sum((reckoning.exposure(t) for t in mine), D(0))
            assert exposed <= e * reckoning.limit(s, "max_gross_exposure", who)
            assert len(mine) <= reckoning.limit(s, "max_concurrent", who)
            rate = recent.count(who) if who else len(recent)
            assert rate <= reckoning.limit(s, "orders_per_minute", who)
            taken = s.day.trades.get(who, 0) if who else sum(s.day.trades.values())
            assert taken <= reckoning.limit(s, "max_daily_trades", who)
            if not self.stormy:  # a loss that nobody has heard of yet can stop nobody
                at_risk = sum((reckoning.risk(s, t) for t in mine), D(0))
                allowed = e * reckoning.limit(s, "max_daily_loss", who)
                assert reckoning.loss_today(s, who) + at_risk <= allowed + ROUNDING
        assert s.day.notional.get("a", D(0)) <= BUDGET + ROUNDING
        by_symbol = Counter(trade.symbol for trade in reckoning.alive(s))
        assert max(by_symbol.values()) == 1

    # --- what happens ----------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let time pass; at a roll, note what is open, as the new day begins with it."""
        until = self.now_ns + int(seconds * NS_PER_S)
        due = [roll for roll in ROLLS if self.now_ns < roll <= until]
        for roll in due:
            self.run((roll - 1 - self.now_ns) / NS_PER_S)
            trades = self.trades()
            s = self.scenario_of(next(iter(self.asked.values()))[0], "default", trades) if trades else None
            self.open_at_roll = {}
            for trade in reckoning.alive(s) if s is not None else []:
                assert s is not None
                made = reckoning.realised(trade) + reckoning.unrealised(s, trade)
                self.open_at_roll[trade.agent] = self.open_at_roll.get(trade.agent, D(0)) + made
            self.day(trades)  # whoever ended before the roll is noted as such
            self.roll_ns = int(roll)
        self.run((until - self.now_ns) / NS_PER_S)

    def move(self, symbol: str, price: Decimal) -> None:
        bid = price.quantize(D("0.01"))
        self.quote(symbol, str(bid), str(bid + D("0.02")))

    def wander(self) -> None:
        """Move a market: near where it was, or far enough for a stop or a target."""
        taken = [trade.symbol for trade in self.trades() if trade.state == "OPEN"]
        symbol = self.dice.choice(taken or SYMBOLS)
        self.move(symbol, PRICE[symbol] * (1 + D(self.dice.choice((-60, -40, -40, -4, 5, 90, 90))) / 1_000))

    def make(self, number: int) -> tuple[Document, str]:
        taken = {trade.symbol for trade in self.trades() if trade.state == "OPEN"}
        free = [symbol for symbol in SYMBOLS if symbol not in taken or self.dice.random() < 0.1]
        symbol = self.dice.choice(free or SYMBOLS)
        self.move(symbol, PRICE[symbol])
        long = "/" in symbol or self.dice.random() < 0.6
        sign = 1 if long else -1
        off = D(self.dice.choice((0, 0, 1))) / 100
        document = Document(
            number=number,
            asset=symbol,
            direction="LONG" if long else "SHORT",
            trigger=PRICE[symbol] + off,
            stop=PRICE[symbol] * (1 - sign * D("0.035")) + off,
            target=PRICE[symbol] * (1 + sign * D("0.08")) + off,
            confidence=D("0.8"),
            ttl_s=D(self.dice.choice((4, 15))),
            age_ns=0,
            qty=self.dice.choice((None, None, D(7))),
        )
        return document, self.dice.choice(("default", "a"))

    def ask(self, number: int) -> None:
        """Drop a document; in a calm walk the oracle has said before what will become of it."""
        document, agent = self.make(number)
        self.poll()
        if not self.stormy:
            self.pass_time(0.2)
        key = intent_id(number)
        before = self.scenario_of(document, agent, self.trades())
        wanted = guardian.judge(before)
        self.asked[key] = document, agent, self.now_ns
        numbers = {
            "trigger_price": document.trigger, "stop_loss": document.stop, "take_profit": document.target,
            "ttl_seconds": document.ttl_s, "qty": document.qty,
        }  # fmt: skip
        texts = {name: None if value is None else f"{value:f}" for name, value in numbers.items()}
        self.drop(number, document.asset, document.direction, agent=agent, **texts)
        if self.stormy or self.down:
            return
        found = self.found(key)
        assert alike(found, wanted), f"the engine says {found}, the oracle {wanted} of {before}"
        self.codes[found.code] += 1

    def found(self, key: str) -> Outcome:
        ticket = self.state.ticket(key)
        assert ticket is not None
        words = str(ticket.verdict), str(ticket.code), str(ticket.state)
        if key not in self.entries:
            return Outcome(*words)
        order, plan = self.entries[key].order, ticket.plan
        assert plan is not None
        numbers = order.qty, order.limit_price, plan.stop_loss, plan.take_profit
        return Outcome(*words, *(D(number) / NANO for number in numbers))


def alike(found: Outcome, wanted: Outcome) -> bool:
    """Whether two outcomes are the same, but for the coins that the rounding of results is worth."""
    if found.qty is not None and wanted.qty is not None and found.limit is not None:
        if (
            abs(found.qty - wanted.qty) * found.limit > 30 * ROUNDING
        ):  # it is the loss at the stop that is rounded
            return False
        found = replace(found, qty=wanted.qty)
    return found == wanted


def walk(seed: int, *, stormy: bool) -> Walk:
    desk = Walk(seed, stormy=stormy)
    dice = desk.dice
    words = ("not_sent", "drop_request", "drop_answer")
    if stormy:
        desk.faults = lambda _kind: dice.choice(words) if dice.random() < 0.1 else None
    desk.venue.portion = lambda order: dice.choice(
        (0, order.remaining, order.remaining, order.remaining // 3 // NANO * NANO)
    )
    for number in range(1, STEPS + 1):
        roll = dice.random()
        if roll < 0.5:
            desk.ask(number)
        elif roll < 0.85:
            desk.wander()
        elif roll < 0.92 and not any(0 < at - desk.now_ns < 5 * NS_PER_S for at in ROLLS):
            if stormy:
                desk.run(dice.random() / 10)
            desk.crash()
            desk.run(dice.random() * 2)
            desk.restart()
        desk.pass_time(dice.choice((0.0, 0.02, 0.5, 4.0, 30.0)) if stormy else dice.choice((2.0, 5.0, 30.0)))
    return desk


def test_the_oracle_predicts_every_verdict_of_a_calm_walk() -> None:
    """The book, kept from outside, says what the engine's counters must say: sizes agree to the last lot."""
    codes: Counter[str] = Counter()
    for seed in range(WALKS):
        codes += walk(seed, stormy=False).codes
    budgets = {"CONCURRENT", "DAILY_TRADES", "GROSS_EXPOSURE", "AGENT_BUDGET", "DAILY_LOSS", "ORDER_RATE"}
    assert set(codes) >= {"OK", "SYMBOL_BUSY", "SEMANTIC_DUPLICATE", "REDUCE_ONLY", *budgets}, codes
    assert codes["OK"] >= 5 * WALKS


@pytest.mark.parametrize("group", range(2))
def test_the_venue_never_holds_more_than_the_caps_in_a_storm(group: int) -> None:
    desks = [walk(seed, stormy=True) for seed in range(group * WALKS, (group + 1) * WALKS)]
    assert sum(len(desk.entries) for desk in desks) >= 3 * WALKS
    assert sum(desk.now_ns > roll for desk in desks for roll in ROLLS) >= WALKS
