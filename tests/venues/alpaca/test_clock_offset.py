from __future__ import annotations

import csv
import gzip
import random
import statistics

import pytest

from hands.core.units import NS_PER_MS, NS_PER_S
from hands.venues.alpaca.clock_offset import ClockOffset, latest_ns

T = 1_700_000_000 * NS_PER_S


def played(clock, seconds, offset_ms, *, from_s=0, per_second=20, way_ms=(5, 80), seed=1):
    """Let messages come whose stamps are `offset_ms` behind our clock, on ways of different length."""
    chance = random.Random(seed)
    for n in range(seconds * per_second):
        recv_ns = T + from_s * NS_PER_S + n * NS_PER_S // per_second
        clock.sample(recv_ns, recv_ns - int((offset_ms + chance.uniform(*way_ms)) * NS_PER_MS))
    return clock


@pytest.mark.parametrize("offset_ms", [0, -1_300, 3_600_000])
def test_the_offset_is_that_of_the_quickest_messages(offset_ms):
    clock = played(ClockOffset(), 120, offset_ms)
    assert clock.offset_ns is not None
    assert offset_ms + 5 <= clock.offset_ns / NS_PER_MS <= offset_ms + 15


def test_nothing_is_said_after_a_moment():
    assert played(ClockOffset(), 3, 0).offset_ns is None
    assert played(ClockOffset(), 5, 0).offset_ns is not None


def test_a_few_stamps_from_the_future_are_not_believed():
    """Trap 29."""
    clock = ClockOffset()
    for second in range(60):
        played(clock, 1, 0, from_s=second)
        if second % 15 == 7:
            recv_ns = T + second * NS_PER_S + 999 * NS_PER_MS
            clock.sample(recv_ns, recv_ns + 30 * NS_PER_S)
    assert clock.offset_ns >= 5 * NS_PER_MS


def test_a_feed_that_falls_behind_is_not_a_clock_that_is_behind():
    clock = played(ClockOffset(), 60, 0)
    good_ns = clock.offset_ns
    played(clock, 300, 8_000, from_s=60)
    assert clock.offset_ns == good_ns


def test_a_clock_that_goes_back_is_believed_within_the_hour():
    clock = played(ClockOffset(), 60, 0)
    played(clock, 62 * 60, 2_000, from_s=60, per_second=2)
    assert clock.offset_ns >= 2_000 * NS_PER_MS


def test_a_clock_that_jumps_ahead_is_believed_within_seconds():
    clock = played(ClockOffset(), 60, 0)
    played(clock, 10, -2_000, from_s=60)
    assert clock.offset_ns <= -1_900 * NS_PER_MS


def test_an_hours_measurement_is_of_bounded_size():
    clock = played(ClockOffset(), 3 * 3600, 0, per_second=1)
    assert len(clock._seconds) <= 60
    assert len(clock._minutes) <= 60


@pytest.mark.parametrize(
    ("ahead_max_s", "latest_s"),
    [
        (None, 5),
        (0, 5),
        (-30, 35),
        (3_600, 5),
    ],  # unknown; equal; ours is behind; ours is ahead, or the answer was old
)
def test_how_far_ahead_a_stamp_can_be_depends_on_the_clocks(ahead_max_s, latest_s):
    ahead_max_ns = None if ahead_max_s is None else ahead_max_s * NS_PER_S
    assert latest_ns(T, ahead_max_ns) == T + latest_s * NS_PER_S


@pytest.mark.data
def test_a_venue_that_runs_ahead_of_us_makes_no_quote_old_and_none_from_the_future(data_dir):
    """The recording's own clock is a median 1.27 s behind the exchange's."""
    file = data_dir / "crypto" / "ticks" / "binance_usdm_btcusdt_20240808_trades.csv.gz"
    with gzip.open(file, "rt", newline="") as rows:
        stamps = [(int(r["ts_local_ns"]), int(r["ts_exch_ms"]) * NS_PER_MS) for r in csv.DictReader(rows)]
    clock, ways = ClockOffset(), []
    for recv_ns, venue_ns in stamps:
        clock.sample(recv_ns, venue_ns)
        if clock.offset_ns is not None:
            ways.append(recv_ns - venue_ns - clock.offset_ns)
    assert statistics.median(recv - venue for recv, venue in stamps) == pytest.approx(-1.268e9, abs=0.03e9)
    assert -1.4e9 < clock.offset_ns < -1.25e9
    assert abs(statistics.median(ways)) < 0.05e9
    assert max(ways) < 1e9


def test_trap_29_stamps_from_far_ahead_are_none_of_its_business_however_few_others_there_are():
    """In the first seconds nothing can be left out yet: two wrong stamps would have made every quote old for an hour."""
    clock = ClockOffset()
    for second in range(8):
        played(clock, 1, 0, from_s=second, per_second=2)
        if second in (3, 5, 6):
            recv_ns = T + second * NS_PER_S + 999 * NS_PER_MS
            clock.sample(recv_ns, recv_ns + 50 * NS_PER_S)
    assert clock.offset_ns >= 5 * NS_PER_MS
