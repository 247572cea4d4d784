"""JSON in the venue's words as rows: recorded stream messages, and pages of the historical API.

Owns reading them some thousand at a time, into typed structs and from there into columns. The rules are the simulator's
(`hands.sim.market.alpaca_files`), with one thing more: where a message names its tape, that decides what its conditions
mean, as it does live. What the simulator's reader has to judge, or turns into prints of its own (bars among stream
messages), is left to it (`NotPlain`).
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, cast

import msgspec
import numpy as np
from msgspec import field

from hands.core.rows import new_rows
from hands.replay.bar_rows import bar_rows
from hands.replay.columns import ORDINARY, Naming, exchanges, flags_by, quotes, trades
from hands.replay.merging import cut
from hands.replay.tables import NotPlain, Words, exact, utc_times
from hands.sim.market.alpaca_files import PASSED_OVER, TAKEN_BACK
from hands.sim.market.file_rows import DOCUMENT_BYTES_MAX, Source

LINES_AT_ONCE: Final = 1 << 13
_NOTICES: Final = frozenset({"s", "l", "c", "x"})
_MARK: Final = 0
"""The kind of a row that stands for a notice: it moves no market, but what comes after it may be late."""


class _Message(msgspec.Struct, gc=False, frozen=True):
    """Any message; absent members are None. A bar has its close where a print has its conditions."""

    t: str
    T: str | None = None
    S: str | None = None
    p: float | None = None
    s: float | None = None
    i: int | str | msgspec.UnsetType = msgspec.UNSET
    c: list[str] | float | None = None
    x: str | msgspec.UnsetType | None = msgspec.UNSET
    z: str | None = None
    tks: str | None = None
    u: str | float | None = None
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    ask_size: float | None = field(name="as", default=None)
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741  the venue's letter
    v: float | None = None


class _Control(msgspec.Struct, gc=False, frozen=True):
    """As much of a message as says whether it is one, and of what."""

    T: str | None = None
    S: str | None = None


_Items = list[_Message] | dict[str, list[_Message] | None] | None
_RawItems = list[msgspec.Raw] | dict[str, msgspec.Raw] | None


class _Page(msgspec.Struct, gc=False):
    trades: _Items = None
    quotes: _Items = None
    bars: _Items = None
    symbol: str | None = None


class _RawPage(msgspec.Struct, gc=False):
    trades: _RawItems = None
    quotes: _RawItems = None
    bars: _RawItems = None
    symbol: str | None = None
    T: str | None = None

    @property
    def is_one(self) -> bool:
        if self.T is not None:  # an acknowledged subscription lists trades too
            return False
        return self.trades is not None or self.quotes is not None or self.bars is not None


_MESSAGES = msgspec.json.Decoder(list[_Message | list[_Message]])
_RAW = msgspec.json.Decoder(list[msgspec.Raw])
_CONTROLS = msgspec.json.Decoder(list[_Control | list[_Control]])
_PAGES = msgspec.json.Decoder(list[_Page | list[_Page]])
_RAW_PAGES = msgspec.json.Decoder(list[_RawPage | list[_RawPage]])
_UNREADABLE = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
)


class MessageFile:
    """A JSON file of the venue's; `of_file` is what messages without a symbol are of."""

    def __init__(self, source: Source, of_file: str) -> None:
        self._source = source
        self._of_file = of_file
        self.is_pages = False

    def survey(self) -> tuple[str, ...]:
        """Return its symbols, and find out whether it is pages. Raises NotPlain."""
        seen: set[str] = set()
        for number, document in enumerate(self._documents()):
            if number == 0:
                self.is_pages = _holds_pages(document)
            seen |= self._symbols(document)
        return tuple(sorted(seen))

    def _symbols(self, document: bytes) -> set[str]:
        if self.is_pages:
            pages = _flat(_decoded(_RAW_PAGES, document))
            return {symbol for page in pages for symbol in _names(page, self._of_file)}
        controls: list[_Control] = _flat(_decoded(_CONTROLS, document))
        return {
            one.S or self._of_file for one in controls if one.T not in PASSED_OVER and one.T not in _NOTICES
        }

    def made(self, naming: Naming) -> Iterator[np.ndarray]:
        """Yield rows in the order in which they are played; those of kind 0 are to be left out once times are known."""
        if self.is_pages:
            yield from cut(self._pages(naming))
            return
        for document in self._documents():
            messages: list[_Message] = _flat(self._messages(document))
            told = [one for one in messages if one.T not in PASSED_OVER]
            yield _streamed(naming, told)

    def _messages(self, document: bytes) -> list[Any]:
        try:
            return _decoded(_MESSAGES, document)
        except NotPlain:  # a control message has no time; they are few
            kept = []
            for raw, head in zip(_decoded(_RAW, document), _decoded(_CONTROLS, document), strict=True):
                if isinstance(head, list) or head.T not in PASSED_OVER:
                    kept += [one for one in _of_line(raw) if one is not None]
            return kept

    def _pages(self, naming: Naming) -> np.ndarray:
        """Return everything, by time: pages hold symbol after symbol."""
        found, bars, traded = [new_rows(0)], [], set()
        for document in self._documents():
            for page in cast("list[_Page]", _flat(_decoded(_PAGES, document))):
                for items, make in ((page.trades, _prints), (page.quotes, _quotes)):
                    for symbol, listed in _by_symbol(items, page.symbol or self._of_file):
                        found.append(make(naming, [symbol] * len(listed), listed))
                        traded |= {symbol} if make is _prints and listed else set()
                bars += [
                    (symbol, bar)
                    for symbol, listed in _by_symbol(page.bars, page.symbol or self._of_file)
                    for bar in listed
                ]
        if bars:
            found.append(_bars(naming, bars, traded))
        rows = np.concatenate(found)
        return rows[np.argsort(rows["venue_ns"], kind="stable")]

    def _documents(self) -> Iterator[bytes]:
        """Yield lines as arrays of what stands in them, some at a time, or the whole file as an array of one."""
        opened = gzip.open if self._source.path.suffix == ".gz" else open
        try:
            with cast("BinaryIO", opened(self._source.path, "rb")) as file:
                lines: Iterator[bytes] = (line for line in file if not line.isspace())
                first = list(itertools.islice(lines, 1))
                if first and not _is_json(first[0]):
                    yield b"[" + first[0] + file.read(DOCUMENT_BYTES_MAX) + b"]"
                    return
                lines = itertools.chain(first, lines)
                while some := list(itertools.islice(lines, LINES_AT_ONCE)):
                    yield b"[" + b",".join(some) + b"]"
        except _UNREADABLE as error:
            raise NotPlain from error


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except _UNREADABLE:
        return False
    return True


def _decoded(decoder: msgspec.json.Decoder[list[Any]], document: bytes) -> list[Any]:
    try:
        return decoder.decode(document)
    except _UNREADABLE as error:
        raise NotPlain from error


def _of_line(raw: msgspec.Raw) -> list[_Message | None]:
    """Return a line's messages, None for those that are none of the market."""
    try:
        values = msgspec.json.decode(raw, type=_Control | list[msgspec.Raw])
        if not isinstance(values, list):
            return [msgspec.json.decode(raw, type=_Message)]
        heads = msgspec.json.decode(raw, type=list[_Control])
        return [
            None if head.T in PASSED_OVER else msgspec.json.decode(value, type=_Message)
            for head, value in zip(heads, values, strict=True)
        ]
    except _UNREADABLE as error:
        raise NotPlain from error


def _flat(values: Iterable[Any]) -> list[Any]:
    return [one for value in values for one in (value if isinstance(value, list) else (value,))]


def _holds_pages(document: bytes) -> bool:
    """Whether the first value is a page, or an array that begins with one."""
    try:
        values = _flat(_RAW_PAGES.decode(document))
    except msgspec.DecodeError:
        return False
    return bool(values) and values[0].is_one


def _names(page: _RawPage, of_file: str) -> Iterator[str]:
    if not page.is_one:
        raise NotPlain
    for items in (page.trades, page.quotes, page.bars):
        if isinstance(items, dict):
            yield from (symbol for symbol, listed in items.items() if bytes(listed) not in (b"null", b"[]"))
        elif items:
            yield page.symbol or of_file


def _by_symbol(items: _Items, symbol: str) -> Iterator[tuple[str, list[_Message]]]:
    if isinstance(items, dict):
        yield from ((name, listed) for name, listed in items.items() if listed)
    elif items:
        yield symbol, items


# --- columns ---------------------------------------------------------------------------------------------------


def _streamed(naming: Naming, messages: Sequence[_Message]) -> np.ndarray:
    """Return the rows of stream messages, in their order."""
    places: dict[Callable[..., np.ndarray], list[int]] = {_marks: [], _quotes: [], _prints: []}
    for place, one in enumerate(messages):
        if one.T in _NOTICES:
            if one.T == "x" and (one.p is None or one.s is None):
                raise NotPlain
            places[_marks].append(place)
        elif one.bp is not None:
            places[_quotes].append(place)
        elif one.p is not None:
            places[_prints].append(place)
        else:
            raise NotPlain
    parts, order = [new_rows(0)], []
    for make, chosen in places.items():
        if chosen:
            some = [messages[place] for place in chosen]
            names = [one.S or naming.of_file for one in some]
            parts.append(make(naming, names, some))
            order += [
                place for place, one in zip(chosen, some, strict=True) if make is not _prints or _was(one)
            ]
    return np.concatenate(parts)[np.argsort(np.array(order, "i8"), kind="stable")]


def _was(trade: _Message) -> bool:
    """Whether a print was one, as far as is known today."""
    return trade.u not in TAKEN_BACK


def _prints(naming: Naming, names: Sequence[str], messages: Sequence[_Message]) -> np.ndarray:
    numbers = _numbers(naming, names)
    conditions = _words([_letters(one) for one in messages])
    letters_of = [tuple(value.split("\n")) if value else ORDINARY for value in conditions.values]
    tapes = _words([one.z or naming.tapes[number] for one, number in zip(messages, numbers, strict=True)])
    letters = _words(["V" if one.x is msgspec.UNSET else one.x or "" for one in messages])
    rows = trades(
        numbers, _times(messages), _amounts([one.p for one in messages]), _amounts([one.s for one in messages]),
        flags=flags_by(naming, numbers, conditions.codes, letters_of, tapes), exchange=exchanges(naming, numbers, letters),
        trade_id=_ids(messages),
    )  # fmt: skip
    kept: np.ndarray = rows[np.array([_was(one) for one in messages], bool)]
    return kept


def _quotes(naming: Naming, names: Sequence[str], messages: Sequence[_Message]) -> np.ndarray:
    bid, bid_size = _amounts([one.bp for one in messages]), _amounts([one.bs for one in messages])
    ask, ask_size = _amounts([one.ap for one in messages]), _amounts([one.ask_size for one in messages])
    return quotes(_numbers(naming, names), _times(messages), bid, bid_size, ask, ask_size)


def _marks(naming: Naming, names: Sequence[str], messages: Sequence[_Message]) -> np.ndarray:  # noqa: ARG001
    rows = new_rows(len(messages))
    rows["kind"], rows["venue_ns"] = _MARK, _times(messages)
    return rows


def _bars(naming: Naming, bars: Sequence[tuple[str, _Message]], traded: set[str]) -> np.ndarray:
    """Return the prints of bars, but for those of symbols whose trades are there too, which they would repeat."""
    members = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    columns: dict[str, Any] = {
        name: _amounts([getattr(bar, member) for _, bar in bars]) for name, member in members.items()
    }
    columns["timestamp"] = _times([bar for _, bar in bars])
    numbers = _numbers(naming, [symbol for symbol, _ in bars])
    kept = np.array([symbol not in traded for symbol, _ in bars], bool)
    if not kept.any():
        return new_rows(0)
    return bar_rows(naming, {name: column[kept] for name, column in columns.items()}, numbers[kept])


def without_marks(rows: np.ndarray) -> np.ndarray:
    """Return rows without those that stand for notices."""
    marks = rows["kind"] == _MARK
    return rows[~marks] if marks.any() else rows


def _letters(trade: _Message) -> str:
    conditions = trade.c
    if isinstance(conditions, float):
        raise NotPlain
    return trade.tks or "\n".join(conditions or ())


def _numbers(naming: Naming, names: Sequence[str]) -> np.ndarray:
    places = {symbol: place for place, symbol in enumerate(naming.symbols)}
    try:
        return np.fromiter(map(places.__getitem__, names), "i4", len(names))
    except KeyError:
        raise NotPlain from None


def _words(texts: Sequence[str]) -> Words:
    values = list(dict.fromkeys(texts))
    places = {value: place for place, value in enumerate(values)}
    return Words(np.fromiter(map(places.__getitem__, texts), "i8", len(texts)), values)


def _amounts(values: Sequence[Any]) -> np.ndarray:
    try:
        return exact(np.array(values, "f8"))
    except (TypeError, ValueError):
        raise NotPlain from None


def _ids(messages: Sequence[_Message]) -> np.ndarray:
    try:
        return np.array([0 if one.i is msgspec.UNSET else one.i for one in messages], "i8")
    except (TypeError, ValueError, OverflowError):
        raise NotPlain from None


def _times(messages: Sequence[_Message]) -> np.ndarray:
    return utc_times([one.t for one in messages])
