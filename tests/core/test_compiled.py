"""What is compiled under: a fingerprint that changes with any formula, records laid on cache lines, the quick way in."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from hands.core import bars, indicators, kernel, triggers
from hands.core.compiled import LINE, compiled_apart, door, entry_point, fingerprint, line_of, lines, on_lines


def module(**members: object) -> ModuleType:
    made = ModuleType("formulas")
    made.__dict__.update(members)
    return made


def test_a_changed_formula_or_constant_changes_the_fingerprint() -> None:
    one = fingerprint(module(PERIOD=14, step=indicators.ema, TABLE=(indicators.ema, "ema")))
    assert one == fingerprint(module(PERIOD=14, step=indicators.ema, TABLE=(indicators.ema, "ema")))
    assert one != fingerprint(module(PERIOD=15, step=indicators.ema, TABLE=(indicators.ema, "ema")))
    assert one != fingerprint(module(PERIOD=14, step=indicators.rsi, TABLE=(indicators.ema, "ema")))
    assert one != fingerprint(module(PERIOD=14, step=indicators.ema, TABLE=(indicators.rsi, "ema")))
    assert one != fingerprint(module(PERIOD=14, step=indicators.ema, TABLE=(indicators.ema, "emo")))


def test_a_constant_of_numpy_and_a_function_that_makes_functions_count_too() -> None:
    def maker(step: int) -> object:
        return lambda: step

    def other(step: int) -> object:
        return lambda: step + 1

    assert fingerprint(module(GROUP=np.int64(4))) != fingerprint(module(GROUP=np.int64(5)))
    assert fingerprint(module(make=maker)) != fingerprint(module(make=other))


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    """Or the cache would never be used: no address and no order of a hash may be in it."""
    program = "from hands.core.kernel import KERNEL_FINGERPRINT; print(KERNEL_FINGERPRINT)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
    )
    assert int(found.stdout) == kernel.KERNEL_FINGERPRINT


def test_groups_of_fields_begin_on_cache_lines_and_records_take_whole_ones() -> None:
    layout = lines([("a", "i8"), ("b", "f8")], [("c", "f8", (9,))], [("d", "i8")])
    assert [line_of(layout, name) for name in "abcd"] == [0, 0, 1, 3]
    assert layout.itemsize == 4 * LINE


@pytest.mark.parametrize(
    "layout", [kernel.SYMBOL, bars.SERIES, bars.BAR, triggers.TRIGGER], ids=lambda d: d.names[0]
)
def test_no_record_has_holes_whose_bytes_nobody_owns(layout: np.dtype) -> None:
    def size(one: np.dtype) -> int:
        if one.names is None:
            return one.itemsize
        assert sum(size(one.fields[name][0]) for name in one.names) == one.itemsize
        return one.itemsize

    size(layout)


def test_what_a_trade_touches_lies_on_few_lines() -> None:
    for name in ("trade", "watch", "quote", "periods"):
        assert kernel.SYMBOL.fields[name][1] % LINE == 0
    assert kernel.SYMBOL.fields["trade"][1] == LINE, "due time and session sums fill the first line"
    hot = kernel.SYMBOL.fields["periods"][0].fields
    assert (
        max(
            offset + kind.itemsize for name, (kind, offset) in hot.items() if name.startswith(("rsi", "macd"))
        )
        == LINE
    )
    assert bars.SERIES.fields["bar"] == (bars.BAR, 0)
    assert bars.BAR.itemsize == LINE
    assert bars.TICK_LINES == 3


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 2), (0,)])
def test_records_begin_on_a_cache_line(shape: tuple[int, ...]) -> None:
    made = on_lines(shape, bars.BAR)
    assert made.shape == shape
    assert made.ctypes.data % LINE == 0 or not made.size
    assert made.flags.carray
    assert not made.tobytes().strip(b"\0")


@compiled_apart
def add_one(number: int) -> int:
    return number + 1


@entry_point
def two_more(number: int) -> int:
    return add_one(add_one(number))


def test_the_door_is_the_dispatcher_until_something_is_compiled_and_then_leads_past_it() -> None:
    assert door(two_more) is two_more
    assert two_more(40) == 42
    assert door(two_more) is not two_more
    assert door(two_more)(40) == 42
