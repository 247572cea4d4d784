"""What a replay is given, checked and brought into one shape: market, documents, limits, settings.

Owns every refusal that needs no row to be played. May not play any. The one idea: a name stands for what can be opened
under it, so that a notebook and a command line say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from hands.core.events import AccountReport, LimitsRead, PositionSnapshot
from hands.core.limits import LimitsError, LimitsFile, read_limits
from hands.core.tightening import narrowed
from hands.core.units import NANO, NS_PER_MS, Price, Usd, mul_floor, nano
from hands.replay.arrivals import Arrival, in_order, read_arrivals
from hands.replay.as_recorded import Act, AsRecorded, read_circumstances
from hands.replay.floor import Holding
from hands.replay.player import ReplayError
from hands.replay.recorded_sessions import is_state_directory
from hands.replay.sources import open_market
from hands.replay.ways import Ways

LATENCY_MS = 20.0
"""One way: an assumption, not a measurement. Half of `acked` - `sent` of a receipt is what a user's machine needs."""

EQUITY = 100_000
MULTIPLIER = 2
"""What the account begins with, in dollars, and how many times of it may be bought."""

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
    return law if symbols is None else _narrowed(law, symbols), text


def _narrowed(law: LimitsFile, symbols: Sequence[str]) -> LimitsFile:
    wider = [symbol for symbol in symbols if symbol not in law.allow]
    if wider:
        raise ReplayError(f"symbols only narrow [symbols] allow; not allowed there: {', '.join(wider)}")
    return narrowed(law, tuple(symbols))


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


def check_settings(fills: str, session: str, latency_ms: float | None, batch_rows: int) -> None:
    """Raise ReplayError for a setting that cannot be."""
    if fills not in {"realistic", "instant"}:
        raise ReplayError(f"fills is {fills!r}; it is realistic or instant")
    if session not in {"auto", "calendar", "always"}:
        raise ReplayError(f"session is {session!r}; it is auto, calendar or always")
    if latency_ms is not None and not 0 <= latency_ms <= LATENCY_MAX_MS:
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


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents by time and, where they are those of a record, what stood around them."""

    arrivals: Sequence[Arrival]
    recorded: AsRecorded | None = None


def documents(intents: Documents | Iterable[Arrival] | Path | str) -> Documents:
    """Return the documents, read where they were only named. Raises ArrivalError."""
    if isinstance(intents, Documents):
        return intents
    if not isinstance(intents, Path | str):
        return Documents(in_order(intents))
    path = Path(intents)
    recorded = read_circumstances(path) if path.is_dir() and is_state_directory(path) else None
    return Documents(read_arrivals(path), recorded)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What stands around the documents: as it was asked for, else as it is on record, else as it is assumed.

    `acts`: what is done to the engine from outside beside the documents, in order. `ways` is of one replay.
    """

    law: LimitsFile
    text: str
    acts: tuple[Act, ...]
    ways: Ways
    latency_from: str
    cash: Usd
    equity: Usd
    holdings: tuple[Holding, ...]
    multiplier: int
    session: str
    random_partials: bool
    recorded: AsRecorded | None
    left_out: tuple[str, ...]

    def since_ns(self, first_row_ns: int) -> int | None:
        """Return when a session began in whose own market, from its beginning, its documents are played; else None."""
        known = self.recorded
        return None if known is None or known.first_row_ns != first_row_ns else known.began_ns

    def account_asked_ns(self, first_row_ns: int) -> tuple[int, ...]:
        """Return when the account was asked for in it, likewise; else nothing."""
        known = self.recorded
        return () if known is None or known.first_row_ns != first_row_ns else known.account_asked_ns

    def until_ns(self, first_row_ns: int) -> int | None:
        """Return when it ended, likewise."""
        known = self.recorded
        return None if known is None or known.first_row_ns != first_row_ns else known.ended_ns


def circumstances(
    recorded: AsRecorded | None,
    *,
    limits: LimitsFile | Path | str | None,
    symbols: Sequence[str] | None,
    latency_ms: float | None,
    equity: float | Decimal | str | None,
    session: str,
) -> Circumstances:
    """Return the circumstances of a replay.

    Raises:
        LimitsError, OSError: the limits cannot be read.
        ReplayError: a setting that cannot be, or a record whose beginning cannot be taken over.
    """
    if limits is not None:
        law, text = law_of(limits, symbols)
    elif recorded is not None and recorded.limits is not None:
        law, text = _law_on_record(recorded.limits, symbols)
    else:
        raise ReplayError("no limits: name a limits file; only documents of a state directory bring theirs")
    latency_ns = None if latency_ms is None else round(latency_ms * NS_PER_MS)
    plain = cash_of(EQUITY if equity is None else equity)
    if recorded is None:
        return Circumstances(
            law=law,
            text=text,
            acts=(),
            ways=Ways(round(LATENCY_MS * NS_PER_MS) if latency_ns is None else latency_ns),
            latency_from="assumed" if latency_ns is None else "given",
            cash=plain,
            equity=plain,
            holdings=(),
            multiplier=MULTIPLIER,
            session=session,
            random_partials=True,
            recorded=None,
            left_out=(),
        )
    if recorded.began_with and equity is None:
        raise ReplayError(
            f"the record begins with {len(recorded.began_with)} trades alive ({recorded.began_with[0]}, ...), which cannot"
            " be taken over: what it says of them was removed; name --equity to begin without them"
        )
    account = recorded.account if equity is None else None
    ways, latency_from = _ways(recorded, latency_ns)
    return Circumstances(
        law=law,
        text=text,
        acts=_acts(recorded.acts, symbols, with_limits=limits is None),
        ways=ways,
        latency_from=latency_from,
        cash=plain if account is None else account.cash,
        equity=plain if account is None else account.equity,
        holdings=() if account is None else holdings(recorded.holdings, account),
        multiplier=MULTIPLIER if recorded.account is None else max(1, recorded.account.multiplier),
        session=recorded.session if session == "auto" and recorded.session is not None else session,
        random_partials=False,
        recorded=recorded,
        left_out=_left_out(recorded, with_holdings=account is not None),
    )


def _ways(recorded: AsRecorded, latency_ns: int | None) -> tuple[Ways, str]:
    measured_ns = recorded.measured.each_way_ns
    if latency_ns is not None:
        return Ways(latency_ns), "given"
    if measured_ns is None:
        return Ways(round(LATENCY_MS * NS_PER_MS)), "assumed"
    return Ways(min(measured_ns, round(LATENCY_MAX_MS * NS_PER_MS)), recorded.measured), "record"


def holdings(positions: Sequence[PositionSnapshot], account: AccountReport) -> tuple[Holding, ...]:
    """Return what an account holds, marked so that the whole is worth what the venue said it is.

    Nobody has said what each was worth: all are as far from their average price.
    """
    paid = sum(mul_floor(each.qty, each.avg_price) for each in positions)
    worth = account.equity - account.cash
    factor = Fraction(worth, paid) if paid and worth and (paid > 0) is (worth > 0) else Fraction(1)
    return tuple(
        Holding(each.symbol, each.qty, each.avg_price, Price(max(1, round(each.avg_price * factor))))
        for each in positions
    )


def _left_out(recorded: AsRecorded, *, with_holdings: bool) -> tuple[str, ...]:
    held = () if with_holdings else recorded.holdings
    return (
        *(f"{each.qty / NANO:.9g} {each.symbol}, held before the record begins" for each in held),
        *(f"an order to {each.side} {each.symbol} from before the record" for each in recorded.orders),
    )


def _law_on_record(read: LimitsRead, symbols: Sequence[str] | None) -> tuple[LimitsFile, str]:
    law = narrowed(read_limits(read.text), read.symbols)
    return law if symbols is None else _narrowed(law, symbols), read.text


def _acts(acts: Iterable[Act], symbols: Sequence[str] | None, *, with_limits: bool) -> tuple[Act, ...]:
    """Return what was done from outside; limits that were read later only where those on record count at all."""
    found: list[Act] = []
    for act in acts:
        if not isinstance(act, LimitsRead):
            found.append(act)
        elif with_limits:
            found.append(act if symbols is None else msgspec.structs.replace(act, symbols=tuple(symbols)))
    return tuple(found)


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
