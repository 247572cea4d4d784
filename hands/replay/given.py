"""What a replay is given, checked and brought into one shape: market, documents, limits, settings.

Owns every refusal that needs no row to be played. May not play any. The one idea: a name stands for what can be opened
under it, so that a notebook and a command line say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import numpy as np

from hands.core.limits import LimitsError, LimitsFile, read_limits
from hands.core.tightening import narrowed
from hands.core.units import NANO, Usd, nano
from hands.replay.arrivals import Arrival, in_order, read_arrivals
from hands.replay.player import ReplayError
from hands.replay.sources import open_market

LATENCY_MAX_MS = 2_000.0
"""The account is asked for every five seconds: an answer must be here before the next question."""

LOOKED_AT = 10_000
"""By so many rows it is told whether a market's shares kept to their session, however the rows are cut."""


class Rows(Protocol):
    """What a market is to a replay (`hands.replay.tape.Tape`)."""

    @property
    def symbols(self) -> Sequence[str]: ...

    @property
    def rows(self) -> int | None: ...

    def chunks(self) -> Iterator[np.ndarray]: ...


def law_of(limits: LimitsFile | Path | str, symbols: Sequence[str] | None) -> tuple[LimitsFile, str]:
    """Return the limits, narrowed, and the text they were read from ("" where they were given as read).

    Raises:
        LimitsError: every problem of the file, each with its name.
        ReplayError: a symbol that is not allowed.
        OSError: the file cannot be read.
    """
    law, text = (limits, "") if isinstance(limits, LimitsFile) else _read(Path(limits))
    if symbols is None:
        return law, text
    wider = [symbol for symbol in symbols if symbol not in law.allow]
    if wider:
        raise ReplayError(f"symbols only narrow [symbols] allow; not allowed there: {', '.join(wider)}")
    return narrowed(law, tuple(symbols)), text


def _read(path: Path) -> tuple[LimitsFile, str]:
    try:
        text = path.read_text("utf-8")
        return read_limits(text), text
    except UnicodeDecodeError as error:
        raise LimitsError([f"{path}: not readable: {error}"]) from error
    except LimitsError as error:
        raise LimitsError([f"{path}: {problem}" for problem in error.problems]) from error


def tape_of(market: Rows | Path | str | Sequence[Path | str]) -> Rows:
    """Return the market, opened where it was only named. Raises FileError, TapeError."""
    if isinstance(market, str | Path):
        return open_market([market])
    return open_market(market) if isinstance(market, Sequence) else market


def first_rows(chunks: Iterator[np.ndarray]) -> list[np.ndarray]:
    """Return the first chunks, as many as it takes to see what kind of market it is."""
    begun: list[np.ndarray] = []
    while sum(map(len, begun)) < LOOKED_AT and (chunk := next(chunks, None)) is not None:
        begun.append(chunk)
    return begun


def check_settings(fills: str, session: str, latency_ms: float, batch_rows: int) -> None:
    """Raise ReplayError for a setting that cannot be."""
    if fills not in {"realistic", "instant"}:
        raise ReplayError(f"fills is {fills!r}; it is realistic or instant")
    if session not in {"auto", "calendar", "always"}:
        raise ReplayError(f"session is {session!r}; it is auto, calendar or always")
    if not 0 <= latency_ms <= LATENCY_MAX_MS:
        raise ReplayError(f"latency_ms is {latency_ms}; it is from 0 to {LATENCY_MAX_MS:g}")
    if batch_rows < 1:
        raise ReplayError(f"batch_rows is {batch_rows}; at least one row is played at once")


def cash_of(equity: float | Decimal | str) -> Usd:
    """Return what the account begins with. Raises ReplayError: no amount, or none that an account could have."""
    try:
        cash = nano(str(equity))
    except ValueError as error:
        raise ReplayError(f"equity: {error}") from error
    if not 0 < cash <= 10**12 * NANO:
        raise ReplayError(f"equity is {equity}; it is from 0 to a million millions")
    return Usd(cash)


def documents(intents: Iterable[Arrival] | Path | str) -> list[Arrival]:
    """Return the documents by time, read where they were only named. Raises ArrivalError."""
    return read_arrivals(Path(intents)) if isinstance(intents, Path | str) else in_order(intents)


def cut(chunks: Iterator[np.ndarray], start: int | None, end: int | None, most: int) -> Iterator[np.ndarray]:
    """Yield rows received in [start, end), at most so many at once."""
    for chunk in chunks:
        times = chunk["recv_ns"]
        low = 0 if start is None else int(np.searchsorted(times, start))
        high = len(chunk) if end is None else int(np.searchsorted(times, end))
        for at in range(low, high, most):
            yield chunk[at : min(at + most, high)]
        if high < len(chunk):
            return
