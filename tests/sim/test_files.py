from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, nano
from hands.sim.market.files import FileError, read_file, read_files, symbol_of
from hands.sim.market.times import time_ns
from hands.sim.venue.ticks import (
    Cancellation,
    Correction,
    MarketEvent,
    PriceBand,
    Quote,
    Status,
    Trade,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def ticks_of(path: Path) -> list[MarketEvent]:
    return [tick for _, ticks in read_file(path) for tick in ticks]


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


EQUITY_TRADES = "ts_ms_utc,price,size,exchange,sale_condition,suspicious\n"
EQUITY_QUOTES = "ts_ms_utc,bid,bid_size,ask,ask_size,exchange,quote_condition,suspicious\n"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BAC_20131008_trades", "BAC"),
        ("btcusdt", "BTC/USD"),
        ("BTCUSDT_1m_202412", "BTC/USD"),
        ("SOLUSD", "SOL/USD"),
        ("BTC/USD", "BTC/USD"),
        ("BRK.B", "BRK.B"),
        ("SPY", "SPY"),
    ],
)
def test_symbols_come_from_names(name: str, symbol: str) -> None:
    assert symbol_of(name) == symbol


def test_equity_trades_are_exact_and_named_by_their_file(tmp_path: Path) -> None:
    rows = "1381226348450,13.8000,1000,P,2000,0\n1381226348451,150.1400,1,Q,20000020,0\n"
    path = write(tmp_path / "BAC_20131008_trades.csv.gz", EQUITY_TRADES + rows)
    first, second = ticks_of(path)
    assert first == Trade("BAC", nano("13.8"), 1000 * NANO, 1381226348450 * NS_PER_MS, 1, "P", ("@", "T"))
    assert second == Trade("BAC", nano("150.14"), NANO, 1381226348451 * NS_PER_MS, 2, "Q", ("@", "F"))


def test_suspicious_empty_and_late_rows_follow_the_written_rule(tmp_path: Path) -> None:
    rows = (
        "1000,10.00,5,P,1,0\n"
        "1001,99.00,5,P,1,1\n"  # suspicious: dropped
        "1002,0.0000,5,P,1,0\n"  # no price: dropped
        "1003,10.00,0,P,1,0\n"  # no size: dropped
        "1010,10.01,5,P,1,0\n"
        "1004,10.02,5,P,1,0\n"  # earlier than the row before: kept, marked, with its own time
        "1011,10.03,5,P,1,0\n"
    )
    path = write(tmp_path / "X.csv", EQUITY_TRADES + rows)
    batches = [(t_ns, tick) for t_ns, ticks in read_file(path) for tick in ticks]
    assert [t_ns // NS_PER_MS for t_ns, _ in batches] == [1000, 1010, 1010, 1011]
    assert [tick.t_ns // NS_PER_MS for _, tick in batches] == [1000, 1010, 1004, 1011]
    assert [("Z" in tick.conditions) for _, tick in batches if isinstance(tick, Trade)] == [
        False,
        False,
        True,
        False,
    ]


def test_a_late_quote_is_dropped(tmp_path: Path) -> None:
    header = "ts_local_ns,ts_exch_ms,symbol,bid,bid_qty,ask,ask_qty\n"
    path = write(
        tmp_path / "q.csv",
        f"{header}10,,BTCUSDT,1.0,1,2.0,1\n9,,BTCUSDT,1.1,1,2.0,1\n11,,BTCUSDT,1.2,1,2.0,1\n",
    )
    assert [tick.t_ns for tick in ticks_of(path)] == [10, 11]


def test_one_sided_quotes_become_the_best_bid_and_offer_of_all_exchanges(tmp_path: Path) -> None:
    rows = (
        "1,10.00,100,0.0000,0,P,1,0\n"  # nothing yet: one side only
        "2,0.0000,0,10.05,200,P,1,0\n"
        "3,10.01,300,0.0000,0,Q,1,0\n"
        "4,10.01,400,0.0000,0,N,1,0\n"
        "5,0.0000,0,10.09,500,Q,1,0\n"  # not the best: no change
        "6,10.00,900,0.0000,0,Q,1,0\n"
        "7,11.00,900,0.0000,0,Q,1,1\n"  # suspicious
    )
    quotes = ticks_of(write(tmp_path / "BAC_x.csv", EQUITY_QUOTES + rows))
    told = [(q.t_ns // NS_PER_MS, q.bid, q.bid_size // NANO, q.ask) for q in quotes if isinstance(q, Quote)]
    ask = nano("10.05")
    assert told == [
        (2, nano("10.00"), 100, ask),
        (3, nano("10.01"), 300, ask),
        (4, nano("10.01"), 700, ask),
        (6, nano("10.01"), 400, ask),
    ]


def test_a_side_that_a_newer_quote_locks_or_crosses_is_withdrawn(tmp_path: Path) -> None:
    rows = (
        "1,10.00,100,0.0000,0,P,1,0\n"
        "2,0.0000,0,10.05,200,P,1,0\n"
        "3,0.0000,0,10.10,200,Q,1,0\n"
        "4,10.05,100,0.0000,0,Q,1,0\n"  # locks P's offer: it must be stale
    )
    quotes = ticks_of(write(tmp_path / "BAC.csv", EQUITY_QUOTES + rows))
    last = quotes[-1]
    assert isinstance(last, Quote)
    assert (last.bid, last.ask) == (nano("10.05"), nano("10.10"))


def test_crypto_trades_run_on_the_receivers_clock_with_the_takers_side(tmp_path: Path) -> None:
    header = "ts_local_ns,ts_exch_ms,symbol,trade_id,price,qty,taker_side\n"
    row = "1723161254087896568,1723161255342,BTCUSDT,3735683259,61837.63000000,0.02000000,sell\n"
    (tick,) = ticks_of(write(tmp_path / "any_name.csv", header + row))
    assert tick == Trade(
        "BTC/USD", nano("61837.63"), nano("0.02"), 1723161254087896568, 3735683259, "V", ("S",)
    )


def test_a_rising_bar_prints_open_low_high_close_and_a_falling_one_high_first(tmp_path: Path) -> None:
    header = "timestamp,open,high,low,close,volume\n"
    rows = "2011-01-03 09:01:00+00:00,10.0,10.4,9.8,10.2,1003\n2011-01-03 09:02:00+00:00,10.2,10.4,9.8,10.0,100\n"
    trades = [t for t in ticks_of(write(tmp_path / "SPY_1m.csv", header + rows)) if isinstance(t, Trade)]
    assert [t.price / NANO for t in trades] == [10.0, 9.8, 10.4, 10.2, 10.2, 10.4, 9.8, 10.0]
    assert [t.size // NANO for t in trades] == [250, 250, 250, 253, 25, 25, 25, 25]
    start_ns = time_ns("2011-01-03T09:01:00Z")
    assert [(t.t_ns - start_ns) / NS_PER_S for t in trades[:4]] == [0, 15, 30, 45]
    assert len({t.trade_id for t in trades}) == len(trades)


def test_a_flat_bar_prints_once_and_an_empty_one_not_at_all(tmp_path: Path) -> None:
    header = "symbol,ts_ms_utc,open,high,low,close,volume\n"
    rows = "SPY,1000,10,10,10,10,7\nSPY,2000,10,10,10,10,0\n"
    (only,) = ticks_of(write(tmp_path / "bars.csv", header + rows))
    assert isinstance(only, Trade)
    assert only.size == 7 * NANO


def test_bars_of_several_symbols_are_interleaved_by_time(tmp_path: Path) -> None:
    header = "symbol,ts_ms_utc,open,high,low,close,volume\n"
    rows = "".join(f"{s},{t},10,12,9,11,400\n" for s in ("AAPL", "SPY") for t in (60_000, 120_000))
    batches = list(read_file(write(tmp_path / "bars.csv", header + rows)))
    trades = [tick for _, ticks in batches for tick in ticks if isinstance(tick, Trade)]
    assert [t.t_ns for t in trades] == sorted(t.t_ns for t in trades)
    assert len(trades) == 16
    assert not any("Z" in t.conditions for t in trades)


def test_quote_bars_become_quotes_that_never_cross(tmp_path: Path) -> None:
    header = "symbol,ts_ms_utc,bid_open,bid_high,bid_low,bid_close,bid_size,ask_open,ask_high,ask_low,ask_close,ask_size\n"
    row = "SPY,60000,10.00,10.20,9.90,10.10,300,10.05,10.25,9.90,10.15,400\n"  # at the lows the pair locks
    quotes = [q for q in ticks_of(write(tmp_path / "SPY.csv", header + row)) if isinstance(q, Quote)]
    assert [(q.bid / NANO, q.ask / NANO) for q in quotes] == [(10.0, 10.05), (10.2, 10.25), (10.1, 10.15)]


def test_json_lines_in_the_venues_shape_are_read_with_their_nanoseconds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "AAPL_session.jsonl",
        '{"T":"t","S":"SPY","i":5,"x":"D","p":450.01,"s":3,"c":["@","I"],"t":"2024-01-02T15:00:00.123456789Z","z":"B"}\n'
        "\n"
        '[{"bp":150.1,"bs":100,"ap":150.12,"as":200,"t":"2024-01-02T15:00:01Z"},'
        '{"T":"t","S":"BTC/USD","i":9007199254740993,"p":60000.1,"s":0.000000001,"tks":"S","t":"2024-01-02T15:00:02Z"}]\n'
        '{"T":"b","o":1.0,"h":1.0,"l":1.0,"c":1.0,"v":10,"t":"2024-01-02T15:01:00Z"}\n',
    )
    trade, quote, coin, bar = ticks_of(path)
    assert trade == Trade("SPY", nano("450.01"), 3 * NANO, 1704207600123456789, 5, "D", ("@", "I"))
    assert isinstance(quote, Quote)
    assert (quote.symbol, quote.ask, quote.ask_size) == ("AAPL", nano("150.12"), 200 * NANO)
    assert isinstance(coin, Trade)
    assert (coin.trade_id, coin.size, coin.conditions) == (9007199254740993, 1, ("S",))
    assert isinstance(bar, Trade)


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    one = write(tmp_path / "A.csv", EQUITY_TRADES + "1,1.0,1,P,1,0\n5,1.0,1,P,1,0\n")
    two = write(tmp_path / "B.csv", EQUITY_TRADES + "2,1.0,1,P,1,0\n4,1.0,1,P,1,0\n")
    merged = [(t_ns // NS_PER_MS, ticks[0].symbol) for t_ns, ticks in read_files([one, two])]
    assert merged == [(1, "A"), (2, "B"), (4, "B"), (5, "A")]


@pytest.mark.parametrize(
    ("rows", "line", "found"),
    [
        ("1,ten,1,P,1,0\n", 2, "'ten' is not a decimal"),
        ("1,1.0,1,P,1,0\n2,-1.0,1,P,1,0\n", 3, "-1.0 is negative"),
        ("1,1.0,1,P,1\n", 2, "5 values; allowed are 6"),
        ("soon,1.0,1,P,1,0\n", 2, "column ts_ms_utc: 'soon' is not a whole number"),
        ("1,nan,1,P,1,0\n", 2, "nan"),
        ("1,1.0,1,P,xyz,0\n", 2, "column sale_condition: 'xyz' is not hexadecimal"),
        ("1,1.0,many,P,1,0\n", 2, "column size: 'many' is not a decimal"),
    ],
)
def test_an_unreadable_row_names_its_line_and_what_was_found(
    tmp_path: Path, rows: str, line: int, found: str
) -> None:
    path = write(tmp_path / "BAC.csv", EQUITY_TRADES + rows)
    with pytest.raises(FileError) as caught:
        ticks_of(path)
    assert f"BAC.csv:{line}:" in str(caught.value)
    assert found in str(caught.value)
    assert "allowed" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.csv", "when,what\n1,2\n", "columns when what; allowed"),
        ("a.csv", "", "allowed"),
        ("a.txt", "x", "unknown kind of file; allowed"),
        ("a.jsonl", "{not json}\n", "a.jsonl:1:"),
        ("a.jsonl", '{"T":"?","t":"2024-01-02T15:00:00Z"}\n', "a message with the keys T, t"),
        ("a.jsonl", '{"T":"t","p":1,"s":1}\n', "'t' is missing"),
        ("a.jsonl", '{"p":1,"s":1,"t":"noon"}\n', "column t: 'noon' is not a time"),
        ("a.json", '{\n "bars": {\n "AAPL" [] }\n}', "a.json:3:"),
        ("a.json", '{"bars":{"AAPL":[{"o":1,"h":1,"l":1,"c":1,"v":1,"t":"x"}]}}', "a.json:1: column t: 'x'"),
        ("a.json", '{"trades":{"AAPL":[{"p":"?","s":1,"t":"2024-01-02T15:00:00Z"}]}}', "column p: '?'"),
        ("a.json", '{"trades":{"AAPL":[7]}}', "trades of AAPL, item 1: '7'"),
        ("a.jsonl", '{"trades":{}}\n{"p":1}\n', "a.jsonl:2: not a page"),
        ("a.jsonl", "17\n", "a.jsonl:1:"),
    ],
)
def test_an_unknown_format_says_what_is_allowed(tmp_path: Path, name: str, text: str, found: str) -> None:
    with pytest.raises(FileError) as caught:
        ticks_of(write(tmp_path / name, text))
    assert found in str(caught.value)


def test_a_broken_gzip_file_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "BAC.csv.gz"
    path.write_bytes(gzip.compress((EQUITY_TRADES + "1,1.0,1,P,1,0\n" * 5000).encode())[:-20])
    with pytest.raises(FileError, match=r"BAC\.csv\.gz"):
        ticks_of(path)


def test_parquet_without_pyarrow_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "BAC.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match="pyarrow, which is not installed"):
        read_file(path)


# -- Alpaca's own shapes ----------------------------------------------------------------------------------------


PAGES = (
    '{"trades":{"AAPL":[{"t":"2024-01-02T15:00:00.000000001Z","x":"Q","p":150.01,"s":100,"c":["@","I"],"i":7,"z":"C"},'
    '{"t":"2024-01-02T15:00:02Z","x":"Q","p":150.03,"s":1,"c":["@"],"i":8,"z":"C","u":"canceled"}],'
    '"SPY":[{"t":"2024-01-02T15:00:01Z","x":"P","p":470.5,"s":5,"c":["@"],"i":1,"z":"B"}]},"next_page_token":"QUFQ"}\n'
    '{"trades":{"SPY":[{"t":"2024-01-02T15:00:03Z","x":"P","p":470.6,"s":5,"c":["@"],"i":2,"z":"B"}]},'
    '"next_page_token":null}\n'
)


@pytest.mark.parametrize("is_array", [False, True], ids=["lines", "array"])
def test_pages_of_the_historical_api_are_played_in_time_across_symbols(
    tmp_path: Path, is_array: bool
) -> None:
    text = "[\n" + ",\n".join(PAGES.splitlines()) + "\n]" if is_array else PAGES
    trades = ticks_of(write(tmp_path / "pages.json.gz", text))
    assert all(isinstance(trade, Trade) for trade in trades)
    assert [(t.symbol, t.trade_id) for t in trades if isinstance(t, Trade)] == [
        ("AAPL", 7),
        ("SPY", 1),
        ("SPY", 2),
    ]
    assert trades[0] == Trade(
        "AAPL", nano("150.01"), 100 * NANO, time_ns("2024-01-02T15:00:00.000000001Z"), 7, "Q", ("@", "I")
    )


def test_a_page_of_one_symbol_over_many_lines(tmp_path: Path) -> None:
    text = """{
      "quotes": [
        {"t": "2024-01-02T15:00:01Z", "bx": "V", "bp": 150.1, "bs": 100, "ax": "V", "ap": 150.12, "as": 200, "c": ["R"], "z": "C"}
      ],
      "symbol": "MSFT", "next_page_token": null
    }"""
    (quote,) = ticks_of(write(tmp_path / "q.json", text))
    assert isinstance(quote, Quote)
    assert (quote.symbol, quote.bid, quote.ask_size) == ("MSFT", nano("150.1"), 200 * NANO)


def test_an_empty_page_is_an_empty_market(tmp_path: Path) -> None:
    assert ticks_of(write(tmp_path / "p.json", '{"trades":{},"next_page_token":null}')) == []
    assert ticks_of(write(tmp_path / "e.json", "")) == []


def test_a_page_of_bars_knows_how_long_they_are(tmp_path: Path) -> None:
    bar = '{{"t":"{}","o":1,"h":3,"l":0.5,"c":2,"v":400,"n":9,"vw":1.5}}'
    bars = ",".join(bar.format(f"2024-01-02T{hour}:00:00Z") for hour in (15, 16))
    trades = ticks_of(write(tmp_path / "b.json", f'{{"bars":{{"AAPL":[{bars}]}},"next_page_token":null}}'))
    times = [(trade.t_ns - trades[0].t_ns) // (60 * NS_PER_S) for trade in trades]
    assert times == [0, 15, 30, 45, 60, 75, 90, 105]


def test_bars_that_repeat_trades_of_the_same_recording_are_left_out(tmp_path: Path) -> None:
    trade = '{"T":"t","S":"AAPL","i":1,"x":"V","p":150,"s":1,"t":"2024-01-02T15:00:00Z"}\n'
    bar = '{"T":"b","S":"%s","o":1,"h":1,"l":1,"c":1,"v":10,"t":"2024-01-02T15:01:00Z"}\n'
    path = write(tmp_path / "s.jsonl", trade + bar % "AAPL" + bar % "SPY")
    assert [event.symbol for event in ticks_of(path)] == ["AAPL", "SPY"]


def test_a_recorded_stream_keeps_its_notices_and_passes_over_what_moves_no_market(tmp_path: Path) -> None:
    t = '"t":"2024-01-02T15:00:00Z","z":"C"'
    lines = (
        '[{"T":"success","msg":"authenticated"}]',
        '[{"T":"subscription","trades":["AAPL"],"quotes":[],"bars":[]}]',
        f'[{{"T":"s","S":"AAPL","sc":"P","sm":"Pause","rc":"LUDP","rm":"Volatility Trading Pause",{t}}}]',
        f'[{{"T":"l","S":"AAPL","u":152.5,"d":148.5,"i":"B",{t}}},{{"T":"d","S":"AAPL","o":1,"h":1,"l":1,"c":1,"v":1,{t}}}]',
        f'[{{"T":"c","S":"AAPL","x":"V","oi":1,"op":150,"os":5,"oc":["@"],"ci":2,"cp":151,"cs":6,"cc":["@","I"],{t}}}]',
        f'[{{"T":"x","S":"AAPL","i":2,"x":"V","p":151,"s":6,"a":"E",{t}}}]',
        '{"T":"n","id":1,"headline":"x"}',
    )
    events = ticks_of(write(tmp_path / "stream.jsonl", "\n".join(lines)))
    t_ns = time_ns("2024-01-02T15:00:00Z")
    wrong = Trade("AAPL", nano("150"), 5 * NANO, t_ns, 1)
    right = Trade("AAPL", nano("151"), 6 * NANO, t_ns, 2, "V", ("@", "I"))
    assert events == [
        Status("AAPL", "P", "Pause", "LUDP", "Volatility Trading Pause", t_ns),
        PriceBand("AAPL", nano("152.5"), nano("148.5"), "B", t_ns),
        Correction("AAPL", wrong, right, t_ns),
        Cancellation("AAPL", Trade("AAPL", nano("151"), 6 * NANO, t_ns, 2), t_ns, "E"),
    ]


FRAME_TRADES = (
    "symbol,timestamp,exchange,price,size,id,conditions,tape\n"
    "AAPL,2024-01-02 15:00:00.000000001+00:00,Q,150.01,100.0,7,\"['@', 'I']\",C\n"
    "AAPL,2024-01-02 15:00:02+00:00,Q,150.02,1.0,8,,C\n"
    "BTC/USD,2024-01-02 15:00:01+00:00,,60000.5,0.25,9,,\n"
)


def test_data_frames_of_the_python_sdk_are_sorted_across_symbols(tmp_path: Path) -> None:
    trades = ticks_of(write(tmp_path / "frame.csv", FRAME_TRADES))
    assert [event.symbol for event in trades] == ["AAPL", "BTC/USD", "AAPL"]
    t_ns = time_ns("2024-01-02T15:00:00.000000001Z")
    assert trades[0] == Trade("AAPL", nano("150.01"), 100 * NANO, t_ns, 7, "Q", ("@", "I"))
    text = (
        "symbol,timestamp,bid_exchange,bid_price,bid_size,ask_exchange,ask_price,ask_size,conditions,tape\n"
    )
    text += "SPY,2024-01-02 15:00:00+00:00,P,470.1,3.0,P,470.2,4.0,['R'],B\n"
    (quote,) = ticks_of(write(tmp_path / "quotes.csv", text))
    assert quote == Quote(
        "SPY", nano("470.1"), nano("470.2"), 3 * NANO, 4 * NANO, time_ns("2024-01-02T15:00:00Z")
    )


def test_rows_are_read_as_they_are_played(tmp_path: Path) -> None:
    rows = "".join(f"{n},10.00,5,P,1,0\n" for n in range(1, 50_000))
    batches = read_file(write(tmp_path / "X.csv", EQUITY_TRADES + rows + "not a time,1.0,1,P,1,0\n"))
    assert next(batches)[0] == NS_PER_MS  # before the last row has been looked at
    with pytest.raises(FileError, match=r"X\.csv:50001: column ts_ms_utc"):
        list(batches)


# -- Parquet ----------------------------------------------------------------------------------------------------


def parquet_of(path: Path, columns: dict[str, list[Any]]) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_has_the_columns_of_csv(tmp_path: Path) -> None:
    columns = {
        "ts_ms_utc": [1, 2, 3], "price": ["13.80", "13.81", "13.79"], "size": [100, 200, 300],
        "exchange": ["P", "P", "Q"], "sale_condition": ["1", "", "20"], "suspicious": [0, 1, 0],
    }  # fmt: skip
    first, third = ticks_of(parquet_of(tmp_path / "BAC.parquet", columns))
    assert first == Trade("BAC", nano("13.80"), 100 * NANO, NS_PER_MS, 1, "P", ("@",))
    assert isinstance(third, Trade)
    assert third.conditions == ("@", "F")


def test_parquet_keeps_nanoseconds_zones_floats_and_lists(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    t_ns = time_ns("2024-01-02T15:00:00.123456789Z")
    columns = {
        "symbol": ["AAPL", "SOL/USD"],
        "timestamp": pa.array([t_ns, t_ns + 1], pa.timestamp("ns", "America/New_York")),
        "price": [150.14, 140.001],
        "size": [100.0, 0.5],
        "id": [2**60 + 1, 1],
        "conditions": pa.array([["@", "I"], None], pa.list_(pa.string())),
    }
    stock, coin = ticks_of(parquet_of(tmp_path / "frame.parquet", columns))
    assert stock == Trade("AAPL", nano("150.14"), 100 * NANO, t_ns, 2**60 + 1, "V", ("@", "I"))
    assert coin == Trade("SOL/USD", nano("140.001"), nano("0.5"), t_ns + 1, 1)


def test_parquet_bars_and_its_errors(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    starts = [time_ns(f"2024-01-02T15:0{n}:00Z") // 1000 for n in range(2)]
    bars = {"timestamp": pa.array(starts, pa.timestamp("us"))} | {
        key: [10.0, 10.0] for key in ("open", "high", "low", "close")
    }
    path = parquet_of(tmp_path / "SPY.parquet", {**bars, "volume": [7, 8]})
    assert [trade.t_ns // 1000 for trade in ticks_of(path)] == starts
    with pytest.raises(FileError, match=r"SPY\.parquet:2: column volume: -8 is negative"):
        ticks_of(parquet_of(tmp_path / "SPY.parquet", {**bars, "volume": [7, -8]}))
    with pytest.raises(FileError, match="columns when; allowed are files with all of"):
        read_file(parquet_of(tmp_path / "x.parquet", {"when": [1]}))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(FileError, match=r"broken\.parquet:1: .*; allowed is Parquet"):
        read_file(broken)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is absent")
@pytest.mark.parametrize(
    "name",
    [
        "crypto/ticks/binance_spot_btcusdt_20240808_trades.csv.gz",
        "crypto/ticks/binance_usdm_btcusdt_20240808_quotes.csv.gz",
        "equity/second/SPY_20131008_second_quotes.csv.gz",
        "equity/second/SPY_20131008_second_trades.csv.gz",
        "equity/minute/lean_minute_trades.csv.gz",
        "equity/ticks/BAC_20131008_quotes.csv.gz",
        "equity/1min/SPY_1m_2011Jan_Mar.csv.gz",
    ],
)
def test_recorded_markets_are_in_time_and_never_crossed(name: str) -> None:
    due_ns = 0
    rows = 0
    for t_ns, ticks in read_file(DATA / name):
        assert t_ns >= due_ns
        due_ns = t_ns
        for tick in ticks:
            if isinstance(tick, Quote):
                assert tick.bid < tick.ask or not tick.ask
            else:
                assert isinstance(tick, Trade)
                assert tick.price > 0
                assert tick.size > 0
        rows += 1
        if rows == 20_000:
            break
    assert rows > 5_000
