"""The venue of a measurement: the simulator with a market that stands still, behind the receiver.

Owns both processes and the questions asked of them. May not be asked anything while a latency is being measured.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.processes import BenchError, running

SYMBOLS = (
    "AAPL", "AMD", "AMZN", "BAC", "CSCO", "GOOG", "IBM", "INTC",
    "KO", "META", "MSFT", "NFLX", "NVDA", "ORCL", "SPY", "TSLA",
)  # fmt: skip
BID, ASK = 149.98, 150.00
KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
ARRIVE_WITHIN_S = 10.0
_ASK_AGAIN_S = 0.05


class Venue:
    """A venue at `url`; everything Hands wants of an exchange is there, except that no order is taken."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)

    def publish_quotes(self) -> None:
        """Send one quote of every symbol, the same for all, to whoever listens."""
        rows = [
            {"symbol": name, "bid": BID, "ask": ASK, "bid_size": 500, "ask_size": 500} for name in SYMBOLS
        ]
        self._ask("POST", "/sim/v1/market", json.dumps(rows).encode())

    def arrivals(self, count: int, *, within_s: float = ARRIVE_WITHIN_S) -> list[tuple[str, int]]:
        """Return the next `count` orders as (client_order_id, monotonic_ns); fewer if the rest does not come."""
        found: list[tuple[str, int]] = []
        end = time.monotonic() + within_s
        while len(found) < count and time.monotonic() < end:
            found += [(str(name), int(at_ns)) for name, at_ns in self._ask("GET", "/bench/arrivals")]
            if len(found) < count:
                time.sleep(_ASK_AGAIN_S)
        return found

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            connection.request(method, path, body, KEYS)
            answer = connection.getresponse()
            text = answer.read()
        except OSError as error:
            raise BenchError(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)


@contextmanager
def open_venue(room: Path) -> Iterator[Venue]:
    """Start the simulator and the receiver, logs in `room`; end both afterwards. Raises BenchError."""
    simulator = [
        "-m",
        "hands",
        "sim",
        "--listen",
        "127.0.0.1:0",
        "--tape",
        "manual",
        "--symbols",
        ",".join(SYMBOLS),
    ]
    with (
        running(simulator, room / "simulator.log") as sim,
        running(["-m", "bench.receiver", sim.ready["url"]], room / "receiver.log") as receiver,
    ):
        venue = Venue(receiver.ready["url"])
        venue.publish_quotes()
        yield venue
