"""Nothing that goes wrong by our own fault is lost in a task that nobody awaits."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hands.core.events import Link
from hands.venues.alpaca.connections import WarmConnections
from hands.venues.alpaca.endpoints import Origin
from hands.venues.alpaca.http import HttpPool
from hands.venues.alpaca.reconnect import Pace, StandingConnection
from hands.venues.alpaca.standing import standing_task


def fail(*_):
    raise RuntimeError("our own bug")


@pytest.fixture
def heard_by_the_loop(run, wait_until):
    """Start something, wait until the loop's exception handler hears of it, stop it; return what was heard."""

    def start(begin):
        async def play():
            heard = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
            stop = begin()
            await wait_until(lambda: heard)
            await stop()
            return heard

        return run(play())

    return start


@pytest.fixture
def nobody():
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_task_that_fails_is_heard_of(heard_by_the_loop):
    async def work():
        fail()

    async def nothing():
        pass

    def begin():
        standing_task(work(), "the work")
        return nothing

    (context,) = heard_by_the_loop(begin)
    assert str(context["exception"]) == "our own bug"
    assert "the work" in context["message"]


def test_a_stream_whose_report_is_not_taken_stops_loudly(heard_by_the_loop, nobody):
    def begin():
        connection = StandingConnection(
            f"ws://127.0.0.1:{nobody}/stream",
            Link.TRADE_UPDATES,
            clock=lambda: 1,
            deliver=fail,
            on_open=lambda: None,
            on_message=lambda *_: None,
            pace=Pace(first_s=0.01, most_s=0.01),
        )
        connection.start()
        return connection.stop

    assert str(heard_by_the_loop(begin)[0]["exception"]) == "our own bug"


def test_order_entry_whose_report_is_not_taken_stops_loudly(heard_by_the_loop, nobody):
    def begin():
        connections = WarmConnections(
            Origin("127.0.0.1", nobody, tls=False), 1, on_free=lambda: None, on_reachable=fail
        )
        connections.start()
        return connections.stop

    assert str(heard_by_the_loop(begin)[0]["exception"]) == "our own bug"


def test_closing_does_not_wait_for_a_peer_that_does_not_play_along(run, credentials):
    class Stuck:
        """A connection whose close is never confirmed until it is aborted."""

        def __init__(self):
            self.closed = asyncio.get_running_loop().create_future()
            self.aborted = False

        def close(self):
            pass

        def abort(self, reason):
            self.aborted = True
            self.closed.set_result(None)

    async def play():
        pool = HttpPool(Origin("127.0.0.1", 1, tls=False), credentials)
        stuck = Stuck()
        pool._idle = [stuck]
        async with asyncio.timeout(5):
            await pool.close()
        assert stuck.aborted

    run(play())
