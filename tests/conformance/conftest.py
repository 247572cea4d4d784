"""The simulator that the conformance tests of the official SDK share: one process, whose clock and tape they move.

It opens on a Tuesday at half past ten in New York and stands still: nothing happens that a test did not ask for,
and every time in every answer is known. Each test starts from there, on the same market.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from hands.sim.testing import Sim, running_sim

START = datetime(2026, 3, 10, 14, 30, tzinfo=UTC)
STANDING = {"clock": "manual", "session": "calendar", "start": START.isoformat()}
"""The options of a simulator whose time is moved by hand, from `START` on."""

MARKET = (
    {"symbol": "AAPL", "bid": 149.98, "ask": 150.00, "bid_size": 500, "ask_size": 500},
    {"symbol": "SPY", "bid": 599.98, "ask": 600.02, "bid_size": 500, "ask_size": 500},
    {"symbol": "BTC/USD", "bid": 99990, "ask": 100010, "bid_size": 5, "ask_size": 5},
    {"symbol": "SOL/USD", "bid": 149.95, "ask": 150.05, "bid_size": 500, "ask_size": 500},
)


@pytest.fixture(scope="session")
def shared_sim() -> Iterator[Sim]:
    """The simulator of every test that wants nothing special of it; started by the first of them."""
    with running_sim(**STANDING) as sim:
        yield sim


@pytest.fixture
def sim(shared_sim: Sim) -> Sim:
    """The simulator at its start, with the market of `MARKET`."""
    shared_sim.reset()
    shared_sim.market(*MARKET)
    return shared_sim


@contextmanager
def closing_session(client: Any) -> Iterator[Any]:
    """Close a client of the SDK, which has no `close`, at the end: an open socket would be a warning."""
    try:
        yield client
    finally:
        client._session.close()


@pytest.fixture
def trading(sim: Sim) -> Iterator[Any]:
    """The SDK's TradingClient on the simulator."""
    from tests.conformance.sdk import TradingClient

    with closing_session(TradingClient(sim.key, sim.secret, url_override=sim.url)) as client:
        yield client


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """Fails a test whose clients leave a thread behind."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def running(sim: Sim, no_threads_left: None, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Runs streams of the SDK against the simulator; see `Running`."""
    from tests.conformance.streams import Running

    caplog.set_level(logging.INFO, logger="alpaca")
    with closing(Running(sim, caplog)) as streams:
        yield streams
