"""Bars: exact arithmetic in any order of prints, and when the stream's bars are due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, nano
from hands.sim.market.bars import LATE_NS, Bar, StreamBars, day_start_ns
from hands.sim.market.feeds import Channel
from hands.sim.market.times import DAY_NS, MINUTE_NS
from hands.sim.venue.ticks import Quote, Trade

START_NS = 1_700_000_040 * NS_PER_S // MINUTE_NS * MINUTE_NS


def trade(
    at_s: float, price: str = "150", size: int = 100, symbol: str = "AAPL", conditions: str = "@"
) -> Trade:
    t_ns = Ns(START_NS + int(at_s * NS_PER_S))
    return Trade(symbol, Price(nano(price)), Qty(size * NANO), t_ns, 1, "V", tuple(conditions))


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


@given(PRINTS, st.data())
def test_prints_without_a_price_of_the_moment_change_only_volume_and_number(rows, data):
    """As if the others had been alone, whatever the order in which all of them are merged."""
    letters = data.draw(st.lists(st.sampled_from(["@", "@I", "@Z"]), min_size=len(rows), max_size=len(rows)))
    prints = [
        Trade("AAPL", Price(p), Qty(s), Ns(START_NS + at), n, "V", tuple(letters[n]))
        for n, (at, p, s) in enumerate(rows)
    ]
    whole = Bar.of_trade(prints[0]).copy_at(START_NS)
    for one in data.draw(st.permutations(prints[1:])):
        whole.merge(Bar.of_trade(one))
    priced = sorted((one for one in prints if one.conditions == ("@",)), key=lambda one: one.t_ns)
    assert (whole.volume, whole.trades) == (sum(one.size for one in prints), len(prints))
    assert whole.has_price == bool(priced)
    if priced:
        prices = [one.price for one in priced]
        assert (whole.open, whole.high, whole.low, whole.close) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
        )
        assert whole.low <= whole.vwap <= whole.high


PLAIN, VOLUME_ONLY, NOTHING = (True, 100 * NANO), (False, 100 * NANO), (False, 0)
CONDITIONS = [
    ("AAPL", "@", PLAIN),
    ("AAPL", "@F", PLAIN),
    ("AAPL", "@T", PLAIN),
    ("AAPL", "@O", PLAIN),
    ("AAPL", "@6", PLAIN),
    ("AAPL", "@I", VOLUME_ONLY),
    ("AAPL", "@4", VOLUME_ONLY),
    ("AAPL", "@FTI", VOLUME_ONLY),
    ("AAPL", "@W", VOLUME_ONLY),
    ("AAPL", "@G", VOLUME_ONLY),
    ("AAPL", "@U", VOLUME_ONLY),
    ("AAPL", "@M", NOTHING),
    ("AAPL", "@Q", NOTHING),
    ("AAPL", "@9", NOTHING),
    ("AAPL", "@B", PLAIN),  # bunched on Nasdaq's tape, an average price on the others
    ("IBM", " B", VOLUME_ONLY),
    ("BTC/USD", "B", PLAIN),  # the taker bought
]


@pytest.mark.parametrize(("symbol", "conditions", "counts"), CONDITIONS)
def test_what_a_sale_condition_keeps_out_of_a_bar(symbol, conditions, counts):
    bar = Bar.of_trade(trade(1, symbol=symbol, conditions=conditions))
    assert (bar.has_price, bar.volume) == counts
    assert bar.trades == (1 if bar.volume else 0)


def test_a_minute_without_a_price_has_no_bar_but_its_volume_is_the_days():
    bars = StreamBars()
    sent(bars, 1)
    bars.add([trade(2, conditions="@I")])
    assert sent(bars, 60) == []
    bars.add([trade(61)])
    assert sent(bars, 120) == [("bars", "AAPL", 1), ("dailyBars", "AAPL", 2)]


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
    bars.add([quote(2.5, "0", "1000000")])  # one side is no price
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
