from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.venues.alpaca.timestamps import parse_rfc3339, parse_timestamp_ext

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-12-12T22:36:51.337711497Z", 1702420611337711497),
        ("2021-02-22T15:51:44.208Z", 1614009104208000000),
        ("2021-02-22T10:51:44.208-05:00", 1614009104208000000),
        ("2021-02-22T21:21:44.208+05:30", 1614009104208000000),
        ("2021-02-22T10:51:44-0500", 1614009104000000000),
        ("2021-02-22 15:51:44z", 1614009104000000000),
        ("2021-02-22T15:51:44.1234567899Z", 1614009104123456789),
        ("2016-12-31T23:59:60Z", 1483228800000000000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_times_are_exact_to_the_nanosecond(text, ns):
    assert parse_rfc3339(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2021-02-22",
        "2021-02-22T15:51:44",
        "2021-02-30T15:51:44Z",
        "2021-02-22T24:00:00Z",
        "2021-02-22T15:51:44.Z",
        "2021-02-22T15:51:44Z\n",
        "2021-02-22T15:51:4٤Z",
        "2021-02-22T15:51:44+25:00",
        "x" * 1000,
    ],
)
def test_what_is_no_time_is_refused_shortly(text):
    with pytest.raises(ValueError) as refusal:
        parse_rfc3339(text)
    assert len(str(refusal.value)) < 200


YEARS = st.integers(-2_000_000_000_000_000, 6_000_000_000_000_000)


@given(YEARS, st.integers(-1439, 1439))
def test_agrees_with_the_standard_library(microseconds, minutes):
    local = (EPOCH + timedelta(microseconds=microseconds, minutes=minutes)).replace(tzinfo=None)
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    assert parse_rfc3339(local.isoformat() + offset) == microseconds * 1000


@pytest.mark.parametrize(
    ("data", "ns"),
    [
        (struct.pack(">I", 1700000000), 1700000000_000000000),
        (struct.pack(">Q", 123456789 << 34 | 1700000000), 1700000000_123456789),
        (struct.pack(">Iq", 5, -1), -999_999_995),
    ],
)
def test_every_form_of_the_msgpack_timestamp(data, ns):
    assert parse_timestamp_ext(data) == ns


@pytest.mark.parametrize(
    "data", [b"", b"12345", struct.pack(">Q", 10**9 << 34), struct.pack(">Iq", 10**9, 1)]
)
def test_a_broken_msgpack_timestamp_is_refused(data):
    with pytest.raises(ValueError):
        parse_timestamp_ext(data)
