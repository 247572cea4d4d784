"""Twelve hours of a market through everything that brings it in, as fast as it goes, in a process of its own.

Owns the run: `MarketData` as the daemon has it, with its feeds, ring, repairs, audit, liveness and session resets, the
sequencer and its journal behind it, and triggers that are armed and fire; what goes wrong in every cycle; the memory
after every hour. May not judge numbers (`endurance_check`), but for one thing: at the end of each cycle what the market
shows has to be what a client shows that missed nothing and heard everything in order.

Run as `python -m bench.endurance_play HOURS RATE FOLDER`; prints one JSON line. RATE is quotes and trades a second and
symbol. FOLDER gets `trades.npy`, what was traded (rows), and `shown.json`, what is shown at the end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.endurance_tape import CYCLE_S, STEP_NS, Cycle
from bench.endurance_venue import JumpingLoop, Venue
from bench.footprint import resident_mb
from hands.core.commands import AnyCommand
from hands.core.events import SessionReport
from hands.core.limits import read_limits
from hands.core.market import Market, RowFlag, TriggerDirection, TriggerOn, new_rows
from hands.core.state import State
from hands.core.units import NANO, NS_PER_S, Ns
from hands.core.vocab import Venue as VenueName
from hands.journal.store import JournalStore
from hands.runtime.market_data import MarketData
from hands.runtime.sequencer import Sequencer
from hands.sim.market.synthetic import Rate
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.market_feed import MarketFeed
from hands.venues.alpaca.rate import RateBudget

SYMBOLS: Final = (
    "AAPL", "AMD", "AMZN", "BAC", "GOOG", "INTC", "KO", "MSFT", "QQQ", "SPY", "TSLA", "XOM",
    "BTC/USD", "ETH/USD", "SOL/USD", "DOGE/USD",
)  # fmt: skip
INTERVALS_S: Final = (60, 300)
START_NS: Final = int(datetime(2026, 1, 5, 14, 0, tzinfo=UTC).timestamp()) * NS_PER_S
"""A Monday in New York, half an hour before the open; midnight UTC, when the coins' session begins, is ten hours away."""

OPEN_NS: Final = START_NS + 1800 * NS_PER_S
CLOSE_NS: Final = START_NS + 7 * 3600 * NS_PER_S
NEXT_OPEN_NS: Final = OPEN_NS + 86_400 * NS_PER_S
MIDNIGHT_NS: Final = START_NS + 10 * 3600 * NS_PER_S
SETTLE_S: Final = 120
"""Before the first cycle: connections are made, and history is asked, which has nothing yet."""

MUTE_AFTER_S: Final = 30.0
AUDIT_S: Final = 15.0
FAR: Final = 1_000
"""Triggers that stand far away; near ones are armed every second."""

OBSERVED: Final = ("vwap_rolling", "volume_24h")
"""Known once all of their time was observed, which here began before the first trade: earlier than for a listener."""

CALM: Final = ((50.0, 85.0), (148.0, 156.0), (236.0, 246.0), (296.0, 306.0), (350.0, 440.0))
"""Stretches of a cycle around what goes wrong."""

CUT_S, LOSE_S, REPEAT_S, OVERTAKE_S, MUTE_S = 60, 150, 240, 300, 360
LOST_STEPS, REPEATED_STEPS, OVERTAKEN_STEPS, MUTE_STEPS = 3, 5, 3, 400


class Run:
    """One run of `hours` (a part of an hour counts) in `folder`."""

    def __init__(self, loop: JumpingLoop, hours: float, rate: Rate, folder: Path) -> None:
        self._loop = loop
        self._cycles = round(hours * 3600 / CYCLE_S)
        self._cycle = Cycle(SYMBOLS, 7, rate, CALM)
        self._venue = Venue(loop, self._cycle)
        self._truth = _sessions(Market(SYMBOLS, INTERVALS_S))
        self._market = Market(SYMBOLS, INTERVALS_S)
        limits = read_limits((Path(__file__).parent / "config" / "risk_limits.toml").read_text("utf-8"))
        self._state = State(limits, self._market, VenueName.SIM)
        self._journal = JournalStore(folder / "journal.db")
        self._sequencer = Sequencer(self._state, self._journal, self._clock, _carry_out_nothing)
        self._data = MarketData(
            Endpoints.of("http://127.0.0.1"),
            Credentials("sim", "sim"),
            self._state,
            self._clock,
            take_rows=self._sequencer.take_rows,
            feed=self._sequencer.feed,
            latest_quote=self._latest_quote,
            budget=RateBudget(monotonic=loop.time),
            mute_after_s=MUTE_AFTER_S,
            audit_s=AUDIT_S,
        )
        self._folder = folder
        self._heard = (folder / "trades.npy").open("wb")
        self._near: dict[int, int] = {}
        self._held: list[bytes] = []
        self.counts: Counter[str] = Counter(messages=0, compared=0, different=0, fired=0, cut=0)
        self.differences: list[str] = []
        self.rss_mb: list[float] = []

    def _clock(self) -> Ns:
        return Ns(self._loop.now_ns)

    async def _latest_quote(self, symbol: str) -> int | None:
        """Ask the venue and take the answer in, as the daemon does."""
        found = self._venue.latest_quote(symbol)
        self.counts["questions"] += 1
        if found is None:
            return None
        rows = new_rows(1)
        rows[0] = found
        rows["flags"], rows["recv_ns"] = RowFlag.ELIGIBLE, self._clock()
        self._sequencer.take_rows(rows, 1)
        return int(found["venue_ns"])

    async def play(self) -> None:
        """Play everything, hour by hour."""
        self._tell_session()
        await self._data.start()
        self._data.warm_up()
        await self._until(START_NS)
        house = asyncio.ensure_future(self._keep_house())
        for _ in range(FAR):
            self._market.arm(len(self._near) % len(SYMBOLS), TriggerOn.TRADE, TriggerDirection.ABOVE, 1e9)
        per_hour = 3600 // CYCLE_S
        for number in range(self._cycles):
            begun_ns = START_NS + number * CYCLE_S * NS_PER_S
            names = ["equities", "coins"] if OPEN_NS <= begun_ns < CLOSE_NS else ["coins"]
            self._venue.begin(number, begun_ns, names)
            await self._play_cycle(number, begun_ns, names)
            self._compare(number)
            if number % per_hour == per_hour - 1 or number == self._cycles - 1:
                self.rss_mb.append(resident_mb(os.getpid()) or 0.0)
        house.cancel()
        (self._folder / "shown.json").write_bytes(msgspec.json.encode(self._shown_at_the_end()))
        await self._data.stop()
        self._journal.close()
        self._heard.close()

    async def _until(self, at_ns: int) -> None:
        await asyncio.sleep(max(0, at_ns - self._loop.now_ns) / NS_PER_S)

    # --- one cycle ---------------------------------------------------------------------------------------------

    async def _play_cycle(self, number: int, begun_ns: int, names: Sequence[str]) -> None:
        """Send a cycle step by step on the feeds that have one; what goes wrong falls on them in turn."""
        victim = names[number % len(names)]
        for step in range(CYCLE_S * NS_PER_S // STEP_NS):
            at_ns = begun_ns + (step + 1) * STEP_NS
            await self._until(at_ns)
            for name in names:
                data = self._cycle.feeds[name].of(step)
                if name == victim:
                    self._send_amiss(name, step * STEP_NS // (NS_PER_S // 10), data, number)
                else:
                    self._venue.send(name, data)
        for name in names:
            self.counts["messages"] += self._cycle.feeds[name].messages

    def _send_amiss(self, feed: str, tenth: int, data: bytes, number: int) -> None:
        """Send a step, `tenth` tenths of a second into the cycle, with whatever goes wrong then."""
        if tenth == CUT_S * 10:
            self._venue.refusals = number % 3
            self._venue.disconnect(feed)
            self.counts["cut"] += 1
        if 0 <= tenth - LOSE_S * 10 < LOST_STEPS or 0 <= tenth - MUTE_S * 10 < MUTE_STEPS:
            self.counts["lost"] += bool(data)
            return
        if 0 <= tenth - OVERTAKE_S * 10 < OVERTAKEN_STEPS:
            self._held.append(data)
            return
        self._venue.send(feed, data)
        if 0 <= tenth - REPEAT_S * 10 < REPEATED_STEPS:
            self._venue.send(feed, data)
        while self._held:
            self._venue.send(feed, self._held.pop())

    # --- beside it ---------------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Once a second: what the daemon does, the session, and a trigger near the last price of a symbol."""
        for second in range(2**31):
            await asyncio.sleep(1.0)
            self._data.keep_house()
            self._sequencer.commit()
            if self._clock() // NS_PER_S in {OPEN_NS // NS_PER_S, CLOSE_NS // NS_PER_S}:
                self._tell_session()
            self._arm(second % len(SYMBOLS), second)

    def _tell_session(self) -> None:
        now_ns = self._clock()
        is_open = OPEN_NS <= now_ns < CLOSE_NS
        report = SessionReport(
            ts_ns=now_ns,
            is_open=is_open,
            next_open_ns=Ns(OPEN_NS if now_ns < OPEN_NS else NEXT_OPEN_NS),
            next_close_ns=Ns(CLOSE_NS),
            open_ns=Ns(OPEN_NS) if is_open else None,
        )
        self._sequencer.feed(report)
        self._data.take_session(report)

    def _arm(self, sym: int, second: int) -> None:
        """Arm a trigger a little beyond the last price; the symbol's one before it has fired, or is taken back."""
        slot = self._near.pop(sym, None)
        if slot is not None and not self._market.disarm(slot):
            self.counts["fired"] += 1
        last = self._market.last_trade(sym)
        if last is None:
            return
        price = last.price / NANO
        if second % 3:
            direction = TriggerDirection.ABOVE if second % 2 else TriggerDirection.BELOW
            level = price * (1.0001 if second % 2 else 0.9999)
            self._near[sym] = self._market.arm(sym, TriggerOn.TRADE | TriggerOn.ASK, direction, level)
        else:
            self._near[sym] = self._market.arm_trailing(
                sym, TriggerOn.TRADE, TriggerDirection.BELOW, price * 1e-4
            )
        self.counts["armed"] += 1

    # --- at the end of a cycle -----------------------------------------------------------------------------------

    def _compare(self, number: int) -> None:
        """Let the perfect client hear the cycle, write down its trades, and note in what the two differ."""
        rows = self._cycle.rows
        self._truth.consume(rows, 0, len(rows))
        rows[(rows["kind"] == 1) & (rows["flags"] > 0)].tofile(self._heard)
        self.counts["trades"] += int((rows["kind"] == 1).sum())
        for sym, symbol in enumerate(SYMBOLS):
            for name, found, expected in _shown(self._market, self._truth, sym):
                self.counts["compared"] += 1
                if found != expected and not (expected is None and name.startswith(OBSERVED)):
                    self.counts["different"] += 1
                    self.differences.append(f"cycle {number}: {symbol} {name} {found} instead of {expected}")

    def _shown_at_the_end(self) -> list[dict[str, Any]]:
        """Return what is shown of each symbol of which anything came, and since when its session lasts."""
        market, now_ns = self._market, self._clock()
        return [
            {
                "sym": sym,
                "seen_ns": market.checkpoint(sym).seen_ns,
                "session_ns": (MIDNIGHT_NS if now_ns > MIDNIGHT_NS else 0) if "/" in symbol else OPEN_NS,
                "intervals": [
                    {
                        "interval_s": interval_s,
                        "indicators": market.indicators(sym, interval_s),
                        "bars": market.bars(sym, interval_s, 200),
                    }
                    for interval_s in INTERVALS_S
                ],
            }
            for sym, symbol in enumerate(SYMBOLS)
            if market.last_trade(sym) is not None
        ]

    def result(self) -> dict[str, Any]:
        """Return what the run was and what came of it."""
        feeds = self._data.feeds.values()
        repairs = self._data._repairs.counts  # noqa: SLF001  (nobody else asks)
        return {
            "rss_mb": [round(each, 2) for each in self.rss_mb],
            **self.counts,
            "rows": sum(feed.counts.rows for feed in feeds),
            "strange": sum(feed.counts.malformed + feed.counts.unreadable_frames for feed in feeds),
            "repeated": sum(feed.repeated for feed in feeds),
            "repaired": dataclasses.asdict(repairs),
            "requests": self._venue.questions,
            "differences": self.differences[:20],
        }


def _carry_out_nothing(commands: list[AnyCommand], decided_ns: Ns, journaled_ns: Ns | None) -> None:
    del commands, decided_ns, journaled_ns


def _sessions(market: Market) -> Market:
    """Tell a market of its own when sessions begin."""
    for sym, symbol in enumerate(SYMBOLS):
        if "/" in symbol:
            market.set_session(sym, MIDNIGHT_NS, 86_400 * NS_PER_S)
        else:
            market.set_session(sym, OPEN_NS, 0)
    return market


def _shown(market: Market, truth: Market, sym: int) -> list[tuple[str, Any, Any]]:
    """Return everything that is shown of a symbol but for when it was received: its name, here and there."""
    found: list[tuple[str, Any, Any]] = []
    for interval_s in INTERVALS_S:
        here, there = (msgspec.structs.asdict(each.indicators(sym, interval_s)) for each in (market, truth))
        found += [(f"{name}/{interval_s}", here[name], there[name]) for name in here]
        found += [
            (f"bar/{interval_s}", one, other)
            for one, other in zip(
                market.bars(sym, interval_s, 200), truth.bars(sym, interval_s, 200), strict=False
            )
        ]
        found.append(
            (f"forming/{interval_s}", market.forming(sym, interval_s), truth.forming(sym, interval_s))
        )
    last, other = market.last_trade(sym), truth.last_trade(sym)
    for name in ("price", "size", "venue_ns", "trade_id"):
        found.append((f"last {name}", getattr(last, name, None), getattr(other, name, None)))
    return found


def main(hours: float, rate: float, folder: Path) -> dict[str, Any]:
    """Play and return the result."""
    Market.warm_up()
    MarketFeed.warm_up()
    loop = JumpingLoop(START_NS - SETTLE_S * NS_PER_S)
    asyncio.set_event_loop(loop)
    try:
        run = Run(loop, hours, Rate(rate * 0.7, rate * 0.3), folder)
        began_s = time.perf_counter()
        loop.run_until_complete(run.play())
        return run.result() | {"seconds": round(time.perf_counter() - began_s, 2), "hours": hours}
    finally:
        loop.close()


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))), flush=True)
