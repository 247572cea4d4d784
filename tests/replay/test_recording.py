"""Recording: rows to a file that no death spoils, from a connection of one's own and from a daemon's record."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zstandard

from hands.core.events import Link
from hands.core.market import Market
from hands.core.rows import ROW, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.journal.heads import FORMAT, Head, versions
from hands.journal.steps import SESSION
from hands.replay.listening import DaemonTap, OwnConnection, listen, wall_clock
from hands.replay.recorded_file import Chosen, Gap, RecordedFile, recorded_gaps, symbols_left
from hands.replay.recorded_sessions import sessions_of
from hands.replay.sources import open_market
from hands.replay.spool import SpoolError
from hands.sim.market.file_rows import FileError
from hands.sim.market.files import read_file
from hands.sim.testing import Sim, in_process_sim
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.reconnect import Pace
from tests.journal.market_rows import BEGAN_NS, some_rows
from tests.journal.record_desk import Desk
from tests.replay.test_sources import as_streamed, assert_same

pytest.importorskip("pyarrow")

NAMES = ("AAPL", "SPY", "BTC/USD")
END_NS = BEGAN_NS + 10**12


def recorded(path: Path, *parts: np.ndarray) -> Path:
    file = RecordedFile(path, NAMES, BEGAN_NS)
    for part in parts:
        file.add(part)
    file.finish(END_NS)
    return path


# --- the file ----------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_to_the_last_bit_that_means_something(tmp_path: Path) -> None:
    rows = some_rows(3_000)
    rows["price"][5:8] = math.nan, -1.0, math.inf
    rows["trade_id"][9], rows["size"][9] = -(2**63), 1 / 3
    path = recorded(tmp_path / "m.parquet", rows[:1000], rows[1000:])
    market = open_market([path])
    assert market.symbols == tuple(sorted(NAMES))
    assert market.rows == 3_000
    found = market.only(NAMES).all_rows()
    for name in ROW.names or ():
        assert found[name].tobytes() == rows[name].tobytes(), name
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.parquet"]


def test_a_symbol_of_which_nothing_came_is_no_reason_to_read_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hands.replay.sources.played_file", None)
    rows = some_rows(90)
    path = recorded(tmp_path / "m.parquet", rows[rows["sym"] != 1])
    market = open_market([path])
    assert market.symbols == ("AAPL", "BTC/USD")
    assert len(market.all_rows()) == 60


def test_the_simulator_plays_what_was_recorded(tmp_path: Path) -> None:
    rows = some_rows(400)
    rows["flags"] = np.where(rows["kind"] == RowKind.QUOTE, 1, np.arange(400) % 3)
    coins = rows["sym"] == 2
    rows["flags"][coins], rows["exchange"][coins] = 1, 0
    rows["exchange"][rows["kind"] == RowKind.QUOTE] = 0
    trades = rows["kind"] == RowKind.TRADE
    rows["price2"][trades] = rows["size2"][trades] = 0
    rows["trade_id"][~trades] = 0
    rows["venue_ns"] = rows["recv_ns"]
    path = recorded(tmp_path / "m.parquet", rows)
    assert_same(as_streamed(path, NAMES), rows)


def test_a_recording_that_was_killed_is_gone_on_with_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    rows = some_rows(50)
    first = RecordedFile(path, NAMES, BEGAN_NS)
    first.add(rows[:20])
    first.flush()
    first.add(rows[20:30])  # held when the process died
    first._spool.close()
    assert symbols_left(path) == NAMES
    with pytest.raises(SpoolError, match=r"a recording of AAPL, SPY, BTC/USD that was broken off"):
        RecordedFile(path, ["AAPL"], END_NS)
    again = RecordedFile(path, NAMES, END_NS)
    assert (again.went_on, again.rows) == (True, 20)
    later = rows[30:].copy()
    later["recv_ns"] -= NS_PER_S  # the wall clock was set back meanwhile
    again.add(later)
    again.finish(END_NS)
    found = open_market([path]).only(NAMES).all_rows()
    assert found["trade_id"].tolist() == [*range(20), *range(30, 50)]
    assert (np.diff(found["recv_ns"]) >= 0).all()
    assert [*recorded_gaps(path)] == [Gap(int(rows["recv_ns"][19]), END_NS, "the recording was broken off")]


def test_what_is_left_of_a_recording_can_be_finished_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    assert symbols_left(path) is None
    file = RecordedFile(path, NAMES, BEGAN_NS)
    file.add(some_rows(5))
    file.close()
    RecordedFile(path, NAMES, END_NS, goes_on=False).finish(END_NS)
    assert len(open_market([path]).all_rows()) == 5
    assert [*recorded_gaps(path)] == []


def test_a_recording_in_which_nothing_came_is_an_empty_market(tmp_path: Path) -> None:
    path = recorded(tmp_path / "m.parquet")
    assert len(open_market([path]).all_rows()) == 0
    assert [*read_file(path)] == []


def test_memory_is_bounded_whatever_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hands.replay.recorded_file.HELD_MAX", 100)
    file = RecordedFile(tmp_path / "m.parquet", NAMES, BEGAN_NS)
    for first in range(0, 1_000, 30):
        file.add(some_rows(30, first))
        assert file._count < 100
    file.finish(END_NS)
    assert len(open_market([file.path]).all_rows()) == 1_020


def test_chosen_symbols_are_numbered_as_they_were_named() -> None:
    rows = some_rows(6)
    found = Chosen(("AAPL", "SPY", "BTC/USD"), ("BTC/USD", "AAPL")).of(rows)
    assert found["sym"].tolist() == [1, 0, 1, 0]
    assert found["trade_id"].tolist() == [0, 2, 3, 5]
    assert rows["sym"].tolist() == [0, 1, 2, 0, 1, 2]


# --- a connection of one's own ------------------------------------------------------------------------------------


@pytest.fixture
def sim() -> Iterator[Sim]:
    with in_process_sim(tape="manual", symbols="AAPL,BTC/USD") as running:
        yield running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  it is another thread that changes it
            await asyncio.sleep(0.01)


def test_the_venues_streams_are_recorded_with_the_gap_of_a_lost_connection(sim: Sim, tmp_path: Path) -> None:
    file = RecordedFile(tmp_path / "m.parquet", ("AAPL", "BTC/USD"), 1)
    pace = Pace(first_s=0.02, most_s=0.1)
    listener = OwnConnection(Endpoints.of(sim.url), Credentials("sim", "sim"), file, wall_clock(), pace=pace)

    async def play() -> None:
        stop = asyncio.Event()
        recording = asyncio.create_task(listen(listener, file, stop, for_s=None))
        await until(lambda: listener.ok)
        await asyncio.to_thread(sim.quote, "AAPL", 149.98, 150.0)
        await asyncio.to_thread(sim.trade, "BTC/USD", 60_000, 0.5)
        await until(lambda: file.rows == 2)
        await asyncio.to_thread(sim.fault, "market_data", "disconnect")
        await until(lambda: len(file.gaps) >= 1 and listener.ok)
        await asyncio.to_thread(sim.trade, "AAPL", 150.01, 7)
        await until(lambda: file.rows == 3)
        stop.set()
        await recording

    asyncio.run(play())
    file.finish(wall_clock()())
    rows = open_market([file.path]).all_rows()
    assert rows["kind"].tolist() == [RowKind.QUOTE, RowKind.TRADE, RowKind.TRADE]
    assert rows["price"].tolist() == [149.98, 60_000.0, 150.01]
    assert rows["sym"].tolist() == [0, 1, 0]
    gaps = [*recorded_gaps(file.path)]
    assert all("the connection was lost" in gap.reason for gap in gaps)
    assert {gap.reason.split(":")[0] for gap in gaps} <= {Link.EQUITY_DATA, Link.CRYPTO_DATA}
    assert all(int(rows["recv_ns"][0]) <= gap.from_ns < gap.to_ns <= int(rows["recv_ns"][2]) for gap in gaps)


def test_a_recording_ends_by_itself_when_its_time_is_over(sim: Sim, tmp_path: Path) -> None:
    file = RecordedFile(tmp_path / "m.parquet", ("AAPL",), 1)
    listener = OwnConnection(Endpoints.of(sim.url), Credentials("sim", "sim"), file, wall_clock())
    told = []
    asyncio.run(listen(listener, file, asyncio.Event(), for_s=0.4, told=lambda: told.append(listener.state)))
    assert {"equity_data is down: connecting", "equity_data is up"} >= set(told) != set()
    assert not listener.ok
    file.close()


# --- beside a daemon ----------------------------------------------------------------------------------------------


class MarketDesk(Desk):
    """An engine's side of the record whose sessions say what their symbols are."""

    symbols = NAMES

    def step(self, kind: str = "Wake", *, payload: bytes = b"{}", is_committed: bool = True) -> int:
        if kind == SESSION:
            head = Head(
                format=FORMAT, versions=versions(), state=b"{}", market=Market(self.symbols).snapshot()
            )
            payload = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(head))
        return super().step(kind, payload=payload, is_committed=is_committed)


class Beside:
    """A tap beside a desk that is moved by hand."""

    def __init__(self, folder: Path, out: Path, symbols: tuple[str, ...] = NAMES) -> None:
        self.running = True
        self.now_ns = BEGAN_NS
        self.file = RecordedFile(out, symbols, BEGAN_NS)
        self.tap = DaemonTap(folder, self.file, lambda: self.now_ns, lambda: self.running)
        asyncio.run(self.tap.start())

    def ids(self) -> list[int]:
        asyncio.run(self.tap.stop())
        self.file.finish(self.now_ns)
        return [int(n) for n in open_market([self.file.path]).all_rows()["trade_id"]]


def test_a_daemons_rows_are_recorded_from_now_on_and_of_chosen_symbols(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with MarketDesk(folder) as desk:
        desk.offer(30)
        desk.work()
        beside = Beside(desk.folder, tmp_path / "m.parquet", ("SPY", "AAPL"))
        for _ in range(20):
            desk.offer(40)
            beside.tap.turn()
            desk.work()
        assert beside.tap.ok
        assert beside.ids() == [n for n in range(30, 830) if n % 3 != 2]
        assert beside.file.gaps == []


def test_a_daemons_next_life_is_followed_and_the_time_between_is_a_gap(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with MarketDesk(folder) as desk:
        beside = Beside(folder, tmp_path / "m.parquet")
        desk.offer(10)
        beside.tap.turn()
        desk.offer(5)
        desk.die()
        beside.running = False
        beside.tap.turn()
        assert (beside.tap.ok, beside.tap.state) == (False, "the daemon is not running")
        desk.symbols = (*NAMES[::-1], "QQQ")
        desk.begin()
        desk.offer(4)
        beside.running = True
        beside.now_ns += 10**12
        beside.tap.turn()
        assert beside.tap.ok
        (gap,) = beside.file.gaps
        assert gap == Gap(int(some_rows(15)["recv_ns"][14]), beside.now_ns, "the daemon was started anew")
        assert sorted(beside.ids()) == sorted([*range(15), *range(4)])


def test_rows_that_the_daemon_lost_are_a_gap(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with MarketDesk(folder, capacity=64) as desk:
        beside = Beside(folder, tmp_path / "m.parquet")
        assert desk.offer(60)
        beside.tap.turn()
        assert not desk.offer(30)
        desk.work()
        assert desk.ring.skip_to(desk.row)
        desk.offer(10)
        beside.tap.turn()
        assert [gap.reason for gap in beside.file.gaps] == ["the daemon lost rows"]
        assert beside.ids() == [*range(60), *range(90, 100)]


def test_a_state_directory_is_a_market_of_all_its_sessions(tmp_path: Path) -> None:
    with MarketDesk(tmp_path) as desk:
        desk.offer(100)
        desk.late()
        desk.offer(50)
        desk.end()
        desk.begin()
        desk.offer(20)
        assert len(sessions_of(tmp_path)) == 2
        market = open_market([tmp_path])
        assert market.symbols == tuple(sorted(NAMES))
        assert sorted(market.all_rows()["trade_id"].tolist()) == sorted([*range(150), *range(20)])
        one = open_market([tmp_path], ["SPY"]).all_rows()
        assert set((one["trade_id"] % 3).tolist()) == {1}


def test_a_record_that_does_not_name_its_symbols_is_no_market(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        desk.offer(3)
        with pytest.raises(FileError, match="does not say which symbols"):
            open_market([tmp_path])


def test_rows_taken_in_later_than_they_are_stamped_stay_in_their_order(tmp_path: Path) -> None:
    """A quote that was asked for carries the time at which it was."""
    with MarketDesk(tmp_path) as desk:
        desk._supply["recv_ns"][5] -= 10**9
        desk.offer(8)
        rows = open_market([tmp_path]).all_rows()
        assert rows["trade_id"].tolist() == list(range(8))
        assert int(rows["recv_ns"][5]) == int(rows["recv_ns"][4])
        assert new_rows(0).dtype == rows.dtype
