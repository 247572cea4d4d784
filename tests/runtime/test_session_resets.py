"""When VWAP begins anew, whatever the venue is asked between the moment and its first row."""

from __future__ import annotations

import pytest

from hands.core.events import SessionReport
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.runtime.session_resets import DAY_NS, SessionResets

MIDNIGHT_NS = 20_000 * DAY_NS


def trade(market: Market, index: int, price: float, at_ns: int) -> float | None:
    """Consume one trade and return the session's VWAP after it."""
    rows = new_rows(1)
    row = rows[0]
    row["sym"], row["kind"], row["flags"], row["price"], row["size"] = (
        index,
        RowKind.TRADE,
        RowFlag.ELIGIBLE,
        price,
        1,
    )
    row["venue_ns"] = row["recv_ns"] = at_ns
    market.consume(rows, 0, 1)
    return market.indicators(index).vwap


def report(now_ns: int, *, is_open: bool, next_open_ns: int) -> SessionReport:
    return SessionReport(
        ts_ns=Ns(now_ns),
        is_open=is_open,
        next_open_ns=Ns(next_open_ns),
        next_close_ns=Ns(next_open_ns + DAY_NS // 4),
    )


def test_a_question_just_after_midnight_does_not_put_cryptos_new_day_off() -> None:
    market = Market(("BTC/USD",))
    resets = SessionResets(market, MIDNIGHT_NS - 3600 * NS_PER_S)
    trade(market, 0, 100.0, MIDNIGHT_NS - 60 * NS_PER_S)
    resets.take(
        report(MIDNIGHT_NS + NS_PER_S, is_open=False, next_open_ns=MIDNIGHT_NS + 14 * 3600 * NS_PER_S)
    )
    assert trade(market, 0, 200.0, MIDNIGHT_NS + 2 * NS_PER_S) == 200.0
    assert trade(market, 0, 300.0, MIDNIGHT_NS + DAY_NS + NS_PER_S) == 300.0, "and every day after"


@pytest.mark.parametrize("off_ms", [-900, -20, 20, 900])
def test_the_first_trades_of_a_session_are_its_own_however_its_open_was_estimated(off_ms: int) -> None:
    """The report's times were moved to our clock; the rows have the venue's."""
    market = Market(("AAPL",))
    opens_ns = MIDNIGHT_NS + 14 * 3600 * NS_PER_S
    told = report(MIDNIGHT_NS, is_open=False, next_open_ns=opens_ns + off_ms * NS_PER_MS)
    SessionResets(market, MIDNIGHT_NS).take(told)
    assert trade(market, 0, 100.0, opens_ns - NS_PER_MS) == 100.0
    assert trade(market, 0, 200.0, opens_ns) == 200.0


def test_an_equitys_session_begins_at_the_open_that_was_told_first() -> None:
    market = Market(("AAPL",))
    resets = SessionResets(market, MIDNIGHT_NS)
    opens_ns = MIDNIGHT_NS + 14 * 3600 * NS_PER_S
    resets.take(report(MIDNIGHT_NS, is_open=False, next_open_ns=opens_ns))
    trade(market, 0, 100.0, opens_ns - NS_PER_S)
    # the same open, moved to our clock by another reading of the venue's: the first row at the open still counts
    resets.take(report(opens_ns - NS_PER_S, is_open=False, next_open_ns=opens_ns + 40 * NS_PER_MS))
    assert trade(market, 0, 200.0, opens_ns + NS_PER_MS) == 200.0
    resets.take(report(opens_ns + NS_PER_S, is_open=True, next_open_ns=opens_ns + DAY_NS))
    assert trade(market, 0, 220.0, opens_ns + 2 * NS_PER_S) == 210.0
    resets.take(report(opens_ns + 8 * 3600 * NS_PER_S, is_open=False, next_open_ns=opens_ns + DAY_NS))
    assert trade(market, 0, 300.0, opens_ns + DAY_NS) == 300.0
