"""A rehearsal of the way in, so that the first real intent does not pay for it.

Owns nothing. The interpreter specialises code that has run a few times, and pydantic, numba and the JSON reader
fill their caches on first use; together that is several hundred microseconds on the first document. The rehearsal
asks "what if" with a document made up for every symbol; the question changes nothing.
"""

from __future__ import annotations

import json
import uuid

from hands.core.receipts import time_text
from hands.core.state import State
from hands.core.units import NANO
from hands.runtime.what_if import what_if

ROUNDS = 40


def rehearse(state: State, now_ns: int) -> None:
    """Judge made-up documents until the code is warm."""
    for symbol in state.market.symbols[:2] + state.market.symbols[-2:]:
        index = state.market.index[symbol]
        quote = state.market.quote(index)
        price = (quote.ask if quote is not None and quote.ask is not None else 100 * NANO) / NANO
        document = {
            "intent_id": str(uuid.UUID(int=0)),
            "asset": symbol,
            "direction": "LONG",
            "trigger_price": round(price, 2),
            "stop_loss": round(price * 0.97, 2),
            "take_profit": round(price * 1.10, 2),
            "confidence": 1.0,
            "strategy_ref": "rehearsal",
            "timestamp": time_text(now_ns + state.wall_offset_ns),
            "ttl_seconds": 10,
        }
        data = json.dumps(document).encode()
        for _ in range(ROUNDS):
            what_if(state, data, "default", now_ns)
