"""The compiled parser against the general decoder: the same rows or the same refusal, whatever the bytes are."""

from __future__ import annotations

import random
import struct
import sys
import types
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from hands.core.market import new_rows
from hands.venues.alpaca import packed_kernel
from hands.venues.alpaca.frames import FrameDecoder, FrameError
from hands.venues.alpaca.packed import PackedFrames
from hands.venues.alpaca.packed_kernel import PAD

INDEX = {"AAPL": 0, "SPY": 1, "BTC/USD": 2, "A": 3, "BRK.B": 4, "Ä": 5, "A" * 16: 6, "B" * 17: 7}
T_NS = 1614009104208123456
STAMP = Ext(-1, struct.pack(">Q", (T_NS % 10**9) << 34 | T_NS // 10**9))


class GeneralDecoder(FrameDecoder):
    """The decoder without its compiled half."""

    def _decode_plain(self, data, recv_ns):
        return None


# --- frames as the venue shapes them, and not quite ----------------------------------------------------------


def _text(value: str, width: int) -> bytes:
    raw = value.encode()
    if width == 0 and len(raw) < 32:
        return bytes([0xA0 | len(raw)]) + raw
    return (
        bytes([0xD8 + width]) + len(raw).to_bytes(1 << (width - 1), "big") + raw if width else _text(value, 1)
    )


def _whole(value: int, width: int) -> bytes:
    if width == 0 and value < 128:
        return bytes([value])
    return bytes([0xCB + max(1, width)]) + value.to_bytes(1 << (max(1, width) - 1), "big")


texts = st.builds(_text, st.sampled_from(["", "A", "@", "C", "Ä", "x" * 31, "x" * 40]), st.integers(0, 3))
wholes = st.builds(lambda value: _whole(value, 4), st.integers(0, 2**64 - 1)) | st.builds(
    _whole, st.integers(0, 255), st.integers(0, 4)
)
floats = st.floats().map(lambda value: b"\xcb" + struct.pack(">d", value))
anything = (
    texts
    | wholes
    | floats
    | st.floats(width=32).map(lambda value: b"\xca" + struct.pack(">f", value))
    | st.integers(-(2**63), -1).map(msgspec.msgpack.encode)
    | st.sampled_from(
        [b"\xc0", b"\xc2", b"\xc3", b"\xc1", b"\x90", b"\x80", b"\x92\x01\x02", b"\x81\xa1p\x01"]
    )
    | st.binary(max_size=20).map(msgspec.msgpack.encode)
    | st.builds(
        lambda code, data: msgspec.msgpack.encode(Ext(code, data)), st.integers(-3, 3), st.binary(max_size=20)
    )
)
symbols = st.sampled_from(
    ["AAPL", "SPY", "BTC/USD", "A", "BRK.B", "Ä", "A" * 16, "B" * 17, "ZZZ", "", "AAPL\0"]
).map(lambda text: _text(text, 0))
conditions = st.lists(st.sampled_from("@ FTIWZ1BÄ") | st.sampled_from(["", "@F"]), max_size=17).map(
    msgspec.msgpack.encode
)
stamps = (
    st.integers(0, 2**64 - 1).map(lambda packed: b"\xd7\xff" + packed.to_bytes(8, "big"))
    | st.just(msgspec.msgpack.encode(STAMP))
    | st.binary(min_size=4, max_size=4).map(lambda data: b"\xd6\xff" + data)
    | st.just(_text("2021-02-22T15:51:44.208123456Z", 0))
)
letters = st.sampled_from("ABCNOÄ").map(lambda letter: _text(letter, 0))
PROPER = {
    "S": symbols, "t": stamps, "p": floats | wholes, "s": floats | wholes, "i": wholes, "z": letters, "c": conditions,
    "bp": floats | wholes, "bs": floats | wholes, "ap": floats | wholes, "as": floats | wholes, "x": letters,
    "bx": letters, "ax": letters, "tks": letters, "T": st.sampled_from("tqbxc").map(lambda kind: _text(kind, 0)),
}  # fmt: skip
TRADE, QUOTE = (
    ("T", "S", "i", "x", "p", "s", "c", "z", "t"),
    ("T", "S", "bx", "bp", "bs", "ax", "ap", "as", "c", "z", "t"),
)


@st.composite
def messages(draw):
    """A message: the right members with right values most of the time, in any order and in any encoding."""
    trade = draw(st.booleans())
    names = list(TRADE if trade else QUOTE)
    oddities = draw(st.integers(0, 9))
    if oddities == 0:
        names += draw(st.lists(st.sampled_from(sorted(PROPER)), max_size=4))
    if oddities == 1:
        names = draw(st.lists(st.sampled_from(names), max_size=12))
    if oddities <= 3:
        names = draw(st.permutations(names))
    strange = draw(st.sampled_from(names)) if names and oddities in (4, 5) else None
    odd_key = draw(st.sampled_from(names)) if names and oddities == 6 else None
    parts = []
    for name in names:
        parts.append(draw(anything) if name == odd_key else _text(name, 0))
        if name == strange:
            parts.append(draw(anything))
        elif name == "T" and oddities != 7:
            parts.append(_text("t" if trade else "q", 0))
        else:
            parts.append(draw(PROPER[name]))
    head = bytes([0x80 | len(names)]) if len(names) < 16 else b"\xde" + struct.pack(">H", len(names))
    return head + b"".join(parts)


OTHERS = [
    msgspec.msgpack.encode(message)
    for message in (
        {"T": "success", "msg": "connected"},
        {
            "T": "b",
            "S": "AAPL",
            "o": 1.0,
            "h": 1.0,
            "l": 1.0,
            "c": 1.0,
            "v": 1,
            "n": 1,
            "vw": 1.0,
            "t": STAMP,
        },
        {"T": "error", "code": 406, "msg": "no"},
        {"T": "zz"},
        5,
        None,
        [1, [2, {"p": 3}]],
    )
]


@st.composite
def frames(draw):
    """A frame of such messages and others, sometimes with bytes changed, lost or added."""
    parts = draw(st.lists(messages() | st.sampled_from(OTHERS), max_size=8))
    head = bytes([0x90 | len(parts)]) if draw(st.booleans()) else b"\xdc" + struct.pack(">H", len(parts))
    data = bytearray(head + b"".join(parts))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "cut", "add", "end"])):
            case "set" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 5))]
            case "add":
                data[at:at] = draw(st.binary(min_size=1, max_size=5))
            case "end":
                del data[at:]
            case _:
                pass
    return bytes(data)


def _outcome(decoder: FrameDecoder, data: bytes):
    try:
        found = decoder.decode(data, 99)
    except FrameError:
        return "refused"
    return found, decoder.rows[: found.count].tobytes()


@given(frames())
def test_any_frame_gives_the_rows_or_the_refusal_of_the_general_decoder(data):
    assert _outcome(FrameDecoder(INDEX, 2), data) == _outcome(GeneralDecoder(INDEX, 2), data)


@given(st.binary(max_size=60))
def test_so_does_any_garbage(data):
    for frame in (data, b"\x93" + data, b"\x91\x83" + data):
        assert _outcome(FrameDecoder(INDEX, 2), frame) == _outcome(GeneralDecoder(INDEX, 2), frame)


def _trade(symbol: str = "AAPL", **changes: object) -> bytes:
    trade = {"T": "t", "S": symbol, "i": 7, "x": "V", "p": 1.5, "s": 100, "c": ["@"], "z": "C", "t": STAMP}
    return msgspec.msgpack.encode([trade | changes])


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (_trade(), 1),
        (_trade("B" * 17), 0),
        (_trade("Ä"), 0),
        (_trade(c=None), 1),
        (_trade(i=2**63), 0),
        (_trade(t="2021-02-22T15:51:44Z"), 0),
        (_trade(t=Ext(-1, struct.pack(">Q", 2**34 - 1))), 0),
        (_trade(bp=1.0), 1),
        (_trade(p=None), 0),
        (_trade(z="CC"), 0),
        (_trade(T="c"), 0),
    ],
)
def test_what_is_not_plain_is_left_alone(data, rows):
    """The general decoder takes it up from there; here is shown that the plain cases do not need it."""
    written, _, left, unknown = PackedFrames(INDEX).decode(data, new_rows(4), 1)
    assert (written, left, unknown) == (rows, 1 - rows, 0)


def test_an_array_that_announces_more_than_can_follow_costs_no_memory():
    decoder = FrameDecoder(INDEX, 2)
    with pytest.raises(FrameError):
        decoder.decode(b"\xdc\xff\xff\x01\x02", 1)
    assert len(decoder.rows) == 2


def test_a_mixed_frame_keeps_its_order_and_every_message():
    plain, odd = _trade()[1:], _trade(t="2021-02-22T15:51:44Z")[1:]
    parts = [plain, odd, OTHERS[0], plain, OTHERS[3], odd, plain]
    decoder = FrameDecoder(INDEX, 2)
    found = decoder.decode(bytes([0x90 | len(parts)]) + b"".join(parts), 5)
    assert (found.count, found.malformed, len(found.controls)) == (5, 1, 1)
    assert decoder.rows["trade_id"][:5].tolist() == [7] * 5
    assert (decoder.rows["recv_ns"][:5] == 5).all()


def test_symbols_that_fall_on_the_same_place_in_the_table_are_told_apart():
    index = {f"S{n}": n for n in range(3000)}
    rows = new_rows(3000)
    parts = b"".join(_trade(symbol)[1:] for symbol in index)
    PackedFrames(index).decode(b"\xdc" + struct.pack(">H", 3000) + parts, rows, 1)
    assert rows["sym"].tolist() == list(range(3000))


class Checked(np.ndarray):
    """Bytes that refuse an index outside, where compiled code would read what lies there."""

    def __getitem__(self, at):
        assert not isinstance(at, int | np.integer) or 0 <= at < self.size, f"byte {at} of {self.size}"
        return super().__getitem__(at)


@pytest.fixture
def interpreted(monkeypatch):
    """The parser's compiled half as plain Python."""
    plain = types.ModuleType("numba")
    plain.njit = lambda **options: lambda function: function
    monkeypatch.setitem(sys.modules, "numba", plain)
    found = types.ModuleType("interpreted")
    exec(compile(Path(packed_kernel.__file__).read_text(), packed_kernel.__file__, "exec"), found.__dict__)
    return found


def test_no_read_leaves_the_buffer(interpreted):
    seeds = [
        _trade(),
        _trade(c=["@"] * 15, i=2**40),
        msgspec.msgpack.encode([{"T": "q", "S": "A" * 16, "t": STAMP}]),
    ]
    lengths = (0xA9, 0xBF, 0xC9, 0xDB, 0xDF, 0xD8, 0x9F)
    chance, rows = random.Random(1), new_rows(8)
    parser = PackedFrames({"AAPL": 0})
    desks = parser._desk.view(np.recarray)
    for _ in range(400):
        for seed in seeds:
            data = bytearray(seed)
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.choice((*lengths, chance.randrange(256)))
            del data[chance.randrange(len(data) + 1) :]
            size = len(data)
            padded = np.zeros(size + PAD, np.uint8)
            padded[:size] = data
            with np.errstate(all="ignore"):
                found = interpreted.decode(padded.view(Checked), size, 0, -1, rows, parser._symbols, desks, 1)
                ends = [interpreted.end_of(padded.view(Checked), at, size) for at in range(size)]
            assert found == parser.decode(bytes(data), rows, 1)
            assert max(ends, default=0) <= size


def test_a_value_of_the_wrong_form_is_not_taken_for_a_place(interpreted):
    rows, parser = new_rows(8), PackedFrames({"AAPL": 0})
    desks = parser._desk.view(np.recarray)
    whole, late = 2**63 + 5, Ext(-1, b"\xff" * 8)
    for name in ("T", "S", "c", "z", "t", "i"):
        for value in (whole, 2**64 - 2**40, 2**60, 1e300, late):
            data = msgspec.msgpack.encode([{**msgspec.msgpack.decode(_trade())[0], name: value}])
            padded = np.zeros(len(data) + PAD, np.uint8)
            padded[: len(data)] = np.frombuffer(data, np.uint8)
            with np.errstate(all="ignore"):
                found = interpreted.decode(
                    padded.view(Checked), len(data), 0, -1, rows, parser._symbols, desks, 1
                )
            assert found == parser.decode(data, rows, 1)
            assert found[0] == (name == "i" and value == 2**60)
