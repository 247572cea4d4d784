"""What one would write instead of Hands, in an afternoon: twice, neither with a single check.

`naive`: watchfiles as it comes, a pydantic model, alpaca-py. `tuned`: watchfiles at its fastest (`step=1,
debounce=1`), the same model, aiohttp on a warm connection. Both send the bracket order of the document as it
stands, under the document's id.

Run as `python -m bench.peers naive|tuned FOLDER URL`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from watchfiles import Change, awatch, watch

HEADERS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}


class Idea(BaseModel):
    """The part of an intent that an order needs."""

    intent_id: str
    asset: str
    trigger_price: float
    take_profit: float
    stop_loss: float


def missing(peer: str) -> str | None:
    """Return the package a peer needs and that is not installed, None where it can run."""
    needed = {"naive": "alpaca", "tuned": "aiohttp"}[peer]
    return None if find_spec(needed) is not None else {"alpaca": "alpaca-py"}.get(needed, needed)


def _ideas(changes: Iterable[tuple[Change, str]]) -> list[Idea]:
    paths = [Path(path) for change, path in changes if change is Change.added and path.endswith(".json")]
    return [Idea.model_validate_json(path.read_bytes()) for path in paths]


def _ready() -> None:
    print(json.dumps({"event": "ready"}), flush=True)


def naive(folder: Path, url: str) -> None:
    """Watch, read and send with the defaults of every library."""
    from alpaca.common.exceptions import APIError  # type: ignore[import-not-found,unused-ignore]
    from alpaca.trading.client import TradingClient  # type: ignore[import-not-found,unused-ignore]
    from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce  # type: ignore[import-not-found,unused-ignore]
    from alpaca.trading.requests import LimitOrderRequest, StopLossRequest, TakeProfitRequest  # type: ignore[import-not-found,unused-ignore]

    client = TradingClient("sim", "sim", paper=True, url_override=url)
    _ready()
    for changes in watch(folder):
        for idea in _ideas(changes):
            request = LimitOrderRequest(
                symbol=idea.asset,
                qty=66,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.GTC,
                order_class=OrderClass.BRACKET,
                limit_price=idea.trigger_price,
                take_profit=TakeProfitRequest(limit_price=idea.take_profit),
                stop_loss=StopLossRequest(stop_price=idea.stop_loss),
                client_order_id=idea.intent_id,
            )
            try:
                client.submit_order(request)
            except APIError:
                continue  # the bench's exchange refuses every order


async def tuned(folder: Path, url: str) -> None:
    """Watch as fast as watchfiles can, send on a connection that is kept."""
    import aiohttp

    async with aiohttp.ClientSession(headers=HEADERS) as session:
        _ready()
        async for changes in awatch(folder, step=1, debounce=1):
            for idea in _ideas(changes):
                async with session.post(f"{url}/v2/orders", json=_order(idea)) as answer:
                    await answer.read()


def _order(idea: Idea) -> dict[str, Any]:
    return {
        "symbol": idea.asset,
        "qty": "66",
        "side": "buy",
        "type": "limit",
        "time_in_force": "gtc",
        "limit_price": str(idea.trigger_price),
        "client_order_id": idea.intent_id,
        "order_class": "bracket",
        "take_profit": {"limit_price": str(idea.take_profit)},
        "stop_loss": {"stop_price": str(idea.stop_loss)},
    }


if __name__ == "__main__":
    if sys.argv[1] == "naive":
        naive(Path(sys.argv[2]), sys.argv[3])
    else:
        import uvloop

        uvloop.run(tuned(Path(sys.argv[2]), sys.argv[3]))
