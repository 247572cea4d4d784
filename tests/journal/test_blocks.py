"""Row blocks: exact to the bit whatever the rows, small for a market's, and never taken for something they are not."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.rows import ROW, RowKind, new_rows
from hands.journal.blocks import ROWS_MAX, BlockFault, decode_block, encode_block
from tests.journal.market_rows import any_bits, bits, some_rows

FLOATS = st.one_of(
    st.floats(width=64),
    st.integers(-(10**7), 10**7).map(lambda cents: cents / 100),
    st.integers(0, 10**12).map(lambda nano: nano / 10**9),
    st.sampled_from(
        [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 2.0**53, 2.0**53 + 2, 0.1 + 0.2, 1e22, 149.98]
    ),
)
INTEGERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.sampled_from([-(2**63), 2**63 - 1])
)


@st.composite
def rows_of_a_storm(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(0, 40))
    rows = new_rows(count)
    for name in ("price", "size", "price2", "size2"):
        rows[name] = draw(st.lists(FLOATS, min_size=count, max_size=count))
    for name in ("venue_ns", "recv_ns", "trade_id"):
        rows[name] = np.array(draw(st.lists(INTEGERS, min_size=count, max_size=count)), "i8")
    rows["sym"] = np.array(
        draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=count, max_size=count)), "i4"
    )
    for name in ("kind", "flags", "exchange"):
        rows[name] = np.array(draw(st.lists(st.integers(0, 255), min_size=count, max_size=count)), "u1")
    return rows


@given(rows_of_a_storm())
@settings(max_examples=60)
def test_what_comes_back_is_what_went_in(rows: np.ndarray) -> None:
    assert bits(decode_block(encode_block(rows))) == bits(rows)


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 5_000])
@pytest.mark.parametrize("make", [some_rows, lambda count: any_bits(count, count)])
def test_every_bit_comes_back_also_of_nan_and_between_the_members(count: int, make) -> None:
    rows = make(count)
    back = decode_block(encode_block(rows))
    assert bits(back) == bits(rows)
    assert (back.dtype, back.flags.carray) == (ROW, True)


def test_one_odd_price_among_many_costs_size_and_no_bit() -> None:
    rows = some_rows(1_000)
    rows["price"][700] = -0.0
    rows["price2"][900] = np.uint64(0x7FF8_0000_DEAD_BEEF).view("f8")
    assert bits(decode_block(encode_block(rows))) == bits(rows)


def test_rows_out_of_the_middle_of_a_buffer_are_those_rows() -> None:
    rows = some_rows(300)
    assert bits(decode_block(encode_block(rows[100:200]))) == bits(rows[100:200])
    assert np.array_equal(decode_block(encode_block(rows[::3])), rows[::3])


def test_more_symbols_than_keys_are_told_apart() -> None:
    rows = some_rows(2_000)
    rows["sym"] = np.arange(2_000) * 16_384 % 65_536 + np.arange(2_000) % 3
    assert bits(decode_block(encode_block(rows))) == bits(rows)


def test_a_market_takes_a_sixth_of_its_rows() -> None:
    assert len(encode_block(some_rows(16_384))) < 16_384 * ROW.itemsize / 6


@pytest.mark.data
def test_a_recorded_market_takes_eight_bytes_a_row(data_dir: Path) -> None:
    path = data_dir / "crypto" / "ticks" / "binance_usdm_btcusdt_20240808_quotes.csv.gz"
    with gzip.open(path, "rt") as file:
        lines = [line.split(",") for line in file.read().split()[1:16_385]]
    rows = new_rows(len(lines))
    rows["kind"] = RowKind.QUOTE
    rows["recv_ns"] = [int(line[0]) for line in lines]
    rows["venue_ns"] = [int(line[1]) * 1_000_000 for line in lines]
    for name, column in (("price", 3), ("size", 4), ("price2", 5), ("size2", 6)):
        rows[name] = [float(line[column]) for line in lines]
    block = encode_block(rows)
    assert len(block) < 8 * len(rows)
    assert bits(decode_block(block)) == bits(rows)


def test_other_rows_and_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode_block(np.zeros(3))
    with pytest.raises(ValueError, match="at most"):
        encode_block(np.zeros(ROWS_MAX + 1, ROW))


@given(st.data())
@settings(max_examples=150)
def test_a_block_that_was_changed_is_a_fault_or_rows_and_never_anything_else(data: st.DataObject) -> None:
    block = bytearray(encode_block(some_rows(40)))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(block)))
    for some in (bytes(block), bytes(block[:cut])):
        try:
            rows = decode_block(some)
        except BlockFault:
            continue
        assert rows.dtype == ROW


def test_a_block_that_promises_a_terabyte_is_not_unpacked() -> None:
    block = encode_block(some_rows(40))
    start = len(block) - len(
        zstandard.ZstdCompressor().compress(b"")
    )  # somewhere inside; only the head matters
    huge = (2**31).to_bytes(4, "little")
    assert start > 0
    with pytest.raises(BlockFault, match="rows"):
        decode_block(block[:4] + huge + block[8:])
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    with pytest.raises(BlockFault, match="not"):
        decode_block(block[: 8 + 24] + bomb)
