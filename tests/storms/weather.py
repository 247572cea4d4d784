"""The weather of a storm: which thing goes wrong next, and for how long.

Owns the table of troubles. The one idea: each is one method, so a reader sees what the engine has to live through; what
each explains (`Witness.disturb`) is said where it is done.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hands.core.units import NS_PER_MS
from tests.rig.stage import SYMBOLS, Stage

if TYPE_CHECKING:
    from tests.storms.storm import CrashTap, Market

REQUESTS = (
    "POST /v2/orders",
    "POST /v2/orders",
    "DELETE /v2/orders/*",
    "GET /v2/orders*",
    "GET /v2/positions",
    "GET /v2/account",
    "* /v2/*",
)
BODIES: tuple[tuple[int, Any], ...] = (
    (500, {"message": "internal server error"}),
    (502, "<html><head><title>502 Bad Gateway</title></head></html>"),
    (503, "<html>unavailable</html>"),
    (504, "<html>timeout</html>"),
    (429, {"code": 42910000, "message": "rate limit exceeded"}),
    (429, "<html>429 Too Many Requests</html>"),
    (200, '{"id": "broken'),
    (404, "<html>404 Not Found</html>"),
)
REFUSALS: tuple[tuple[int, dict[str, Any]], ...] = (
    (403, {"code": 40310000, "message": "insufficient qty available for order (requested: 1, available: 0)"}),
    (422, {"code": 42210000, "message": "bracket orders must be exit orders"}),
    (403, {"code": 40310000, "message": "trading is not available right now"}),
)


class Weather:
    """What goes wrong, drawn from `chance`: with the likelihood `often` at each look, and the process's death only if `deadly`."""

    def __init__(
        self,
        stage: Stage,
        market: Market,
        tap: CrashTap,
        chance: random.Random,
        *,
        often: float,
        deadly: bool = True,
    ) -> None:
        self.stage = stage
        self.market = market
        self.tap = tap
        self.chance = chance
        self.crashes = 0
        self._often = often
        self._until: list[tuple[float, Callable[[], None]]] = []
        self._starting: asyncio.Task[None] | None = None
        self.troubles: tuple[Callable[[], None], ...] = (
            self.fail_requests,
            self.fail_requests,
            self.delay_requests,
            self.trouble_stream,
            self.trouble_stream,
            self.lose_connections,
            self.lose_network,
            self.slow_network,
            self.crash_now,
            self.crash_at_a_step,
            self.crash_at_a_step,
            self.stop_orderly,
            self.break_disk,
            self.step_wall,
            self.halt,
            self.gap,
            self.gap,
            self.thin,
            self.refuse_stops,
            self.mute_market,
            self.operate,
        )
        if not deadly:
            ends = {self.crash_now, self.crash_at_a_step, self.stop_orderly}
            self.troubles = tuple(trouble for trouble in self.troubles if trouble not in ends)

    async def pass_by(self) -> None:
        """Look whether something goes wrong now, undo what is over, and bring back what has died."""
        now_s = self.stage.loop.time()
        due = [action for at_s, action in self._until if at_s <= now_s]
        self._until = [(at_s, action) for at_s, action in self._until if at_s > now_s]
        for action in due:
            action()
        self.stage.witness.note_stream_faults()
        if self.stage.engine.life is None:
            self.crashes += 1
            await asyncio.sleep(self.chance.choice([0.05, 0.5, 3.0, 20.0]))
            self.stage.engine.start()
        elif self.stage.engine.has_ended:
            raise AssertionError("the engine has ended by itself")
        elif self.chance.random() < self._often:
            trouble = self.chance.choice(self.troubles)
            self.note(trouble.__name__)
            if trouble == self.stop_orderly:
                await self._stop_orderly()
            else:
                trouble()

    def note(self, what: str) -> None:
        """Write a line into the log of the run."""
        self.stage.log.lines.append(f"{self.stage.loop.time() - 1000:10.4f} -------- {what}")

    async def clear(self) -> None:
        """Let everything be well again, from now on."""
        self._often = 0.0
        for _, action in self._until:
            action()
        self._until.clear()
        self.tap.left.clear()
        exchange = self.stage.exchange
        exchange.floor.faults.clear()
        self.stage.witness.refuse_stops.clear()
        for symbol in SYMBOLS:
            if exchange.is_halted(symbol):
                exchange.resume(symbol)
        if self.stage.engine.life is None:
            await self.pass_by()
        await self.stage.until("the engine is ready", lambda: self.stage.engine.is_ready, 120)
        self.stage.witness.note_stream_faults()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._until.append((self.stage.loop.time() + seconds, action))

    # --- requests ------------------------------------------------------------------------------------------

    def fail_requests(self) -> None:
        """The next requests of some kind go wrong."""
        do = self.chance.choice(["drop_request", "drop_response", "close", "truncate", "status", "status"])
        row: dict[str, Any] = {
            "on": self.chance.choice(REQUESTS),
            "do": do,
            "times": self.chance.choice([1, 1, 2, 4]),
        }
        if do == "status":
            row["status"], row["body"] = self.chance.choice(BODIES)
        self.stage.exchange.faults(row)

    def delay_requests(self) -> None:
        """The next requests are slow, on the way there or on the way back: then what they say is old."""
        at, ms = self.chance.choice(["request", "response"]), self.chance.choice([100, 800, 3000, 7000])
        row = {"on": self.chance.choice(REQUESTS), "do": "delay", "delay_ms": ms, "at": at}
        self.stage.exchange.faults(row | {"times": self.chance.choice([1, 2, 3])})

    def refuse_stops(self) -> None:
        """The next stops are refused."""
        for _ in range(self.chance.choice([1, 2, 4])):
            self.stage.witness.refuse_stops.append(self.chance.choice(REFUSALS))

    # --- the stream and the network ------------------------------------------------------------------------

    def trouble_stream(self) -> None:
        """Trade updates come twice, out of order, late, or are lost with their connection."""
        do = self.chance.choice(["duplicate", "reorder", "delay", "disconnect", "replay", "cut off"])
        row: dict[str, Any] = {"on": "trade_updates", "do": do, "times": self.chance.choice([1, 2, 5])}
        if do == "duplicate":
            row["copies"] = self.chance.choice([1, 3])
        elif do == "delay":
            row["delay_ms"] = self.chance.choice([50, 500, 2500])
        elif do == "cut off":  # what happens next is not told, and then the connection is lost
            self.stage.exchange.faults({"on": "trade_updates", "do": "mute", "times": 2})
            seconds = self.chance.choice([0.3, 2.0])
            self._later(seconds, self._disconnect)
            self.stage.witness.disturb(seconds + 8, "the stream is dying")
            return
        self.stage.exchange.faults(row)

    def _disconnect(self) -> None:
        floor = self.stage.exchange.floor
        floor.stream.close()

    def lose_connections(self) -> None:
        """Every connection is lost at once."""
        life = self.stage.engine.life
        if life is not None:
            self.stage.network.cut_all(life)
            self.stage.witness.disturb(8, "connections lost")

    def lose_network(self) -> None:
        """Nothing can be reached for a while."""
        seconds = self.chance.choice([0.5, 2.0, 8.0])
        self.lose_connections()
        self.stage.network.unreachable_until_s = self.stage.loop.time() + seconds
        self.stage.witness.disturb(2 * seconds + 10, "the network is away")

    def slow_network(self) -> None:
        """Everything takes forty times as long."""
        seconds = self.chance.choice([2.0, 10.0])
        self.stage.network.slow_until_s = self.stage.loop.time() + seconds
        self.stage.witness.disturb(seconds + 2, "the network is slow")

    def mute_market(self) -> None:
        """The market's data is away."""
        self.stage.exchange.faults(
            {"on": "market_data", "do": self.chance.choice(["disconnect", "duplicate"]), "times": 1}
        )

    # --- the process and the machine -------------------------------------------------------------------------

    def crash_now(self) -> None:
        """Die between two callbacks."""
        self.stage.engine.die()

    def crash_at_a_step(self) -> None:
        """Die at one of the next steps of some kind."""
        step = self.chance.choice(
            ["commit before", "commit after", "before write", "written", "answered", "before read", "read"]
        )
        self.tap.left[step] = self.chance.choice([1, 2, 3, 5, 9])

    def stop_orderly(self) -> None:
        """SIGTERM; `_stop_orderly` waits for its end."""

    async def _stop_orderly(self) -> None:
        if self.stage.engine.is_ready:
            self.tap.left.clear()
            await self.stage.engine.stop()
            await asyncio.sleep(self.chance.choice([0.05, 2.0]))
            self.stage.engine.start()

    def break_disk(self) -> None:
        """Nothing can be committed for a while."""
        disk = self.stage.engine.disk
        disk.broken = True
        self._later(self.chance.choice([0.3, 2.0, 5.0]), lambda: setattr(disk, "broken", False))

    def step_wall(self) -> None:
        """The wall clock is set, and set right a while later; by five seconds it is further off than is allowed."""
        step_ns, loop = self.chance.choice([-5000, -800, -50, 50, 800, 5000]) * NS_PER_MS, self.stage.loop

        def step(by_ns: int) -> None:
            loop.wall_step_ns += by_ns

        step(step_ns)
        self._later(self.chance.choice([2.0, 20.0]), lambda: step(-step_ns))

    def operate(self) -> None:
        """The operator stops everything, and lets it go on a little later."""
        engine = self.stage.engine
        engine.operate(
            **self.chance.choice(
                [{"do": "flatten"}, {"do": "reduce_only"}, {"do": "flatten", "symbol": "AAPL"}]
            )
        )
        self._later(self.chance.choice([3.0, 15.0]), lambda: engine.operate(do="resume"))

    # --- the market ----------------------------------------------------------------------------------------

    def halt(self) -> None:
        """A stock is halted for a while."""
        symbol = self.chance.choice(["AAPL", "SPY"])
        exchange = self.stage.exchange
        if not exchange.is_halted(symbol):
            exchange.halt(symbol)
            self._later(
                self.chance.choice([2.0, 10.0]),
                lambda: exchange.is_halted(symbol) and exchange.resume(symbol),
            )

    def gap(self) -> None:
        """The market opens somewhere else, mostly below the stops."""
        symbol = self.chance.choice(SYMBOLS)
        self.market.jump(symbol, self.chance.choice([-0.06, -0.03, -0.015, 0.03, 0.06]))

    def thin(self) -> None:
        """There is little to be had at each price for a while: fills are partial."""
        self.market.is_thin = True
        seconds = self.chance.choice([3.0, 10.0])
        self.stage.witness.disturb(seconds + 2, "a thin market")
        self._later(seconds, lambda: setattr(self.market, "is_thin", False))
