from __future__ import annotations

import json
import warnings
from typing import Any

import msgspec
import pytest

from hands.core.units import NANO, NS_PER_S, Ns, Qty, nano
from hands.sim.market.bars import Bar
from hands.sim.market.codec import (
    CODECS,
    Encoding,
    bar_fields,
    book_fields,
    event_fields,
    history_fields,
    listing_tape,
    msgpack_timestamp,
    rfc3339,
)
from hands.sim.venue.ticks import Cancellation, Correction, Quote, Status, Trade


@pytest.mark.parametrize(
    ("t_ns", "text"),
    [
        (1_700_000_000 * NS_PER_S, "2023-11-14T22:13:20Z"),
        (1_700_000_000 * NS_PER_S + 1, "2023-11-14T22:13:20.000000001Z"),
        (1_700_000_000 * NS_PER_S + 120_000_000, "2023-11-14T22:13:20.12Z"),
    ],
)
def test_times_are_rfc_3339_to_the_nanosecond(t_ns: int, text: str) -> None:
    assert rfc3339(t_ns) == text


def test_msgpack_times_use_the_shortest_timestamp_extension() -> None:
    assert bytes(msgpack_timestamp(5 * NS_PER_S).data) == b"\0\0\0\5"
    nanos = msgpack_timestamp(1_700_000_000 * NS_PER_S + 123_456_789)
    both = int.from_bytes(nanos.data, "big")
    assert (both & (2**34 - 1), both >> 34, nanos.code) == (1_700_000_000, 123_456_789, -1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(nanos)).second == 20


@pytest.mark.parametrize("count", [1, 15, 16, 65_535, 65_536])
@pytest.mark.parametrize("encoding", list(Encoding))
def test_joined_messages_are_an_array_of_any_length(encoding: Encoding, count: int) -> None:
    codec = CODECS[encoding]
    one = codec.control({"x": 1})[1:]
    frame = codec.join([one.removesuffix(b"]") if encoding is Encoding.JSON else one] * count)
    decoded: Any = codec.decode(frame)
    assert len(decoded) == count
    assert decoded[-1] == {"x": 1}


def test_prices_leave_as_the_number_they_are() -> None:
    for text in ("150.14", "0.0001", "61837.63", "450", "123456.789012345"):
        fields = {"p": nano(text) / NANO}
        (message,) = json.loads(
            CODECS[Encoding.JSON].join([CODECS[Encoding.JSON].message("t", "X", fields, 0)])
        )
        assert message["p"] == float(text)


def test_every_stock_has_a_listing_tape() -> None:
    assert (listing_tape("SPY"), listing_tape("AAPL"), listing_tape("BAC"), listing_tape("F")) == (
        "B",
        "C",
        "A",
        "A",
    )


def test_symbols_that_need_escaping_stay_valid_json() -> None:
    trade = Trade('A"B', nano("1"), Qty(NANO), Ns(0), 1)
    raw = CODECS[Encoding.JSON].message("t", trade.symbol, {}, trade.t_ns)
    assert json.loads(raw)["S"] == 'A"B'


def test_the_venues_own_client_reads_every_kind_of_message() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its imports deprecate is not ours
        models = pytest.importorskip("alpaca.data.models")
    t_ns = Ns(1_700_000_000 * NS_PER_S + 5)
    for symbol in ("AAPL", "BTC/USD"):
        quote = Quote(symbol, nano("149.98"), nano("150"), Qty(500 * NANO), Qty(300 * NANO), t_ns)
        trade = Trade(symbol, nano("150.01"), Qty(100 * NANO), t_ns, 7)
        stamp = {"t": rfc3339(t_ns)}
        assert models.Quote(symbol, {**history_fields(quote), **stamp}).ask_price == 150.0
        assert models.Trade(symbol, {**history_fields(trade), **stamp}).price == 150.01
        bar = Bar.of_trade(trade)
        assert models.Bar(symbol, {**bar_fields(symbol, bar), **stamp}).vwap == 150.01
        assert models.Orderbook(symbol, {**book_fields(quote), **stamp}).bids[0].price == 149.98
    status = Status("AAPL", "T", "Trading Resumption", "T3", "News and resumption times", t_ns)
    said = models.TradingStatus("AAPL", {**event_fields(status), **stamp})
    assert (said.status_code, said.reason_code, said.tape) == ("T", "T3", "C")
    trade = Trade("AAPL", nano("150.01"), Qty(100 * NANO), t_ns, 7)
    changed = Correction("AAPL", trade, Trade("AAPL", nano("150.02"), Qty(90 * NANO), t_ns, 8), t_ns)
    correction = models.TradeCorrection("AAPL", {**event_fields(changed), **stamp})
    assert (correction.original_id, correction.corrected_price, correction.corrected_size) == (7, 150.02, 90)
    gone = models.TradeCancel("AAPL", {**event_fields(Cancellation("AAPL", trade, t_ns)), **stamp})
    assert (gone.id, gone.action, gone.exchange) == (7, "C", "V")
