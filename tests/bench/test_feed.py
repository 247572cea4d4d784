"""The feed measurement: the consumer counts right however the socket cuts, and the result says what it must."""

from __future__ import annotations

import socket
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from bench import counter, feed
from bench.counter import Counter, masked
from bench.feed import Sent, result


def _framed(payload: bytes) -> bytes:
    return Frame(Opcode.BINARY, payload).serialize(mask=False)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 15, 16, 50, 300, 70_000]), max_size=12),
    cuts=st.lists(st.integers(1, 40_000), max_size=30),
)
def test_frames_and_messages_are_counted_however_they_are_cut(sizes, cuts):
    payloads = [msgspec.msgpack.encode([None] * size) for size in sizes if size < 65_536]
    stream = b"".join(map(_framed, payloads))
    counted = Counter()
    at = 0
    for cut in [*cuts, len(stream) + 1]:
        counted.feed(stream[at : at + cut])
        at += cut
    assert counted.frames == len(payloads)
    assert counted.messages == sum(size for size in sizes if size < 65_536)


def test_what_the_consumer_says_is_a_clients_frame():
    parsed = masked({"action": "auth"})
    assert (parsed[0], parsed[1] & 0x80) == (0x82, 0x80)
    assert msgspec.msgpack.decode(parsed[6:]) == {"action": "auth"}


def test_the_result_has_both_rates_and_the_sender_at_its_worst():
    sent = {
        "50": Sent(4_000, 200_000, 2.0, 0.2, (60.0, 60.5)),
        "1": Sent(40_000, 40_000, 2.0, 0.3, (59.0, 61.0)),
    }
    assert result(sent) == {
        "messages_per_s_50": 100_000,
        "frames_per_s_1": 20_000,
        "seconds": 2.0,
        "sender_core_50": 0.1,
        "sender_core_1": 0.15,
        "rss_mb_start": 59.0,
        "rss_mb_end": 61.0,
    }


def test_what_the_system_does_not_tell_is_absent():
    sent = {name: Sent(10, 10, 1.0, None, None) for name in ("50", "1")}
    assert set(result(sent)) == {"messages_per_s_50", "frames_per_s_1", "seconds"}


def test_a_feed_that_closes_is_no_measurement():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.close()

        closing = threading.Thread(target=hang_up)
        closing.start()
        with pytest.raises(SystemExit, match="closed"):
            counter.run("127.0.0.1", server.getsockname()[1], 1.0)
        closing.join(10)


@pytest.mark.e2e
def test_a_load_from_the_command_line_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "LOADS", {"50": (20_000, 50)})
    sent = feed._send(tmp_path, "50", 0.2)
    assert sent.messages == sent.frames * 50 > 0
    assert sent.seconds >= 0.2
