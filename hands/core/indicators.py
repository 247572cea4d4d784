"""The indicators: what one more price does to RSI, EMA, MACD and compensated sums.

Owns the formulas and their state, a `STUDY` record per series (a symbol's ticks, or its bars of one interval).
May not know where a price came from: no symbol, no time, no volume filter.
The one idea: every formula is one small compiled function that advances one record by one price in constant
time, so a tick costs the same after a million ticks, and a batch of rows stays inside one compiled call.

To add an indicator: its record and `advance_…` function, a row in `STUDY`, a line in `advance`, and its value
in `read`. State is kept in records because a compiled call pays about 40 ns per array passed to it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
import numpy as np
from numba import njit

Record: TypeAlias = Any
"""One element of a record array, as compiled code sees it: its fields are attributes, written in place."""

_F = TypeVar("_F", bound=Callable[..., Any])


_OPTIONS: dict[str, Any] = {"error_model": "numpy", "forceinline": True, "_nrt": False}
"""IEEE arithmetic in source order (no `fastmath`, no threads), x / 0 is not an exception, everything inlined, and
numba's allocator off: the kernel then cannot allocate, and counts no references to the arrays it is lent.
Counting them cost 120 of 135 ns per row."""


def compiled(function: _F) -> _F:
    """Compile `function` for the kernel. It is not cached by itself but inside the entry point that calls it."""
    return cast("_F", njit(**_OPTIONS)(function))


def entry_point(function: _F) -> _F:
    """Compile `function` to be called from Python, and cache the machine code beside its source file."""
    return cast("_F", njit(cache=True, **_OPTIONS)(function))


def fingerprint(*modules: ModuleType) -> int:
    """Return a number that changes when a compiled function or a numeric constant of `modules` changes.

    numba checks a cached function against its own source file only: an edit to the formulas here would leave
    the kernel that calls them stale. The kernel closes over this number, which makes it part of the cache's key.
    """
    sha = hashlib.sha256()
    for module in modules:
        for name, value in sorted(vars(module).items()):
            if isinstance(value, int | float):
                sha.update(f"{name}={value!r};".encode())
            elif (function := getattr(value, "py_func", None)) is not None:
                code = function.__code__
                options = sorted(value.targetoptions.items())
                sha.update(f"{name}:{options}{code.co_names}{code.co_consts}".encode() + code.co_code)
    return int.from_bytes(sha.digest()[:7], "big")


RSI_PERIOD = 14
MACD_FAST = 12
MACD_SLOW = 26
MACD_SIGNAL = 9

RSI = np.dtype([("last", "f8"), ("gain", "f8"), ("loss", "f8")], align=True)
MACD = np.dtype([("fast", "f8"), ("slow", "f8"), ("macd", "f8"), ("signal", "f8")], align=True)
SUM = np.dtype([("total", "f8"), ("lost", "f8")], align=True)

STUDY = np.dtype([("count", "i8"), ("rsi", RSI), ("macd", MACD)], align=True)
"""The indicators of one series; `count` is how many prices they have seen."""

ABSENT = math.nan
"""How compiled code says "no value yet"; it becomes `None` before it leaves this package's kernel."""


class Indicators(msgspec.Struct, frozen=True, gc=False):
    """What is known of a symbol; `None` is "not known", never a number standing in for it.

    The unprefixed ones are taken at the close of bars, the `tick_` ones at every eligible trade. `vwap` and
    `volume` are the session's; `volume_24h` is the last 24 hours', known once 24 hours have been observed.
    """

    rsi_14: float | None
    macd: float | None
    macd_signal: float | None
    macd_hist: float | None
    tick_rsi_14: float | None
    tick_macd: float | None
    tick_macd_signal: float | None
    tick_macd_hist: float | None
    vwap: float | None
    volume: float | None
    volume_24h: float | None


@compiled
def advance(study: Record, price: float) -> None:
    """Take the next `price` of the series into every indicator."""
    advance_rsi(study.rsi, study.count, price)
    advance_macd(study.macd, study.count, price)
    study.count += 1


@compiled
def read(study: Record) -> tuple[float, float, float, float]:
    """Return (rsi, macd, signal, histogram), each `ABSENT` until it is defined."""
    macd, signal = read_macd(study.macd, study.count)
    return read_rsi(study.rsi, study.count), macd, signal, macd - signal


@compiled
def advance_rsi(rsi: Record, count: int, price: float) -> None:
    """Advance Wilder's averages of gains and losses; `count` prices came before this one.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), as TA-Lib computes it: the first
    average is the plain mean of the first 14 changes, then average = (average x 13 + change) / 14.
    """
    if count > 0:
        change = price - rsi.last
        gain = max(change, 0.0)
        loss = max(-change, 0.0)
        if count <= RSI_PERIOD:
            rsi.gain += gain
            rsi.loss += loss
            if count == RSI_PERIOD:
                rsi.gain /= RSI_PERIOD
                rsi.loss /= RSI_PERIOD
        else:
            rsi.gain = (rsi.gain * (RSI_PERIOD - 1) + gain) / RSI_PERIOD
            rsi.loss = (rsi.loss * (RSI_PERIOD - 1) + loss) / RSI_PERIOD
    rsi.last = price


@compiled
def read_rsi(rsi: Record, count: int) -> float:
    """Return 100 x gain / (gain + loss): from the 15th price on, and only once something has moved.

    Where no price ever moved the ratio is 0/0: absent here, while TA-Lib says 0 ("extremely oversold").
    """
    moved: float = rsi.gain + rsi.loss
    if count <= RSI_PERIOD or moved == 0.0:
        return ABSENT
    return 100.0 * float(rsi.gain) / moved


@compiled
def ema(average: float, price: float, period: int) -> float:
    """Return the exponential moving average after `price`: a step of 2 / (period + 1) towards it."""
    return (price - average) * (2.0 / (period + 1)) + average


@compiled
def advance_macd(macd: Record, count: int, price: float) -> None:
    """Advance both averages, their difference and its signal line; `count` prices came before this one.

    Source: G. Appel's MACD(12, 26, 9) with TA-Lib's alignment: every average is seeded by the plain mean of its
    first period of values, and both price averages start at index 25, so the fast one is seeded by prices
    14..25. The signal averages the difference from index 25 and starts at index 33.
    """
    if count < MACD_SLOW:
        macd.slow += price
        if count >= MACD_SLOW - MACD_FAST:
            macd.fast += price
        if count < MACD_SLOW - 1:
            return
        macd.slow /= MACD_SLOW
        macd.fast /= MACD_FAST
    else:
        macd.slow = ema(macd.slow, price, MACD_SLOW)
        macd.fast = ema(macd.fast, price, MACD_FAST)
    macd.macd = macd.fast - macd.slow
    seeded = count - (MACD_SLOW - 1)
    if seeded < MACD_SIGNAL:
        macd.signal += macd.macd
        if seeded == MACD_SIGNAL - 1:
            macd.signal /= MACD_SIGNAL
    else:
        macd.signal = ema(macd.signal, macd.macd, MACD_SIGNAL)


@compiled
def read_macd(macd: Record, count: int) -> tuple[float, float]:
    """Return (macd, signal): defined from the 26th and from the 34th price on."""
    line = macd.macd if count >= MACD_SLOW else ABSENT
    signal = macd.signal if count >= MACD_SLOW + MACD_SIGNAL - 1 else ABSENT
    return line, signal


@compiled
def add(running: Record, value: float) -> None:
    """Add `value` to a compensated sum, keeping the digits that a plain sum would round away.

    Source: A. Neumaier (1974), the improved Kahan summation; the sum is `total + lost`.
    """
    total = running.total + value
    if abs(running.total) >= abs(value):
        running.lost += (running.total - total) + value
    else:
        running.lost += (value - total) + running.total
    running.total = total
