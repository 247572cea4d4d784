"""Machine code: found where it is kept, and if it cannot be kept compiled all the same, and said."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import numba
import pytest

from hands.core import compiled
from hands.core.market import Market
from hands.runtime import machine_code
from hands.venues.alpaca.market_feed import MarketFeed

ENTRY_POINTS = """
from hands.core import kernel, triggers
from hands.core.compiled import was_compiled
from hands.core.market import Market
from hands.venues.alpaca import arrivals, packed_kernel
from hands.venues.alpaca.market_feed import MarketFeed
Market.warm_up()
MarketFeed.warm_up()
points = [kernel.consume, kernel.observe, kernel.arm, kernel.disarm, arrivals._look, packed_kernel.decode, packed_kernel.end_of]
assert all(point.overloads for point in points)
print([point.__name__ for point in points if was_compiled(point)])
"""


def test_a_second_start_compiles_nothing():
    Market.warm_up()
    MarketFeed.warm_up()
    found = subprocess.run(
        [sys.executable, "-c", ENTRY_POINTS], capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.strip() == "[]"


def test_where_no_folder_can_be_written_it_is_compiled_anew(monkeypatch):
    def nowhere_to_keep_it(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(compiled, "njit", nowhere_to_keep_it)

    @compiled.entry_point
    def twice(number: int) -> int:
        return 2 * number

    assert twice(21) == 42
    assert compiled.kept_in(twice) is None
    assert compiled.was_compiled(twice)


@pytest.mark.parametrize(
    ("folder", "compiled_now", "level", "said"),
    [
        (None, True, logging.WARNING, "set NUMBA_CACHE_DIR"),
        ("/var/cache/hands", True, logging.INFO, "is kept in /var/cache/hands"),
        ("/var/cache/hands", False, None, ""),
    ],
)
def test_it_is_said_where_the_code_is_kept(monkeypatch, caplog, folder, compiled_now, level, said):
    monkeypatch.setattr(machine_code, "kept_in", lambda _: folder)
    monkeypatch.setattr(machine_code, "was_compiled", lambda _: compiled_now)
    monkeypatch.setattr(machine_code, "IMPATIENT_AFTER_S", 3600.0)
    with caplog.at_level(logging.INFO, "hands"):
        machine_code.prepare()
    assert [record.levelno for record in caplog.records] == ([level] if level else [])
    assert said in caplog.text
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
