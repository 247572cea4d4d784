"""The counting consumer: a websocket client that reads as fast as it can and only counts.

Owns the end of every feed measurement: frames by their heads, messages by the head of the array in each, nothing is
decoded. One process of its own, so that what it costs is not the sender's.

Run as `python -m bench.counter HOST PORT SECONDS`; prints a ready line when the feed has been running for a moment,
and after SECONDS of it one line with what arrived.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any

import msgspec

PATH = "/v2/sip"
GREETINGS = 3
"""Messages before the market's: connected, authenticated, subscription."""
WARM_UP_S = 0.5
"""After the first frame of the market: by then the sender has encoded what it will send."""

_UPGRADE = (
    f"GET {PATH} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Content-Type: application/msgpack\r\n\r\n"
).encode()
_END_OF_HEAD = b"\r\n\r\n"
_READ_BYTES = 1 << 20
_SAYS_NOTHING_S = 10.0


class Counter:
    """Counts the frames and messages in a server's bytes, cut wherever the socket cut them."""

    def __init__(self) -> None:
        self.frames = 0
        self.messages = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Count what is complete and keep the rest."""
        data = self._rest + data
        start, end = 0, len(data)
        while start + 2 <= end:
            length, body = data[start + 1], start + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[start + 2 : body], "big")
            if body > end or body + length > end:
                break
            first = data[body] if length else 0
            if first & 0xF0 == 0x90:  # an array of up to fifteen
                self.messages += first & 0x0F
            elif first == 0xDC:
                self.messages += data[body + 1] << 8 | data[body + 2]
            self.frames += 1
            start = body + length
        self._rest = data[start:]


def masked(message: dict[str, Any]) -> bytes:
    """Return a message as a client's frame; the mask is zero, which leaves the payload as it is."""
    payload = msgspec.msgpack.encode(message)
    assert len(payload) < 126
    return bytes((0x82, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def run(host: str, port: int, seconds: float) -> None:
    """Subscribe to everything, count for `seconds`, say what it was."""
    with socket.create_connection((host, port), timeout=_SAYS_NOTHING_S) as feed:
        feed.sendall(_UPGRADE)
        answer = b""
        while _END_OF_HEAD not in answer:
            answer += _read(feed)
        counter = Counter()
        counter.feed(answer.partition(_END_OF_HEAD)[2])
        feed.sendall(masked({"action": "auth", "key": "sim", "secret": "sim"}))
        feed.sendall(masked({"action": "subscribe", "trades": ["*"], "quotes": ["*"]}))
        while counter.messages <= GREETINGS:
            counter.feed(_read(feed))
        _count(feed, counter, WARM_UP_S)
        print(json.dumps({"event": "ready"}), flush=True)
        counter.frames = counter.messages = 0
        began = time.perf_counter()
        _count(feed, counter, seconds)
        elapsed = time.perf_counter() - began
    found = {"frames": counter.frames, "messages": counter.messages, "seconds": elapsed}
    print(json.dumps(found), flush=True)


def _count(feed: socket.socket, counter: Counter, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        counter.feed(_read(feed))


def _read(feed: socket.socket) -> bytes:
    data = feed.recv(_READ_BYTES)
    if not data:
        raise SystemExit("the feed was closed")
    return data


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
