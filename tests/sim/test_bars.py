"""Bars: exact arithmetic in any order of prints, and when the stream's bars are due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, nano
from hands.sim.market.bars import DAY_NS, LATE_NS, MINUTE_NS, Bar, StreamBars, day_start_ns
from hands.sim.market.feeds import Channel
from hands.sim.venue.ticks import Quote, Trade

START_NS = 1_700_000_040 * NS_PER_S // MINUTE_NS * MINUTE_NS


def trade(at_s: float, price: str = "150", size: int = 100, symbol: str = "AAPL") -> Trade:
    t_ns = Ns(START_NS + int(at_s * NS_PER_S))
    return Trade(symbol, Price(nano(price)), Qty(size * NANO), t_ns, 1)


def quote(at_s: float, bid: str, ask: str, symbol: str = "BTC/USD") -> Quote:
    t_ns = Ns(START_NS + int(at_s * NS_PER_S))
    return Quote(symbol, Price(nano(bid)), Price(nano(ask)), Qty(NANO), Qty(NANO), t_ns)


def sent(bars: StreamBars, at_s: float) -> list[tuple[str, str, int]]:
    """Return what is due as (channel, symbol, trades)."""
    due = bars.due(START_NS + int(at_s * NS_PER_S))
    return [(channel.value, symbol, bar.trades) for channel, symbol, bar in due]


PRINTS = st.lists(
    st.tuples(st.integers(0, MINUTE_NS - 1), st.integers(1, 10**13), st.integers(1, 10**12)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[0],
)


@given(PRINTS, st.randoms(use_true_random=False))
def test_the_order_in_which_prints_are_merged_does_not_matter(rows, chance):
    prints = [
        Bar.of_trade(Trade("AAPL", Price(p), Qty(s), Ns(START_NS + at), n))
        for n, (at, p, s) in enumerate(rows)
    ]
    shuffled = prints[:]
    chance.shuffle(shuffled)
    whole = shuffled[0].copy_at(START_NS)
    for bar in shuffled[1:]:
        whole.merge(bar)
    in_time = sorted(rows)
    assert (whole.open, whole.close) == (in_time[0][1], in_time[-1][1])
    assert (whole.low, whole.high) == (min(r[1] for r in rows), max(r[1] for r in rows))
    assert (whole.volume, whole.trades) == (sum(r[2] for r in rows), len(rows))
    assert whole.low <= whole.vwap <= whole.high


def test_a_day_begins_at_midnight_in_new_york_for_stocks_and_utc_for_coins():
    winter, summer = 1_705_000_000 * NS_PER_S, 1_720_000_000 * NS_PER_S
    assert day_start_ns("AAPL", winter) % DAY_NS == 5 * 60 * MINUTE_NS
    assert day_start_ns("AAPL", summer) % DAY_NS == 4 * 60 * MINUTE_NS
    assert day_start_ns("BTC/USD", summer) % DAY_NS == 0


def test_a_minute_is_sent_once_at_its_end_with_the_day_so_far():
    bars = StreamBars()
    assert sent(bars, 1) == []
    bars.add([trade(2), trade(3), trade(4, symbol="SPY")])
    assert sent(bars, 59.9) == []
    minute = [("bars", "AAPL", 2), ("bars", "SPY", 1), ("dailyBars", "AAPL", 2), ("dailyBars", "SPY", 1)]
    assert sent(bars, 60) == minute
    assert sent(bars, 61) == []
    bars.add([trade(70)])
    assert sent(bars, 120) == [("bars", "AAPL", 1), ("dailyBars", "AAPL", 3)]


def test_late_prints_correct_the_minute_once_and_older_ones_are_left_out():
    bars = StreamBars()
    sent(bars, 1)
    bars.add([trade(2)])
    sent(bars, 60)
    bars.add([trade(58), trade(59), trade(-30)])
    assert sent(bars, 89.9) == []
    assert sent(bars, 90) == [("updatedBars", "AAPL", 3)]
    assert sent(bars, 95) == []


def test_coins_have_bars_of_mids_and_prints_take_their_place():
    bars = StreamBars()
    sent(bars, 1)
    bars.add([quote(2, "100", "102"), quote(3, "104", "106"), quote(2, "1", "3", "AAPL")])
    ((channel, symbol, bar), _) = bars.due(START_NS + MINUTE_NS)
    assert (channel, symbol) == (Channel.BARS, "BTC/USD")
    assert (bar.open, bar.close, bar.volume, bar.vwap) == (nano("101"), nano("105"), 0, 0)
    bars.add([quote(62, "100", "102"), trade(63, "101", symbol="BTC/USD")])
    bar = bars.due(START_NS + 2 * MINUTE_NS)[0][2]
    assert (bar.open, bar.trades) == (nano("101"), 1)


def test_the_next_bars_are_due_exactly_when_they_are_sent():
    bars = StreamBars()
    sent(bars, 1)
    assert bars.next_due_ns is None
    bars.add([trade(2), quote(3, "100", "102")])
    assert bars.next_due_ns == START_NS + MINUTE_NS
    assert bars.due(bars.next_due_ns - 1) == []
    assert bars.due(bars.next_due_ns)
    assert bars.next_due_ns is None
    bars.add([trade(59)])
    assert bars.next_due_ns == START_NS + MINUTE_NS + LATE_NS
    assert bars.due(bars.next_due_ns - 1) == []
    assert bars.due(bars.next_due_ns)
    bars.add([trade(200)])  # ahead of the clock
    assert bars.next_due_ns == START_NS + 4 * MINUTE_NS
