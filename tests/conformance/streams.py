"""The SDK's streams in threads of their own, as a program runs them, and what their handlers are given.

Owns starting them, waiting for what they bring, and stopping them. Nothing waits for luck: a data stream logs the
acknowledgement of its subscription, and the trade stream listens once it has told of an order.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hands.sim.testing import Sim
from tests.conformance.sdk import LimitOrderRequest, TradeEvent
from tests.e2e.harness import WITHIN_S, until


class Running:
    """Streams in their threads, and what their handlers were given, in order."""

    def __init__(self, sim: Sim, caplog: pytest.LogCaptureFixture) -> None:
        self.seen: list[Any] = []
        self.expected_errors: tuple[str, ...] = ()
        self._sim = sim
        self._caplog = caplog
        self._threads: dict[Any, threading.Thread] = {}

    async def handler(self, model: Any) -> None:
        self.seen.append(model)

    def start(self, stream: Any) -> Any:
        thread = threading.Thread(target=stream.run, name=type(stream).__name__)
        thread.start()
        self._threads[stream] = thread
        return stream

    def logged(self, text: str) -> int:
        """How often the SDK has logged something with `text` in it."""
        return sum(text in message for message in self._caplog.messages)

    def subscribed(self, times: int = 1) -> None:
        """Wait until the venue has acknowledged this many subscriptions."""
        until("the subscription's acknowledgement", lambda: self.logged("subscribed to") >= times)

    def received(self, *kinds: type, count: int = 1) -> list[Any]:
        """Wait for `count` models of `kinds`, and return all there are."""

        def look() -> list[Any] | None:
            found = [model for model in self.seen if isinstance(model, kinds)]
            return found if len(found) >= count else None

        return until(f"{count} of {[kind.__name__ for kind in kinds]}", look)

    def until_seen(self, wanted: Callable[[Any], bool]) -> None:
        """Wait for a model that is `wanted`."""
        until("the model that was waited for", lambda: any(wanted(model) for model in self.seen))

    def stop(self, stream: Any, nudge: Callable[[], None]) -> None:
        """Stop a stream. It looks at its orders after a frame, or every five seconds: `nudge` saves the wait."""
        stream.stop()
        nudge()
        thread = self._threads.pop(stream)
        thread.join(WITHIN_S)
        assert not thread.is_alive(), f"{thread.name} does not stop"

    def close(self) -> None:
        def drop() -> None:
            self._sim.fault("market_data", "disconnect")
            self._sim.fault("trade_updates", "disconnect")

        for stream in tuple(self._threads):
            self.stop(stream, drop)
        phases = [self._caplog.get_records(when) for when in ("setup", "call", "teardown")]
        errors = [r.getMessage() for records in phases for r in records if r.levelno >= logging.ERROR]
        assert [e for e in errors if not any(text in e for text in self.expected_errors)] == []


def wait_until_listening(trading: Any, running: Running) -> None:
    """Place and cancel an order until one is heard of, and its end too."""
    running.seen.clear()
    probes = []

    def heard() -> bool:
        probe = trading.submit_order(
            LimitOrderRequest(symbol="MSFT", qty=1, side="buy", time_in_force="day", limit_price=1)
        )
        trading.cancel_order_by_id(probe.id)
        probes.append(probe.id)
        return bool(running.seen)

    until("any trade update", heard)
    until(
        "the end of the last probe",
        lambda: (probes[-1], TradeEvent.CANCELED) in [(u.order.id, u.event) for u in running.seen],
    )
    running.seen.clear()
