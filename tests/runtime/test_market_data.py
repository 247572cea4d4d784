"""The market's side of the daemon as it is put together: what it asks of the session, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hands.core.events import Link
from hands.core.state import State
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.runtime.market_data import MarketData
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.rate import RateBudget
from tests.core.world import NOW, session, world


async def nothing(symbol: str) -> int | None:
    return None


def with_data(play: Callable[[MarketData, State], Awaitable[None]]) -> None:
    """Play with the market's side of a state that has a session; nobody listens where it would connect."""
    state = world()

    async def scenario() -> None:
        data = MarketData(
            Endpoints.of("http://127.0.0.1:9"), Credentials("k", "s"), state, lambda: Ns(NOW), take_rows=lambda rows, count: None,
            feed=lambda event: None, latest_quote=nothing, budget=RateBudget(), mute_after_s=60.0, audit_s=15.0,
        )  # fmt: skip
        try:
            await play(data, state)
        finally:
            await data.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("off_ms", [-400, 0, 17])
def test_a_session_begins_with_its_first_minute_however_its_open_was_estimated(off_ms: int) -> None:
    async def play(data: MarketData, state: State) -> None:
        open_ns = NOW - 1800 * NS_PER_S
        assert open_ns % (60 * NS_PER_S) == 0
        state.session = session(open_ns=open_ns + off_ms * NS_PER_MS)
        assert data._session_start("AAPL", NOW) == open_ns
        state.session = session(is_open=False, open_ns=None)
        assert data._session_start("AAPL", NOW) is None
        assert data._session_start("BTC/USD", NOW) == NOW - NOW % (86_400 * NS_PER_S)

    with_data(play)


def test_the_feeds_are_told_how_far_the_clocks_are_apart() -> None:
    async def play(data: MarketData, state: State) -> None:
        data.take_session(session(ahead_max_ns=-7 * NS_PER_S))
        assert {feed.ahead_max_ns for feed in data.feeds.values()} == {-7 * NS_PER_S}

    with_data(play)


def test_what_is_lost_as_everything_ends_begins_no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feeds end first: a link's last word would otherwise begin a gap that nobody stops."""
    ended = []

    async def play(data: MarketData, state: State) -> None:
        parts = {
            "feed": data.feeds[Link.EQUITY_DATA],
            "gaps": data._gaps,
            "repairs": data._repairs,
            "audit": data._audit,
        }
        for name, part in parts.items():

            async def stop(name: str = name, stop: Callable[[], Awaitable[None]] = part.stop) -> None:
                ended.append(name)
                await stop()

            monkeypatch.setattr(part, "stop", stop)

    with_data(play)
    assert ended[0] == "feed"
    assert len(ended) == 4
