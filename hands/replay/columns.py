"""Recorded columns as rows of the market: the simulator's formats, a table at a time instead of a row.

Owns one small function per set of columns, and what sale conditions make of a print. May not decide what a file means:
every rule is the simulator's (`hands.sim.market.recordings`, `bar_prints`, `alpaca_files`), and a test holds both
readings of the same files against each other. The one idea: a converter makes rows with `venue_ns` in the order of the
file and keeps what it has to remember from one table to the next; what comes late is then the same for all (`due`).

Prints of coins carry no conditions on the venue's stream: they are prices whatever the recording says of their taker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from hands.core.rows import ROW, RowFlag, RowKind, exchange_of, new_rows
from hands.core.units import NS_PER_MS
from hands.replay.best_quotes import BestQuotes
from hands.replay.tables import Columns, Kind, NotPlain, Words
from hands.sim.market.feeds import is_crypto
from hands.sim.market.files import symbol_of
from hands.sim.market.recordings import SALE_CONDITIONS, TAKERS
from hands.sim.market.tape_codes import listing_tape
from hands.venues.alpaca.conditions import flags_of

ELIGIBLE: Final = int(RowFlag.ELIGIBLE)
VOLUME: Final = int(RowFlag.VOLUME)
TRADE: Final = int(RowKind.TRADE)
QUOTE: Final = int(RowKind.QUOTE)

_LETTER: Final = re.compile(r"[A-Z0-9@]")
ORDINARY: Final = ("@",)


class Naming:
    """Which symbol a row belongs to: its own column's, or else the file's; numbered in the order of `symbols`."""

    def __init__(self, symbols: tuple[str, ...], of_file: str) -> None:
        self.symbols = symbols
        self.of_file = of_file
        self._index = {symbol: number for number, symbol in enumerate(symbols)}
        self.is_coin = np.array([is_crypto(symbol) for symbol in symbols], bool)
        self.tapes = tuple("" if is_crypto(symbol) else listing_tape(symbol) for symbol in symbols)

    def numbers(self, columns: Columns, count: int) -> np.ndarray:
        """Return the number of each row's symbol. Raises NotPlain: one that the file had not when it was looked at."""
        if "symbol" not in columns:
            return np.full(count, self._index.get(self.of_file, -1), "i4")
        found = words(columns, "symbol").of(lambda text: self._index.get(self.named(text), -1), "i4")
        if count and int(found.min()) < 0:
            raise NotPlain
        return found

    def named(self, text: str) -> str:
        """Return the symbol for what a column says."""
        return symbol_of(text) if text else self.of_file


def words(columns: Columns, name: str) -> Words:
    """Return a column of words."""
    found = columns[name]
    assert isinstance(found, Words)
    return found


def flags(naming: Naming, numbers: np.ndarray, conditions: Words, tapes: Words | None = None) -> np.ndarray:
    """Return the `RowFlag`s of prints, as the live codec would; the tape is the listing's where none is named."""
    letters = [tuple(_LETTER.findall(value)) or ORDINARY for value in conditions.values]
    return flags_by(naming, numbers, conditions.codes, letters, tapes)


def flags_by(
    naming: Naming,
    numbers: np.ndarray,
    codes: np.ndarray,
    letters: Sequence[tuple[str, ...]],
    tapes: Words | None = None,
) -> np.ndarray:
    """Return the same, where `letters` are the conditions that a code in `codes` stands for."""
    names = ["A", "B", "C", ""] if tapes is None else [value.upper() for value in tapes.values]
    table = np.array([[flags_of(group, tape) for tape in names] for group in letters], "u1").reshape(-1)
    if tapes is None:
        on = np.array([names.index(tape) if tape in names else 3 for tape in naming.tapes], "i8")[numbers]
    else:
        on = tapes.codes
    found: np.ndarray = table[codes * len(names) + on]
    return np.where(naming.is_coin[numbers], np.uint8(ELIGIBLE), found)


def exchanges(naming: Naming, numbers: np.ndarray, letters: Words | None, *, blank: str = "") -> np.ndarray:
    """Return the exchanges as rows have them; the venue's coins name none. `blank` is what an empty cell stands for."""
    if letters is None:
        found: np.ndarray | int = exchange_of("V")
    else:
        found = letters.of(lambda letter: exchange_of(letter or blank), "u1")
    return np.where(naming.is_coin[numbers], np.uint8(0), np.asarray(found, "u1"))


def trades(
    numbers: np.ndarray, t_ns: np.ndarray, price: np.ndarray, size: np.ndarray, **more: np.ndarray
) -> np.ndarray:
    """Return rows of prints; `more` are further columns of them."""
    rows = new_rows(len(t_ns))
    rows["sym"], rows["kind"], rows["venue_ns"] = numbers, TRADE, t_ns
    rows["price"], rows["size"] = price, size
    for name, column in more.items():
        rows[name] = column
    return rows


def quotes(
    numbers: np.ndarray,
    t_ns: np.ndarray,
    bid: np.ndarray,
    bid_size: np.ndarray,
    ask: np.ndarray,
    ask_size: np.ndarray,
) -> np.ndarray:
    """Return rows of quotes."""
    rows = new_rows(len(t_ns))
    rows["sym"], rows["kind"], rows["flags"], rows["venue_ns"] = numbers, QUOTE, ELIGIBLE, t_ns
    rows["price"], rows["size"], rows["price2"], rows["size2"] = bid, bid_size, ask, ask_size
    return rows


def due(rows: np.ndarray, after_ns: int, is_coin: np.ndarray) -> tuple[np.ndarray, int]:
    """Return rows with the time they are due, `recv_ns`, and when the last was; all of them after those of `after_ns`.

    What is earlier than a row before it is late: a quote is dropped, a print stays with its own time, and its price is
    none any more (sold out of sequence).
    """
    if not len(rows):
        return rows, after_ns
    rows["recv_ns"] = np.maximum.accumulate(np.maximum(rows["venue_ns"], after_ns))
    until_ns = int(rows["recv_ns"][-1])
    late = rows["venue_ns"] < rows["recv_ns"]
    if late.any():
        out_of_sequence = late & (rows["flags"] != 0) & ~is_coin[rows["sym"]]
        rows["flags"][out_of_sequence & (rows["kind"] == TRADE)] = VOLUME
        rows = rows[~late | (rows["kind"] == TRADE)]
    return rows, until_ns


# --- formats ---------------------------------------------------------------------------------------------------

Convert = Callable[[Columns], np.ndarray]
"""From a table to rows in the file's order, without `recv_ns`."""


def crypto_trades(naming: Naming) -> Convert:
    """Read the prints of coins."""

    def convert(columns: Columns) -> np.ndarray:
        takers = words(columns, "taker_side")
        if not set(takers.values) <= set(TAKERS):
            raise NotPlain
        t_ns, price, size = columns["ts_local_ns"], columns["price"], columns["qty"]
        keep = (price > 0) & (size > 0)
        numbers = naming.numbers(columns, len(t_ns))
        letters = [(TAKERS[value],) for value in takers.values]
        rows = trades(
            numbers, t_ns, price, size, trade_id=columns["trade_id"],
            flags=flags_by(naming, numbers, takers.codes, letters), exchange=exchanges(naming, numbers, None),
        )  # fmt: skip
        return rows if keep.all() else rows[keep]

    return convert


def crypto_quotes(naming: Naming) -> Convert:
    """Read the best bids and offers of coins."""

    def convert(columns: Columns) -> np.ndarray:
        t_ns, bid, ask = columns["ts_local_ns"], columns["bid"], columns["ask"]
        numbers = naming.numbers(columns, len(t_ns))
        rows = quotes(numbers, t_ns, bid, columns["bid_qty"], ask, columns["ask_qty"])
        keep = (bid > 0) | (ask > 0)
        return rows if keep.all() else rows[keep]

    return convert


def equity_trades(naming: Naming) -> Convert:
    """Read the prints of stocks; they are numbered in their order, which goes on from table to table."""
    numbered = 0

    def convert(columns: Columns) -> np.ndarray:
        nonlocal numbered
        t_ns, price, size = columns["ts_ms_utc"] * NS_PER_MS, columns["price"], columns["size"]
        keep = words(columns, "suspicious").of(lambda text: text == "0", "?") & (price > 0) & (size > 0)
        numbers = naming.numbers(columns, len(t_ns))[keep]
        conditions = words(columns, "sale_condition").where(keep)
        rows = trades(
            numbers, t_ns[keep], price[keep], size[keep],
            flags=flags_by(naming, numbers, conditions.codes, _sale_letters(conditions)),
            exchange=exchanges(naming, numbers, words(columns, "exchange").where(keep)),
        )  # fmt: skip
        rows["trade_id"] = np.arange(numbered + 1, numbered + 1 + len(rows))
        numbered += len(rows)
        return rows

    return convert


def _sale_letters(conditions: Words) -> list[tuple[str, ...]]:
    """Return the letters of hexadecimal sale conditions. Raises NotPlain: one that is none and that a row has."""
    found: list[tuple[str, ...]] = []
    used = set(np.unique(conditions.codes).tolist())
    for code, text in enumerate(conditions.values):
        try:
            bits = int(text or "0", 16)
        except ValueError:
            if code in used:
                raise NotPlain from None
            bits = 0
        found.append((*ORDINARY, *(letter for bit, letter in SALE_CONDITIONS if bits & bit)))
    return found


def equity_quotes(naming: Naming) -> Convert:
    """Read one-sided quotes of many exchanges, which together make a national best bid and offer."""
    best = BestQuotes(len(naming.symbols))

    def convert(columns: Columns) -> np.ndarray:
        keep = words(columns, "suspicious").of(lambda text: text == "0", "?")
        numbers = naming.numbers(columns, len(keep))[keep]
        rows = quotes(
            numbers, (columns["ts_ms_utc"] * NS_PER_MS)[keep], columns["bid"][keep],
            columns["bid_size"][keep], columns["ask"][keep], columns["ask_size"][keep],
        )  # fmt: skip
        return best.of(rows, words(columns, "exchange").where(keep))

    return convert


def frame_trades(naming: Naming) -> Convert:
    """Read the prints of the SDK's data frames."""

    def convert(columns: Columns) -> np.ndarray:
        t_ns = columns["timestamp"]
        numbers = naming.numbers(columns, len(t_ns))
        if "conditions" in columns:
            counts = flags(naming, numbers, words(columns, "conditions"), columns.get("tape"))
        else:
            counts = np.full(len(t_ns), ELIGIBLE, "u1")
        return trades(
            numbers, t_ns, columns["price"], columns["size"],
            trade_id=columns.get("id", np.zeros(1, "i8")),
            flags=counts, exchange=exchanges(naming, numbers, columns.get("exchange"), blank="V"),
        )  # fmt: skip

    return convert


def frame_quotes(naming: Naming) -> Convert:
    """Read the quotes of the SDK's data frames."""

    def convert(columns: Columns) -> np.ndarray:
        t_ns = columns["timestamp"]
        numbers = naming.numbers(columns, len(t_ns))
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        return quotes(numbers, t_ns, *(columns[name] for name in names))

    return convert


def recorded_rows(naming: Naming) -> Convert:
    """Read what `hands record` writes: rows as they were received, with both of their times."""

    def convert(columns: Columns) -> np.ndarray:
        rows = new_rows(len(columns["recv_ns"]))
        rows["sym"] = naming.numbers(columns, len(rows))
        for name in ROW.names[1:]:  # type: ignore[index]
            rows[name] = columns[name]
        return rows

    return convert


A, N, I, T, W = Kind.AMOUNT, Kind.NUMBER, Kind.INTEGER, Kind.TIME, Kind.WORD  # noqa: E741

RECORDED: Final[Mapping[str, Kind]] = {
    "symbol": W, "kind": I, "flags": I, "exchange": I, "price": N, "size": N, "price2": N, "size2": N,
    "venue_ns": I, "recv_ns": I, "trade_id": I,
}  # fmt: skip
_ONE_SIDED: Final = {"ts_ms_utc": I, "exchange": W, "suspicious": W}
_BAR: Final = {"open": A, "high": A, "low": A, "close": A, "volume": A}
_QUOTE_BAR: Final = {
    f"{side}_{part}": A for side in ("bid", "ask") for part in ("open", "high", "low", "close", "size")
}


class Format:
    """A set of columns; `optional` are read where they are there. `convert` is None for bars (`bar_rows`).

    `is_whole`: rows may stand in any order, and are sorted; otherwise they are played as they stand.
    """

    def __init__(
        self,
        needed: Mapping[str, Kind],
        convert: Callable[[Naming], Convert] | None,
        optional: Mapping[str, Kind] | None = None,
        *,
        is_whole: bool = False,
    ) -> None:
        self.needed = needed
        self.convert = convert
        self.is_whole = is_whole
        self._optional = {"symbol": W, **(optional or {})}

    def wanted(self, columns: tuple[str, ...]) -> dict[str, Kind]:
        """Return what is read of a file with these columns."""
        return {
            name: kind for name, kind in (dict(self._optional) | dict(self.needed)).items() if name in columns
        }

    @property
    def time(self) -> str:
        """The column of the rows' time."""
        return next(name for name in self.needed if name in TIMES)


TIMES: Final = ("recv_ns", "ts_local_ns", "ts_ms_utc", "timestamp")

FORMATS: Final[tuple[Format, ...]] = (
    Format(RECORDED, recorded_rows),
    Format({"ts_local_ns": I, "symbol": W, "trade_id": I, "price": A, "qty": A, "taker_side": W}, crypto_trades),
    Format({"ts_local_ns": I, "symbol": W, "bid": A, "bid_qty": A, "ask": A, "ask_qty": A}, crypto_quotes),
    Format({**_ONE_SIDED, "price": A, "size": A, "sale_condition": W}, equity_trades),
    Format({**_ONE_SIDED, "bid": A, "bid_size": A, "ask": A, "ask_size": A}, equity_quotes),
    Format({"ts_ms_utc": I, **_QUOTE_BAR}, None, is_whole=True),
    Format({"ts_ms_utc": I, **_BAR}, None, is_whole=True),
    Format({"timestamp": T, **_BAR}, None, is_whole=True),
    Format(
        {"timestamp": T, "price": A, "size": A}, frame_trades,
        {"id": I, "conditions": W, "exchange": W, "tape": W}, is_whole=True,
    ),
    Format(
        {"timestamp": T, "bid_price": A, "bid_size": A, "ask_price": A, "ask_size": A}, frame_quotes, is_whole=True
    ),
)  # fmt: skip
"""In the simulator's order: the first whose columns are all there."""
