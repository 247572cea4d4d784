"""The network of the rig: connections within the process, byte for byte, with latency, and ends that can be cut.

Owns transports and what is on its way. May not look into the bytes but through a tap. The one idea: an end is an
`asyncio.Transport` as far as the protocols use one, so both sides' own code runs on it; what one end writes arrives at
the other later, in order, and also when the writer has died meanwhile, as in a kernel.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.rig.loop import Life, VirtualLoop

LATENCY_S = (0.0002, 0.002)
"""One way, from and to."""


class Tap:
    """Sees what the ends of a client's connection do; a crash point is put in by a subclass."""

    def writes(self, end: End, data: bytes) -> None:
        """The client is about to hand `data` to its socket."""

    def wrote(self, end: End, data: bytes) -> None:
        """The client has handed `data` to its socket."""

    def answered(self, end: End, data: bytes) -> None:
        """The server has handed `data` to its socket (`end` is the client's)."""

    def received(self, end: End, data: bytes) -> None:
        """The client has taken `data`."""

    def receives(self, end: End, data: bytes) -> None:
        """The client is about to take `data`."""


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, protocol: Any, context: Context, life: Life | None) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.network = network
        self.protocol = protocol
        self.context = context
        self.life = life
        self.is_client = False
        self.peer: End
        self._coming: deque[bytes | None] = deque()
        self._due_s = 0.0
        self._is_closing = False
        self._is_lost = False
        self._is_paused = False
        self._held: deque[bytes | None] = deque()

    # --- asyncio.Transport -----------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing or not data:
            return
        sent, tap = bytes(data), self.network.tap
        if self.is_client:
            tap.writes(self, sent)
            self.peer._send(sent)
            tap.wrote(self, sent)
        else:
            self.peer._send(sent)
            tap.answered(self.peer, sent)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self.peer._send(None)
            self._lose_soon()

    abort = close

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        while self._held and not self._is_paused:
            self._take(self._held.popleft())

    def is_reading(self) -> bool:
        return not self._is_paused

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    # --- the wire --------------------------------------------------------------------------------------------

    def _send(self, data: bytes | None) -> None:
        """Put bytes (None: the end of them) on the way to this end."""
        if self._is_lost:
            return
        network = self.network
        self._coming.append(data)
        self._due_s = max(self._due_s, network.loop.time() + network.latency_s())
        network.loop.call_at(self._due_s, self._arrive, context=self.context)

    def _arrive(self) -> None:
        data = self._coming.popleft()
        if self._is_paused:
            self._held.append(data)
        else:
            self._take(data)

    def _take(self, data: bytes | None) -> None:
        if self._is_lost or self._is_closing:
            return
        if data is None:
            self.protocol.eof_received()
            self.close()
            return
        if self.is_client:
            tap = self.network.tap
            tap.receives(self, data)
            self.protocol.data_received(data)
            tap.received(self, data)
        else:
            self.protocol.data_received(data)

    def _lose_soon(self) -> None:
        self.network.loop.call_soon(self._lose, context=self.context)

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self.network.ends.pop(self, None)
            self.protocol.connection_lost(None)

    def cut(self) -> None:
        """This end's process is dead: what it wrote still arrives, then the other end hears that it is closed."""
        self._is_lost = self._is_closing = True
        self.network.ends.pop(self, None)
        self.peer._send(None)


class _Listener:
    """What `create_server` returns."""

    def __init__(self, network: Network, port: int) -> None:
        self._network = network
        self._port = port

    def close(self) -> None:
        self._network.listening.pop(self._port, None)

    async def wait_closed(self) -> None:
        pass


class Network:
    """Listeners by port, and every open end. `unreachable_until_s` refuses connections until then."""

    def __init__(self, seed: str) -> None:
        self.loop: VirtualLoop
        self.tap = Tap()
        self.listening: dict[int, tuple[Callable[[], Any], Context, Life | None]] = {}
        self.ends: dict[End, None] = {}
        self.unreachable_until_s = 0.0
        self.slow_until_s = 0.0
        self._chance = random.Random(f"{seed}/wires")

    def latency_s(self) -> float:
        """Return how long what is written now is on its way."""
        low, high = LATENCY_S
        slow = 40.0 if self.loop.time() < self.slow_until_s else 1.0
        return slow * (low + (high - low) * self._chance.random() ** 3)

    def listen(self, factory: Callable[[], Any], host: Any, port: int) -> _Listener:
        from contextvars import copy_context

        from tests.rig.loop import LIFE

        del host
        self.listening[port] = factory, copy_context(), LIFE.get()
        return _Listener(self, port)

    async def connect(self, factory: Callable[[], Any], host: Any, port: int) -> tuple[End, Any]:
        """Return (transport, protocol) of a new connection. Raises ConnectionRefusedError."""
        from contextvars import copy_context

        from tests.rig.loop import LIFE

        await asyncio.sleep(2 * self.latency_s())
        found = self.listening.get(port)
        if found is None or self.loop.time() < self.unreachable_until_s:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        server_factory, context, server_life = found
        client = End(self, factory(), copy_context(), LIFE.get())
        client.is_client = True
        server = End(self, None, context.copy(), server_life)
        server.protocol = context.copy().run(server_factory)
        client.peer, server.peer = server, client
        self.ends[client] = self.ends[server] = None
        self.loop.call_soon(server.protocol.connection_made, server, context=server.context)
        client.protocol.connection_made(client)
        return client, client.protocol

    def cut_off(self, life: Life) -> None:
        """Close every socket of a dead process."""
        for end in [end for end in self.ends if end.life is life]:
            end.cut()

    def cut_all(self, life: Life) -> None:
        """Lose every connection of a living process, as when a cable is pulled for a moment."""
        for end in [end for end in self.ends if end.life is life]:
            end.peer.close()
