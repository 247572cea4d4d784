"""What holds for every sequence of rows: how it was cut is invisible, and triggers fire as a naive model says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hands.core.market import Market, RowKind, TriggerDirection, TriggerOn, new_rows

SYMBOLS = ("A", "B", "C")
S = 10**9

# Few prices close together, so that levels are met exactly and often; and everything that is not a price.
PRICES = st.one_of(
    st.integers(95, 105).map(float), st.sampled_from([99.5, 100.25, 0.0, -1.0, math.nan, math.inf, 1e300])
)
SIZES = st.sampled_from([0.0, 1.0, 0.1, 7.0, 1e-9, -1.0, math.nan])


@st.composite
def row_arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw rows whose venue time mostly advances, by anything from nothing to minutes, and sometimes steps back."""
    rows = new_rows(draw(st.integers(1, 60)))
    now = 1_700_000_000 * S
    for row in rows:
        now += draw(st.sampled_from([0, 0, 1, S // 2, S, 20 * S, 61 * S, -S // 2, -3 * S, -70 * S]))
        row["sym"] = draw(st.sampled_from([0, 0, 0, 1, 2, -1, 3]))
        row["kind"] = draw(st.sampled_from([RowKind.TRADE, RowKind.TRADE, RowKind.QUOTE, RowKind.QUOTE, 0]))
        row["flags"] = draw(st.sampled_from([1, 1, 1, 3, 2, 0]))
        row["price"], row["size"] = draw(PRICES), draw(SIZES)
        row["price2"], row["size2"] = draw(PRICES), draw(SIZES)
        row["venue_ns"] = now
        row["recv_ns"] = draw(
            st.sampled_from([0, now, now - 59 * S, now - 61 * S, now + 59 * S, now + 61 * S])
        )
    return rows


@dataclass
class Armed:
    """A trigger as the naive model keeps it."""

    slot: int
    sym: int
    on: int
    direction: int
    trails: str
    level: float
    best: float | None = None

    def takes(self, value: float) -> bool:
        """Follow `value` if it trails, and say whether it is reached."""
        above = self.direction == TriggerDirection.ABOVE
        level = self.level
        if self.trails != "fixed":
            if self.best is None or (value < self.best if above else value > self.best):
                self.best = value
            gap = self.best * self.level if self.trails == "fraction" else self.level
            level = round(self.best + gap if above else self.best - gap, 9)
        return value >= level if above else value <= level


Wanted = tuple[int, int, int, str, float]
LEVELS = st.one_of(st.integers(94, 106).map(float), st.just(99.5))
TRIGGERS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2), st.integers(1, 15), st.integers(0, 1), st.just("fixed"), LEVELS),
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([1, 1, 2, 4, 8]),
            st.integers(0, 1),
            st.just("distance"),
            st.sampled_from([0.5, 1.0, 2.0, 5.0]),
        ),
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([1, 1, 2, 4, 8]),
            st.integers(0, 1),
            st.just("fraction"),
            st.sampled_from([0.001, 0.01, 0.05]),
        ),
    ),
    max_size=8,
)


def market_with(wanted: list[Wanted]) -> tuple[Market, list[Armed]]:
    market = Market(SYMBOLS, (60, 300))
    market.set_session(0, 1_700_000_030 * S, 45 * S)
    return market, [arm(market, *each) for each in wanted]


def arm(market: Market, sym: int, on: int, direction: int, trails: str, level: float) -> Armed:
    how = TriggerOn(on), TriggerDirection(direction), level
    if trails == "fixed":
        return Armed(market.arm(sym, *how), sym, on, direction, trails, level)
    slot = market.arm_trailing(sym, *how, is_fraction=trails == "fraction")
    return Armed(slot, sym, on, direction, trails, level, _known(market, sym).get(TriggerOn(on)))


def _known(market: Market, sym: int) -> dict[TriggerOn, float]:
    """Return every watched value that a symbol has now."""
    last = market.last_trade(sym)
    traded = {} if last is None else {TriggerOn.TRADE: last.price / 1e9}
    return traded | (_quoted(market, sym) if market.quote(sym) is not None else {})


def fed(market: Market, rows: np.ndarray, cuts: list[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Consume all rows in pieces that end at `cuts`; return (index of the row, slots) wherever something fired.

    Where something fires a new trigger is armed, as the engine would: between two rows, never between two calls.
    """
    fired, at = [], 0
    for stop in [*sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]:
        while at < stop:
            at = market.consume(rows, at, stop)
            if market.fired_count:
                fired.append((at - 1, tuple(market.fired[: market.fired_count].tolist())))
                market.arm(len(fired) % 3, TriggerOn.TRADE | TriggerOn.ASK, TriggerDirection.BELOW, 99.0)
                market.arm_trailing(len(fired) % 2, TriggerOn.TRADE, TriggerDirection.ABOVE, 2.0)
    return fired


@given(row_arrays(), TRIGGERS, st.lists(st.integers(0, 60), max_size=12))
def test_how_rows_are_cut_into_calls_changes_nothing(
    rows: np.ndarray, wanted: list[Wanted], cuts: list[int]
) -> None:
    (whole, _), (pieces, _), (singly, _) = market_with(wanted), market_with(wanted), market_with(wanted)
    fired = fed(whole, rows, [])
    assert fed(pieces, rows, cuts) == fired
    assert fed(singly, rows, list(range(len(rows)))) == fired
    assert pieces.digest() == whole.digest() == singly.digest()


@given(row_arrays(), TRIGGERS, st.integers(0, 60))
def test_a_market_restored_in_between_goes_on_alike(rows: np.ndarray, wanted: list[Wanted], cut: int) -> None:
    (whole, _), (before, _) = market_with(wanted), market_with(wanted)
    cut %= len(rows) + 1
    expected = fed(whole, rows[:cut].copy(), []) if cut else []
    assert (fed(before, rows[:cut].copy(), []) if cut else []) == expected
    later = Market.restore(before.snapshot())
    assert fed(later, rows[cut:].copy(), []) == fed(whole, rows[cut:].copy(), [])
    assert later.digest() == whole.digest()


@given(row_arrays(), TRIGGERS)
def test_triggers_fire_exactly_where_a_naive_model_fires_them(rows: np.ndarray, wanted: list[Wanted]) -> None:
    """The model looks at every armed trigger at every row that became the symbol's current quote or last trade.

    Now and then the oldest trigger is disarmed and the ones that fired are armed again, behind the others.
    """
    market, armed = market_with(wanted)
    for i, row in enumerate(rows):
        sym = int(row["sym"])
        before = _current(market, sym)
        assert market.consume(rows, i, i + 1) == i + 1
        values = _values(market, row) if _is_taken(row, before) else {}
        expected = [
            trigger.slot
            for trigger in armed
            if trigger.sym == sym
            and any([trigger.takes(value) for watched, value in values.items() if trigger.on & watched])  # noqa: C419 all
        ]
        assert market.fired[: market.fired_count].tolist() == expected
        gone = [trigger for trigger in armed if trigger.slot in expected]
        armed = [trigger for trigger in armed if trigger.slot not in expected]
        if armed and i % 5 == 4:
            assert market.disarm(armed[0].slot)
            gone.append(armed.pop(0))
        armed += [arm(market, old.sym, old.on, old.direction, old.trails, old.level) for old in gone]
        for trigger in armed:
            view = market.trigger(trigger.slot)
            assert view is not None
            assert (view.best, view.direction) == (trigger.best, trigger.direction)


def _current(market: Market, sym: int) -> tuple[int, int]:
    """Return the venue times that a quote, and a trade, must not be older than."""
    if not 0 <= sym < len(SYMBOLS):
        return 0, 0
    symbol = market._symbols[sym]
    late_ns = max(int(symbol["trade"]["newest_ns"]) - S, int(symbol["seen_ns"]) - 10 * S)
    return int(symbol["quote"]["venue_ns"]), late_ns


def _is_taken(row: np.void, before: tuple[int, int]) -> bool:
    venue_ns, recv_ns = int(row["venue_ns"]), int(row["recv_ns"])
    if not 0 <= row["sym"] < len(SYMBOLS) or (recv_ns and venue_ns > recv_ns + 60 * S):
        return False
    if row["kind"] == RowKind.QUOTE:
        return venue_ns >= before[0]
    usable = _possible(row["price"]) and row["price"] > 0 and _possible(row["size"]) and row["size"] >= 0
    is_new = venue_ns >= before[1] and (recv_ns == 0 or recv_ns - venue_ns <= 60 * S)
    return bool(row["kind"] == RowKind.TRADE and row["flags"] & 1 and usable and is_new)


def _possible(value: float) -> bool:
    return bool(np.isfinite(value) and abs(value) <= 1e15)


def _values(market: Market, row: np.void) -> dict[TriggerOn, float]:
    if row["kind"] == RowKind.TRADE:
        return {TriggerOn.TRADE: float(row["price"])}
    return _quoted(market, int(row["sym"]))


def _quoted(market: Market, sym: int) -> dict[TriggerOn, float]:
    quote = market.quote(sym)
    assert quote is not None
    values = {}
    if quote.bid is not None:
        values[TriggerOn.BID] = quote.bid / 1e9
    if quote.ask is not None:
        values[TriggerOn.ASK] = quote.ask / 1e9
    if quote.bid is not None and quote.ask is not None:
        values[TriggerOn.MID] = (quote.bid + quote.ask) / 2 / 1e9
    return values


@given(row_arrays())
def test_what_is_read_is_finite_or_absent(rows: np.ndarray) -> None:
    market, _ = market_with([])
    market.consume(rows, 0, len(rows))
    for sym in range(len(SYMBOLS)):
        known = market.indicators(sym)
        values = [getattr(known, name) for name in known.__struct_fields__]
        assert all(value is None or math.isfinite(value) for value in values)
        assert known.rsi_14 is None or 0 <= known.rsi_14 <= 100
        for bar in [*market.bars(sym, 60, 100), market.forming(sym, 60)]:
            assert bar is None or bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
