"""The market: quotes, last trade, session sums, rows that are not usable, snapshots, and what reading returns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hands.core import kernel
from hands.core import market as market_module
from hands.core.market import (
    Market,
    QuoteView,
    RowFlag,
    RowKind,
    TradeView,
    TriggerDirection,
    TriggerOn,
    new_rows,
)
from hands.core.units import nano

S = 10**9
NOW = 1_700_000_000 * S


def quote(
    bid: float, ask: float, at: int = NOW, recv_ns: int = NOW, sizes: tuple[float, float] = (3, 4)
) -> np.ndarray:
    rows = new_rows(1)
    rows["kind"], rows["venue_ns"], rows["recv_ns"] = RowKind.QUOTE, at, recv_ns
    rows["price"], rows["price2"] = bid, ask
    rows["size"], rows["size2"] = sizes
    return rows


def trade(price: float, size: float = 1, at: int = NOW, eligible: bool = True) -> np.ndarray:
    rows = new_rows(1)
    rows["kind"], rows["venue_ns"], rows["recv_ns"] = RowKind.TRADE, at, NOW
    rows["flags"] = RowFlag.ELIGIBLE if eligible else 0
    rows["price"], rows["size"], rows["trade_id"] = price, size, 77
    return rows


def after(*rows: np.ndarray) -> Market:
    market = Market(("X", "Y"))
    for row in rows:
        market.consume(row, 0, len(row))
    return market


def test_nothing_is_known_before_the_first_row() -> None:
    market = after()
    assert market.index == {"X": 0, "Y": 1}
    assert market.quote(0) is None
    assert market.last_trade(0) is None
    assert market.bars(0, 60, 5) == []
    assert market.forming(0, 60) is None
    known = market.indicators(0)
    assert [getattr(known, name) for name in known.__struct_fields__] == [None] * len(known.__struct_fields__)


def test_the_quote_is_exact_and_immutable() -> None:
    view = after(quote(149.98, 150.0)).quote(0)
    assert view == QuoteView(nano("149.98"), nano("150"), 3.0, 4.0, NOW, NOW)
    with pytest.raises(AttributeError):
        view.bid = 1


@pytest.mark.parametrize("text", ["0.000000001", "0.123456789", "1.0049", "999999.99", "4194303.123456789"])
def test_a_price_survives_its_trip_through_a_float(text: str) -> None:
    assert after(quote(float(text), float(text))).quote(0).bid == nano(text)
    assert after(trade(float(text))).last_trade(0).price == nano(text)


@pytest.mark.parametrize("bad", [0.0, 5e-324, 4e-10, -1.0, math.nan, math.inf, 1e300])
def test_a_side_without_a_possible_price_is_missing(bad: float) -> None:
    assert after(quote(bad, 10)).quote(0) == QuoteView(None, nano("10"), 0.0, 4.0, NOW, NOW)
    assert after(quote(10, bad)).quote(0) == QuoteView(nano("10"), None, 3.0, 0.0, NOW, NOW)
    assert after(quote(10, 11), quote(bad, bad)).quote(0) == QuoteView(None, None, 0.0, 0.0, NOW, NOW)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_side_with_an_impossible_size_is_missing(bad: float) -> None:
    assert after(quote(10, 11, sizes=(bad, 2))).quote(0) == QuoteView(None, nano("11"), 0.0, 2.0, NOW, NOW)


def test_an_older_quote_is_ignored_and_an_equally_old_one_replaces() -> None:
    market = after(quote(10, 11), quote(20, 21, at=NOW - 1))
    assert market.quote(0).bid == nano("10")
    market.consume(quote(12, 13, recv_ns=NOW + 5), 0, 1)
    assert market.quote(0) == QuoteView(nano("12"), nano("13"), 3.0, 4.0, NOW, NOW + 5)


def test_a_stamp_from_the_far_future_is_ignored_and_poisons_nothing() -> None:
    """Trap: exchange timestamps from the future."""
    future = NOW + 61 * S
    market = after(quote(10, 11), quote(20, 21, at=future), trade(99, at=future), trade(10, at=NOW))
    assert market.quote(0).bid == nano("10")
    assert market.last_trade(0).price == nano("10")
    assert market.indicators(0).volume == 1
    market.consume(quote(12, 13, at=NOW + 59 * S), 0, 1)
    assert market.quote(0).bid == nano("12")


def test_the_last_trade_is_the_last_eligible_one_in_sequence() -> None:
    market = after(trade(10, 5), trade(99, eligible=False), trade(98, at=NOW - S - 1))
    assert market.last_trade(0) == TradeView(nano("10"), 5.0, NOW, NOW, 77)
    market.consume(trade(11, at=NOW - S), 0, 1)  # a jitter between exchanges
    assert market.last_trade(0).price == nano("11")
    market.consume(trade(12, at=NOW - 2 * S), 0, 1)  # measured against the newest, not against the last
    assert market.last_trade(0).price == nano("11")


@pytest.mark.parametrize(("late_s", "is_last"), [(10, True), (11, False)])
def test_the_first_trade_of_all_is_no_report_of_the_past(late_s: int, is_last: bool) -> None:
    """A quote of now, or history that was loaded, tells that what was made an hour ago is late."""
    quoted, loaded = after(quote(10, 11)), after()
    loaded.pass_time(0, NOW)
    for market in (quoted, loaded):
        slot = market.arm(0, TriggerOn.TRADE, TriggerDirection.BELOW, 9.5)
        market.consume(trade(9, at=NOW - late_s * S), 0, 1)
        assert (market.last_trade(0) is not None) is is_last
        assert (market.trigger(slot) is None) is is_last
        assert market.indicators(0).volume == 1, "it was made all the same"
        market.consume(trade(9.4), 0, 1)
        assert market.last_trade(0).price == nano("9.4")


@pytest.mark.parametrize(("late_s", "fires"), [(60, True), (61, False)])
def test_a_print_that_took_a_minute_to_come_fires_nothing_but_is_the_last_trade(
    late_s: int, fires: bool
) -> None:
    """Of a symbol that was silent nothing but its receipt tells a late print; a quote is what is, however old."""
    market = after(trade(10, at=NOW - 3600 * S))
    slot = market.arm(0, TriggerOn.TRADE | TriggerOn.BID, TriggerDirection.BELOW, 9.5)
    market.consume(trade(9, at=NOW - late_s * S), 0, 1)
    assert (market.trigger(slot) is None) is fires
    assert market.last_trade(0).price == nano("9")
    if not fires:
        market.consume(quote(9, 11, at=NOW - late_s * S), 0, 1)
        assert market.trigger(slot) is None


def test_a_symbol_is_forgotten_but_not_what_is_wanted_of_it() -> None:
    """What was armed, the quote and the session's reset are not history's to tell."""
    market, fresh = (
        Market(("X", "Y"), periods={"X": {"rsi": 5}}),
        Market(("X", "Y"), periods={"X": {"rsi": 5}}),
    )
    for one in (market, fresh):
        one.set_session(0, NOW + 10 * S, 20 * S)
    slot = market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 50)
    for n in range(60):
        market.consume(trade(10 + n % 3, at=NOW + n * S), 0, 1)
    market.consume(quote(10, 11, at=NOW + 60 * S), 0, 1)
    other = market.digest(1)
    market.forget(0)
    assert market.last_trade(0) is None
    assert market.indicators(0) == fresh.indicators(0)
    assert market.quote(0).bid == nano("10")
    assert market.trigger(slot).level == 50
    market._symbols["quote"][0] = 0
    assert (market.digest(0), market.digest(1)) == (fresh.digest(0), other)


@pytest.mark.parametrize("price", [0.0, 5e-324, 4e-10, -1.0, math.nan, math.inf, -math.inf, 1e300])
def test_a_trade_without_a_possible_price_changes_nothing_but_the_count(price: float) -> None:
    market, same = after(trade(10)), after(trade(10))
    market.consume(trade(price, at=NOW + 3600 * S), 0, 1)
    assert market.rows_seen == 2
    market.rows_seen = 1
    assert market.digest() == same.digest()


@pytest.mark.parametrize("size", [-1.0, math.nan, math.inf, 1e300])
def test_a_trade_without_a_possible_size_changes_nothing_but_the_count(size: float) -> None:
    market = after(trade(10), trade(11, size))
    assert market.last_trade(0).price == nano("10")
    assert market.rows_seen == 2


@pytest.mark.parametrize(
    ("field", "value"), [("sym", -1), ("sym", 2), ("kind", 0), ("kind", 3), ("venue_ns", -1)]
)
def test_a_row_that_makes_no_sense_is_only_counted(field: str, value: int) -> None:
    row = trade(10)
    row[field] = value
    market = after(row)
    assert market.rows_seen == 1
    market.rows_seen = 0
    assert market.digest() == after().digest()


def test_symbols_do_not_touch_each_other() -> None:
    other = trade(50)
    other["sym"] = 1
    market = after(quote(10, 11), trade(10), other)
    assert market.quote(1) is None
    assert market.last_trade(0).price == nano("10")
    assert market.last_trade(1).price == nano("50")


def test_vwap_and_volume_are_of_eligible_trades() -> None:
    known = after(trade(10, 1), trade(13, 2), trade(1000, 9, eligible=False)).indicators(0)
    assert (known.vwap, known.volume) == (12.0, 3.0)


def test_a_session_with_quotes_only_has_no_volume_rather_than_zero() -> None:
    assert after(quote(10, 11)).indicators(0).volume is None


def test_vwap_of_trades_of_size_zero_is_unknown() -> None:
    known = after(trade(10, 0)).indicators(0)
    assert (known.vwap, known.volume) == (None, 0.0)


def test_vwap_keeps_its_digits_after_a_million_trades() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(trade(1), 1_000_000)
    rows["price"] = np.round(rng.uniform(1, 700_000, len(rows)), 2)
    rows["size"] = np.round(rng.uniform(1e-8, 1e6, len(rows)), 8)
    known = after(rows).indicators(0)
    exact = math.fsum(rows["price"] * rows["size"]) / math.fsum(rows["size"])
    assert known.vwap == pytest.approx(exact, rel=1e-15)
    assert known.volume == pytest.approx(math.fsum(rows["size"]), rel=1e-15)


@pytest.mark.parametrize("kind", ["trade", "quote"])
def test_the_session_restarts_at_the_first_row_from_the_reset_on(kind: str) -> None:
    market = Market(("X",))
    market.set_session(0, NOW + 10, 100)
    market.consume(trade(10, 5, at=NOW + 9), 0, 1)
    assert market.indicators(0).volume == 5
    first = trade(20, 7, at=NOW + 10) if kind == "trade" else quote(10, 11, at=NOW + 10)
    market.consume(first, 0, 1)
    assert market.indicators(0).volume == (7 if kind == "trade" else None)


def test_the_next_reset_is_a_whole_number_of_periods_later() -> None:
    market = Market(("X",))
    market.set_session(0, NOW, 100)
    seen = []
    for at in (NOW, NOW + 99, NOW + 100, NOW + 730, NOW + 799, NOW + 800):
        market.consume(trade(10, 1, at=at), 0, 1)
        seen.append(market.indicators(0).volume)
    assert seen == [1, 2, 1, 1, 2, 1]


def test_a_session_told_in_the_middle_of_a_bar_begins_in_the_middle_of_it() -> None:
    market = after(trade(10, 5))
    market.set_session(0, NOW + 2 * S, 0)
    market.consume(trade(10, 1, at=NOW + S), 0, 1)
    market.consume(trade(10, 7, at=NOW + 2 * S), 0, 1)
    assert market.indicators(0).volume == 7


def test_without_a_period_the_session_restarts_once() -> None:
    market = Market(("X",))
    market.set_session(0, NOW, 0)
    for at in (NOW - 1, NOW, NOW + 10**6, NOW + 10**18):
        market.consume(trade(10, 1, at=at) if at < NOW + S else quote(1, 2, at=at, recv_ns=0), 0, 1)
    assert market.indicators(0).volume == 2


def test_a_late_trade_of_the_session_before_does_not_count_in_this_one() -> None:
    market = Market(("X",))
    market.set_session(0, NOW, 100)
    for at in (NOW - 1, NOW + 1, NOW - 1):
        market.consume(trade(10, 1, at=at), 0, 1)
    assert market.indicators(0).volume == 1


def test_a_session_reset_leaves_bars_and_indicators_alone() -> None:
    rows = np.concatenate([trade(10 + i % 3, at=NOW + i) for i in range(40)])
    market = Market(("X",))
    market.set_session(0, NOW + 20, 0)
    market.consume(rows, 0, 40)
    other = Market(("X",))
    other.consume(rows, 0, 40)
    assert market.indicators(0).tick_rsi_14 == other.indicators(0).tick_rsi_14
    assert market.forming(0, 60) == other.forming(0, 60)
    assert market.indicators(0).volume == 20


@pytest.mark.parametrize(("reset_ns", "period_ns"), [(-1, 0), (0, -1)])
def test_a_session_that_cannot_be_meant_is_an_error(reset_ns: int, period_ns: int) -> None:
    with pytest.raises(ValueError):
        Market(("X",)).set_session(0, reset_ns, period_ns)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 3), (2, 1)])
def test_rows_outside_the_array_are_an_error(start: int, stop: int) -> None:
    with pytest.raises(IndexError):
        Market(("X",)).consume(new_rows(2), start, stop)


def test_rows_that_would_need_another_kernel_are_an_error() -> None:
    rows = new_rows(4)
    frozen = rows.copy()
    frozen.flags.writeable = False
    for wrong in (np.zeros(4), rows[::2], frozen, rows.byteswap().view(rows.dtype.newbyteorder())):
        with pytest.raises(TypeError, match="ROW"):
            Market(("X",)).consume(wrong, 0, 1)
    assert Market(("X",)).consume(rows[1:3], 0, 2) == 2


@pytest.mark.parametrize(
    ("symbols", "intervals_s"), [(("X", "X"), (60,)), (("X",), ()), (("X",), (0,)), (("X",), (60, 60))]
)
def test_a_market_that_cannot_be_meant_is_an_error(
    symbols: tuple[str, ...], intervals_s: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError):
        Market(symbols, intervals_s)


def test_a_market_without_symbols_counts_rows() -> None:
    market = Market(())
    assert market.consume(new_rows(3), 0, 3) == 3
    assert market.rows_seen == 3


def test_the_digest_changes_with_any_part_of_the_state() -> None:
    digests = [after().digest(), after(quote(10, 11)).digest(), after(trade(10)).digest()]
    market = after()
    market.set_session(0, NOW, 1)
    digests.append(market.digest())
    market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 10)
    digests.append(market.digest())
    assert len(set(digests)) == len(digests)
    assert after(trade(10)).digest() == after(trade(10)).digest()


def test_a_restored_market_is_the_same_and_stays_the_same() -> None:
    market = after(quote(10, 11), trade(10))
    slots = [market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 20 + i) for i in range(100)]
    other = Market.restore(market.snapshot())
    assert other.digest() == market.digest()
    for each in (market, other):
        each.consume(trade(25, at=NOW + 50 * S), 0, 1)
        assert each.fired[: each.fired_count].tolist() == slots[:6]
        each.arm(1, TriggerOn.BID, TriggerDirection.BELOW, 5)
    assert other.digest() == market.digest()
    assert other.quote(0) == market.quote(0)


def test_a_snapshot_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of this version"):
        Market.restore(after(trade(10)).snapshot()[:-1])


def test_a_snapshot_of_another_layout_is_refused() -> None:
    snapshot = after(trade(10)).snapshot()
    with pytest.raises(ValueError, match="not one of this version"):
        Market.restore(snapshot.replace(market_module._LAYOUT.encode(), b"0" * 16, 1))


def test_warming_up_leaves_nothing_to_compile() -> None:
    """However many symbols, intervals, rows and triggers there are: compiling takes seconds."""
    compiled = [kernel.consume, kernel.observe, kernel.arm, kernel.disarm]
    Market.warm_up()
    assert [len(function.signatures) for function in compiled] == [1, 1, 1, 1]
    for size in range(4):
        market = Market([f"S{i}" for i in range(size)], (60, 300, 3600)[: 1 + size % 3])
        market.consume(new_rows(size), 0, size)
        for _ in range(200 if size else 0):
            market.disarm(market.arm(0, TriggerOn.MID, TriggerDirection.BELOW, 3))
            market.arm(size - 1, TriggerOn.MID, TriggerDirection.BELOW, 3)
            market.disarm(market.arm_trailing(0, TriggerOn.MID, TriggerDirection.BELOW, 3))
            market.indicators(0)
    assert [len(function.signatures) for function in compiled] == [1, 1, 1, 1]


def test_asking_for_lines_ahead_changes_nothing_and_asks_for_no_symbol_that_is_not_there() -> None:
    many = kernel.MANY + 10
    rows = np.concatenate([trade(10 + n % 7, at=NOW + n) for n in range(4 * kernel.AHEAD)])
    rows["sym"] = np.resize([0, many - 1, -1, many, 2**31 - 1, 5, -(2**31)], len(rows))
    ahead, singly = (Market([f"S{n}" for n in range(many)]) for _ in range(2))
    ahead.consume(rows, 0, len(rows))
    for at in range(len(rows)):
        singly.consume(rows, at, at + 1)  # a call of one row has nothing ahead
    assert ahead.digest() == singly.digest()
    assert ahead.last_trade(many - 1) is not None
