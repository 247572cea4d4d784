"""What keeping the record costs the engine: a document's way to its commit, a frame's way into the market, a snapshot.

Owns its method: the engine's own sequencer, journal, ring and recorder, in one process, on a folder of the tree's disk; no
socket and no exchange. May not start processes. The one idea: rows are taken with the record and without it, round by
round, from one buffer at one pace, so that what else the machine does falls on both. What encoding and sealing take of a
document's way is measured within it. A turn begins with the file's bytes and ends where the order may be sent.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.percentiles import summary
from bench.verdict import Desk
from hands.core.commands import AnyCommand, SubmitEntry
from hands.core.events import DocumentReceived
from hands.core.limits import read_limits
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.orders import ApprovedEntry
from hands.core.state import State, encode
from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import OrderStatus, Venue
from hands.journal.heads import head_of
from hands.journal.store import TRIM_STEPS, JournalStore
from hands.runtime.config import JournalSection
from hands.runtime.recording import Recording
from hands.runtime.sequencer import Sequencer

SYMBOLS: Final = tuple(f"SYM{n:02d}" for n in range(50))
WARM: Final = 100
BUFFERED: Final = 200_000
SETTINGS: Final = JournalSection(durability="os", segment_mb=64, segment_s=3_600, keep_days=1, keep_gb=1)


class Pace(NamedTuple):
    """Rows that come in frames of one size, so many a second."""

    frame: int
    rows_per_s: int


PACES: Final = {"frame_of_50": Pace(50, 100_000), "frame_of_1": Pace(1, 10_000)}


class Size(NamedTuple):
    """Documents, seconds of rows a run, and runs with the record and without."""

    documents: int
    seconds: float
    rounds: int


FULL: Final = Size(documents=3_000, seconds=4.0, rounds=5)
QUICK: Final = Size(documents=400, seconds=0.5, rounds=1)


def measure(room: Path, *, quick: bool = False) -> dict[str, Any]:
    """Return the object `record`: times in µs and ms as the names say."""
    size = QUICK if quick else FULL
    Market.warm_up()
    return asyncio.run(_measure(room, size))


async def _measure(room: Path, size: Size) -> dict[str, Any]:
    found = _documents(room / "documents", size.documents)
    for name, pace in PACES.items():
        found |= _frames(room / name, name, pace, size)
    return found | _snapshot() | _trim(room / "trim")


# --- documents ---------------------------------------------------------------------------------------------


class _Timed(JournalStore):
    """The journal, with the time that it takes to seal a step."""

    sealing_ns = 0

    def append(
        self, seq: int, ts_ns: int, kind: str, payload: bytes, row: int = 0, commands: bytes = b""
    ) -> None:
        began = time.perf_counter_ns()
        super().append(seq, ts_ns, kind, payload, row, commands)
        self.sealing_ns = time.perf_counter_ns() - began


def _documents(room: Path, count: int) -> dict[str, Any]:
    """Return what one document takes from its bytes until its order may be sent, and what of that encoding and sealing do."""
    room.mkdir()
    desk, clock = Desk(), time.perf_counter_ns
    journal = _Timed(room / "journal.db")
    took: list[int] = []
    keeping: list[int] = []
    sent: list[tuple[ApprovedEntry, int, int]] = []

    def dispatch(commands: list[AnyCommand], _: Ns, __: Ns | None) -> None:
        at, sealing_ns = clock(), journal.sealing_ns
        entries = [each.entry for each in commands if isinstance(each, SubmitEntry)]
        began = clock()
        encode(commands)  # once more: it is not alone where it belongs
        sent.extend((entry, at, sealing_ns + clock() - began) for entry in entries)

    sequencer = Sequencer(desk.state, journal, lambda: Ns(clock()), dispatch)
    gc.collect()
    for number in range(WARM + count):
        now = Ns(desk.state.now_ns + 1_000)
        desk.at(now)
        data = desk.document("AAPL", take_profit=round(155 + number % 1_000 / 100, 2))
        event = DocumentReceived(ts_ns=now, agent="default", name="x.json", data=data, file_event_ns=now)
        began = clock()
        sequencer.feed(event)
        entry, at, kept_ns = sent.pop()
        took.append(at - began)
        keeping.append(kept_ns)
        sequencer.commit()
        desk.report(entry, OrderStatus.CANCELED)
    sequencer.stop()
    journal.close()
    return {
        "document": summary(took[WARM:]),
        "document_kept_us": summary(keeping[WARM:])["p50_us"],
    }


# --- rows --------------------------------------------------------------------------------------------------


def _frames(room: Path, name: str, pace: Pace, size: Size) -> dict[str, Any]:
    """Return what one frame takes with the record and without it, and the recorder's share of a processor."""
    room.mkdir()
    rows = _rows()
    took: dict[bool, list[int]] = {False: [], True: []}
    beside_ns = stored = count = 0
    for number in range(size.rounds):
        for is_recorded in (False, True):
            folder = room / f"{number}-{is_recorded}"
            folder.mkdir()
            with _engine(folder, is_recorded=is_recorded) as sequencer:
                cpu = time.process_time_ns() - time.thread_time_ns()
                took[is_recorded] += _take(sequencer, rows, pace, size.seconds)
                if is_recorded:
                    beside_ns += time.process_time_ns() - time.thread_time_ns() - cpu
                    count += sequencer.state.market.rows_seen
            if is_recorded:
                stored += sum(path.stat().st_size for path in folder.glob("segments/*.seg"))
    recorded, bare = summary(took[True]), summary(took[False])
    return {
        name: recorded,
        f"{name}_unrecorded": bare,
        f"{name}_ratio_p50": round(recorded["p50_us"] / bare["p50_us"], 2),
        f"{name}_recorder_ns_per_row": round(beside_ns / count, 1),
        f"{name}_bytes_per_row": round(stored / count, 1),
    }


@contextmanager
def _engine(folder: Path, *, is_recorded: bool) -> Iterator[Sequencer]:
    limits = read_limits((Path(__file__).parent / "config" / "risk_limits.toml").read_text("utf-8"))
    state = State(limits, Market(SYMBOLS), Venue.SIM)
    with ExitStack() as stack:
        journal = JournalStore(folder / "journal.db")
        stack.callback(journal.close)
        recording = Recording(folder, journal, SETTINGS) if is_recorded else None
        rows = None if recording is None else recording.rows
        sequencer = Sequencer(state, journal, lambda: Ns(time.time_ns()), lambda *_: None, rows)
        if recording is not None:
            sequencer.begin()
            sequencer.commit()
            recording.begin()
            stack.callback(recording.stop, 10.0)
        gc.collect()
        yield sequencer
        if recording is not None:
            assert recording.fault is None, recording.fault


def _take(sequencer: Sequencer, rows: np.ndarray, pace: Pace, seconds: float) -> list[int]:
    """Give rows to the market at a pace, as a feed does: from one buffer, a frame at a time; return what each took."""
    clock, frame = time.perf_counter_ns, pace.frame
    buffer = new_rows(frame)
    every_ns = frame * NS_PER_S // pace.rows_per_s
    took: list[int] = []
    due = clock()
    for number in range(int(seconds * NS_PER_S / every_ns)):
        at = number * frame % (BUFFERED - frame)
        buffer[:] = rows[at : at + frame]
        buffer["venue_ns"] = buffer["recv_ns"] = time.time_ns()
        began = clock()
        sequencer.take_rows(buffer, frame)
        took.append(clock() - began)
        due += every_ns
        if (early := due - clock()) > 0:
            time.sleep(early / NS_PER_S)
    return took


def _rows() -> np.ndarray:
    chance = np.random.default_rng(7)
    rows = new_rows(BUFFERED)
    price = np.round(150 + np.cumsum(chance.choice((-0.01, 0.0, 0.01), BUFFERED)), 2)
    trades = chance.random(BUFFERED) < 0.3
    rows["sym"] = chance.integers(0, len(SYMBOLS), BUFFERED)
    rows["kind"], rows["flags"] = np.where(trades, RowKind.TRADE, RowKind.QUOTE), RowFlag.ELIGIBLE
    rows["price"], rows["size"] = price, chance.integers(1, 500, BUFFERED)
    rows["price2"] = np.where(trades, 0.0, np.round(price + 0.02, 2))
    rows["size2"] = np.where(trades, 0, chance.integers(1, 500, BUFFERED))
    rows["trade_id"] = np.where(trades, np.arange(BUFFERED), 0)
    return rows


# --- once an hour, once a second ---------------------------------------------------------------------------


def _snapshot() -> dict[str, float]:
    """Return what a snapshot of eighteen symbols that have seen a day takes: one begins each segment."""
    desk = Desk()
    market, rows = desk.state.market, _rows()
    rows["sym"] %= len(market.symbols)
    rows["venue_ns"] = rows["recv_ns"] = desk.state.now_ns + np.arange(BUFFERED) * (NS_PER_S // 4)
    start = 0
    while start < BUFFERED:
        start = market.consume(rows, start, BUFFERED)
    took = []
    for _ in range(20):
        began = time.perf_counter_ns()
        head_of(desk.state)
        took.append(time.perf_counter_ns() - began)
    size = len(head_of(desk.state))
    return {"snapshot_ms": round(summary(took)["p50_us"] / 1e3, 2), "snapshot_kb": round(size / 1e3)}


def _trim(room: Path) -> dict[str, float]:
    """Return what removing one batch of steps takes, in µs, beside four thousand that stay or go later."""
    room.mkdir()
    journal = JournalStore(room / "journal.db")
    for seq in range(1, 6_001):
        journal.append(seq, seq, "document", bytes(700), 0, bytes(2_600))
    journal.commit()
    took = []
    for _ in range(2_000 // TRIM_STEPS):
        began = time.perf_counter_ns()
        journal.trim_steps(6_000)
        took.append(time.perf_counter_ns() - began)
    journal.close()
    return {"trim_us": summary(took)["p50_us"]}
