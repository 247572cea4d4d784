"""A long day: hours of trading on the rig in minutes, with something going wrong every now and then.

Owns the day's rhythm and what is judged of its length: that the engine's memory is flat. The one idea: a life of the
engine lasts `LIFE_H` hours before it is killed, so what it would pile up is seen; what can be reached from the daemon is
counted, not what the simulator keeps for the truth.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import time
from contextvars import Context
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType, ModuleType

from hands.runtime.daemon import Daemon
from tests.rig.exchange import Exchange
from tests.rig.judge import Verdict, judge
from tests.rig.loop import VirtualLoop
from tests.rig.stage import SYMBOLS, Stage, stage
from tests.rig.wires import End, Network
from tests.storms.storm import CALM_S, Brain, CrashTap, Market, flatten_by_market
from tests.storms.weather import Weather

LIFE_H = 4.0
SETTLED_H = 1.0
"""The memory is first looked at so long after a start: caches are full by then."""

TICKET_BYTES = 10 * 1024
"""About what a finished ticket is; `hands.core.state` keeps so many of the newest (`FINISHED_KEPT`)."""

GROWTH_MAX = 2 * 1024 * 1024
"""What the engine may hold more at the end of a life than an hour after its start, in bytes, besides the finished tickets
that it has got room for: the ids of every document ever judged, and a day's accepted ideas."""

NOT_COUNTED = (
    ModuleType,
    FunctionType,
    CodeType,
    FrameType,
    type,
    Context,
    VirtualLoop,
    End,
    Network,
    Stage,
    Exchange,
)

THINK_S = 3.5
PATIENCE_S = 120
"""A market that goes nowhere would leave a trade open for long, and few would be made in a day."""

OFTEN = 0.012
SEED = 24
LIMITS: dict[str, object] = {"max_concurrent": 4, "max_gross_exposure": 0.5, "orders_per_minute": 100}


@dataclass(slots=True)
class Day:
    """What a day came to."""

    verdict: Verdict
    hours: float
    seconds: float
    deaths: int = 0
    is_cut_short: bool = False
    """SIGINT: the day ends early, and is judged as it is."""
    growth: list[int] = field(default_factory=list)
    """How much more the engine held at the end of each life, in bytes; finished tickets apart."""


def engine_bytes(daemon: object) -> int:
    """Return the size of everything that can be reached from the daemon, but for the rig, code and types."""
    seen: set[int] = set()
    found, total = [daemon], 0
    while found:
        each = found.pop()
        if id(each) in seen or issubclass(
            type(each), NOT_COUNTED
        ):  # a weak proxy may not be asked for its class
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        found += gc.get_referents(each)
    return total


def without_tickets(daemon: Daemon) -> int:
    """Return the same less the finished tickets, which are bounded by their number."""
    return engine_bytes(daemon) - TICKET_BYTES * len(daemon.state.finished)


async def _trade(made: Stage, hours: float, day: Day) -> None:
    market = Market(made, random.Random("day/market"))
    tap = made.network.tap = CrashTap(made)
    brain = Brain(made, market, random.Random("day/brain"), SEED)
    brain.patience_s = PATIENCE_S
    chance = random.Random("day/rhythm")
    await made.open(market.quote)
    made.loop.spawn(made.exchange.life, market.run())
    weather = Weather(made, market, tap, random.Random("day/weather"), often=OFTEN, deadly=False)
    began_s = life_s = made.loop.time()
    settled = 0
    while made.loop.time() < began_s + hours * 3600 and not day.is_cut_short:
        free = [symbol for symbol in SYMBOLS if not made.exchange.held(symbol)]
        if free:
            brain.think_of(chance.choice(free))
        end_s = made.loop.time() + THINK_S * chance.uniform(0.5, 1.5)
        while made.loop.time() < end_s:
            await weather.pass_by()
            await asyncio.sleep(1.0)
        lived_h = (made.loop.time() - life_s) / 3600
        if not settled and lived_h >= SETTLED_H:
            settled = without_tickets(made.engine.daemon)
        if lived_h >= LIFE_H or made.loop.time() >= began_s + hours * 3600:
            if settled and lived_h >= LIFE_H:
                day.growth.append(without_tickets(made.engine.daemon) - settled)
            settled, life_s = 0, made.loop.time()
            if made.engine.life is not None:
                made.engine.die()
                day.deaths += 1
    day.hours = (made.loop.time() - began_s) / 3600
    await weather.clear()
    market.is_thin = False
    await asyncio.sleep(CALM_S)
    await flatten_by_market(made, market)
    await made.engine.stop()


def run(hours: float) -> Day:
    """Trade so many hours and judge them."""
    began_s = time.monotonic()
    with stage(SEED, limits=LIMITS, latency={"ack": 5, "fill": 30, "cancel": 40}) as made:
        day = Day(Verdict(), hours, 0.0)
        former = signal.signal(signal.SIGINT, lambda *_: setattr(day, "is_cut_short", True))
        try:
            made.loop.run_until_complete(_trade(made, hours, day))
        except AssertionError as error:
            error.add_note("\n".join([*made.loop.bugs, *made.log.lines[-60:]]))
            raise
        day.verdict = judge(made.exchange, made.engine, made.witness, made.documents)
    signal.signal(signal.SIGINT, former)
    day.seconds = time.monotonic() - began_s
    day.verdict.wrongs += [
        f"after {LIFE_H:g} h the engine held {grown / 2**20:.1f} MiB more than after {SETTLED_H:g} h"
        for grown in day.growth
        if grown > GROWTH_MAX
    ]
    return day


def main(hours: float) -> int:
    """Run and tell; SIGINT ends the day early."""
    from tests.storms.__main__ import distribution

    day = run(hours)
    verdict = day.verdict
    print(
        f"{day.hours:.2f} of {hours:g} h in {day.seconds:.0f} s: {verdict.trades} trades of {verdict.documents} documents, {day.deaths} deaths,"
        f" {len(verdict.wrongs)} wrong, memory grew by"
        f" {', '.join(f'{grown / 2**20:.2f}' for grown in day.growth) or '-'} MiB"
    )
    print("\n".join(distribution(verdict.naked)))
    for wrong in verdict.wrongs[:20]:
        print(f"    {wrong}")
    return 1 if verdict.wrongs else 0
