"""Where a market of the past comes from: files, folders of them, a made-up market, the record of a session.

Owns the way from a name on the command line to a tape. May not interpret a row: `columns` and `bar_rows` do, and where
they give up, the simulator's own reader (`played`). The one idea: a file is looked at once when the market is opened
(what it is of, whether it is in order), so that a name nobody has and a format nobody knows are said at once; its rows
are read each time the tape is.

    market = open_market([Path("BAC_20131008_trades.csv.gz"), Path("BAC_20131008_quotes.csv.gz")])
    for rows in market.chunks(): ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hands.core.rows import new_rows
from hands.core.units import NS_PER_S
from hands.replay.bar_rows import bar_rows
from hands.replay.columns import FORMATS, Format, Naming, due, words
from hands.replay.merging import cut
from hands.replay.messages import MessageFile, without_marks
from hands.replay.played import played_file, played_rows, symbols_played
from hands.replay.recorded_sessions import is_state_directory, market_of
from hands.replay.tables import Kind, NotPlain, count_of, heading, joined, tables
from hands.replay.tape import Tape, merged
from hands.sim.market.file_rows import FileError, Source
from hands.sim.market.files import read_file, symbol_of
from hands.sim.market.synthetic import SyntheticTape
from hands.sim.market.times import time_ns

JSON_ENDINGS: Final = (".jsonl", ".ndjson", ".json")
ENDINGS: Final = (*(f"{ending}{gz}" for ending in (".csv", *JSON_ENDINGS) for gz in ("", ".gz")), ".parquet")
SYNTHETIC: Final = re.compile(r"synthetic(?::(\d{1,18}))?(?::([1-9]\d{0,5})([smh]))?")
SYNTHETIC_SYMBOLS: Final = ("AAPL", "SPY", "BTC/USD", "SOL/USD")
SYNTHETIC_START_NS: Final = time_ns("2026-01-05T14:30:00Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def open_market(names: Sequence[str | Path], symbols: Sequence[str] | None = None) -> Tape:
    """Return the market of these files and folders, merged by time; `symbols` narrows it and gives their order.

    Files are those the simulator plays: CSV, Parquet and JSON lines (`FORMATS`). Of a folder all of them are taken, or
    it is a state directory, and its market what its sessions saw. "synthetic:SEED:SPAN" ("synthetic:7:30m") is a
    made-up market, of an hour where no span is named.

    Raises:
        FileError: a name that is nothing of these, a file of no known format, or one that cannot be read.
        TapeError: the market does not have one of the symbols.
    """
    if not names:
        raise FileError("no market given; allowed: recorded files, folders of them, synthetic:SEED")
    made_up = [str(name) for name in names if str(name).partition(":")[0] == "synthetic"]
    if made_up:
        if len(names) > 1:
            raise FileError(f"{', '.join(map(str, names))}: a made-up market stands alone")
        return synthetic(made_up[0], symbols or SYNTHETIC_SYMBOLS)
    market = merged([tape for name in names for tape in _tapes(Path(name))])
    return market if symbols is None else market.only(symbols)


def synthetic(name: str, symbols: Sequence[str]) -> Tape:
    """Return a made-up market by its name; the same name and symbols give the same rows. Raises `FileError`."""
    match = SYNTHETIC.fullmatch(name)
    if match is None:
        raise FileError(f"{name}: no made-up market; allowed is synthetic:SEED:SPAN, as synthetic:7:30m")
    seed, span_s = int(match[1] or 0), int(match[2] or 1) * _SECONDS[match[3] or "h"]
    played = SyntheticTape(symbols, seed, SYNTHETIC_START_NS)
    endless = Tape(symbols, lambda: played_rows(played, symbols))
    return endless.between(None, SYNTHETIC_START_NS + span_s * NS_PER_S)


def _tapes(path: Path) -> Iterator[Tape]:
    if not path.is_dir():
        yield file_tape(path)
        return
    if is_state_directory(path):
        yield market_of(path)
        return
    files = sorted(file for file in path.iterdir() if file.name.endswith(ENDINGS) and file.is_file())
    if not files:
        raise FileError(f"{path}: no recorded market in this folder; allowed are {' '.join(ENDINGS)}")
    yield from map(file_tape, files)


def file_tape(path: Path) -> Tape:
    """Return the market of one file. Raises `FileError`."""
    if not path.is_file():
        raise FileError(f"{path}: no such file; a market is recorded files, folders of them, synthetic:SEED")
    source = Source(path)
    name = source.plain_name
    of_file = symbol_of(name.rpartition(".")[0])
    try:
        if name.endswith(JSON_ENDINGS):
            messages = MessageFile(source, of_file)
            return _tape(path, of_file, messages.survey(), messages.made)
        if name.endswith((".csv", ".parquet")):
            columns = heading(source)
            known = next((known for known in FORMATS if set(known.needed) <= set(columns)), None)
            if known is not None:
                table = TableFile(source, known, columns, of_file)
                keeps_times = "recv_ns" in known.needed
                count = count_of(source) if keeps_times else None
                return _tape(path, of_file, table.survey(), table.made, keeps_times=keeps_times, count=count)
    except NotPlain:
        pass
    return _played_tape(path)  # or it says what is allowed


def _played_tape(path: Path) -> Tape:
    symbols = tuple(sorted(symbols_played(read_file(path))))
    return Tape(symbols, lambda: played_file(path, symbols))


def _tape(
    path: Path,
    of_file: str,
    symbols: tuple[str, ...],
    made: Callable[[Naming], Iterator[np.ndarray]],
    *,
    keeps_times: bool = False,
    count: int | None = None,
) -> Tape:
    """Return the tape of a file that `made` reads, and the simulator's reader from where that gives up."""

    def read() -> Iterator[np.ndarray]:
        naming, given, due_ns = Naming(symbols, of_file), 0, 0
        try:
            for rows in made(naming):
                if not keeps_times:
                    rows, due_ns = due(rows, due_ns, naming.is_coin)  # noqa: PLW2901
                    rows = without_marks(rows)  # noqa: PLW2901
                given += len(rows)
                yield rows
        except NotPlain:
            yield from played_file(path, symbols, after=given)

    return Tape(symbols, read, rows=count)


class TableFile:
    """A file of columns in a known format."""

    def __init__(self, source: Source, known: Format, columns: tuple[str, ...], of_file: str) -> None:
        self._source = source
        self._format = known
        self._wanted = known.wanted(columns)
        self._of_file = of_file
        self._is_sorted = False

    def survey(self) -> tuple[str, ...]:
        """Return its symbols, and where rows may stand in any order look at their times. Raises NotPlain."""
        has_symbols = "symbol" in self._wanted
        looks_at_times = self._format.is_whole and self._format.convert is not None
        if not has_symbols and not looks_at_times:
            return (self._of_file,)
        looked_at: dict[str, Kind] = {"symbol": Kind.WORD} if has_symbols else {}
        time = self._format.time
        if looks_at_times:
            looked_at[time] = self._wanted[time]
        seen: set[str] = set() if has_symbols else {self._of_file}
        is_sorted, last_ns = True, -(2**63)
        for columns in tables(self._source, looked_at):
            if has_symbols:
                found = words(columns, "symbol")
                used = np.unique(found.codes).tolist()
                seen |= {symbol_of(found.values[code]) or self._of_file for code in used}
            if looks_at_times and len(t_ns := columns[time]):
                is_sorted &= int(t_ns[0]) >= last_ns and not bool((t_ns[1:] < t_ns[:-1]).any())
                last_ns = int(t_ns[-1])
        self._is_sorted = is_sorted
        return tuple(sorted(seen))

    def made(self, naming: Naming) -> Iterator[np.ndarray]:
        """Yield rows in the order in which they are played."""
        convert = self._format.convert
        if convert is not None and (self._is_sorted or not self._format.is_whole):
            make = convert(naming)
            for columns in tables(self._source, self._wanted):
                yield make(columns)
            return
        parts = list(tables(self._source, self._wanted))
        if convert is None:
            whole = bar_rows(naming, joined(parts)) if parts else new_rows(0)
        else:
            make = convert(naming)
            whole = np.concatenate([new_rows(0), *map(make, parts)])
            whole = whole[np.argsort(whole["venue_ns"], kind="stable")]
        yield from cut(whole)
