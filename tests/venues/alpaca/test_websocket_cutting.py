"""Frames cut out of the byte stream, against the library reading all of them: the same messages, the same end."""

from __future__ import annotations

import asyncio
import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.protocol import State
from websockets.server import ServerProtocol

from hands.venues.alpaca.websocket import WebSocketClient

MESSAGE_MAX = 70_000


class Socket:
    """A transport that remembers what was written."""

    def __init__(self):
        self.written = b""
        self.closed = False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return None


class ByTheLibrary(WebSocketClient):
    """The same client without the shorter way."""

    def data_received(self, data):
        if not self._is_over:
            self._give_library(data)


class Ears:
    """A client of class `kind` after its request was written, and what it was told."""

    def __init__(self, kind):
        self.messages, self.closed = [], []
        self.client = kind(
            "ws://venue.example/v2/iex",
            clock=lambda: 1,
            on_open=lambda: None,
            on_message=lambda data, is_text: self.messages.append((bytes(data), is_text)),
            on_close=lambda closed: self.closed.append(closed.reason),
            message_max=MESSAGE_MAX,
        )
        self.socket = Socket()
        self.client.connection_made(self.socket)

    def answer(self) -> bytes:
        """Return a server's answer to this client's handshake."""
        server = ServerProtocol()
        server.receive_data(self.socket.written)
        (request,) = server.events_received()
        server.send_response(server.accept(request))
        return b"".join(server.data_to_send())

    def hear(self, data, cuts):
        """Deliver `data` in pieces that end at `cuts`; a closed socket delivers nothing more."""
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for begin, end in itertools.pairwise(places):
            if not self.socket.closed:
                self.client.data_received(data[begin:end])
        self.client.connection_lost(None)


def frame(head: int, payload: bytes, width: int = 0) -> bytes:
    """Return a frame with its length in the shortest form, or in a longer one (`width` 2 or 8 bytes)."""
    size = len(payload)
    if size < 126 and not width:
        return bytes([head, size]) + payload
    if size < 65_536 and width < 8:
        return bytes([head, 126]) + struct.pack(">H", size) + payload
    return bytes([head, 127]) + struct.pack(">Q", size) + payload


payloads = st.binary(max_size=12) | st.sampled_from([b"x" * 125, b"x" * 126, b"y" * 300, b"z" * 66_000])
whole = st.builds(frame, st.sampled_from([0x81, 0x82]), payloads, st.sampled_from([0, 0, 0, 2, 8]))
control = st.builds(frame, st.sampled_from([0x89, 0x8A]), st.binary(max_size=5))
fragments = st.builds(
    lambda kind, first, middle, last: frame(kind, first) + middle + frame(0x00, b"mid") + frame(0x80, last),
    st.sampled_from([0x01, 0x02]),
    st.binary(max_size=5),
    control | st.just(b""),
    st.binary(max_size=5),
)
strange = st.sampled_from(
    [
        frame(0x88, struct.pack(">H", 1001) + b"bye"),
        frame(0x88, b""),
        frame(0x82, b"x" * (MESSAGE_MAX + 1)),
        bytes([0x82, 0x85]) + b"mask" + b"hello",
        frame(0xC2, b"compressed"),
        frame(0x83, b"reserved"),
        frame(0x80, b"continues nothing"),
        frame(0x02, b"begins") + frame(0x82, b"and is interrupted"),
        bytes([0x82, 127]) + b"\xff" * 8,
        frame(0x89, b"p" * 126),
        b"",
    ]
)
streams = st.tuples(
    st.lists(whole | control | fragments, max_size=8), strange, st.lists(whole | control, max_size=2)
).map(lambda parts: b"".join([*parts[0], parts[1], *parts[2]]))


@given(data=streams, cuts=st.lists(st.integers(0, 10**6), max_size=6), behind=st.booleans())
@settings(max_examples=300)
def test_any_stream_cut_anywhere_says_what_the_library_says(data, cuts, behind):
    async def scenario():
        ears, library = Ears(WebSocketClient), Ears(ByTheLibrary)
        for each in (ears, library):
            answer = each.answer()
            if behind:  # the first frames come in the same read as the handshake's end
                each.hear(answer + data, cuts)
            else:
                each.client.data_received(answer)
                assert each.client.is_open
                each.hear(data, cuts)
        assert ears.messages == library.messages
        assert ears.closed == library.closed
        assert len(ears.socket.written) == len(library.socket.written)  # masks differ

    asyncio.run(scenario())


def test_a_stream_cut_at_any_two_places_brings_every_message():
    async def scenario():
        wanted = [b"", b"one", b"t" * 126, b"parts", b"two"]
        data = (
            frame(0x82, b"")
            + frame(0x82, b"one", 2)
            + frame(0x82, b"t" * 126)
            + frame(0x02, b"par")
            + frame(0x89, b"ping")
            + frame(0x80, b"ts")
            + frame(0x82, b"two", 8)
        )
        for first in range(0, len(data), 3):
            for second in range(first, len(data)):
                ears = Ears(WebSocketClient)
                ears.client.data_received(ears.answer())
                ears.hear(data, [first, second])
                assert [message for message, _ in ears.messages] == wanted, (first, second)

    asyncio.run(scenario())


@pytest.mark.parametrize("page", [b"", b"no such feed", b"x" * 500])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_refused_handshake_in_pieces_tells_its_status(run, page, step):
    async def scenario():
        ears = Ears(WebSocketClient)
        head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n\r\n" % len(page)
        data = head + page
        for at in range(0, len(data), step):
            ears.client.data_received(data[at : at + step])
        assert len(ears.closed) == 1
        assert "429" in ears.closed[0]

    run(scenario())


def test_a_client_that_gives_up_in_a_message_gets_no_more_of_the_same_read(run):
    async def scenario():
        ears = Ears(WebSocketClient)
        ears.client.data_received(ears.answer())
        ears.client._on_message = lambda data, is_text: (
            ears.messages.append(data),
            ears.client.close("enough"),
        )
        ears.client.data_received(frame(0x82, b"one") + frame(0x82, b"two"))
        assert ears.messages == [b"one"]
        assert ears.closed == ["enough"]
        assert ears.client._protocol.state is not State.OPEN

    run(scenario())
