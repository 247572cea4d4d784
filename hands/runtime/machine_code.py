"""Machine code before the first row: everything that is compiled is compiled, or loaded from where it is kept.

Owns what is said about it. May not run anything for real. The one idea: the first row of the day must not pay for a
compiler, so this happens before anything is owned, and somebody who waits for it is told why.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from hands.core.compiled import kept_in, was_compiled
from hands.core.kernel import consume
from hands.core.market import Market
from hands.venues.alpaca.market_feed import MarketFeed

log = logging.getLogger("hands")

IMPATIENT_AFTER_S: Final = 1.5
WAIT: Final = "the market's code is being compiled, which takes a while the first time a version is started"


def prepare() -> None:
    """Compile or load the market's and the feed's code, and say where it is kept."""
    began_s = time.monotonic()
    excuse = threading.Timer(IMPATIENT_AFTER_S, log.info, (WAIT,))
    excuse.daemon = True
    excuse.start()
    try:
        Market.warm_up()
        MarketFeed.warm_up()
    finally:
        excuse.cancel()
        excuse.join()
    seconds, folder = time.monotonic() - began_s, kept_in(consume)
    if folder is None:
        log.warning(
            "the market's code was compiled in %.1f s and cannot be kept: every start compiles it anew; "
            "set NUMBA_CACHE_DIR to a folder that only this user can write",
            seconds,
        )
    elif was_compiled(consume):
        log.info("the market's code was compiled in %.1f s and is kept in %s", seconds, folder)
