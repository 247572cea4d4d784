from __future__ import annotations

import gc

import pytest

from hands.venues.alpaca.http_reader import HEADERS_MAX, ResponseReader

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-ID: a\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 422 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


def read(data, cut=1, body_max=1000):
    reader = ResponseReader(body_max)
    for at in range(0, len(data), cut):
        reader.feed(data[at : at + cut])
        if reader.complete or reader.fault:
            break
    return reader


@pytest.mark.parametrize("cut", [1, 2, 7, 10_000])
@pytest.mark.parametrize(("data", "status"), [(PLAIN, 200), (CHUNKED, 422)])
def test_a_response_is_the_same_however_it_was_cut(data, status, cut):
    reader = read(data, cut)
    assert reader.reusable
    response = reader.response()
    assert (response.status, response.body) == (status, b"hello")


def test_header_names_are_lower_case_and_repeats_are_joined():
    reader = read(b"HTTP/1.1 429 X\r\nRetry-After: 3\r\nA: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n")
    assert reader.response().headers == {"retry-after": "3", "a": "1, 2", "content-length": "0"}


def test_no_content_has_no_body():
    reader = read(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert reader.reusable
    assert reader.response().body == b""


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_server_that_will_close_is_not_reused(data):
    reader = read(data)
    assert reader.complete
    assert not reader.reusable


def test_a_body_without_length_ends_with_the_connection():
    reader = read(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert not reader.complete
    reader.feed_eof()
    assert reader.complete
    assert reader.response().body == b"hello"
    assert not reader.reusable


@pytest.mark.parametrize("data", [PLAIN[:-1], PLAIN[:20], CHUNKED[:-5], b""])
def test_half_a_response_stays_incomplete(data):
    reader = read(data)
    reader.feed_eof()
    assert not reader.complete


def test_an_interim_response_is_not_the_answer():
    reader = read(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN)
    assert reader.response().status == 200
    assert reader.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/9.9.9 200\r\n\r\n",
    ],
)
def test_what_is_no_response_is_a_fault(data):
    reader = read(data)
    assert not reader.complete
    assert reader.fault is not None


def test_a_protocol_switch_is_not_reusable():
    reader = read(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\njunk", 1000)
    assert not reader.reusable


@pytest.mark.parametrize("surplus", [PLAIN, b"x", b"HTTP/1.1 200"])
def test_bytes_nobody_asked_for_make_the_connection_unusable(surplus):
    reader = read(PLAIN + surplus, 10_000)
    assert reader.response().body == b"hello"
    assert not reader.reusable


def test_bodies_and_headers_are_bounded():
    assert "body of more than 4" in read(PLAIN, body_max=4).fault
    huge = b"HTTP/1.1 200 OK\r\n" + b"A: %s\r\n" % (b"x" * 1000) * (HEADERS_MAX // 1000 + 1)
    assert "headers" in read(huge + b"\r\n", 4096).fault


def test_a_body_is_not_kept_by_the_reader_that_gave_it_away():
    """Reader and parser hold each other: until the collector comes, pages of history would stay."""
    reader = read(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, cut=4096, body_max=200_000
    )
    assert len(reader.response().body) == 100_000
    held = [one for one in gc.get_referents(reader) if isinstance(one, bytes | bytearray)]
    assert sum(map(len, held)) == 0
