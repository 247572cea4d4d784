from __future__ import annotations

import contextlib
import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from hands.core.market import ROW, RowFlag
from hands.venues.alpaca.conditions import flags_of
from hands.venues.alpaca.frames import (
    Failure,
    FrameDecoder,
    FrameError,
    Subscription,
    Success,
)

INDEX = {"AAPL": 0, "SPY": 1, "BTC/USD": 2}
T_NS = 1614009104208123456
T_TEXT = "2021-02-22T15:51:44.208123456Z"
T_EXT = Ext(-1, struct.pack(">Q", (T_NS % 10**9) << 34 | T_NS // 10**9))

# The venue's published examples.
TRADE = {"T": "t", "i": 96921, "S": "AAPL", "x": "D", "p": 126.55, "s": 1, "t": T_TEXT, "c": ["@"], "z": "C"}
QUOTE = {
    "T": "q", "S": "SPY", "bx": "U", "bp": 87.66, "bs": 1, "ax": "Q", "ap": 87.68, "as": 4, "t": T_TEXT, "c": ["R"], "z": "A",
}  # fmt: skip
PAIR_TRADE = {"T": "t", "S": "BTC/USD", "p": 50000.5, "s": 0.000123, "t": T_TEXT, "i": 2**60, "tks": "B"}
PAIR_QUOTE = {"T": "q", "S": "BTC/USD", "bp": 50000, "bs": 1.5, "ap": 50001, "as": 2, "t": T_TEXT}
BAR = {
    "S": "SPY",
    "o": 388.98,
    "h": 389.13,
    "l": 388.97,
    "c": 389.12,
    "v": 49378,
    "n": 500,
    "vw": 389.1,
    "t": T_TEXT,
}
OTHERS = [
    {"T": "i", "S": "AAPL", "t": T_TEXT, "p": 1},
    {"T": "o"},
    {"T": "n", "id": 1},
    {"T": "b"} | BAR,
    {"T": "u"} | BAR,
    {"T": "d"} | BAR,
    {"T": "l", "S": "SPY", "u": 3.24, "d": 2.65, "i": "B", "t": T_TEXT, "z": "C"},
]
NOTICES = [
    {
        "T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "Trading Halted", "t": T_TEXT, "z": "C",
    },
    {
        "T": "c", "S": "AAPL", "x": "M", "oi": 52983525033527, "op": 39.1582, "os": 440000, "oc": [" ", "7"],
        "ci": 52983525034326, "cp": 39.1809, "cs": 440001, "cc": [" ", "7"], "z": "B", "t": T_TEXT,
    },
    {"T": "x", "S": "SPY", "i": 465, "x": "D", "p": 144.6, "s": 1, "a": "C", "z": "B", "t": T_TEXT},
]  # fmt: skip


def as_json(messages):
    return json.dumps(messages).encode()


def as_msgpack(messages):
    return msgspec.msgpack.encode([m | {"t": T_EXT} if m.get("t") == T_TEXT else m for m in messages])


@pytest.fixture(params=[as_json, as_msgpack])
def encoded(request):
    return request.param


def test_trades_and_quotes_become_rows(encoded):
    decoder = FrameDecoder(INDEX)
    result = decoder.decode(encoded([TRADE, QUOTE, PAIR_TRADE, PAIR_QUOTE]), 99)
    assert (result.count, result.controls, result.unknown_symbols, result.malformed) == (4, (), 0, 0)
    assert decoder.rows.dtype == ROW
    assert decoder.rows[:4].tolist() == [
        (0, 1, 1, ord("D"), 126.55, 1.0, 0.0, 0.0, T_NS, 99, 96921),
        (1, 2, 1, 0, 87.66, 1.0, 87.68, 4.0, T_NS, 99, 0),
        (2, 1, 1, 0, 50000.5, 0.000123, 0.0, 0.0, T_NS, 99, 2**60),
        (2, 2, 1, 0, 50000.0, 1.5, 50001.0, 2.0, T_NS, 99, 0),
    ]


@pytest.mark.parametrize(("exchange", "kept"), [("D", 68), ("", 0), (None, 0), ("NY", 0), ("é", 0)])
def test_an_exchange_is_its_letter_and_anything_else_costs_no_trade(encoded, exchange, kept):
    decoder = FrameDecoder(INDEX)
    assert decoder.decode(encoded([TRADE | {"x": exchange}, TRADE]), 99).count == 2
    assert decoder.rows["exchange"][:2].tolist() == [kept, 68]
    assert decoder.rows["price"][:2].tolist() == [126.55, 126.55]


def test_other_kinds_of_data_are_ignored(encoded):
    decoder = FrameDecoder(INDEX)
    result = decoder.decode(encoded([*OTHERS, TRADE]), 1)
    assert (result.count, result.malformed, result.unknown_symbols) == (1, 0, 0)


def test_notices_are_handed_on_as_what_they_are(encoded):
    decoder = FrameDecoder(INDEX)
    result = decoder.decode(encoded([*NOTICES, TRADE]), 1)
    assert (result.count, result.malformed, result.unknown_symbols) == (1, 0, 0)
    status, correction, cancel = result.notices
    assert {notice.venue_ns for notice in result.notices} == {T_NS}
    assert (status.code, status.reason_code, status.tape) == ("H", "T12", "C")
    assert (correction.original_id, correction.original_price, correction.original_size) == (
        52983525033527, 39.1582, 440000.0,
    )  # fmt: skip
    assert (correction.trade_id, correction.price, correction.size) == (52983525034326, 39.1809, 440001.0)
    assert correction.flags == RowFlag.VOLUME
    assert (cancel.trade_id, cancel.price, cancel.size, cancel.action) == (465, 144.6, 1.0, "C")


@pytest.mark.parametrize(
    ("notice", "malformed", "unknown"),
    [
        (NOTICES[0] | {"t": "noon"}, 1, 0),
        (NOTICES[1] | {"cp": "1"}, 1, 0),
        (NOTICES[0] | {"sc": None}, 1, 0),
        (NOTICES[0] | {"S": "ZZZ"}, 0, 1),
    ],
)
def test_a_notice_that_cannot_be_read_or_used_is_counted(encoded, notice, malformed, unknown):
    result = FrameDecoder(INDEX).decode(encoded([notice, TRADE]), 1)
    assert (result.count, result.notices) == (1, ())
    assert (result.malformed, result.unknown_symbols) == (malformed, unknown)


@pytest.mark.parametrize("kind", [b"\x80uccess", b"\xff"])
def test_a_type_that_is_no_text_at_all_is_counted(kind):
    """msgspec raises something else for it than for every other fault."""
    size = len(kind)
    json_frame = b'[{"T":"%b"}]' % kind
    packed = b"\x91\x81\xa1T" + bytes([0xA0 | size]) + kind
    assert FrameDecoder(INDEX).decode(packed, 1).malformed == 1
    with contextlib.suppress(FrameError):
        FrameDecoder(INDEX).decode(json_frame, 1)


def test_control_messages_are_handed_on(encoded):
    decoder = FrameDecoder(INDEX)
    assert decoder.decode(encoded([{"T": "success", "msg": "connected"}]), 1).controls == (
        Success(text="connected"),
    )
    assert decoder.decode(
        encoded([{"T": "error", "code": 406, "msg": "connection limit exceeded"}]), 1
    ).controls == (Failure(code=406, text="connection limit exceeded"),)
    (ack,) = decoder.decode(
        encoded([{"T": "subscription", "trades": ["AAPL"], "quotes": ["*"], "bars": []}]), 1
    ).controls
    assert ack == Subscription(trades=["AAPL"], quotes=["*"])


def test_symbols_nobody_asked_for_are_counted(encoded):
    result = FrameDecoder({"SPY": 1}).decode(encoded([TRADE, QUOTE, PAIR_TRADE]), 1)
    assert (result.count, result.unknown_symbols) == (1, 2)


@pytest.mark.parametrize(
    "strange",
    [
        {"T": "zz"},
        {"S": "AAPL"},
        {"T": "t", "S": "AAPL"},
        TRADE | {"p": "126.55"},
        TRADE | {"p": None},
        TRADE | {"i": 2**63},
        TRADE | {"t": "noon"},
        TRADE | {"t": 5},
        QUOTE | {"bp": True},
        5,
    ],
)
def test_one_strange_message_costs_no_other(encoded, strange):
    messages = [TRADE, strange, QUOTE]
    if not isinstance(strange, dict):
        if encoded is as_msgpack:
            data = msgspec.msgpack.encode([TRADE, strange, QUOTE])
        else:
            data = json.dumps(messages).encode()
    else:
        data = encoded(messages)
    decoder = FrameDecoder(INDEX)
    result = decoder.decode(data, 1)
    assert (result.count, result.malformed) == (2, 1)
    assert decoder.rows["sym"][:2].tolist() == [0, 1]


@pytest.mark.parametrize(
    "time", [Ext(5, b"12345678"), Ext(-1, b"123"), Ext(-1, struct.pack(">Iq", 1, 2**62))]
)
def test_a_msgpack_time_that_is_none_is_counted(time):
    data = msgspec.msgpack.encode([TRADE | {"t": time}, TRADE | {"t": T_EXT}])
    result = FrameDecoder(INDEX).decode(data, 1)
    assert (result.count, result.malformed) == (1, 1)


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"\x01", b"null", b"\x93\x01", b"hello", b"[" * 5000])
def test_a_frame_that_is_no_array_is_refused(data):
    with pytest.raises(FrameError):
        FrameDecoder(INDEX).decode(data, 1)


def test_the_buffer_grows_to_the_largest_frame(encoded):
    decoder = FrameDecoder(INDEX, capacity=2)
    assert decoder.decode(encoded([TRADE] * 1000), 1).count == 1000
    assert len(decoder.rows) >= 1000
    assert set(decoder.rows["trade_id"][:1000].tolist()) == {96921}


def test_both_encodings_give_the_same_rows():
    messages = [TRADE, QUOTE, PAIR_TRADE, PAIR_QUOTE] * 5
    one, other = FrameDecoder(INDEX), FrameDecoder(INDEX)
    one.decode(as_json(messages), 7)
    other.decode(as_msgpack(messages), 7)
    assert np.array_equal(one.rows[:20], other.rows[:20])


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_but_a_frame_error(data):
    decoder = FrameDecoder(INDEX, capacity=16)
    for frame in (data, b"[" + data, b"\x91" + data):
        with contextlib.suppress(FrameError):
            decoder.decode(frame, 1)


PRICE, VOLUME, NOTHING = RowFlag.ELIGIBLE, RowFlag.VOLUME, 0


@pytest.mark.parametrize(
    ("conditions", "tape", "flags"),
    [
        (["@"], "C", PRICE),
        ([" "], "A", PRICE),
        ([], "A", PRICE),
        (["@", "F"], "C", PRICE),
        (["O"], "A", PRICE),
        (["X"], "B", PRICE),
        (["B"], "A", VOLUME),  # an average price on CTS ...
        (["B"], "C", PRICE),  # ... is a bunched trade on UTP
        (["W"], "C", VOLUME),
        (["@", "I"], "C", VOLUME),
        (["@", "T"], "C", VOLUME),
        (["@", "T", "I"], "C", VOLUME),
        (["U"], "A", VOLUME),
        (["Z"], "A", VOLUME),
        (["Z"], "C", VOLUME),
        (["4"], "A", VOLUME),
        (["7"], "C", VOLUME),
        (["V"], "A", VOLUME),
        (["H"], "A", VOLUME),
        (["C"], "A", VOLUME),
        (["N"], "C", VOLUME),
        (["R"], "C", VOLUME),
        (["P"], "C", VOLUME),
        (["M"], "C", NOTHING),
        (["Q"], "A", NOTHING),
        (["G"], "C", VOLUME),
        (["9"], "C", NOTHING),
        (["!"], "C", NOTHING),
        (["B"], "N", VOLUME),
        (["@"], "", PRICE),
        (["T", "!"], "C", NOTHING),
        (["I", "M"], "A", NOTHING),
        (["A"], "A", NOTHING),  # an acquisition is a price on UTP and nothing that CTS knows
        (["A"], "C", PRICE),
    ],
)
def test_a_trade_is_a_price_or_volume_only_if_all_its_conditions_are(encoded, conditions, tape, flags):
    assert flags_of(tuple(conditions), tape) == flags
    decoder = FrameDecoder(INDEX)
    decoder.decode(encoded([TRADE | {"c": conditions, "z": tape}]), 1)
    assert decoder.rows["flags"][0] == flags


@pytest.mark.parametrize("encode", [msgspec.json.encode, msgspec.msgpack.encode])
def test_a_correction_with_an_id_that_no_row_can_hold_is_malformed(encode):
    notice = {"T": "c", "S": "AAPL", "oi": 7, "op": 1.0, "os": 1.0, "cp": 1.0, "cs": 1.0}
    notice["t"] = "2021-02-22T15:51:44Z"
    decoder = FrameDecoder({"AAPL": 0})
    (good,) = decoder.decode(encode([notice | {"ci": 2**63 - 1}]), 1).notices
    assert good.trade_id == 2**63 - 1
    bad = decoder.decode(encode([notice | {"ci": 2**63}]), 1)
    assert (bad.notices, bad.malformed) == ((), 1)
