"""What is played in every cell of the matrix: a trade from its document to its end, by the market's doing.

Owns the scripts. May not look at the engine, which may be dead at any moment: a script waits for what the exchange shows,
or for its patience to end, and goes on. To add one, write a coroutine and a line in `SCENARIOS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hands.core.units import NANO, nano
from tests.rig.stage import Stage, change, intent

QUOTES: dict[str, tuple[str, str]] = {
    "AAPL": ("149.98", "150.00"),
    "SOL/USD": ("149.95", "150.00"),
}
STOP, TARGET = "145", "165"
LATENCY_MS = {"ack": 5, "fill": 20, "cancel": 30}
"""So that every state of an order is there for a moment."""


@dataclass(slots=True)
class Play:
    """A scene: the stage, the symbol that is traded, and where its market stands."""

    stage: Stage
    symbol: str
    number: int
    bid: str = ""
    ask: str = ""
    ask_size: int = 500
    arm: Callable[[], None] = lambda: None
    """From here on every crossing is a point."""

    def quote_all(self) -> None:
        """Quote everything; the symbol where it stands."""
        for symbol, (bid, ask) in QUOTES.items():
            if symbol == self.symbol:
                prices = nano(self.bid or bid), nano(self.ask or ask)
                self.stage.exchange.quote(symbol, *prices, 500 * NANO, self.ask_size * NANO)
            else:
                self.stage.exchange.quote(symbol, nano(bid), nano(ask))

    def move(self, bid: str, ask: str, *, ask_size: int = 500, prints: bool = True) -> None:
        """Let the symbol's market stand elsewhere."""
        self.bid, self.ask, self.ask_size = bid, ask, ask_size
        self.quote_all()
        if prints:
            self.stage.exchange.emit([self.stage.exchange.a_print(self.symbol, nano(bid))])

    def drop(self, **fields: Any) -> str:
        """Drop the document."""
        prices = {
            "trigger_price": 150,
            "stop_loss": float(STOP),
            "take_profit": float(TARGET),
            "ttl_seconds": 8,
        }
        return self.stage.drop(intent(self.number, self.symbol, self.stage.now_text(), **prices | fields))

    def change(self, kind: str, **fields: Any) -> str:
        """Drop a document that changes what became of the trade."""
        (target_id,) = self.stage.documents
        document = change(self.number + 1, kind, target_id, self.stage.now_text(), **fields)
        return self.stage.drop(document)

    @property
    def held(self) -> int:
        return self.stage.exchange.held(self.symbol)

    @property
    def is_covered(self) -> bool:
        """Whether the position stands under a stop at the exchange."""
        seen = self.stage.exchange.exposure.at(self.stage.exchange.floor.exchange.now_ns())
        return self.held > 0 and seen.get(self.symbol, {}).get("naked_since_ns") is None

    @property
    def is_over(self) -> bool:
        """Whether nothing is held and nothing is live."""
        mark = self.stage.exchange.floor.exchange.mark(self.symbol)
        return self.held * mark // NANO < 11 * NANO and not any(o.is_live for o in self.stage.exchange.orders)

    async def wait(self, look: Callable[[], bool], within_s: float) -> bool:
        """Wait for what the exchange shows; False when patience ends."""
        loop = self.stage.loop
        end_s = loop.time() + within_s
        while not look():
            if loop.time() > end_s:
                return False
            await asyncio.sleep(0.02)
        return True


async def opened(play: Play, **fields: Any) -> None:
    """Open a trade; what becomes of it is what the script is about, so the points begin when it is protected."""
    play.drop(**fields)
    await play.wait(lambda: play.is_covered, 12)
    await asyncio.sleep(0.3)
    play.arm()


async def ended(play: Play, within_s: float) -> None:
    """Let the trade end at the exchange, and what follows from that be said."""
    await play.wait(lambda: play.is_over, within_s)
    await asyncio.sleep(0.6)


async def entry(play: Play) -> None:
    """A trade is opened and protected."""
    play.arm()
    await opened(play)


async def partial_fill(play: Play) -> None:
    """Only a part of the entry fills; the rest is cancelled after its grace, and the part protected."""
    play.arm()
    play.move("149.95", "150.00", ask_size=20, prints=False)
    play.drop()
    await play.wait(lambda: play.held > 0, 10)
    play.move("149.97", "150.60", prints=False)
    await play.wait(lambda: play.is_covered, 8)
    await asyncio.sleep(0.3)


async def target(play: Play) -> None:
    """The market reaches the target."""
    await opened(play)
    play.move("165.10", "165.20")
    await ended(play, 6)


async def target_slips(play: Play) -> None:
    """The target is touched, and gone again before all of it is sold."""
    await opened(play)
    play.stage.exchange.quote(play.symbol, nano("165.10"), nano("165.20"), 10 * NANO)
    play.bid, play.ask = "160.00", "160.10"
    await asyncio.sleep(0.1)
    play.quote_all()
    await asyncio.sleep(1.5)


async def stop(play: Play) -> None:
    """The market falls to the stop."""
    await opened(play)
    play.move("144.90", "144.98")
    await ended(play, 6)


async def gap(play: Play) -> None:
    """The market falls far through the stop."""
    await opened(play)
    play.move("140.00", "140.10")
    await ended(play, 6)


async def time_exit(play: Play) -> None:
    """The trade has been held for long enough."""
    await opened(play, max_hold_seconds=1)
    await ended(play, 6)


async def unfilled(play: Play) -> None:
    """Nothing is to be had at the price, and the deadline passes."""
    play.arm()
    play.move("149.95", "150.00", ask_size=0, prints=False)
    play.drop(ttl_seconds=2)
    await asyncio.sleep(3.5)


async def touch(play: Play) -> None:
    """A touch is armed and fires."""
    play.arm()
    play.move("149.50", "149.60")
    play.drop(entry="touch", arm_seconds=30)
    await asyncio.sleep(0.5)
    play.move("150.05", "150.10")
    await play.wait(lambda: play.is_covered, 10)


async def trailing(play: Play) -> None:
    """The stop follows the market up, and the market comes back to it."""
    await opened(play, trailing_stop_pct=0.03)
    for bid, ask in (("152.00", "152.10"), ("156.00", "156.10")):
        play.move(bid, ask, prints=False)
        await asyncio.sleep(2.3)
    play.move("150.90", "151.00")
    await ended(play, 6)


async def close(play: Play) -> None:
    """The agent wants to be out."""
    await opened(play)
    play.change("close")
    await ended(play, 8)


async def amend(play: Play) -> None:
    """The agent tightens the stop, and it is hit."""
    await opened(play)
    play.change("amend", stop_loss=148.0)
    await asyncio.sleep(2)
    play.move("147.90", "147.98")
    await ended(play, 6)


async def cancel(play: Play) -> None:
    """The agent takes back an entry that has not filled."""
    play.arm()
    play.move("149.95", "150.00", ask_size=0, prints=False)
    play.drop()
    await asyncio.sleep(0.3)
    play.change("cancel")
    await asyncio.sleep(2)


async def flatten(play: Play) -> None:
    """The operator wants everything out, and asks again until it is."""
    await opened(play)
    for _ in range(6):
        play.stage.engine.operate(do="flatten")
        if await play.wait(lambda: play.is_over, 1.5):
            break


async def recovery(play: Play) -> None:
    """The engine dies with a trade open, and again while it starts."""
    await opened(play)
    play.stage.engine.die()
    await asyncio.sleep(2.5)


async def recovery_of_an_exit(play: Play) -> None:
    """It dies when the target is reached, and again while it starts."""
    await opened(play)
    play.stage.engine.die()
    play.move("165.10", "165.20")
    await asyncio.sleep(2.5)
    await ended(play, 8)


Script = Callable[[Play], Awaitable[None]]
SCRIPTS: tuple[Script, ...] = (
    entry,
    partial_fill,
    target,
    target_slips,
    stop,
    gap,
    time_exit,
    unfilled,
    touch,
    trailing,
    close,
    amend,
    cancel,
    flatten,
    recovery,
    recovery_of_an_exit,
)
SCENARIOS: dict[str, tuple[Script, str]] = {
    f"{script.__name__.replace('_', ' ')}, {kind}": (script, symbol)
    for script in SCRIPTS
    for kind, symbol in (("native", "AAPL"), ("engine-held", "SOL/USD"))
}
"""By name: what is played, and with which symbol; a share's stop is the venue's bracket, a coin's target is ours."""
