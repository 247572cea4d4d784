"""A state directory with a short record: orders at the venue, a death, a snapshot in the middle, an orderly end.

Owns playing it, on the rig. The one idea: the record is what the shipped daemon wrote, so a test that changes a byte of it
changes what a user would have.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.rig.stage import Stage, stage
from tests.storms.storm import Brain, Market

Play = Callable[[Stage, Market, Brain], Awaitable[None]]


async def trades_and_dies(made: Stage, market: Market, brain: Brain) -> None:
    """Trade, take a snapshot, trade, die, start again, trade and stop."""
    del market
    brain.think_of("AAPL")
    await asyncio.sleep(3)
    made.engine.daemon._sequencer.snapshot()
    brain.think_of("SOL/USD")
    await asyncio.sleep(15)
    made.engine.die()
    await made.start()
    brain.think_of("SPY")
    await asyncio.sleep(3)


def record(
    target: Path,
    play: Play = trades_and_dies,
    *,
    seed: int = 5,
    stops: bool = True,
    prepare: Callable[[Path], None] = lambda state: None,
) -> Path:
    """Play, and return `target`, into which the state directory was copied at the end; `stops`: orderly.

    `prepare` may put into the directory what was there before.
    """

    async def whole(made: Stage) -> None:
        market = Market(made, random.Random(seed))
        await made.open(market.quote)
        made.loop.spawn(made.exchange.life, market.run())
        await play(made, market, Brain(made, market, random.Random(seed), seed))
        if stops:
            assert await made.engine.stop() == 0

    with stage(seed) as made:
        prepare(made.engine.state)
        made.loop.run_until_complete(whole(made))
        shutil.copytree(made.engine.state, target)
        if not stops and made.engine.life is not None:
            made.engine.die()
    return target
