"""The cells of the crash matrix: one scenario, one point at which the engine dies, one thing that goes wrong besides.

Owns running one and which there are. The one idea: a first run without a death lists the points; then every one of them
is a run of its own, in which the engine dies there, is started again a little later over the same state directory, and
everything is judged at the end by the exchange's books (`tests.rig.judge`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.crash.points import FAULTS, Point, PointTap, fault_rows
from tests.crash.scenarios import LATENCY_MS, QUOTES, SCENARIOS, Play
from tests.rig.judge import OVER, Verdict, judge
from tests.rig.stage import Stage, stage

DOWN_S = (0.05, 0.4, 1.5)
QUOTE_S = 0.5
END_WITHIN_S = 45.0
SEED = 7


@dataclass(frozen=True, slots=True)
class Cell:
    """Which run: the scenario's name, the number of the point at which it dies (None: never), and the fault."""

    scenario: str
    point: int | None
    fault: str

    def __str__(self) -> str:
        return f"{self.scenario}/{self.point}/{self.fault}"


@dataclass(slots=True)
class Outcome:
    """What came of a cell; `wrongs` is empty if it is well."""

    cell: Cell
    step: str
    wrongs: list[str]
    naked_ms: float
    unexplained_ms: float
    down_ms: float
    points: list[Point] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Return it as a row of JSON: the columns that the matrix of real processes has too."""
        return asdict(self.cell) | {
            "step": self.step,
            "ok": not self.wrongs,
            "wrongs": self.wrongs,
            "naked_ms": round(self.naked_ms, 1),
            "unexplained_ms": round(self.unexplained_ms, 1),
            "down_ms": round(self.down_ms, 1),
            "real": False,
        }


def run(cell: Cell) -> Outcome:
    """Run a cell and judge it."""
    script, symbol = SCENARIOS[cell.scenario]
    died_at: list[Point] = []
    with stage(SEED, symbols=tuple(QUOTES), latency=LATENCY_MS) as made:

        def dies(point: Point) -> None:
            died_at.append(point)
            made.exchange.faults(*fault_rows(cell.fault, point))

        tap = made.network.tap = PointTap(made, cell.point, dies)
        wrongs: list[str] = []
        try:
            made.loop.run_until_complete(_play(made, tap, Play(made, symbol, SEED), script))
        except Exception as error:  # noqa: BLE001  (a run that cannot go on is a finding like any other)
            wrongs.append(f"the run ended: {type(error).__name__}: {error}")
        verdict = judge(made.exchange, made.engine, made.witness, made.documents)
        if cell.point is not None and not died_at and not wrongs:
            wrongs.append("the point was never reached")
        away = made.engine.away[1:-1] if died_at else []
        return Outcome(
            cell,
            str(died_at[0]) if died_at else "",
            [*wrongs, *verdict.wrongs],
            *_naked_ms(verdict),
            sum((to_ns or from_ns or 0) - (from_ns or 0) for from_ns, to_ns in away) / 1e6,
            tap.points,
            made.log.lines,
        )


def _naked_ms(verdict: Verdict) -> tuple[float, float]:
    longest = max((each.total_ns for each in verdict.naked), default=0)
    return longest / 1e6, max((each.unexplained_ns for each in verdict.naked), default=0) / 1e6


async def _play(made: Stage, tap: PointTap, play: Play, script: Any) -> None:
    await made.open(play.quote_all)
    play.arm = tap.arm
    watch = asyncio.create_task(_start_again(made, play))
    quotes = asyncio.create_task(_quote(play))
    await script(play)
    tap.disarm()
    await made.until("the engine is up", lambda: made.engine.is_ready, 30)
    if not play.is_over:
        await _end(play)
    await made.until("nothing is held and nothing is live", lambda: play.is_over, END_WITHIN_S)
    await made.until("the receipts are final", lambda: _are_final(made), END_WITHIN_S)
    await made.until("every execution has its row", lambda: made.rows("fills") == made.fills, END_WITHIN_S)
    await made.until("the drop folder is empty", lambda: not any(_waiting(made)), END_WITHIN_S)
    quotes.cancel()
    watch.cancel()
    code = await made.engine.stop()
    if code:
        made.witness.wrongs.append(f"the engine's exit code is {code}")


def _waiting(made: Stage) -> Iterator[object]:
    """Yield what lies in the drop folder: a sweep leaves a file alone until it is a second old."""
    return made.engine.intents.glob("[!.]*.json")


def _are_final(made: Stage) -> bool:
    receipts = [made.receipt(intent_id) for intent_id in made.documents]
    return made.engine.is_ready and all(each is not None and each["state"] in OVER for each in receipts)


async def _end(play: Play) -> None:
    """What is still open reaches its target."""
    await play.wait(lambda: play.is_covered or play.is_over, 6)
    await asyncio.sleep(0.3)
    play.move("165.10", "165.20")


async def _quote(play: Play) -> None:
    while True:
        await asyncio.sleep(QUOTE_S)
        play.quote_all()


async def _start_again(made: Stage, play: Play) -> None:
    deaths = 0
    while True:
        await asyncio.sleep(0.01)
        if made.engine.life is None:
            await asyncio.sleep(DOWN_S[deaths % len(DOWN_S)] if deaths else DOWN_S[1])
            deaths += 1
            made.engine.start()
            play.quote_all()


def cells(only: str = "", *, everything: bool = False) -> Iterator[Cell]:
    """Yield the cells of the matrix, scenario by scenario.

    Every point with nothing besides; a fault, each in its turn, at every point on the network (`everything`: at every
    point every fault). What lies between the end of one commit and the beginning of the next is one point, since what
    is durable is the same.
    """
    for name in SCENARIOS:
        if only and only not in name:
            continue
        points = run(Cell(name, None, "nothing")).points
        turn = 0
        for number, point in enumerate(points):
            follows = points[number + 1] if number + 1 < len(points) else None
            if (point, follows) == (Point("commit", "after"), Point("commit", "before")):
                continue
            yield Cell(name, number, "nothing")
            if everything:
                yield from (Cell(name, number, fault) for fault in FAULTS[1:])
            elif point.what != "commit" and point.when != "after":
                turn += 1
                yield Cell(name, number, FAULTS[1 + turn % (len(FAULTS) - 1)])
