from __future__ import annotations

import asyncio
import socket

import pytest

from hands.venues.alpaca.endpoints import origin_of
from hands.venues.alpaca.http import HttpConnection, HttpError, HttpPool, RequestHead
from hands.venues.alpaca.rate import RateBudget


def test_a_request_is_written_once_and_exactly(credentials):
    head = RequestHead(origin_of("http://127.0.0.1:81"), credentials)
    common = (
        b"Host: 127.0.0.1:81\r\nAPCA-API-KEY-ID: KEYID\r\nAPCA-API-SECRET-KEY: sekrit-0123456789\r\n"
        b"User-Agent: hands\r\nAccept: */*\r\n"
    )
    assert head.request("GET", "/v2/a?b=c") == b"GET /v2/a?b=c HTTP/1.1\r\n" + common + b"\r\n"
    assert head.request("POST", "/v2/orders", b"{}") == (
        b"POST /v2/orders HTTP/1.1\r\n"
        + common
        + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/ä", "/a#b"])
def test_a_path_that_could_change_the_request_is_a_bug_of_ours(credentials, path):
    with pytest.raises(AssertionError):
        RequestHead(origin_of("http://127.0.0.1"), credentials).request("GET", path)


def test_the_bytes_have_left_when_send_returns(run):
    """No turn of the loop lies between the call and the socket."""

    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            origin = origin_of(f"http://127.0.0.1:{listener.getsockname()[1]}")
            connection = await HttpConnection.open(origin, timeout_s=5)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(5)
                assert peer.getsockname()
                outcomes = []
                connection.send(b"GET / HTTP/1.1\r\n\r\n", 5, outcomes.append)
                assert peer.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
                connection.abort("done")
                assert [outcome.may_have_been_sent for outcome in outcomes] == [True]
                await connection.closed

    run(scenario())


def test_one_connection_serves_many_requests(run, scripted, reply, credentials):
    async def scenario():
        async def respond(request, writer):
            for byte in reply(200, request.path):  # one byte at a time
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials)
            bodies = [(await pool.fetch("GET", f"/{n}")).body for n in range(5)]
            assert bodies == [b"/0", b"/1", b"/2", b"/3", b"/4"]
            assert server.connections == 1
            assert server.requests[0].headers["apca-api-secret-key"] == credentials.secret
            await pool.close()

    run(scenario())


@pytest.mark.parametrize(
    "headers", [{"Connection": "close"}, {}], ids=["the server says it will close", "answer without a length"]
)
def test_a_connection_that_ends_is_replaced(run, scripted, reply, credentials, headers):
    async def scenario():
        async def respond(request, writer):
            writer.write(reply(200, "x", **headers) if headers else b"HTTP/1.1 200 OK\r\n\r\nx")
            if not headers:
                writer.close()

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials)
            for _ in range(3):
                assert (await pool.fetch("GET", "/")).body == b"x"
            assert server.connections == 3
            await pool.close()

    run(scenario())


@pytest.mark.parametrize("status", [301, 302, 307, 308, 429, 503, 504])
def test_nothing_is_followed_or_repeated(run, scripted, reply, credentials, status):
    """Trap 5: a library that repeats a POST on 429/504, or redirects it."""

    async def scenario():
        async def respond(request, writer):
            writer.write(reply(status, "no", Location="/elsewhere", Retry_After="0"))

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials)
            assert (await pool.fetch("POST", "/v2/orders", b"{}")).status == status
            assert server.lines == ["POST /v2/orders"]
            await pool.close()

    run(scenario())


async def _close(writer):
    writer.close()


async def _half(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def _reset(writer):
    writer.transport.abort()


async def _garbage(writer):
    writer.write(b"\x00\xff this is not HTTP\r\n\r\n")


async def _huge(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 1000)


async def _silence(writer):
    pass


@pytest.mark.parametrize("ending", [_close, _half, _reset, _garbage, _huge, _silence])
def test_every_broken_answer_is_ambiguous_and_sent_once(run, scripted, credentials, ending):
    """Trap 1: a timeout or a broken connection proves nothing about the order."""

    async def scenario():
        async def respond(request, writer):
            await ending(writer)

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials, timeout_s=0.2)
            with pytest.raises(HttpError) as error:
                await pool.fetch("POST", "/v2/orders", b"{}")
            assert error.value.failure.may_have_been_sent
            assert credentials.secret not in str(error.value)
            assert len(server.requests) == 1
            await pool.close()

    run(scenario())


def test_a_late_answer_is_never_taken_for_the_next(run, scripted, reply, credentials):
    async def scenario():
        release = asyncio.Event()

        async def respond(request, writer):
            if request.path == "/slow":
                await release.wait()
            writer.write(reply(200, request.path))

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials, connections=1, timeout_s=0.1)
            with pytest.raises(HttpError, match="no answer within"):
                await pool.fetch("GET", "/slow")
            release.set()
            assert (await pool.fetch("GET", "/next")).body == b"/next"
            assert server.connections == 2
            await pool.close()

    run(scenario())


def test_an_answer_nobody_asked_for_closes_the_connection(run, scripted, reply, credentials, wait_until):
    async def scenario():
        async def respond(request, writer):
            writer.write(reply(200, request.path))
            await writer.drain()
            writer.write(reply(200, "surplus"))

        async with scripted(respond) as server:
            connection = await HttpConnection.open(origin_of(server.url), timeout_s=5)
            head = RequestHead(origin_of(server.url), credentials)
            assert (await connection.request(head.request("GET", "/a"), 5)).body == b"/a"
            await wait_until(connection.closed.done)
            assert not connection.is_idle

    run(scenario())


def test_a_wait_given_up_takes_its_connection_with_it(run, scripted, reply, credentials):
    async def scenario():
        async def respond(request, writer):
            if request.path != "/slow":
                writer.write(reply(200, request.path))

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials, connections=1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await pool.fetch("GET", "/slow")
            assert (await pool.fetch("GET", "/next")).body == b"/next"
            await pool.close()

    run(scenario())


def test_a_refused_connection_proves_that_nothing_was_sent(run, credentials):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        pool = HttpPool(origin_of(f"http://127.0.0.1:{port}"), credentials)
        with pytest.raises(HttpError, match="cannot connect") as error:
            await pool.fetch("GET", "/")
        assert not error.value.failure.may_have_been_sent
        await pool.close()

    run(scenario())


def test_requests_are_counted_and_connections_bounded(run, scripted, reply, credentials):
    async def scenario():
        open_now = most = 0

        async def respond(request, writer):
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0)
            open_now -= 1
            writer.write(reply(200, request.path))

        async with scripted(respond) as server:
            budget = RateBudget()
            pool = HttpPool(origin_of(server.url), credentials, connections=2, budget=budget)
            answers = await asyncio.gather(*(pool.fetch("GET", f"/{n}") for n in range(20)))
            assert [answer.body.decode() for answer in answers] == [f"/{n}" for n in range(20)]
            assert budget.used == 20
            assert server.connections <= 2
            assert most <= 2
            await pool.close()

    run(scenario())


def test_a_connection_idle_for_long_is_not_trusted(run, scripted, reply, credentials):
    async def scenario():
        async def respond(request, writer):
            writer.write(reply(200, ""))

        async with scripted(respond) as server:
            pool = HttpPool(origin_of(server.url), credentials, idle_max_s=0.0)
            await pool.fetch("GET", "/")
            await pool.fetch("GET", "/")
            assert server.connections == 2
            await pool.close()

    run(scenario())
