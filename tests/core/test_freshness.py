"""How old a quote is and whether its symbol trades: the rules of `hands.core.freshness`, on both sides of each."""

from __future__ import annotations

import pytest

from hands.core.commands import Alert
from hands.core.engine import decide
from hands.core.events import Link, QuoteFetched, TradingStatusReport, VenueClockMeasured
from hands.core.freshness import halt_of, quote_age_ns
from hands.core.market import RowFlag, RowKind, new_rows
from hands.core.state import encode
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from tests.core.world import NOW, case, intent, quote, session, verdict, world

BEHIND = 40 * NS_PER_MS
"""How long a message takes on this feed when it is quick."""

UNQUOTED = {"AAPL": None, "SOL/USD": None}


def received(state, venue_ns, recv_ns, bid=149.98, ask=150.00, symbol="AAPL"):
    rows = new_rows(1)
    rows["sym"], rows["kind"] = state.market.index[symbol], RowKind.QUOTE
    rows["price"], rows["price2"], rows["size"], rows["size2"] = bid, ask, 100.0, 100.0
    rows["venue_ns"], rows["recv_ns"] = venue_ns, recv_ns
    state.market.consume(rows, 0, 1)


def traded(state, venue_ns, symbol="AAPL", flags=RowFlag.ELIGIBLE):
    rows = new_rows(1)
    rows["sym"], rows["kind"], rows["flags"] = state.market.index[symbol], RowKind.TRADE, flags
    rows["price"], rows["size"] = 150.0, 1.0
    rows["venue_ns"] = rows["recv_ns"] = venue_ns
    state.market.consume(rows, 0, 1)


def age_s(state, symbol="AAPL"):
    found = state.market.quote(state.market.index[symbol])
    return quote_age_ns(state, symbol, found, state.now_ns) / NS_PER_S


def measured(state, offset_ns, link=Link.EQUITY_DATA):
    decide(state, VenueClockMeasured(ts_ns=state.now_ns, link=link, offset_ns=offset_ns))


def fetched(state, venue_ns, asked_ns, *, ok=True):
    decide(
        state,
        QuoteFetched(ts_ns=state.now_ns, symbol="AAPL", ok=ok, asked_ns=Ns(asked_ns), venue_ns=venue_ns),
    )


def status(state, *, halted, at_s=0.0, text="Trading Halt"):
    venue_ns = int(NOW + at_s * NS_PER_S)
    event = TradingStatusReport(
        ts_ns=state.now_ns, symbol="AAPL", halted=halted, venue_ns=venue_ns, code="H", text=text, reason="T12"
    )
    return decide(state, event)


# --- age -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_s", "stamped_s", "expected_s"),
    [
        (None, 2.5, 2.0),  # half a second on its way
        (None, 60.0, 59.0),  # a delayed feed, from its first message on
        (0.0, 60.0, 59.0),
        (7_200.0, 7_202.5, 2.0),  # our clock is two hours ahead of the venue's
        (7_200.0, 7_260.0, 59.0),  # and the feed is late besides
        (-30.0, -28.0, 2.0),  # behind it
        (-30.0, -10.0, 19.0),
    ],
)
def test_trap_24_a_feed_that_was_late_from_the_beginning_is_old_before_and_after_its_lag_is_measured(
    ahead_s, stamped_s, expected_s
):
    """The lag looks like a slow clock; the venue's own clock tells them apart."""
    ahead_max_ns = None if ahead_s is None else int(ahead_s * NS_PER_S)
    state = world(quotes=UNQUOTED, session=session(ahead_max_ns=ahead_max_ns))
    received(state, NOW - int(stamped_s * NS_PER_S), NOW - 2 * NS_PER_S)
    assert age_s(state) == expected_s
    measured(state, int(stamped_s * NS_PER_S) - 2 * NS_PER_S)
    assert age_s(state) == expected_s
    assert (verdict(state).code == "STALE_MARKET_DATA") is (expected_s > 5)


def test_without_a_session_the_clocks_count_as_equal():
    state = world(quotes=UNQUOTED, session=None)
    received(state, NOW - 60 * NS_PER_S, NOW - 2 * NS_PER_S)
    assert age_s(state) == 59.0


@pytest.mark.parametrize("offset_ns", [BEHIND, -1_300 * NS_PER_MS, 7_200 * NS_PER_S])
def test_a_quick_quote_is_as_old_as_its_receipt_whatever_the_venues_clock_says(offset_ns):
    state = world(quotes=UNQUOTED, session=session(ahead_max_ns=max(0, offset_ns)))
    measured(state, offset_ns)
    received(state, NOW - 2 * NS_PER_S - offset_ns, NOW - 2 * NS_PER_S)
    assert age_s(state) == 2.0


@pytest.mark.parametrize("offset_ns", [BEHIND, -1_300 * NS_PER_MS])
def test_trap_24_a_quote_that_came_late_is_as_old_as_the_way_made_it(offset_ns):
    state = world(quotes=UNQUOTED)
    measured(state, offset_ns)
    received(state, NOW - 8 * NS_PER_S - offset_ns, NOW)
    assert age_s(state) == 8.0
    assert verdict(state).code == "STALE_MARKET_DATA"


def test_trap_29_a_stamp_from_the_future_does_not_make_a_quote_younger_than_its_receipt():
    state = world(quotes=UNQUOTED)
    measured(state, BEHIND)
    received(state, NOW + 30 * NS_PER_S, NOW - 6 * NS_PER_S)
    assert age_s(state) == 6.0


def test_an_age_is_never_negative():
    state = world(quotes=UNQUOTED)
    received(state, NOW, NOW + NS_PER_S)
    assert age_s(state) == 0.0


def test_each_feed_has_its_own_clock():
    state = world(quotes=UNQUOTED)
    measured(state, -1_300 * NS_PER_MS, Link.CRYPTO_DATA)
    received(state, NOW, NOW, symbol="AAPL")
    received(state, NOW, NOW, symbol="SOL/USD")
    assert (age_s(state), age_s(state, "SOL/USD")) == (0.0, 1.3)


def test_a_quote_the_venue_confirms_is_as_old_as_the_question():
    state = world(quotes=UNQUOTED)
    measured(state, BEHIND)
    received(state, NOW - 60 * NS_PER_S, NOW - 60 * NS_PER_S + BEHIND)
    assert verdict(state).code == "STALE_MARKET_DATA"
    received(state, NOW - 60 * NS_PER_S, NOW)  # the same again, by REST
    assert age_s(state) == 59.96, "that it was received again proves nothing"
    fetched(state, NOW - 60 * NS_PER_S, NOW - NS_PER_S)
    assert age_s(state) == 1.0
    assert verdict(state).code == "OK"


@pytest.mark.parametrize(
    ("venue_ns", "asked_ns", "ok"), [(NOW - 61 * NS_PER_S, NOW, True), (None, NOW, True), (NOW, NOW, False)]
)
def test_an_answer_that_is_behind_the_stream_or_none_confirms_nothing(venue_ns, asked_ns, ok):
    state = world(quotes=UNQUOTED)
    received(state, NOW - 60 * NS_PER_S, NOW - 60 * NS_PER_S)
    fetched(state, venue_ns, asked_ns, ok=ok)
    assert age_s(state) == 60.0


def test_an_answer_whose_row_the_market_refused_does_not_confirm_what_it_holds():
    state = world(quotes=UNQUOTED)
    received(state, NOW - 60 * NS_PER_S, NOW - 60 * NS_PER_S)
    received(state, NOW + 90 * NS_PER_S, NOW)  # stamped too far ahead of our clock
    fetched(state, NOW + 90 * NS_PER_S, NOW)
    assert age_s(state) == 60.0
    assert verdict(state).code == "STALE_MARKET_DATA"


def test_a_confirmation_ends_with_the_next_quote():
    state = world(quotes=UNQUOTED)
    measured(state, BEHIND)
    received(state, NOW - 60 * NS_PER_S, NOW - 60 * NS_PER_S + BEHIND)
    fetched(state, NOW - 60 * NS_PER_S, NOW)
    received(state, NOW - 30 * NS_PER_S, NOW)  # and this one came very late
    assert age_s(state) == 29.96


# --- halts ---------------------------------------------------------------------------------------------------


def test_a_halted_symbol_is_not_entered_and_it_is_nobodys_fault():
    state = world()
    (alert,) = [command for command in status(state, halted=True) if isinstance(command, Alert)]
    assert "AAPL is halted" in alert.message
    found = verdict(state)
    assert (found.code, found.denial.retry) == ("ASSET_NOT_TRADABLE", "after")
    assert "Trading Halt T12" in found.denial.message
    assert not found.check.fault
    assert verdict(state, intent(asset="SPY")).code == "OK"
    assert verdict(state, intent(entry="touch"), arming=True).code == "ASSET_NOT_TRADABLE"


def test_a_halt_ends_with_the_venues_word():
    state = world()
    status(state, halted=True)
    out = status(state, halted=False, at_s=60, text="Trading Resumption")
    assert any("trades again" in command.message for command in out if isinstance(command, Alert))
    assert verdict(state).code == "OK"


def test_an_older_word_changes_nothing():
    state = world()
    status(state, halted=True, at_s=60)
    status(state, halted=False, at_s=0)
    assert halt_of(state, "AAPL") is not None


def test_a_resumption_nobody_halted_for_is_no_news():
    assert not [command for command in status(world(), halted=False) if isinstance(command, Alert)]


@pytest.mark.parametrize(
    ("after_s", "flags", "halted"),
    [(0.5, RowFlag.ELIGIBLE, True), (1.0, RowFlag.ELIGIBLE, False), (60.0, 0, True)],
)
def test_a_halt_whose_end_was_not_heard_is_over_when_the_symbol_trades(after_s, flags, halted):
    """A late print of the last moment, or one that is no price, proves nothing."""
    state = world()
    status(state, halted=True)
    traded(state, int(NOW + after_s * NS_PER_S), flags=flags)
    quote(state, "AAPL", "149.98", "150")
    assert (halt_of(state, "AAPL") is not None) is halted


@pytest.mark.parametrize("offset_ns", [None, BEHIND, -1_300 * NS_PER_MS])
def test_a_halt_stamped_in_the_far_future_ends_with_the_next_word_or_trade(offset_ns):
    """Not before: what traded up to now is no sign of an end, wherever between the clocks it was stamped."""
    behind_ns = offset_ns or 0
    for ended in ("by word", "by trade"):
        state = world()
        if offset_ns is not None:
            measured(state, offset_ns)
        traded(state, NOW - behind_ns)
        status(state, halted=True, at_s=86_400 * 365)
        assert halt_of(state, "AAPL") is not None
        if ended == "by word":
            status(state, halted=False, at_s=300)
        else:
            traded(state, NOW + 300 * NS_PER_S)
        assert halt_of(state, "AAPL") is None


@pytest.mark.parametrize("ago_s", [5, 3_600, 1_700_000_000])
def test_a_halt_with_an_old_stamp_holds_until_it_trades_after_the_word_came(ago_s):
    state = world()
    traded(state, NOW - NS_PER_S)
    status(state, halted=True, at_s=-ago_s)
    assert halt_of(state, "AAPL") is not None, "what traded before the word came is no sign of its end"
    traded(state, NOW - 1)
    assert halt_of(state, "AAPL") is not None
    traded(state, NOW)
    assert halt_of(state, "AAPL") is None


def test_a_halt_survives_a_restart():
    state = world()
    status(state, halted=True)
    kept = {key: encode(entity) for key, entity in state.changed.items() if entity is not None}
    later = world()
    later.restore((kind, key, data) for (kind, key), data in kept.items())
    assert case(later).state.halts == state.halts
    assert verdict(later).code == "ASSET_NOT_TRADABLE"


def test_a_halt_that_is_over_is_forgotten_by_the_journal_too():
    state = world()
    status(state, halted=True)
    state.changed.clear()
    status(state, halted=False, at_s=1)
    assert state.changed["halt", "AAPL"] is None
