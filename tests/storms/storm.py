"""One storm: a seeded market, a seeded Brain and everything that can go wrong, on the rig; judged at its end.

Owns what happens in a storm, all of it from the seed. May not judge (`tests.rig.judge`). The one idea: first the storm,
in which nothing is asked but that nothing forbidden happens; then calm, in which everything has to come right: every
trade protected or flat, and at last, when the market has been everywhere, flat.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hands.core.units import NANO, nano
from hands.sim.venue.quirks import catalogue
from hands.sim.venue.ticks import Tick
from tests.rig.judge import DUST, Verdict, digest, judge
from tests.rig.loop import ProcessDied
from tests.rig.stage import SYMBOLS, Stage, change, intent, stage
from tests.rig.wires import End, Tap
from tests.storms.weather import Weather

MIDS = {"AAPL": 150.0, "SPY": 600.0, "BTC/USD": 100_000.0, "SOL/USD": 150.0}
TICKS = {"AAPL": 0.01, "SPY": 0.01, "BTC/USD": 1.0, "SOL/USD": 0.01}
TRADES = 4
QUOTE_S = 0.8
CALM_QUOTE_S = 2.0
TRUTH_S = 15.0
"""Twice as often as shipped, so that the calm can be short."""

CALM_S = 25.0
"""Longer than a truth poll: what nobody told of is found by then."""

HABITS = (
    *(
        "partial_entry_legs",
        "stop_leg_status",
        "stop_cancel_event",
        "target_after_stop",
        "reduced_stop",
        "held_event",
    ),
    *(
        "recancel",
        "replace_qty",
        "stop_prints",
        "open_duplicate_code",
        "short_flip",
        "simple_legs",
        "bracket_additions",
    ),
    *("order_class_text", "position_intent_field", "open_lists_held", "activity_id_zone", "crypto_fees"),
    *(
        "rate_headers",
        "rate_body",
        "trade_frames",
        "event_ids",
        "life_execution_ids",
        "update_zone",
        "heartbeat",
    ),
    *("trade_connections", "events_replay", "header_auth_greeting", "linger"),
)
"""The venue's unconfirmed habits that an engine meets while it trades; a storm draws some of them."""


@dataclass(slots=True)
class Report:
    """What a storm came to."""

    seed: int
    verdict: Verdict
    digest: str
    virtual_s: float
    crashes: int
    codes: dict[str, int] = field(default_factory=dict)
    """Receipts by code, accepted ones by how they ended."""
    log: list[str] = field(default_factory=list)


class Market:
    """A walk of every symbol, with moods; it quotes every `QUOTE_S`."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self.stage = stage
        self.chance = chance
        self.mids = dict(MIDS)
        self.pull: dict[str, float] = {}
        self.size = 500.0
        self.is_thin = False
        self.every_s = QUOTE_S

    def quote(self) -> None:
        """Move every symbol a little and quote it, all in one message."""
        ticks = [tick for symbol in SYMBOLS for tick in self._moved(symbol)]
        self.stage.exchange.emit(ticks)

    def _moved(self, symbol: str) -> list[Tick]:
        chance = self.chance
        sigma = 0.0035 if "/" in symbol else 0.0012
        drift = self.pull.get(symbol, 0.0)
        mid = self.mids[symbol] * (1 + chance.gauss(drift, sigma / 3 if drift else sigma))
        home = MIDS[symbol]
        self.mids[symbol] = mid + (home - mid) * (0.0 if drift else 0.01)
        return [] if self.stage.exchange.is_halted(symbol) else self._shown(symbol)

    def _shown(self, symbol: str) -> list[Tick]:
        """Return a symbol's quote where it stands, and now and then a print."""
        tick, mid, exchange = TICKS[symbol], self.mids[symbol], self.stage.exchange
        bid = round(mid / tick) * tick
        ask = bid + tick * (1 if "/" not in symbol else max(1, round(mid * 0.0002 / tick)))
        size = int(self.size if not self.is_thin else self.chance.choice([1, 5, 20])) * NANO
        shown: list[Tick] = [exchange.a_quote(symbol, nano(f"{bid:.2f}"), nano(f"{ask:.2f}"), size)]
        if self.chance.random() < 0.3:
            shown.append(exchange.a_print(symbol, nano(f"{bid:.2f}"), NANO))
        return shown

    def jump(self, symbol: str, fraction: float) -> None:
        """Open a gap."""
        self.mids[symbol] *= 1 + fraction
        if not self.stage.exchange.is_halted(symbol):
            self.stage.exchange.emit(self._shown(symbol))

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            await asyncio.sleep(self.every_s)
            self.quote()


class CrashTap(Tap):
    """Kills the engine at the n-th crossing of some step from now; 0: never."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.left: dict[str, int] = {}
        stage.engine.on_commit = lambda when: self.step(f"commit {when}")

    def step(self, name: str, *, within: bool = True) -> None:
        """A step was crossed; die if it is the one."""
        left = self.left.get(name, 0)
        if left and self.stage.engine.life is not None:
            self.left[name] = left - 1
            if left == 1:
                self.left.clear()
                self.stage.engine.die()
                if within:
                    raise ProcessDied

    def writes(self, end: End, data: bytes) -> None:
        self.step("before write")

    def wrote(self, end: End, data: bytes) -> None:
        self.step("written")

    def answered(self, end: End, data: bytes) -> None:
        self.step("answered", within=False)

    def receives(self, end: End, data: bytes) -> None:
        self.step("before read")

    def received(self, end: End, data: bytes) -> None:
        self.step("read")


class Brain:
    """Drops documents, good ones and others."""

    def __init__(self, stage: Stage, market: Market, chance: random.Random, seed: int) -> None:
        self.stage = stage
        self.market = market
        self.chance = chance
        self.next_number = (seed + 1) * 1_000_000
        self.asked: list[str] = []
        self.patience_s: int | None = None
        """For how long at most it holds what it buys; None: until a stop or a target, mostly."""

    def think(self) -> None:
        """Drop one document, now and then one too many."""
        self.think_of(self.chance.choice(SYMBOLS))

    def think_of(self, symbol: str) -> None:
        """Drop one about a symbol."""
        chance, document = self.chance, self.idea(symbol)
        if self.asked and chance.random() < 0.15:
            self.stage.drop(self.change_of_mind())
        self.asked.append(self.stage.drop(document))
        if chance.random() < 0.1:  # the same id once more, or rubbish
            if chance.random() < 0.5:
                self.stage.drop_bytes(b'{"intent_id": "', f"rubbish-{self.next_number}.json")
            else:
                again = document | {"confidence": 0.9}
                self.stage.drop(again, name=f"again-{self.next_number}.json")

    def change_of_mind(self) -> dict[str, Any]:
        """Return a document that changes an earlier one, mostly the last."""
        chance = self.chance
        self.next_number += 1
        kind = chance.choice(["close", "amend", "cancel"])
        target_id = self.asked[-1] if chance.random() < 0.7 else chance.choice(self.asked)
        fields: dict[str, Any] = {}
        if kind == "amend":
            former = json.loads(self.stage.documents[target_id])
            fields = {"stop_loss": round(former["stop_loss"] * 1.002, 2)}
        return change(self.next_number, kind, target_id, self.stage.now_text(), **fields)

    def idea(self, symbol: str) -> dict[str, Any]:
        """Return a document for a symbol at the market."""
        chance, quote = self.chance, self.stage.exchange.quotes[symbol]
        self.next_number += 1
        coin = "/" in symbol
        ask = quote.ask / NANO
        stop = ask * (1 - (chance.uniform(0.008, 0.03) if coin else chance.uniform(0.004, 0.012)))
        target = ask * (1 + (chance.uniform(0.05, 0.08) if coin else chance.uniform(0.013, 0.02)))
        fields: dict[str, Any] = {
            "trigger_price": round(ask, 2),
            "stop_loss": round(stop, 2),
            "take_profit": round(target, 2),
            "ttl_seconds": chance.choice([1, 3, 10, 15]),
        }
        if self.patience_s is not None:
            fields |= {"max_hold_seconds": self.patience_s}
        kind = chance.random()
        if kind < 0.15:
            fields |= {"max_hold_seconds": chance.choice([3, 10, 30])}
        elif kind < 0.25:
            fields |= {
                "entry": "touch",
                "arm_seconds": 30,
                "trigger_price": round(ask * (1 + chance.gauss(0, 0.003)), 2),
            }
        elif kind < 0.40:
            fields |= {"trailing_stop_pct": chance.choice([0.01, 0.02])}
        elif kind < 0.43:
            fields |= {"confidence": 0.1}
        elif kind < 0.46:
            fields |= {"stop_loss": round(ask * 1.01, 2)}
        return intent(self.next_number, symbol, self.stage.now_text(), **fields)


async def _storm(stage: Stage, seed: int, trades: int, often: float) -> int:
    chance = random.Random(f"storm/{seed}")
    market = Market(stage, random.Random(f"market/{seed}"))
    tap = stage.network.tap = CrashTap(stage)
    brain = Brain(stage, market, random.Random(f"brain/{seed}"), seed)
    await stage.open(market.quote)
    stage.loop.spawn(stage.exchange.life, market.run())
    weather = Weather(stage, market, tap, random.Random(f"weather/{seed}"), often=often)
    rotation = random.Random(f"rotation/{seed}")
    for _ in range(trades):
        brain.think()
        if stage.engine.is_ready and rotation.random() < 0.3:
            stage.engine.daemon._sequencer.snapshot()  # wherever the record is taken up, the rest must follow
        end_s = stage.loop.time() + chance.choice([0.3, 2.0, 6.0, 12.0, 25.0])
        while stage.loop.time() < end_s:
            await weather.pass_by()
            await asyncio.sleep(chance.choice([0.05, 0.3, 1.0]))
    await weather.clear()
    market.is_thin = False
    market.every_s = CALM_QUOTE_S
    await asyncio.sleep(CALM_S)
    await flatten_by_market(stage, market)
    code = await stage.engine.stop()
    if code:
        stage.witness.wrongs.append(f"the engine's exit code is {code}")
    return weather.crashes


async def flatten_by_market(stage: Stage, market: Market) -> None:
    """Let the market rise until every target is met, so that every trade ends."""
    for symbol in SYMBOLS:
        market.pull[symbol] = 0.01

    def is_over() -> bool:
        account = stage.exchange.floor.exchange
        return all(
            position.market_value(account.mark(symbol)) < DUST
            for symbol, position in account.account.positions.items()
        ) and not any(order.is_live for order in stage.exchange.orders)

    for _ in range(240):
        if is_over():
            break
        await asyncio.sleep(1)
    market.pull.clear()
    await asyncio.sleep(8)


def run(seed: int, trades: int = TRADES) -> Report:
    """Run one storm and judge it."""
    chance = random.Random(f"world/{seed}")
    limits = {
        "max_concurrent": chance.choice([1, 2, 3, 4]),
        "max_daily_trades": chance.choice([2, 100_000, 100_000]),
        "max_gross_exposure": chance.choice([0.15, 0.3, 0.5]),
        "partial_grace_ms": chance.choice([0, 400, 2000]),
        "max_daily_loss": chance.choice([0.005, 0.9, 0.9]),
    }
    latency = chance.choice(
        [{}, {"ack": 20}, {"ack": 5, "fill": 30, "cancel": 40}, {"fill": 400, "cancel": 300, "settle": 200}]
    )
    quirks = {name: chance.choice(catalogue()[name].allowed) for name in HABITS if chance.random() < 0.4}
    often = chance.choice([0.05, 0.12, 0.3])
    with stage(seed, limits=limits, settings={"truth_s": TRUTH_S}, latency=latency, quirks=quirks) as made:
        began_s = made.loop.time()
        crashes, wrongs = 0, []
        try:
            crashes = made.loop.run_until_complete(_storm(made, seed, trades, often))
        except Exception as error:  # noqa: BLE001  (a run that cannot go on is a finding like any other)
            wrongs.append(f"the run ended: {type(error).__name__}: {error}")
        verdict = judge(made.exchange, made.engine, made.witness, made.documents)
        verdict.wrongs[:0] = wrongs
        return Report(
            seed,
            verdict,
            digest(made.exchange, made.engine),
            made.loop.time() - began_s,
            crashes,
            _codes(made),
            made.log.lines,
        )


def _codes(made: Stage) -> dict[str, int]:
    receipts = [receipt for intent_id in made.documents if (receipt := made.receipt(intent_id)) is not None]
    named = [r["state"] if r["code"] == "OK" else r["code"] for r in receipts]
    return dict(Counter(named))
