"""The quick readers against the slow one: the same file, as rows, and as the venue's stream would have brought it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.rows import ROW, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.replay.played import played_file
from hands.replay.sources import open_market, synthetic
from hands.replay.tables import exact
from hands.replay.tape import TapeError
from hands.sim.market.codec import CODECS, KINDS, Encoding, event_fields
from hands.sim.market.file_rows import FileError
from hands.sim.market.files import read_file
from hands.sim.venue.ticks import Quote, Trade
from hands.venues.alpaca.conditions import flags_of
from hands.venues.alpaca.frames import FrameDecoder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
COUNT = 250


def as_streamed(path: Path, symbols: tuple[str, ...]) -> np.ndarray:
    """Return the rows that a file's market makes when it is streamed in the venue's words and decoded."""
    codec = CODECS[Encoding.MSGPACK]
    decoder = FrameDecoder({symbol: number for number, symbol in enumerate(symbols)})
    found = [new_rows(0)]
    for due_ns, events in read_file(path):
        messages = [
            codec.message(KINDS[type(event)][1], event.symbol, event_fields(event), event.t_ns)
            for event in events
            if isinstance(event, Quote | Trade)
        ]
        result = decoder.decode(codec.join(messages), due_ns)
        assert result.count == len(messages)
        found.append(decoder.rows[: result.count].copy())
    return np.concatenate(found)


def assert_same(rows: np.ndarray, expected: np.ndarray) -> None:
    assert len(rows) == len(expected)
    for name in ROW.names or ():
        different = np.flatnonzero(rows[name] != expected[name])
        assert not len(different), (name, rows[different[:3]], expected[different[:3]])


# --- made-up recordings, one a format, with everything in them that has a rule -----------------------------------


class Maker:
    """Makes the rows of a recording: mostly in order, now and then late."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.at_ms = 1_704_207_600_000

    def ms(self) -> int:
        self.at_ms += self.random.choice((0, 0, 1, 7, 400))
        return self.at_ms - (self.random.randrange(3_000) if self.random.random() < 0.1 else 0)

    def ns(self) -> int:
        return self.ms() * 1_000_000 + self.random.randrange(1_000_000)

    def text(self, t_ns: int) -> str:
        second, fraction = divmod(t_ns, NS_PER_S)
        whole = np.datetime64(second, "s").item().strftime("%Y-%m-%d %H:%M:%S")
        return f"{whole}.{fraction:09d}+00:00" if fraction else f"{whole}+00:00"

    def price(self, share_of_none: float = 0.05) -> str:
        if self.random.random() < share_of_none:
            return "0.0000"
        return f"{self.random.uniform(9.9, 10.1):.{self.random.randrange(5)}f}"

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)


def crypto_trades(make: Maker) -> dict[str, object]:
    return {
        "ts_local_ns": make.ns(), "ts_exch_ms": make.pick("", 17), "symbol": make.pick("BTCUSDT", "ETHUSDT"),
        "trade_id": make.random.randrange(2**60), "price": make.price(), "qty": make.pick("0.02000000", "0.000000001", "0"),
        "taker_side": make.pick("buy", "sell"),
    }  # fmt: skip


def crypto_quotes(make: Maker) -> dict[str, object]:
    quote = {"bid": make.price(0.3), "bid_qty": "3.5", "ask": make.price(0.3), "ask_qty": "0.123456789"}
    return {"ts_local_ns": make.ns(), "ts_exch_ms": "", "symbol": make.pick("BTCUSDT", "SOLUSD")} | quote


def equity_trades(make: Maker) -> dict[str, object]:
    conditions = make.pick("", "0", "20", "2000", "20002020", "4000", "100000", "40", "200")
    return {
        "ts_ms_utc": make.ms(), "price": make.price(), "size": make.pick(100, 1, 0, 17), "exchange": make.pick("P", "Q", "D"),
        "sale_condition": conditions, "suspicious": make.pick(0, 0, 0, 1),
    }  # fmt: skip


def equity_quotes(make: Maker) -> dict[str, object]:
    bid, ask = (make.price(0), "0.0000") if make.random.random() < 0.5 else ("0.0000", make.price(0))
    if make.random.random() < 0.1:
        bid, ask = "9.95", make.price(0.5)
    return {
        "ts_ms_utc": make.ms(), "bid": bid, "bid_size": make.pick(100, 300), "ask": ask, "ask_size": make.pick(200, 500),
        "exchange": make.pick("P", "Q", "N", "Z"), "quote_condition": 1, "suspicious": make.pick(0, 0, 0, 1),
    }  # fmt: skip


def _bar(make: Maker, prefix: str = "") -> dict[str, str]:
    low, high = sorted(make.random.randrange(990, 1010) for _ in range(2))
    first, last = (make.random.randint(low, high) for _ in range(2))
    prices = {"open": first, "high": high, "low": low, "close": last}
    return {f"{prefix}{name}": f"{price / 100:.2f}" for name, price in prices.items()}


def trade_bars(make: Maker) -> dict[str, object]:
    symbol, volume = make.pick(
        ("AAPL", 84_121_000), ("SPY", 0), ("SPY", 3), ("BTC/USD", 1003), ("BTC/USD", 1)
    )
    start = {"symbol": symbol, "ts_ms_utc": make.ms() // 1000 * 1000}
    return start | _bar(make) | {"volume": volume}


def quote_bars(make: Maker) -> dict[str, object]:
    start = {"symbol": make.pick("BAC", "SPY"), "ts_ms_utc": make.ms() // 1000 * 1000}
    return start | _bar(make, "bid_") | {"bid_size": 300} | _bar(make, "ask_") | {"ask_size": 400}


def sdk_bars(make: Maker) -> dict[str, object]:
    symbol, volume = make.pick(("AAPL", "7.0"), ("BTC/USD", "0.5"), ("BTC/USD", "12.123456789"))
    start = {"symbol": symbol, "timestamp": make.text(make.ms() // 1000 * NS_PER_S)}
    return start | _bar(make) | {"volume": volume, "vwap": "9.9"}


def sdk_trades(make: Maker) -> dict[str, object]:
    symbol = make.pick("AAPL", "BTC/USD", "SPY")
    conditions = make.pick("['@', 'I']", "['@']", "['@', 'M']", "[' ', 'Z']", "", "['?']")
    return {
        "symbol": symbol, "timestamp": make.text(make.ns()), "exchange": make.pick("V", "Q"), "price": make.price(0),
        "size": make.pick(100, 1), "id": make.random.randrange(2**60), "conditions": conditions,
    }  # fmt: skip


def sdk_quotes(make: Maker) -> dict[str, object]:
    sizes = {"bid_size": make.pick("3.0", "400"), "ask_size": "2.0"}
    quote = {"timestamp": make.text(make.ns()), "bid_price": make.price(), "ask_price": make.price()}
    return {"symbol": make.pick("AAPL", "SPY")} | quote | sizes


FORMATS = [crypto_trades, crypto_quotes, equity_trades, equity_quotes, trade_bars, quote_bars, sdk_bars, sdk_trades, sdk_quotes]  # fmt: skip
BARS = (trade_bars, sdk_bars, quote_bars)


def recording(folder: Path, make_row: Callable[[Maker], dict[str, object]], ending: str) -> Path:
    """Write a recording in one of the formats; its rows that name no symbol are BAC's."""
    make = Maker()
    rows = [make_row(make) for _ in range(COUNT)]
    path = folder / f"BAC_recorded{ending}"
    if ending == ".parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        columns = {name: [row[name] for row in rows] for name in rows[0]}
        texts = {name for name, column in columns.items() if any(isinstance(value, str) for value in column)}
        typed = {name: [str(v) if name in texts else v for v in column] for name, column in columns.items()}
        parquet.write_table(pa.table(typed), path, row_group_size=64)
        return path
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(
        gzip.compress(text.getvalue().encode()) if ending.endswith(".gz") else text.getvalue().encode()
    )
    return path


@pytest.fixture(params=["pyarrow", "plain"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With pyarrow, and as it is without."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    else:
        pytest.importorskip("pyarrow")
    return str(request.param)


@pytest.fixture
def no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quick readers give nothing up to the slow one."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("left to the slow reader")

    monkeypatch.setattr("hands.replay.sources.played_file", refuse)
    monkeypatch.setattr("hands.replay.sources.symbols_played", refuse)


@pytest.mark.parametrize("make_row", FORMATS, ids=lambda make_row: make_row.__name__)
def test_every_format_of_csv_is_read_as_it_is_played(
    tmp_path: Path, make_row: Callable[[Maker], dict[str, object]], reader: str, no_way_out: None
) -> None:
    path = recording(tmp_path, make_row, ".csv.gz" if reader == "pyarrow" else ".csv")
    tape = open_market([path])
    rows = tape.all_rows()
    assert_same(rows, as_streamed(path, tape.symbols))
    assert len(rows) > COUNT / 10
    if make_row not in BARS and "quotes" not in make_row.__name__ and not make_row.__name__.startswith("sdk"):
        assert (rows["venue_ns"] < rows["recv_ns"]).any(), "nothing was late"


@pytest.mark.parametrize("make_row", FORMATS, ids=lambda make_row: make_row.__name__)
def test_every_format_of_parquet_is_read_as_it_is_played(
    tmp_path: Path, make_row: Callable[[Maker], dict[str, object]], no_way_out: None
) -> None:
    path = recording(tmp_path, make_row, ".parquet")
    tape = open_market([path])
    assert_same(tape.all_rows(), as_streamed(path, tape.symbols))


# --- JSON in the venue's words -------------------------------------------------------------------------------


def _word(make: Maker, kind: str, symbol: str) -> dict[str, Any]:
    """Return an item as the historical API has it; "t" is a print, "q" a quote, "b" a bar."""
    stamp = np.datetime64(make.ns(), "ns")
    coin, item = "/" in symbol, {"t": f"{stamp}Z"}
    tape = {} if coin else {"z": "C" if symbol == "AAPL" else "B"}
    if kind == "q":
        sizes = {"bs": make.pick(100, 3), "as": 200}
        return item | {"bp": float(make.price()), "ap": float(make.price())} | sizes | tape
    if kind == "b":
        low, high = sorted(make.random.randrange(990, 1010) / 100 for _ in range(2))
        item["t"] = f"{np.datetime64(make.ms() // 1000, 's')}Z"
        return item | {
            "o": low,
            "h": high,
            "l": low,
            "c": make.pick(low, high),
            "v": make.pick(0, 7, 400),
            "n": 2,
        }
    trade = item | {"i": make.random.randrange(2**62), "p": float(make.price(0)), "s": make.pick(100, 1)}
    if coin:
        return trade | {"tks": make.pick("B", "S"), "s": 0.000000001}
    marks = {"u": make.pick("canceled", "incorrect", "corrected")} if make.random.random() < 0.1 else {}
    return (
        trade
        | {"x": make.pick("V", "D"), "c": make.pick(["@"], ["@", "I"], [" ", "M"], [], ["?"])}
        | tape
        | marks
    )


def stream(make: Maker) -> str:
    """A recorded stream: control messages, frames, prints, quotes, halts, and what is passed over."""
    lines: list[Any] = [
        [{"T": "subscription", "trades": ["AAPL"], "quotes": [], "bars": []}],
        {"T": "success", "msg": "connected"},
    ]
    for _ in range(COUNT):
        kind, symbol = make.pick("t", "q", "q"), make.pick("AAPL", "SPY", "BTC/USD")
        lines.append({"T": kind, "S": symbol} | _word(make, kind, symbol))
    at = lines[-1]["t"]
    lines.append(
        {
            "T": "s",
            "S": "AAPL",
            "sc": "H",
            "sm": "",
            "rc": "",
            "rm": "",
            "t": "2024-01-02T16:00:00Z",
            "z": "C",
        }
    )
    lines.append({"T": "l", "S": "AAPL", "u": 12.5, "d": 8.5, "i": "B", "t": at, "z": "C"})
    lines.append(
        [
            {"T": "n", "id": 1, "headline": "x"},
            {"T": "d", "S": "AAPL", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": at},
        ]
    )
    lines.append(
        [
            {"T": "t", "S": "SPY"} | _word(make, "t", "SPY"),
            {"bp": 1, "bs": 2, "ap": 3, "as": 4, "t": "2024-01-02T16:00:00Z"},
        ]
    )
    lines.append({"p": 10.5, "s": 1, "t": at})  # late by the halt, and without a symbol the file's own
    return "\n".join(json.dumps(line) for line in lines) + "\n\n"


def _pages(make: Maker) -> list[Any]:
    def some(kind: str, symbol: str, count: int = 50) -> list[Any]:
        return sorted((_word(make, kind, symbol) for _ in range(count)), key=lambda item: str(item["t"]))

    return [
        {"trades": {"AAPL": some("t", "AAPL"), "SPY": some("t", "SPY")}, "next_page_token": "x"},
        {"trades": {"SPY": some("t", "SPY"), "AIG": None}, "next_page_token": None},
        {"quotes": {"AAPL": some("q", "AAPL")}, "bars": {"AAPL": some("b", "AAPL"), "BTC/USD": some("b", "BTC/USD")}},
        {"bars": some("b", "MSFT"), "symbol": "MSFT", "next_page_token": None},
        {"trades": some("t", "BAC", 3), "next_page_token": None},
    ]  # fmt: skip


def pages(make: Maker) -> str:
    return "\n".join(json.dumps(page) for page in _pages(make))


def array_of_pages(make: Maker) -> str:
    return json.dumps(_pages(make), indent=1)


def one_page(make: Maker) -> str:
    return json.dumps(_pages(make)[0], indent=2)


@pytest.mark.parametrize("ending", [".jsonl", ".json.gz"])
@pytest.mark.parametrize("write", [stream, pages, array_of_pages, one_page], ids=lambda write: write.__name__)
def test_what_the_venue_wrote_is_read_as_it_is_played(
    tmp_path: Path, write: Callable[[Maker], str], ending: str, no_way_out: None
) -> None:
    path = tmp_path / f"BAC_recorded{ending}"
    text = write(Maker()).encode()
    path.write_bytes(gzip.compress(text) if ending.endswith(".gz") else text)
    tape = open_market([path])
    rows = tape.all_rows()
    assert_same(rows, as_streamed(path, tape.symbols))
    assert len(rows) > 90
    assert RowKind.QUOTE in rows["kind"] or write is one_page


def test_bars_among_stream_messages_are_left_to_the_simulators_reader(tmp_path: Path) -> None:
    t = '"t":"2024-01-02T15:0{}:00Z"}}\n'
    trade = '{"T":"t","S":"AAPL","i":1,"x":"V","p":150,"s":1,' + t.format(0)
    bars = [
        f'{{"T":"b","S":"{symbol}","o":1,"h":1,"l":1,"c":1,"v":10,' + t.format(1)
        for symbol in ("AAPL", "SPY")
    ]
    path = tmp_path / "s.jsonl"
    path.write_text(trade + "".join(bars))
    tape = open_market([path])
    assert_same(tape.all_rows(), as_streamed(path, tape.symbols))
    assert tape.symbols == ("AAPL", "SPY")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is absent")
@pytest.mark.parametrize(
    "name",
    [
        "crypto/ticks/binance_spot_btcusdt_20240808_trades.csv.gz",
        "crypto/ticks/binance_spot_btcusdt_20240808_quotes.csv.gz",
        "equity/minute/lean_minute_quotes.csv.gz",
        "equity/minute/lean_minute_trades.csv.gz",
        "equity/second/SPY_20131008_second_trades.csv.gz",
    ],
)
def test_recorded_markets_are_read_as_they_are_played(name: str, tmp_path: Path) -> None:
    path = tmp_path / Path(name).name
    with gzip.open(DATA / name, "rt") as whole, gzip.open(path, "wt") as part:
        part.writelines(line for _, line in zip(range(6_000), whole, strict=False))
    tape = open_market([path])
    assert_same(tape.all_rows(), as_streamed(path, tape.symbols))


# --- the rules, said once more where a reader of this file looks for them ---------------------------------------

EQUITY_TRADES = "ts_ms_utc,price,size,exchange,sale_condition,suspicious\n"


def test_late_prints_keep_their_time_and_lose_their_price(tmp_path: Path) -> None:
    path = tmp_path / "BAC_x.csv"
    path.write_text(EQUITY_TRADES + "1000,10.0,5,P,0,0\n1010,10.1,5,P,0,0\n1004,10.2,5,P,0,0\n")
    rows = open_market([path]).all_rows()
    assert [int(t) // 10**6 for t in rows["venue_ns"]] == [1000, 1010, 1004]
    assert [int(t) // 10**6 for t in rows["recv_ns"]] == [1000, 1010, 1010]
    assert rows["flags"].tolist() == [RowFlag.ELIGIBLE, RowFlag.ELIGIBLE, RowFlag.VOLUME]


def test_what_is_not_plain_is_left_to_the_simulators_reader_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number like 17.0 for an id is taken; the blocks before it have been read quickly."""
    monkeypatch.setattr("hands.replay.tables.BLOCK_BYTES", 4096)
    left: list[int] = []

    def slowly(path: Path, symbols: tuple[str, ...], *, after: int) -> Iterator[np.ndarray]:
        left.append(after)
        return played_file(path, symbols, after=after)

    monkeypatch.setattr("hands.replay.sources.played_file", slowly)
    path = tmp_path / "a.csv"
    row = "{0},,BTCUSDT,{1},1.5,1,buy\n".format
    text = "".join(row(n, n) for n in range(2_000)) + row(2_000, "17.0") + row(2_001, 18)
    path.write_text("ts_local_ns,ts_exch_ms,symbol,trade_id,price,qty,taker_side\n" + text)
    rows = open_market([path]).all_rows()
    assert rows["recv_ns"].tolist() == list(range(2_002))
    assert rows["trade_id"][-2:].tolist() == [17, 18]
    assert 1_000 < left[0] < 2_000


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,ten,1,P,1,0\n", r"X\.csv:3: column price: 'ten' is not a decimal"),
        ("1,-1.0,1,P,1,0\n", r"X\.csv:3: column price: -1\.0 is negative"),
        ("1,nan,1,P,1,0\n", r"X\.csv:3: column price: 'nan'"),
        ("1,1e16,1,P,1,0\n", r"X\.csv:3: column price: .* larger than anything"),
        ("1,1.0,1,P,1\n", r"X\.csv:3: 5 values; allowed are 6"),
        ("1,1.0,1,P,xyz,0\n", r"X\.csv:3: column sale_condition: 'xyz'"),
        ("soon,1.0,1,P,1,0\n", r"X\.csv:3: column ts_ms_utc: 'soon'"),
    ],
)
def test_an_unreadable_row_names_its_line(tmp_path: Path, row: str, said: str, reader: str) -> None:
    (tmp_path / "X.csv").write_text(EQUITY_TRADES + "1,1.0,1,P,1,0\n" + row)
    with pytest.raises(FileError, match=said):
        open_market([tmp_path / "X.csv"]).all_rows()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "when,what\n1,2\n", "columns when what; allowed"),
        ("a.csv", "", "allowed are files"),
        ("a.txt", "x", "unknown kind of file"),
        ("a.jsonl", "{not json}\n", r"a\.jsonl:1:"),
        ("a.parquet", "PAR1 nothing", "allowed is Parquet"),
    ],
)
def test_a_file_of_no_known_format_is_refused_at_once(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=said):
        open_market([tmp_path / name])


def test_a_recording_without_rows_is_an_empty_market(tmp_path: Path, reader: str) -> None:
    (tmp_path / "X.csv").write_text(EQUITY_TRADES)
    assert len(open_market([tmp_path / "X.csv"]).all_rows()) == 0


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "X.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match="pyarrow"):
        open_market([tmp_path / "X.parquet"])


def test_the_tape_a_file_names_decides_what_a_letter_means(tmp_path: Path) -> None:
    """B is an average price on the tapes of New York and a bunched trade on Nasdaq's."""
    head = "symbol,timestamp,price,size,id,conditions,tape\n"
    lines = [f"AAPL,2024-01-02 15:00:0{n}+00:00,10,1,{n},['B'],{tape}\n" for n, tape in enumerate("AC")]
    (tmp_path / "f.csv").write_text(head + "".join(lines))
    rows = open_market([tmp_path / "f.csv"]).all_rows()
    assert rows["flags"].tolist() == [flags_of(("B",), "A"), flags_of(("B",), "C")]
    assert len(set(rows["flags"].tolist())) == 2


# --- several files, folders, made-up markets --------------------------------------------------------------------


def test_folders_are_merged_by_time_and_narrowed_to_symbols(tmp_path: Path) -> None:
    (tmp_path / "BAC_1.csv").write_text(EQUITY_TRADES + "1,1.0,1,P,1,0\n5,1.0,1,P,1,0\n")
    (tmp_path / "AIG_1.csv.gz").write_bytes(gzip.compress((EQUITY_TRADES + "2,1.0,1,P,1,0\n").encode()))
    (tmp_path / "README.md").write_text("not a market")
    tape = open_market([tmp_path])
    assert tape.symbols == ("AIG", "BAC")
    assert tape.all_rows()["sym"].tolist() == [1, 0, 1]
    assert open_market([tmp_path], ["BAC"]).all_rows()["sym"].tolist() == [0, 0]
    with pytest.raises(TapeError, match="SPY: not in this market"):
        open_market([tmp_path], ["SPY"])


@pytest.mark.parametrize("names", [[], ["nowhere.csv"], ["synthetic:x"], ["synthetic", "a.csv"], ["."]])
def test_names_that_are_no_market_are_refused(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError):
        open_market(names)


def test_a_made_up_market_is_the_same_every_time_and_ends() -> None:
    one = open_market(["synthetic:7:8s"], ["AAPL", "BTC/USD"])
    rows = one.all_rows()
    assert (rows == one.all_rows()).all()
    assert (rows == synthetic("synthetic:7:8s", ["AAPL", "BTC/USD"]).all_rows()).all()
    assert int(rows["recv_ns"][-1] - rows["recv_ns"][0]) < 8 * NS_PER_S
    assert set(rows["kind"].tolist()) == {RowKind.TRADE, RowKind.QUOTE}
    assert len(rows) != len(open_market(["synthetic:8:8s"], ["AAPL", "BTC/USD"]).all_rows())


def test_amounts_are_cut_off_behind_the_ninth_decimal_as_exact_numbers_are() -> None:
    given = np.array([0.1, 150.14, 61_837.63, 0.1234567899, 1 / 3, 12_345_678.123456789, 0.0, 1e15])
    assert exact(given).tolist() == [
        0.1,
        150.14,
        61_837.63,
        0.123456789,
        0.333333333,
        12_345_678.123456789,
        0.0,
        1e15,
    ]


def _mutated(chance: random.Random, value: Any) -> Any:
    """Return JSON with one member gone, of another kind, or changed further down."""
    if isinstance(value, dict) and value:
        key, die = chance.choice(list(value)), chance.random()
        if die < 0.25:
            return {name: kept for name, kept in value.items() if name != key}
        return value | {key: chance.choice(NOT_JSON) if die < 0.6 else _mutated(chance, value[key])}
    if isinstance(value, list) and value:
        place = chance.randrange(len(value))
        return [*value[:place], _mutated(chance, value[place]), *value[place + 1 :]]
    return chance.choice(NOT_JSON)


NOT_JSON = (
    None, "", 17, 17.5, "17.0", "nan", -1, True, [], {}, "2024-01-02T15:00:00Z", "2024-01-02 15:00:00+01:00", "noon",
    [1], ["@"], 1e30, "x", 2**63, 0, 1e-12, 0.1234567891234,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_strange_messages_are_read_alike_or_refused_alike(seed: int, tmp_path: Path) -> None:
    make = Maker()
    make.random = chance = random.Random(seed)
    lines: list[Any] = _pages(make)
    if seed % 2:
        kinds = [(make.pick("t", "q", "q"), make.pick("AAPL", "SPY", "BTC/USD")) for _ in range(8)]
        lines = [{"T": kind, "S": symbol} | _word(make, kind, symbol) for kind, symbol in kinds]
        lines = [lines[:3], *lines[3:]]
    for _ in range(chance.choice((0, 1, 1, 2))):
        place = chance.randrange(len(lines))
        lines[place] = _mutated(chance, lines[place])
    path = tmp_path / "BAC.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    quick, slow = _both(path)
    assert quick == slow


STRANGE = ("", "17.0", "nan", "-1", "1e3", "x", "0", "9" * 25, '"5"', "1.2345678909999")


@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.sampled_from(STRANGE)), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_strange_values_are_read_alike_or_refused_alike(
    make_row: Callable[[Maker], dict[str, object]], changes: list[tuple[int, int, str]]
) -> None:
    make = Maker()
    table = [[str(value) for value in make_row(make).values()] for _ in range(12)]
    for row, column, text in changes:
        table[row][column % len(table[row])] = text
    heading = ",".join(make_row(make))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "BAC.csv"
        path.write_text(
            "\n".join([heading, *(",".join(_quoted(cell) for cell in row) for row in table)]) + "\n"
        )

        quick, slow = _both(path)
        assert quick == slow


def _both(path: Path) -> tuple[list[Any] | str, list[Any] | str]:
    """Return what both readers make of a file: its rows, or why there are none."""

    def outcome(read: Callable[[], np.ndarray]) -> list[Any] | str:
        try:
            return read().tolist()
        except FileError as error:
            return str(error)

    symbols: list[tuple[str, ...]] = [()]

    def quickly() -> np.ndarray:
        tape = open_market([path])
        symbols[0] = tape.symbols
        return tape.all_rows()

    quick = outcome(quickly)
    return quick, outcome(lambda: np.concatenate([new_rows(0), *played_file(path, symbols[0])]))


def _quoted(cell: str) -> str:
    return f'"{cell}"' if "," in cell else cell
