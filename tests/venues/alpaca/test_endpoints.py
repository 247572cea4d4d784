from __future__ import annotations

import pytest

from hands.core.vocab import Venue
from hands.venues.alpaca.backoff import Backoff
from hands.venues.alpaca.endpoints import (
    Credentials,
    EndpointError,
    Endpoints,
    Feed,
    Origin,
    origin_of,
    venue_of,
)
from hands.venues.alpaca.rate import RateBudget


def test_paper_is_the_default():
    endpoints = Endpoints.of()
    assert endpoints == Endpoints(
        trading="https://paper-api.alpaca.markets",
        data="https://data.alpaca.markets",
        trade_stream="wss://paper-api.alpaca.markets/stream",
        equity_stream="wss://stream.data.alpaca.markets/v2/iex",
        crypto_stream="wss://stream.data.alpaca.markets/v1beta3/crypto/us",
    )
    assert venue_of(endpoints) is Venue.PAPER


def test_live_only_when_asked_for():
    endpoints = Endpoints.of(live=True, feed=Feed.SIP)
    assert endpoints.trading == "https://api.alpaca.markets"
    assert endpoints.equity_stream.endswith("/v2/sip")
    assert venue_of(endpoints) is Venue.LIVE


@pytest.mark.parametrize("tail", ["", "/", "/v2", "/v2/"])
def test_one_base_url_serves_everything(tail):
    endpoints = Endpoints.of(f"http://127.0.0.1:8001{tail}", feed=Feed.TEST)
    assert endpoints.trading == endpoints.data == "http://127.0.0.1:8001"
    assert endpoints.trade_stream == "ws://127.0.0.1:8001/stream"
    assert endpoints.equity_stream == "ws://127.0.0.1:8001/v2/test"
    assert endpoints.crypto_stream == "ws://127.0.0.1:8001/v1beta3/crypto/us"


def test_the_venues_own_base_url_keeps_the_venues_data_hosts():
    assert Endpoints.of("https://paper-api.alpaca.markets/v2") == Endpoints.of()
    assert Endpoints.of("https://api.alpaca.markets") == Endpoints.of(live=True)


@pytest.mark.parametrize(
    ("url", "venue"),
    [
        ("http://localhost:1", Venue.SIM),
        ("http://127.3.2.1:1", Venue.SIM),
        ("http://[::1]:1", Venue.SIM),
        ("https://paper-api.alpaca.markets", Venue.PAPER),
        ("https://paper-api.alpaca.markets.evil.example", Venue.LIVE),
        ("https://localhost.evil.example", Venue.LIVE),
        ("https://10.0.0.1", Venue.LIVE),
        ("https://api.alpaca.markets", Venue.LIVE),
    ],
)
def test_anything_unknown_counts_as_real_money(url, venue):
    assert venue_of(Endpoints.of(url)) is venue


@pytest.mark.parametrize(
    "url",
    [
        "",
        "paper-api.alpaca.markets",
        "ftp://127.0.0.1",
        "http://10.0.0.1:8000",
        "http://api.alpaca.markets",
        "https://user:pw@paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets/v2/orders",
        "https://paper-api.alpaca.markets?x=1",
        "http://127.0.0.1:99999",
    ],
)
def test_an_address_that_is_no_venue_is_refused(url):
    with pytest.raises(EndpointError) as refusal:
        Endpoints.of(url)
    assert "pw" not in str(refusal.value)


def test_origin_knows_its_port_and_tls():
    assert origin_of("wss://a.example/x") == Origin("a.example", 443, tls=True)
    assert origin_of("ws://a.example:81/x").authority == "a.example:81"
    assert origin_of("https://[::1]").authority == "[::1]"
    with pytest.raises(EndpointError):
        origin_of("gopher://x")


def test_a_secret_is_in_no_text():
    credentials = Credentials("KEYID", "sekrit")
    assert "sekrit" not in repr(credentials) + str(credentials) + f"{credentials}"
    assert credentials.headers["APCA-API-SECRET-KEY"] == "sekrit"


@pytest.mark.parametrize("value", ["", "a b", "a\r\nX: y", "ä"])
def test_credentials_that_would_break_a_header_are_refused_without_showing_them(value):
    with pytest.raises(EndpointError) as refusal:
        Credentials("KEYID", value)
    assert not value or repr(value) not in str(refusal.value)


def test_backoff_doubles_within_its_bounds_and_starts_again():
    backoff = Backoff(1.0, 8.0)
    for full in (1, 2, 4, 8, 8):
        assert full / 2 <= backoff.next_s() <= full
    assert 30 <= backoff.next_s(at_least_s=60) <= 60
    backoff.reset()
    assert backoff.next_s() <= 1


def test_the_rate_budget_slides():
    now = [0.0]
    budget = RateBudget(monotonic=lambda: now[0])
    for second in range(10):
        now[0] = float(second)
        budget.note()
    assert budget.used == 10
    now[0] = 60.0
    assert budget.used == 9
    now[0] = 200.0
    assert budget.used == 0


def test_entries_stop_before_questions_and_both_before_the_venues_limit():
    budget = RateBudget.sharing(200)
    assert (budget.entries_max, budget.regular_max, budget.queries_max) == (150, 160, 180)
