"""Coming back: how long is waited between connections, whatever ended the one before."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from hands.core.events import Link
from hands.venues.alpaca.reconnect import Pace, StandingConnection
from hands.venues.alpaca.websocket import Closed

GONE = Closed("gone")
PACE = Pace(first_s=0.5, most_s=30.0, busy_first_s=2.0, busy_s=30.0, refused_s=120.0)
SLOWLY = [0.5, 1, 2, 4, 8, 16, 30, 30]


class Client:
    """A connection that does what the next of `script` says."""

    script: list[str | Closed]
    standing: StandingConnection

    def __init__(self, url, *, on_open, on_close, **_):
        self.received_ns = 0
        self._on_open, self._on_close = on_open, on_close

    async def connect(self, **_):
        ending = self.script.pop(0)
        if isinstance(ending, Closed):
            self._on_close(ending)
            return
        self._on_open()
        if ending == "busy":
            self.standing.give_up_busy("too many connections")
        else:
            self.standing.declare_up()
            self._on_close(GONE)

    def close(self, reason):
        self._on_close(Closed(reason))


@pytest.fixture
def waits(monkeypatch):
    """What is waited after each of some endings."""

    def play(script, pace=PACE):
        waited = []

        async def scenario():
            enough, sleep = asyncio.Event(), asyncio.sleep

            async def note(seconds):
                waited.append(seconds)
                if not Client.script:
                    enough.set()
                    await sleep(3600)

            monkeypatch.setattr("hands.venues.alpaca.reconnect.WebSocketClient", Client)
            Client.script = list(script)
            Client.standing = StandingConnection(
                "ws://127.0.0.1:1/", Link.EQUITY_DATA, clock=lambda: 1, deliver=lambda _: None, on_open=lambda: None,
                on_message=lambda *_: None, pace=pace,
            )  # fmt: skip
            with monkeypatch.context() as patch:
                patch.setattr("hands.venues.alpaca.reconnect.asyncio.sleep", note)
                Client.standing.start()
                async with asyncio.timeout(10):
                    await enough.wait()
            await Client.standing.stop()

        asyncio.run(scenario())
        return waited

    return play


@pytest.mark.parametrize(
    ("script", "pace", "fulls"),
    [
        pytest.param([GONE] * 8, PACE, SLOWLY, id="nobody there"),
        pytest.param(["up"] * 8, PACE, SLOWLY, id="up and gone at once"),
        pytest.param(["up"] * 4, Pace(first_s=0.5, stable_s=0.0), [0.5] * 4, id="was up for long"),
        pytest.param([Closed("HTTP 429", 429)] * 6, PACE, [2, 4, 8, 16, 30, 30], id="429 at the door"),
        pytest.param(["busy"] * 6, PACE, [2, 4, 8, 16, 30, 30], id="406 and 407"),
        pytest.param(
            [Closed("HTTP 429", 429)] * 3 + ["up", Closed("HTTP 429", 429)],
            PACE,
            [2, 4, 8, 4, 8],
            id="a session that lingered",
        ),
        pytest.param([Closed("HTTP 403", 403)] * 2, PACE, [120, 120], id="no for good"),
        pytest.param([Closed("HTTP 503", 503)] * 3, PACE, [0.5, 1, 2], id="out of order"),
    ],
)
def test_trap_25_each_failure_is_waited_out_for_longer_and_never_in_step_with_others(
    waits, script, pace, fulls
):
    """At least half of the full time, at most all of it, at random."""
    first, second = waits(script, pace), waits(script, pace)
    for waited in (first, second):
        assert len(waited) == len(fulls)
        assert all(full / 2 <= wait <= full for wait, full in zip(waited, fulls, strict=True)), waited
    assert first != second


def test_trap_25_a_minute_of_refusals_is_a_handful_of_attempts(waits):
    """The venue counts them: two hundred connections a minute from one key would be refused as a flood."""
    at_s = list(itertools.accumulate(waits([GONE] * 12)))
    assert sum(at <= 60 for at in at_s) <= 8
