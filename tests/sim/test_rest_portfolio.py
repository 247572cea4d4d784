"""The record of what the account was worth, and the history told from it."""

from __future__ import annotations

import datetime as dt

import pytest

from hands.core.units import Ns, Usd, nano
from hands.sim.server.portfolio import EquityRecord, history_json, previous_close_ns
from hands.sim.venue.calendar import NEW_YORK, MarketClock
from hands.sim.venue.errors import VenueError

CALENDAR = MarketClock("calendar")
ALWAYS = MarketClock("always")


def ns(text: str) -> Ns:
    """A time in New York."""
    return Ns(int(dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 10**9)


def usd(text: str) -> Usd:
    return Usd(nano(text))


def record_of(opened: str, *seen: tuple[str, str]) -> EquityRecord:
    """A record opened with 1000 dollars in which the account was looked at at these times."""
    record = EquityRecord(ns(opened), usd("1000"))
    for at, equity in seen:
        record.note(ns(at), lambda equity=equity: usd(equity))
    return record


# Monday to Wednesday; the account is opened on the Friday before.
RECORD = record_of(
    "2026-03-06T12:00",
    ("2026-03-06T16:00:01", "1010"),
    ("2026-03-09T09:31", "1020"),
    ("2026-03-09T16:00", "1040"),
    ("2026-03-10T09:35", "1030"),
    ("2026-03-10T16:00", "1000"),
    ("2026-03-11T09:32", "1008"),
)
NOW = ns("2026-03-11T09:33:30")


def asked(clock: MarketClock = CALENDAR, **query: str):
    return history_json(query, RECORD, clock, NOW, usd("1012.34"))


def test_a_look_counts_once_a_minute() -> None:
    looks = []
    record = EquityRecord(ns("2026-03-09T10:00"), usd("1000"))
    for second in (0, 30, 59, 60, 61, 200):
        record.note(ns("2026-03-09T10:00") + second * 10**9, lambda at=second: looks.append(at) or usd("1"))
    assert looks == [60, 200]


def test_the_value_at_a_time_is_the_last_one_seen_by_the_end_of_that_minute() -> None:
    for at, equity in (
        ("2026-03-01T00:00", "1000"),
        ("2026-03-06T15:59", "1000"),
        ("2026-03-06T16:00", "1010"),
        ("2026-03-09T09:30", "1010"),
        ("2026-03-09T12:00", "1020"),
        ("2026-03-20T12:00", "1008"),
    ):
        assert RECORD.at(ns(at)) == usd(equity), at


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hands.sim.server.portfolio.MINUTES_MAX", 100)
    opened = ns("2026-03-09T10:00")
    record = EquityRecord(opened, usd("1"))
    for minute in range(1, 1000):
        record.note(opened + minute * 60 * 10**9, lambda minute=minute: usd(str(minute)))
    assert record.at(opened + 999 * 60 * 10**9) == usd("999")
    assert usd("890") < record.at(opened) < usd("999")


def test_days_have_the_windows_own_profit_and_the_share_since_the_first() -> None:
    told = asked(period="1W", timeframe="1D")
    labels = [dt.datetime.fromtimestamp(t, dt.UTC).isoformat()[:16] for t in told["timestamp"]]
    assert labels == ["2026-03-06T00:00", "2026-03-09T00:00", "2026-03-10T00:00", "2026-03-11T00:00"]
    assert told["equity"] == [1010.0, 1040.0, 1000.0, 1012.34]
    assert told["profit_loss"] == [0.0, 30.0, -40.0, 12.34]
    assert told["profit_loss_pct"] == [0.0, 0.0297, -0.0099, 0.0023]
    assert (told["base_value"], told["timeframe"], "base_value_asof" in told) == (1010.0, "1D", False)


def test_minutes_are_reckoned_from_the_close_of_the_day_before() -> None:
    told = asked(start="2026-03-11T13:30:00Z", timeframe="1Min")
    assert [t - told["timestamp"][0] for t in told["timestamp"]] == [0, 60, 120, 180]
    assert told["equity"] == [1000.0, 1008.0, 1008.0, 1012.34]
    assert told["profit_loss"] == [0.0, 8.0, 8.0, 12.34]
    assert told["profit_loss_pct"] == [0.0, 0.008, 0.008, 0.0123]
    assert (told["base_value"], told["base_value_asof"]) == (1000.0, "2026-03-10")


def test_profit_starts_over_each_day_or_not() -> None:
    query = {"start": "2026-03-10T13:30:00Z", "timeframe": "1H"}
    daily, through = asked(**query), asked(**query, pnl_reset="no_reset")
    assert daily["equity"] == through["equity"]
    assert (daily["equity"][0], daily["equity"][-1]) == (1030.0, 1012.34)
    assert (daily["profit_loss"][0], daily["profit_loss"][-1]) == (-10.0, 12.34)
    assert (through["profit_loss"][0], through["profit_loss"][-1]) == (-10.0, -27.66)
    assert daily["base_value"] == through["base_value"] == 1040.0


@pytest.mark.parametrize(
    ("reporting", "first", "count"),
    [("market_hours", "09:30", 7), ("extended_hours", "04:00", 16), ("continuous", "00:00", 24)],
)
def test_which_hours_are_reported(reporting, first, count) -> None:
    start, end = "2026-03-10T00:00:00-04:00", "2026-03-11T00:00:00-04:00"
    told = asked(start=start, end=end, timeframe="1H", intraday_reporting=reporting)
    assert len(told["timestamp"]) == count
    assert dt.datetime.fromtimestamp(told["timestamp"][0], NEW_YORK).strftime("%H:%M") == first


def test_a_market_that_never_closes_reports_every_day_and_hour() -> None:
    told = asked(ALWAYS, period="1W", timeframe="1D")
    assert len(told["timestamp"]) == 6  # Friday to Wednesday, Saturday and Sunday included
    hours = asked(ALWAYS, start="2026-03-07T00:00:00Z", end="2026-03-08T00:00:00Z", timeframe="1H")
    assert len(hours["timestamp"]) == 24


def test_nothing_is_told_of_the_time_before_the_account() -> None:
    assert len(asked(period="1A")["timestamp"]) == 4
    assert asked(end="2026-03-01T00:00:00Z", period="1D", timeframe="1H")["timestamp"] == []


@pytest.mark.parametrize(
    ("query", "timeframe"),
    [({}, "1D"), ({"period": "1D"}, "1Min"), ({"period": "2W"}, "15Min"), ({"period": "2M"}, "1D")],
)
def test_the_timeframe_follows_the_period(query, timeframe) -> None:
    assert asked(**query)["timeframe"] == timeframe


def test_cashflow_is_there_when_asked_for() -> None:
    assert "cashflow" not in asked()
    assert asked(cashflow_types="ALL")["cashflow"] == {}


@pytest.mark.parametrize(
    "query",
    [
        {"period": "1Y"},
        {"timeframe": "2Min"},
        {"period": "1D", "start": "2026-03-10T00:00:00Z", "end": "2026-03-11T00:00:00Z"},
        {"period": "2M", "timeframe": "1H"},
        {"intraday_reporting": "never"},
        {"pnl_reset": "sometimes"},
        {"start": "yesterday"},
    ],
)
def test_refusals(query) -> None:
    with pytest.raises(VenueError) as refused:
        asked(**query)
    assert refused.value.status == 422


def test_the_close_before_skips_weekends_and_holidays() -> None:
    assert previous_close_ns(ns("2026-03-09T12:00")) == ns("2026-03-06T16:00")
    assert previous_close_ns(ns("2026-11-27T10:00")) == ns("2026-11-25T16:00")  # Thanksgiving
    assert previous_close_ns(ns("2026-11-30T10:00")) == ns("2026-11-27T13:00")  # a half day


@pytest.mark.parametrize("bound", ["start", "end"])
def test_times_before_there_was_time_are_no_trouble(bound) -> None:
    assert asked(**{bound: "0001-01-01", "timeframe": "1D"})["equity"] == (
        asked(start="1970-01-01", timeframe="1D")["equity"] if bound == "start" else []
    )
