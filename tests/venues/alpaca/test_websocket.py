from __future__ import annotations

import socket
import ssl
import subprocess

import pytest
from websockets.asyncio.server import serve

from hands.venues.alpaca.endpoints import Origin
from hands.venues.alpaca.http import HttpConnection
from hands.venues.alpaca.websocket import WebSocketClient


class Ears:
    def __init__(self):
        self.opened = 0
        self.messages = []
        self.closed = []
        self.ticks = 0

    def clock(self):
        self.ticks += 1
        return self.ticks

    def client(self, url, **options):
        return WebSocketClient(
            url,
            clock=self.clock,
            on_open=lambda: setattr(self, "opened", self.opened + 1),
            on_message=lambda data, is_text: self.messages.append((data, is_text)),
            on_close=self.closed.append,
            **options,
        )


def url_of(server, scheme="ws"):
    return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"


def test_messages_of_every_cut_arrive_whole(run, wait_until):
    async def scenario():
        async def handler(ws):
            assert ws.request.headers["Content-Type"] == "application/msgpack"
            assert "Sec-WebSocket-Extensions" not in ws.request.headers
            assert await ws.recv() == "hello"
            assert await ws.recv() == b"\x01"
            await ws.send("text")
            await ws.send(b"binary")
            await ws.send(["in ", "three ", "parts"])
            await ws.send(b"x" * 1_000_000)
            await ws.wait_closed()

        async with serve(handler, "127.0.0.1", 0) as server:
            ears = Ears()
            client = ears.client(url_of(server), headers={"Content-Type": "application/msgpack"})
            await client.connect()
            await wait_until(lambda: ears.opened)
            client.send(b"hello", text=True)
            client.send(b"\x01", text=False)
            await wait_until(lambda: len(ears.messages) == 4)
            assert ears.messages == [
                (b"text", True),
                (b"binary", False),
                (b"in three parts", True),
                (b"x" * 1_000_000, False),
            ]
            client.close("done")
            assert [closed.reason for closed in ears.closed] == ["done"]
            client.send(b"too late", text=True)
            client.close("again")
            assert len(ears.closed) == 1

    run(scenario())


def test_the_clock_is_read_once_per_socket_callback(run, wait_until, raw_server, shake_hands):
    async def scenario():
        async def handler(reader, writer):
            await shake_hands(reader, writer)
            await reader.readexactly(1)
            writer.write(b"\x81\x01a" * 100)  # a hundred frames in one write
            await reader.read()

        async with raw_server(handler) as port:
            ears = Ears()
            client = ears.client(f"ws://127.0.0.1:{port}/")
            await client.connect()
            await wait_until(lambda: ears.opened)
            before = ears.ticks
            client.send(b"", text=True)
            await wait_until(lambda: len(ears.messages) == 100)
            assert ears.ticks - before <= 2
            client.abort("done")

    run(scenario())


def test_the_servers_goodbye_is_the_reason(run, wait_until):
    async def scenario():
        async def handler(ws):
            await ws.close(1008, "go away")

        async with serve(handler, "127.0.0.1", 0) as server:
            ears = Ears()
            await ears.client(url_of(server)).connect()
            await wait_until(lambda: ears.closed)
            (closed,) = ears.closed
            assert "1008" in closed.reason
            assert "go away" in closed.reason

    run(scenario())


@pytest.mark.parametrize("status", [401, 429, 502])
def test_a_refused_handshake_tells_its_status(run, wait_until, status):
    async def scenario():
        async with serve(
            lambda ws: ws.wait_closed(),
            "127.0.0.1",
            0,
            process_request=lambda ws, request: ws.respond(status, "no\n"),
        ) as server:
            ears = Ears()
            await ears.client(url_of(server)).connect()
            await wait_until(lambda: ears.closed)
            assert ears.closed[0].http_status == status
            assert ears.opened == 0

    run(scenario())


NO_WEBSOCKETS = [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", None]


@pytest.mark.parametrize("answer", NO_WEBSOCKETS, ids=["hangs up", "ssh", "no key", "silent"])
def test_a_peer_that_is_no_websocket_ends_in_one_close(run, wait_until, raw_server, answer):
    async def scenario():
        async def handler(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)

        async with raw_server(handler) as port:
            ears = Ears()
            await ears.client(f"ws://127.0.0.1:{port}/").connect(open_timeout_s=0.2)
            await wait_until(lambda: ears.closed)
            assert len(ears.closed) == 1

    run(scenario())


def test_no_listener_ends_in_one_close(run):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        ears = Ears()
        await ears.client(f"ws://127.0.0.1:{port}/stream").connect()
        assert len(ears.closed) == 1
        assert "cannot connect" in ears.closed[0].reason

    run(scenario())


def test_a_message_beyond_the_cap_ends_the_connection(run, wait_until):
    async def scenario():
        async def handler(ws):
            await ws.send(b"x" * 1001)
            await ws.wait_closed()

        async with serve(handler, "127.0.0.1", 0) as server:
            ears = Ears()
            await ears.client(url_of(server), message_max=1000).connect()
            await wait_until(lambda: ears.closed)
            assert ears.messages == []
            assert "PayloadTooBig" in ears.closed[0].reason

    run(scenario())


def test_a_peer_that_stops_answering_is_given_up(run, wait_until, raw_server, shake_hands):
    """Trap 24: the socket is open and nobody is there."""

    async def scenario():
        async def handler(reader, writer):
            await shake_hands(reader, writer)
            await reader.read()

        async with raw_server(handler) as port:
            ears = Ears()
            await ears.client(f"ws://127.0.0.1:{port}/", ping_every_s=0.05, pong_within_s=0.05).connect()
            await wait_until(lambda: ears.closed)
            assert "of a ping" in ears.closed[0].reason

    run(scenario())


def test_a_peer_that_answers_pings_stays(run, wait_until):
    async def scenario():
        pings = []

        async def handler(ws):
            await ws.wait_closed()

        async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
            ears = Ears()
            client = ears.client(url_of(server), ping_every_s=0.02, pong_within_s=0.02)
            await client.connect()
            ping = client._ping
            client._ping = lambda: (pings.append(1), ping())
            await wait_until(lambda: len(pings) > 3)
            assert client.is_open
            assert ears.closed == []
            client.abort("done")

    run(scenario())


@pytest.fixture(scope="module")
def tls_contexts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-nodes",
                ),
                *(
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                    "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1",
                ),
                *("-keyout", str(key), "-out", str(cert)),
            ],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl here to make a certificate with")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


def test_a_websocket_over_tls_checks_the_certificate(run, wait_until, tls_contexts):
    async def scenario():
        async def handler(ws):
            await ws.send("hello")
            await ws.wait_closed()

        server_tls, client_tls = tls_contexts
        async with serve(handler, "127.0.0.1", 0, ssl=server_tls) as server:
            ears = Ears()
            client = ears.client(url_of(server, "wss"))
            await client.connect(tls=client_tls)
            await wait_until(lambda: ears.messages)
            client.close("done")
            strangers = Ears()
            await strangers.client(url_of(server, "wss")).connect()  # our own trust store does not know it
            assert "certificate" in strangers.closed[0].reason.lower()

    run(scenario())


def test_a_request_over_tls_has_left_when_send_returns(run, tls_contexts):
    """The writes of the TLS layer must not wait for the loop either."""
    server_tls, client_tls = tls_contexts

    def serve_once(listener, got):
        peer, _ = listener.accept()
        with server_tls.wrap_socket(peer, server_side=True) as tls_peer:
            got.append(tls_peer.recv(100))

    async def scenario():
        import threading

        with socket.create_server(("127.0.0.1", 0)) as listener:
            got = []
            thread = threading.Thread(target=serve_once, args=(listener, got))
            thread.start()
            origin = Origin("127.0.0.1", listener.getsockname()[1], tls=True)
            connection = await HttpConnection.open(origin, timeout_s=5, tls=client_tls)
            connection.send(b"GET / HTTP/1.1\r\n\r\n", 5, lambda outcome: None)
            thread.join(5)  # blocks the loop on purpose
            assert got == [b"GET / HTTP/1.1\r\n\r\n"]
            connection.abort("done")
            await connection.closed

    run(scenario())
