"""The receiver: stamps and refuses orders, whole or in pieces, and passes everything else on untouched."""

from __future__ import annotations

import asyncio
import json
import time

from bench.receiver import Incoming


def _order(name: str) -> bytes:
    body = json.dumps({"client_order_id": name}).encode()
    return b"POST /v2/orders HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")
    )
    return head, await reader.readexactly(length)


class _Ends:
    """Counts what is open, so that a test can wait until nothing is."""

    def __init__(self) -> None:
        self.open = 0
        self.changed = asyncio.Event()

    def count(self, change: int) -> None:
        self.open += change
        self.changed.set()

    async def all_over(self) -> None:
        while self.open:
            self.changed.clear()
            await self.changed.wait()


class _Counted(Incoming):
    def __init__(self, ends, *arguments) -> None:
        super().__init__(*arguments)
        self._ends = ends

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._ends.count(1)

    def connection_lost(self, exc) -> None:
        super().connection_lost(exc)
        self._ends.count(-1)


def _with_receiver(scenario):
    async def run():
        loop = asyncio.get_running_loop()
        arrivals, ends = [], _Ends()

        async def echo(reader, writer):
            ends.count(1)
            while data := await reader.read(1_000):
                writer.write(b"upstream:" + data)
            writer.close()
            await writer.wait_closed()
            ends.count(-1)

        upstream = await asyncio.start_server(echo, "127.0.0.1", 0)
        to = upstream.sockets[0].getsockname()
        server = await loop.create_server(lambda: _Counted(ends, to, arrivals), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(5):
            await scenario(reader, writer, arrivals)
            writer.close()
            await writer.wait_closed()
            await ends.all_over()
        server.close()
        upstream.close()

    asyncio.run(run())


def test_an_order_is_stamped_and_refused_on_a_connection_that_stays():
    async def scenario(reader, writer, arrivals):
        before = time.monotonic_ns()
        for name in ("first", "second"):
            writer.write(_order(name))
            head, body = await _answer(reader)
            assert head.startswith(b"HTTP/1.1 403 ")
            assert json.loads(body)["code"] == 40310000
        assert [name for name, _ in arrivals] == ["first", "second"]
        assert before <= arrivals[0][1] <= arrivals[1][1] <= time.monotonic_ns()

    _with_receiver(scenario)


def test_an_order_in_pieces_is_stamped_at_its_first_byte_and_counts_once():
    async def scenario(reader, writer, arrivals):
        whole = _order("pieces")
        writer.write(whole[:30])
        await writer.drain()
        other_reader, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
        other.write(_order("later"))
        await _answer(other_reader)
        writer.write(whole[30:])
        await _answer(reader)
        stamps = dict(arrivals)
        assert len(arrivals) == 2
        assert stamps["pieces"] <= stamps["later"]
        other.close()
        await other.wait_closed()

    _with_receiver(scenario)


def test_arrivals_are_told_once():
    async def scenario(reader, writer, _arrivals):
        writer.write(_order("only"))
        await _answer(reader)
        for expected in (["only"], []):
            writer.write(b"GET /bench/arrivals HTTP/1.1\r\n\r\n")
            _, body = await _answer(reader)
            assert [name for name, _ in json.loads(body)] == expected

    _with_receiver(scenario)


def test_what_is_not_an_order_goes_to_the_exchange_as_it_is():
    async def scenario(reader, writer, arrivals):
        writer.write(b"GET /v2/account HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(9) == b"upstream:"
        assert await reader.readuntil(b"\r\n\r\n") == b"GET /v2/account HTTP/1.1\r\n\r\n"
        writer.write(b"\x82\x81frame")
        assert await reader.readexactly(16) == b"upstream:\x82\x81frame"
        assert arrivals == []

    _with_receiver(scenario)
