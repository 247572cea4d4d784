"""What an indicator is: a compiled function and a row that says what it remembers, shows and can be set to.

Owns the two kinds of row, the records that are laid out by them, and the compiled loops over a table of rows. May
not know a formula.
The one idea: a table of functions is compiled into one straight piece of code, so that a row in the table is all
there is to adding an indicator, and costs nothing that the indicator itself does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hands.core.compiled import Record, compiled

Field = tuple[str, str] | tuple[str, str, tuple[int, ...]]
"""A field of a record, as numpy wants it. Only of eight bytes, so that no record has holes."""


class Period(NamedTuple):
    """A number that configuration may set per symbol, between `low` and `high`; it is whole if its default is.

    Formulas read `p.name` and, where it is whole, `p.name_step`, which is the step of an exponential average.
    """

    name: str
    default: float
    low: float
    high: float

    @property
    def is_whole(self) -> bool:
        return isinstance(self.default, int)


class Study(NamedTuple):
    """An indicator that remembers: `step` takes the next price of a series into its memory.

    `step(m, series, ring, p, v)` writes to `v` its values as soon as they are defined; until then they stay absent. `m`
    is its memory, zeros at first; `series.bar` the bar that closed; `series.count` how many came before it; `ring`
    the completed bars with this one, the newest at `series.count % len(ring)`; `p` the symbol's periods. Studies
    further up in the table have taken the price already.

    With `ticks` it also runs on every eligible trade in sequence. There is no ring then, and of the bar only `close`
    is filled: the trade's price.
    """

    name: str
    step: Callable[[Record, Record, np.ndarray, Record, np.ndarray], None]
    memory: tuple[Field, ...]
    values: tuple[str, ...]
    periods: tuple[Period, ...] = ()
    ticks: bool = False


class Reading(NamedTuple):
    """An indicator that remembers nothing: `read` computes it from a window of bars, or from the session, when asked.

    `read(symbol, series, ring, v)` writes to `v` those of its values that are defined. `series.bar` is the bar in progress, `series.count` how many are completed, the newest at `(series.count - 1) % len(ring)`.

    With `ticks` it is also read of the series of ticks, which has no bars.
    """

    read: Callable[[Record, Record, np.ndarray, np.ndarray], None]
    values: tuple[str, ...]
    periods: tuple[Period, ...] = ()
    ticks: bool = False


Advance = Callable[[Record, np.ndarray, Record], None]
Read = Callable[[Record, Record, np.ndarray, np.ndarray], None]


def memories(studies: Sequence[Study]) -> list[tuple[str, Any]]:
    """Return the fields of a series in which the studies keep their memory."""
    return [(study.name, np.dtype(list(study.memory), align=True)) for study in studies]


def period_record(periods: Sequence[Period]) -> np.dtype[Any]:
    """Return the layout of a symbol's periods."""
    fields: list[tuple[str, str]] = []
    for period in periods:
        if period.is_whole:
            fields += [(period.name, "i8"), (f"{period.name}_step", "f8")]
        else:
            fields.append((period.name, "f8"))
    return np.dtype(fields, align=True)


def set_periods(record: np.void | np.ndarray, periods: Sequence[Period], chosen: Mapping[str, float]) -> None:
    """Write `chosen` periods, and the defaults of the others, to a record, or to all records of an array.

    Raises:
        ValueError: a name that is none, or a value out of its range, or not whole where it has to be.
    """
    known = {period.name: period for period in periods}
    for name in chosen:
        if name not in known:
            raise ValueError(f"no period is called {name!r}; there are {', '.join(known)}")
    for period in periods:
        value = chosen.get(period.name, period.default)
        if isinstance(value, bool) or not (math.isfinite(value) and period.low <= value <= period.high):
            raise ValueError(f"{period.name} is {value}; from {period.low} to {period.high} is possible")
        if period.is_whole and value != int(value):
            raise ValueError(f"{period.name} is {value}; it must be whole")
        record[period.name] = value
        if period.is_whole:
            record[f"{period.name}_step"] = 2.0 / (value + 1)


def advancing(studies: Sequence[Study], on_ticks: bool) -> Advance:
    """Return a compiled function (series, ring, p) that takes a price into every study, in the table's order."""
    advance: Advance = _advance_none
    at = sum(len(study.values) for study in studies)
    for study in reversed(studies):
        at -= len(study.values)
        if study.ticks or not on_ticks:
            advance = _advance_before(study, at, advance)
    return advance


@compiled
def _advance_none(series: Record, ring: np.ndarray, p: Record) -> None:
    return


def _advance_before(study: Study, at: int, others: Advance) -> Advance:
    step, name, end = study.step, study.name, at + len(study.values)

    @compiled
    def advance(series: Record, ring: np.ndarray, p: Record) -> None:
        step(series[name], series, ring, p, series.values[at:end])
        others(series, ring, p)

    return advance


def reading(readings: Sequence[Reading], at: int, on_ticks: bool) -> Read:
    """Return a compiled function (symbol, series, ring, out) that writes every reading to `out`, from `at` on."""
    kept = [reading for reading in readings if reading.ticks or not on_ticks]
    read: Read = _read_none
    at += sum(len(each.values) for each in kept)
    for each in reversed(kept):
        at -= len(each.values)
        read = _read_before(each, at, read)
    return read


@compiled
def _read_none(symbol: Record, series: Record, ring: np.ndarray, out: np.ndarray) -> None:
    return


def _read_before(each: Reading, at: int, others: Read) -> Read:
    one, end = each.read, at + len(each.values)

    @compiled
    def read(symbol: Record, series: Record, ring: np.ndarray, out: np.ndarray) -> None:
        one(symbol, series, ring, out[at:end])
        others(symbol, series, ring, out)

    return read
