from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty
from hands.sim.market.bars import Bar
from hands.sim.market.memory import (
    DAYS_MAX,
    MARKS_MAX,
    MINUTES_MAX,
    TICKS_MAX,
    TICKS_TOTAL_MAX,
    MarketMemory,
    SymbolMemory,
)
from hands.sim.market.times import DAY_NS, MINUTE_NS
from hands.sim.venue.ticks import Cancellation, Correction, Quote, Trade

START_NS = 1_700_006_400 * NS_PER_S  # a midnight, UTC


def trade(t_ns: int, price: int = 100, size: int = 1, trade_id: int = 1, symbol: str = "AAPL") -> Trade:
    return Trade(symbol, Price(price * NANO), Qty(size * NANO), Ns(t_ns), trade_id)


def quote(t_ns: int, symbol: str = "AAPL") -> Quote:
    return Quote(symbol, Price(99 * NANO), Price(101 * NANO), Qty(NANO), Qty(NANO), Ns(t_ns))


def of(memory: MarketMemory, symbol: str = "AAPL") -> SymbolMemory:
    found = memory.of(symbol)
    assert found is not None
    return found


def test_the_oldest_ticks_go_first() -> None:
    memory = MarketMemory()
    memory.record(quote(START_NS + n) for n in range(TICKS_MAX + 500))
    memory.record(trade(START_NS + n) for n in range(TICKS_MAX + 300))
    known = of(memory)
    assert (len(known.quotes), known.quotes[0].t_ns) == (TICKS_MAX, START_NS + 500)
    assert (len(known.trades), known.trades[0].t_ns) == (TICKS_MAX, START_NS + 300)
    memory.clear()
    assert memory.of("AAPL") is None


def test_a_minute_that_is_forgotten_lives_on_in_its_day() -> None:
    memory = MarketMemory()
    count = MINUTES_MAX + 2_000
    memory.record(trade(START_NS + n * MINUTE_NS, price=100 + n % 7) for n in range(count))
    known = of(memory)
    minutes, days = list(known.minutes()), list(known.forgotten_days())
    assert len(minutes) == MINUTES_MAX
    assert min(bar.start_ns for bar in minutes) == START_NS + 2_000 * MINUTE_NS
    assert sum(bar.trades for bar in (*minutes, *days)) == count


def test_days_are_bounded_too() -> None:
    memory = MarketMemory()
    memory.record(trade(START_NS + n * DAY_NS, symbol="BTC/USD") for n in range(MINUTES_MAX + DAYS_MAX + 5))
    days = list(of(memory, "BTC/USD").forgotten_days())
    assert len(days) == DAYS_MAX
    assert min(bar.start_ns for bar in days) == START_NS + 5 * DAY_NS


def test_many_symbols_share_what_there_is() -> None:
    memory = MarketMemory()
    symbols = [f"S{n}" for n in range(100)]
    share = TICKS_TOTAL_MAX // (2 * len(symbols))
    for n in range(share + 10):
        memory.record(quote(START_NS + n, symbol) for symbol in symbols)
        memory.record(trade(START_NS + n, symbol=symbol) for symbol in symbols)
    held = sum(len(of(memory, symbol).quotes) + len(of(memory, symbol).trades) for symbol in symbols)
    assert TICKS_TOTAL_MAX // 4 < held <= TICKS_TOTAL_MAX
    assert all(of(memory, symbol).quotes[-1].t_ns == START_NS + share + 9 for symbol in symbols)


def test_marks_are_bounded() -> None:
    memory = MarketMemory()
    wrong = [trade(START_NS + n, trade_id=n) for n in range(MARKS_MAX + 1)]
    memory.record(Cancellation("AAPL", one, Ns(one.t_ns)) for one in wrong)
    assert of(memory).mark_of(wrong[0]) is None
    assert of(memory).mark_of(wrong[-1]) == "canceled"


def test_a_correction_finds_its_print_by_number_whatever_time_it_gives() -> None:
    memory = MarketMemory()
    wrong = trade(START_NS, price=999, trade_id=5)
    memory.record([trade(START_NS), wrong])
    later = trade(START_NS + NS_PER_S, price=999, trade_id=5)
    memory.record(
        [Correction("AAPL", later, trade(START_NS + NS_PER_S, 101, trade_id=6), Ns(START_NS + NS_PER_S))]
    )
    assert of(memory).mark_of(wrong) == "incorrect"
    (bar,) = of(memory).minutes()
    assert (bar.high, bar.trades) == (101 * NANO, 2)


def test_a_minute_that_is_partly_forgotten_keeps_a_print_that_is_taken_back() -> None:
    memory = MarketMemory()
    prints = [trade(START_NS + n, trade_id=n) for n in range(TICKS_MAX + 1)]
    memory.record(prints)
    memory.record([Cancellation("AAPL", prints[-1], Ns(START_NS + TICKS_MAX))])
    (bar,) = of(memory).minutes()
    assert bar.trades == TICKS_MAX + 1


steps = st.tuples(st.integers(0, 5 * 60), st.integers(1, 20), st.integers(1, 5), st.sampled_from("@@I"))


@given(st.lists(steps, min_size=1, max_size=60), st.lists(st.integers(0, 59), max_size=8))
def test_bars_are_what_the_good_prints_make_in_any_order(
    prints: list[tuple[int, int, int, str]], canceled: list[int]
) -> None:
    trades = [
        replace(trade(START_NS + s * NS_PER_S + n, price, size, n), conditions=(letter,))
        for n, (s, price, size, letter) in enumerate(prints)
    ]
    memory = MarketMemory()
    memory.record(trades)
    gone = {n for n in canceled if n < len(trades)}
    memory.record(Cancellation("AAPL", trades[n], Ns(START_NS)) for n in gone)
    expected: dict[int, Bar] = {}
    for n, one in enumerate(trades):
        if n not in gone:
            bar = Bar.of_trade(one)
            if bar.start_ns in expected:
                expected[bar.start_ns].merge(bar)
            else:
                expected[bar.start_ns] = bar
    assert {bar.start_ns: bar for bar in of(memory).minutes()} == expected


@pytest.mark.parametrize("late", [0, 1])
def test_a_late_print_opens_or_joins_its_own_minute(late: int) -> None:
    memory = MarketMemory()
    memory.record([trade(START_NS + MINUTE_NS), trade(START_NS + 2 * MINUTE_NS)])
    memory.record([trade(START_NS + late * MINUTE_NS + 1, 105), trade(START_NS + 2 * MINUTE_NS + 1, 106)])
    counts = {(bar.start_ns - START_NS) // MINUTE_NS: bar.trades for bar in of(memory).minutes()}
    assert counts == ({0: 1, 1: 1, 2: 2} if late == 0 else {1: 2, 2: 2})
