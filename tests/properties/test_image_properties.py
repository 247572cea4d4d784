"""A state made of an image goes on as the one it was made of: the same commands to the byte, and the same images.

Owns a desk whose state has a twin. At random moments of a random life the twin is made anew, of the state's image and its
market's snapshot; then both are fed the same events and rows until the next such moment. Every run is a function of its
seed. The lives have what makes states differ: touches, trailing stops, amendments, waiting documents, latched agents,
operators, tighter limits, rolls, halts, fences, stepping clocks, deaths.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from hands.core.commands import AnyCommand
from hands.core.engine import decide
from hands.core.events import (
    AnyEvent,
    ClockStepped,
    DocumentReceived,
    Fenced,
    LimitsRead,
    Link,
    OperatorAction,
    TradingStatusReport,
    TriggersFired,
    VenueClockMeasured,
)
from hands.core.guard_sheet import guarded_trades
from hands.core.image import digest_of, image_of, restore_image
from hands.core.market import Market
from hands.core.receipts import receipt
from hands.core.state import State
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import TradeState
from hands.runtime import sequencer
from hands.runtime.envelope import envelope
from hands.runtime.holdings import orders, positions
from hands.runtime.status import view
from hands.runtime.what_if import what_if
from tests.core.desk import Desk
from tests.core.test_changes import members, send
from tests.core.world import NOW, ROLL, document, encoded, intent_id, limits_text, world
from tests.properties.test_protection_properties import act, middle, move, portion
from tests.rig.shadow import Shadow, journaled

LIVES, ACTS = (600, 120) if os.environ.get("HANDS_SOAK") else (8, 60)
ROOT = Path(__file__).resolve().parents[2]
AGAIN = 2
"""So many lives are lived once more by another process."""

COPIES_EVERY = 20
"""Events from one copy to the next, about: some copies see two, some a hundred."""

ROLLS = tuple(Ns(NOW + seconds * NS_PER_S) for seconds in (20, 90, 100_000))
AGENT = '[agents.a]\nmax_concurrent = 1\nrejections_latch = 3\nsymbols = ["AAPL", "SOL/USD"]\n'
HARD: dict[str, Any] = {
    "allow_short": "true", "semantic_duplicate_s": 2, "max_daily_trades": 100, "max_daily_loss": "0.9", "max_drawdown": "0.9",
    "max_gross_exposure": 5, "rejections_latch": 6, "orders_per_minute": 30, "cooldown_after_stop_s": 3,
}  # fmt: skip


def ask_everything(state: State, now_ns: int, number: int) -> None:
    """Ask for what people and agents are told between two events."""
    for ticket in (*state.tickets.values(), *state.finished.values(), *state.changes.values()):
        receipt(state, ticket)
    for symbol in ("AAPL", "SOL/USD"):
        envelope(state, symbol, "a", now_ns)
        what_if(state, encoded(document(number + 1, symbol)), "newcomer", now_ns)
        what_if(state, encoded(document(number + 1, symbol, stop_loss="20")), "a", now_ns)
    what_if(state, encoded(members("close", number, number + 1)), "default", now_ns)
    view(state, now_ns)
    positions(state, now_ns)
    orders(state, every=True)
    guarded_trades(state)


class Twins(Desk):
    """A desk whose state has a twin."""

    def __init__(self, seed: int) -> None:
        state = world(extra=AGENT, **HARD)
        state.rolls_ns = [ROLL, *ROLLS]
        self.twin: State | None = None
        self.copies = self.events = 0
        self.seen: Counter[str] = Counter()
        super().__init__(state, seed=seed)
        self.when = Random(seed ^ 0xC0B1)
        self.number = 0

    def feed(self, event: AnyEvent) -> list[AnyCommand]:
        twin = self.twin if not self.down else None
        if twin is not None:
            if isinstance(event, TriggersFired):
                assert tuple(twin.market.fired[: twin.market.fired_count].tolist()) == event.slots
            told = msgspec.msgpack.encode(decide(twin, journaled(event)))
            twin.changed.clear()
        out = super().feed(event)
        self.events += 1
        if twin is not None:
            assert told == self.decided[-1], event
        if not self.down and self.when.random() * COPIES_EVERY < 1:
            self.part()
        return out

    def part(self) -> None:
        """Compare with the twin there is, and make another of this moment."""
        self.compare()
        before = image_of(self.state)
        self.twin = restore_image(before, Market.restore(self.state.market.snapshot()))
        ask_everything(self.state, self.now_ns, self.number)
        assert image_of(self.state) == before, "to be asked changed it"
        self.copies += 1
        self.note()
        self.compare()

    def compare(self) -> None:
        if self.twin is not None:
            assert image_of(self.twin) == image_of(self.state)
            assert self.twin.market.digest() == self.state.market.digest()
            assert self.twin.stakes.total() == self.state.stakes.total()

    def note(self) -> None:
        """Count what there was in the state that was copied."""
        state = self.state
        self.seen.update(str(ticket.state) for ticket in state.tickets.values())
        self.seen.update(kind for _, kind in state.armed_slots)
        self.seen.update(f"at {kind}" for _, kind, _ in state.timers)
        for name in (
            "waiting",
            "halts",
            "reasons",
            "accepted",
            "changes",
            "stopped_out",
            "limits_note",
            "fenced_ns",
        ):
            self.seen[name] += bool(getattr(state, name))
        self.seen["latched"] += any(book.latched for book in state.agents.values())
        self.seen["trailed"] += any(ticket.stop_moved is not None for ticket in state.tickets.values())

    def _take(self, rows: Any) -> None:
        if not self.down and self.twin is not None:
            rows["venue_ns"] = rows["recv_ns"] = self.now_ns
            self.twin.market.consume(np.copy(rows), 0, 1)
        super()._take(rows)

    def crash(self) -> None:
        self.compare()
        self.twin = None
        super().crash()


# --- what happens ------------------------------------------------------------------------------------------------

Act = Callable[[Twins, Random], object]


def live_on(desk: Twins, rng: Random) -> None:
    desk.number += 1
    act(desk, rng, desk.number, deaths=True, gaps=True)


def move_on(desk: Twins, rng: Random) -> None:
    symbol = rng.choice(("AAPL", "SPY", "SOL/USD"))
    move(desk, symbol, middle(symbol, rng))


def climb(desk: Twins, rng: Random) -> None:
    """A market that a trailing stop follows."""
    for step in range(6):
        desk.quote("SOL/USD", f"{150 + step}", f"{150.05 + step:.2f}")
        desk.print("SOL/USD", f"{150 + step}")
        desk.run(1)


def enter(desk: Twins, rng: Random) -> None:
    """An intent of either agent, now or at its touch; sometimes with a stop that trails, sometimes a poor one."""
    symbol = rng.choice(("AAPL", "AAPL", "SOL/USD", "SPY"))
    more: dict[str, Any] = {"agent": rng.choice(("default", "a"))}
    if rng.random() < 0.5:
        more |= {"entry": "touch", "arm_seconds": rng.choice(("5", "600"))}
    if rng.random() < 0.3:
        more["trailing_stop_pct"] = 0.01
    if rng.random() < 0.3:
        more |= rng.choice(
            ({"confidence": "0.1"}, {"take_profit": "150.2"}, {"ttl_seconds": "40"}, {"qty": "3"})
        )
    desk.number += 1
    desk.poll()
    desk.drop(desk.number, symbol, context={"mood": 0.1, "by": "walk"}, thesis="ä", **more)


def enter_unseen(desk: Twins, rng: Random) -> None:
    """Intents for a symbol of which nothing was heard for long: they wait, and are judged again with the quote, or late."""
    desk.mute_quotes = rng.random() < 0.5
    desk.run(6)
    desk.poll()
    for _ in range(2):
        desk.number += 1
        desk.drop(desk.number, "SPY")
    desk.run(rng.choice((0.0, 0.5, 16.0)))
    desk.mute_quotes = False


def change(desk: Twins, rng: Random) -> None:
    desk.number += 1
    live = [n for n in range(1, desk.number) if intent_id(n) in desk.state.tickets]
    kind = rng.choice(("cancel", "close", "amend"))
    more: dict[str, str] = {}
    if kind == "amend":
        more = {"stop_loss": rng.choice(("148.5", "149", "140")), "max_hold_seconds": "30"}
    elif kind == "close" and rng.random() < 0.5:
        more = {"qty": "1"}
    send(desk, kind, rng.choice(live or [1]), desk.number, agent=rng.choice(("default", "a")), **more)


def mistake(desk: Twins, rng: Random) -> None:
    data = rng.choice((b"{", b"\xff", b'{"intent_id": 1}', b'{"a": NaN}', b'{"a": 1, "a": 1}'))
    name, now = f"bad-{desk.number}.json", Ns(desk.now_ns)
    desk.feed(DocumentReceived(ts_ns=now, agent="a", name=name, data=data, file_event_ns=now))


def operate(desk: Twins, rng: Random) -> None:
    action = rng.choice(
        (OperatorAction.HALT, OperatorAction.REDUCE_ONLY, OperatorAction.FLATTEN, OperatorAction.CLOSE)
    )
    desk.operator(action, target="AAPL" if action is OperatorAction.CLOSE else None)
    for another in rng.choices((enter, move_on, change), k=rng.randrange(4)):
        another(desk, rng)
        desk.run(rng.choice((0.0, 0.1, 3.0)))
    desk.operator(OperatorAction.RESUME)
    desk.operator(OperatorAction.RESUME, agent="a")


def tighten(desk: Twins, rng: Random) -> None:
    """A limits file that differs in a line or two, as often looser as tighter; or one that is none."""
    own = rng.choice(
        (AGENT, AGENT.replace('"AAPL", ', ""), '[symbols."AAPL"]\nmax_position_size = 0.05\n' + AGENT)
    )
    text = limits_text(extra=own, **HARD | {"max_spread": rng.choice(("0.005", "0.004", "0.004"))})
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=text if rng.random() < 0.8 else "[hard"))


def disturb(desk: Twins, rng: Random) -> None:
    """Clocks, halts, fences, feeds and sessions."""
    now = Ns(desk.now_ns)
    symbol = rng.choice(("AAPL", "SPY"))
    events: tuple[AnyEvent, ...] = (
        ClockStepped(
            ts_ns=now, wall_offset_ns=rng.choice((-1, 1)) * 7 * NS_PER_MS, slept_ns=rng.choice((0, NS_PER_S))
        ),
        TradingStatusReport(
            ts_ns=now, symbol=symbol, halted=rng.random() < 0.4, venue_ns=desk.now_ns, code="H"
        ),
        Fenced(ts_ns=now, epoch=desk.state.fence + rng.randrange(2), reason="a pause"),
        VenueClockMeasured(ts_ns=now, link=rng.choice(tuple(Link)), offset_ns=rng.randrange(10**7)),
    )
    desk.feed(rng.choice(events))
    if rng.random() < 0.3:
        desk.link(rng.choice(tuple(Link)), up=rng.random() < 0.5)
        desk.run(rng.choice((0.1, 11.0)))
        for link in Link:
            desk.link(link, up=True)
    if rng.random() < 0.3:
        desk.set_session(is_open=False, next_open_ns=desk.now_ns + 10**15)
        desk.run(1)
        desk.set_session(is_open=True, next_open_ns=desk.now_ns + 10**15)


ACTS_OF_ALL: tuple[Act, ...] = (
    live_on, live_on, live_on, enter, enter, enter, enter_unseen, change, change, mistake, operate, tighten, disturb,
    move_on, climb,
)  # fmt: skip


def play(seed: int) -> Twins:
    desk, rng = Twins(seed), Random(seed)
    words = ("not_sent", "drop_request", "drop_answer")
    desk.faults = lambda _kind: rng.choice(words) if rng.random() < 0.1 else None
    desk.venue.portion = lambda order: portion(order, rng)
    for _ in range(ACTS):
        rng.choice(ACTS_OF_ALL)(desk, rng)
        desk.run(rng.choice((0.0, 0.01, 0.3, 2.0)))
    desk.compare()
    return desk


@pytest.fixture(scope="module")
def lives() -> list[Twins]:
    return [play(seed) for seed in range(LIVES)]


def test_a_state_made_of_an_image_decides_alike_for_the_rest_of_its_life(lives: list[Twins]) -> None:
    """Comparing goes on all the while in `Twins.feed`; here it is seen that there was something to compare."""
    seen = sum((desk.seen for desk in lives), Counter[str]())
    print(sum(desk.copies for desk in lives), sum(desk.events for desk in lives), seen)
    assert sum(desk.copies for desk in lives) > 10 * LIVES
    states = {TradeState.ARMED, TradeState.WORKING, TradeState.OPEN, TradeState.CLOSING}
    wanted = {str(state) for state in states} | {
        "touch", "target", "stop", "at ticket", "at waiting", "at roll", "at watch", "waiting", "halts", "reasons", "accepted", "changes",
        "stopped_out", "limits_note", "latched", "trailed", "fenced_ns",
    }  # fmt: skip
    assert not [name for name in sorted(wanted) if not seen[name]], seen


def test_another_process_comes_to_the_same_images(lives: list[Twins]) -> None:
    """Whatever order sets and hashes have there: a session is verified in a process of its own."""
    program = (
        "from tests.properties.test_image_properties import play\n"
        "from hands.core.image import digest_of\n"
        f"print(*(digest_of(play(seed).state) for seed in range({AGAIN})))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.split() == [digest_of(desk.state) for desk in lives[:AGAIN]]


# --- the whole daemon --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(200) if os.environ.get("HANDS_SOAK") else [7])
def test_a_daemon_in_a_storm_is_its_image_and_its_events(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody changes the state between two events: what was, would be no function of the events any more."""
    from tests.storms.storm import run  # the exchange and all: not for the other process above

    shadow = Shadow(closed=True)
    monkeypatch.setattr(sequencer, "decide", shadow.decide)
    report = run(seed)
    assert report.verdict.wrongs == []
    assert shadow.faults == []
    assert shadow.decided > 30
