"""A market to be measured with: prebuilt frames of trades and quotes, sent over a real websocket as fast as asked for.

Owns the frames and the sending end. May not be the bottleneck: everything is encoded before it begins, a whole round of
frames is one write, and only the venue's times are written anew in every round, so that no row is a repetition.

Run as `python -m bench.market_load FRAME_SIZE PHASE…`, a phase being `MESSAGES@RATE` (rate 0: as fast as they are
taken); prints a ready line with its URL and plays the same market to one client after the other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
import struct
import sys
import time
from typing import Any

import msgspec
import numpy as np
from msgspec.msgpack import Ext

SYMBOLS = tuple(f"SYM{n:02d}" for n in range(50))
ROUND = 20_000
TICK_S = 0.001
"""At a given rate, what is due is sent once in a millisecond."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STAMP = Ext(-1, bytes(8))
_GOODBYE = 8


class Round:
    """About `ROUND` messages in frames of `frame_size`, as the bytes of a websocket; the stamp ends each message."""

    def __init__(self, frame_size: int) -> None:
        chance = random.Random(7)
        price = 150.0
        parts: list[bytes] = []
        ends: list[int] = []
        frame_ends: list[int] = []
        at = 0
        for first in range(0, ROUND, frame_size):
            messages: list[bytes] = []
            for number in range(first, first + frame_size):
                price = round(price + chance.choice((-0.01, 0.0, 0.01)), 2)
                messages.append(msgspec.msgpack.encode(_message(number, price, chance)))
            payload = _array_head(frame_size) + b"".join(messages)
            head = frame_head(len(payload))
            at += len(head) + len(payload) - sum(map(len, messages))
            for message in messages:
                at += len(message)
                ends.append(at)
            frame_ends.append(at)
            parts += [head, payload]
        self.frame_size = frame_size
        self.frames = len(frame_ends)
        self.messages = len(ends)
        self.bytes = bytearray(b"".join(parts))
        self._raw = np.frombuffer(self.bytes, np.uint8)
        self._stamps = np.array(ends)[:, None] + np.arange(-8, 0)
        self._frame_starts = [0, *frame_ends]

    def stamp(self, first: int, last: int, times_ns: np.ndarray) -> None:
        """Write the times of the messages of frames `first` to `last`; `times_ns` has one for each."""
        packed = (times_ns % 1_000_000_000) << 34 | times_ns // 1_000_000_000
        places = self._stamps[first * self.frame_size : last * self.frame_size]
        self._raw[places] = packed.astype(">u8").view(np.uint8).reshape(-1, 8)

    def of(self, first: int, last: int) -> memoryview:
        """Return the bytes of frames `first` to `last`."""
        return memoryview(self.bytes)[self._frame_starts[first] : self._frame_starts[last]]


def _message(number: int, price: float, chance: random.Random) -> dict[str, Any]:
    symbol = SYMBOLS[chance.randrange(len(SYMBOLS))]
    if chance.random() < 0.3:
        return {
            "T": "t", "S": symbol, "i": 52_983_525_000_000 + number, "x": "V", "p": price, "s": chance.randrange(1, 900),
            "c": ["@"], "z": "C", "t": _STAMP,
        }  # fmt: skip
    ask = round(price + 0.02, 2)
    return {
        "T": "q", "S": symbol, "bx": "V", "bp": price, "bs": chance.randrange(1, 900), "ax": "V", "ap": ask,
        "as": chance.randrange(1, 900), "c": ["R"], "z": "C", "t": _STAMP,
    }  # fmt: skip


def _array_head(count: int) -> bytes:
    return bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)


def frame_head(size: int) -> bytes:
    if size < 126:
        return bytes([0x82, size])
    return b"\x82\x7e" + struct.pack(">H", size) if size < 65_536 else b"\x82\x7f" + struct.pack(">Q", size)


class Client:
    """The venue's end of one connection: blocking, and with just enough of the protocol for a well-behaved client."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._file = sock.makefile("rb")

    def converse(self) -> None:
        """Shake hands, greet, take the credentials and the subscription."""
        lines = iter(self._file.readline, b"\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
        }
        accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + _GUID).digest())
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._say({"T": "success", "msg": "connected"})
        assert self._hear()["action"] == "auth"
        self._say({"T": "success", "msg": "authenticated"})
        wanted = self._hear()
        self._say({"T": "subscription", "trades": wanted["trades"], "quotes": wanted["quotes"], "bars": []})

    def _say(self, message: dict[str, Any]) -> None:
        payload = msgspec.msgpack.encode([message])
        self._sock.sendall(frame_head(len(payload)) + payload)

    def _hear(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.msgpack.decode(self._frame()[1])
        return found

    def _frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the client's next frame, which is masked; a goodbye where it has gone."""
        head = self._file.read(2)
        if len(head) < 2:
            return _GOODBYE, b""
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._file.read(2))
        mask = self._file.read(4)
        return head[0] & 15, bytes(byte ^ mask[n % 4] for n, byte in enumerate(self._file.read(size)))

    def play(self, market: Round, phases: list[tuple[int, int]]) -> None:
        """Send each phase's messages at its rate; the stamps say when each message was due."""
        for messages, rate in phases:
            frames = messages // market.frame_size
            if rate:
                self._pace(market, frames, rate)
            else:
                self._flood(market, frames)

    def _flood(self, market: Round, frames: int) -> None:
        next_ns = 0
        while frames > 0:
            part = min(frames, market.frames)
            count = part * market.frame_size
            next_ns = max(next_ns, time.time_ns())
            market.stamp(0, part, next_ns + np.arange(count) * 100)
            next_ns += count * 100
            self._sock.sendall(market.of(0, part))
            frames -= part

    def _pace(self, market: Round, frames: int, rate: int) -> None:
        spacing_ns = market.frame_size * 1_000_000_000 / rate
        began_ns, began_s = time.time_ns(), time.monotonic()
        sent = place = 0
        while sent < frames:
            due = min(frames, int((time.monotonic() - began_s) * 1e9 / spacing_ns))
            part = min(due - sent, market.frames - place)
            if part <= 0:
                time.sleep(TICK_S)
                continue
            due_ns = began_ns + ((sent + np.arange(part)) * spacing_ns).astype(np.int64)
            market.stamp(place, place + part, np.repeat(due_ns, market.frame_size))
            self._sock.sendall(market.of(place, place + part))
            sent += part
            place = (place + part) % market.frames

    def wait_closed(self) -> None:
        """Return when the client has said goodbye or gone; what else it says is dropped."""
        while self._frame()[0] != _GOODBYE:
            pass


def serve(frame_size: int, phases: list[tuple[int, int]]) -> None:
    """Serve clients one after the other, for ever."""
    market = Round(frame_size)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"}), flush=True)
        while True:
            sock, _ = listener.accept()
            with sock:
                try:
                    client = Client(sock)
                    client.converse()
                    client.play(market, phases)
                    client.wait_closed()
                except (ConnectionError, TimeoutError):
                    continue


if __name__ == "__main__":
    pairs = [argument.split("@") for argument in sys.argv[2:]]
    serve(int(sys.argv[1]), [(int(messages), int(rate)) for messages, rate in pairs])
