"""The request budget: what a minute is, what is left of it, and how the venue says so."""

from __future__ import annotations

import pytest

from hands.core.units import NS_PER_S
from hands.sim.server.rate import RateBudget
from hands.sim.venue.quirks import Quirks

MINUTE_S = 1_792_000_020  # on a full minute
S = NS_PER_S


def budget(limit: int, *, is_sliding: bool):
    taken = RateBudget(limit, is_sliding=is_sliding)
    return lambda second: taken.take(int((MINUTE_S + second) * S))


def test_a_fixed_minute_starts_over_on_the_minute() -> None:
    take = budget(2, is_sliding=False)
    assert MINUTE_S % 60 == 0
    assert [(r.remaining, r.is_exceeded) for r in (take(0), take(58), take(59))] == [
        (1, False),
        (0, False),
        (0, True),
    ]
    refused = take(59.5)
    assert (refused.reset_s, refused.retry_after_s) == (MINUTE_S + 60, 1)
    assert [take(60).is_exceeded, take(61).is_exceeded, take(62).is_exceeded] == [False, False, True]


def test_a_sliding_minute_frees_one_request_sixty_seconds_after_it_was_made() -> None:
    take = budget(2, is_sliding=True)
    assert [take(0).is_exceeded, take(58).is_exceeded, take(59).is_exceeded] == [False, False, True]
    refused = take(59)
    assert (refused.reset_s, refused.retry_after_s) == (MINUTE_S + 60, 1)
    assert [take(60).is_exceeded, take(61).is_exceeded] == [False, True]  # only the first has gone
    assert take(61).reset_s == MINUTE_S + 118


def test_headers_name_limit_remaining_and_reset() -> None:
    assert budget(5, is_sliding=False)(1).headers() == {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "4",
        "X-RateLimit-Reset": str(MINUTE_S + 60),
    }


async def _asked(client, path: str, times: int = 1):
    """The last answer of `times` requests: status, headers, body text."""
    for _ in range(times):
        async with client.session.get(path) as response:
            answer = response.status, response.headers.copy(), await response.text()
    return answer


def test_over_the_limit_is_a_429_that_says_when_to_come_back(on_simulator) -> None:
    async def scenario(client) -> None:
        status, headers, _ = await _asked(client, "/v2/clock", 3)
        assert (status, headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == (200, "3", "0")
        status, headers, body = await _asked(client, "/v2/clock")
        assert (status, body) == (429, '{"code":42910000,"message":"rate limit exceeded"}')
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert headers["X-RateLimit-Remaining"] == "0"

    on_simulator(scenario, rate_limit=3, quirks=Quirks(rate_window="sliding"))


@pytest.mark.parametrize(
    ("word", "kind", "text"),
    [
        ("plain", "application/json", '{"message":"too many requests."}'),
        ("html", "text/html", "<center><h1>429 Too Many Requests</h1></center>"),
    ],
)
def test_the_body_of_a_429_may_differ(on_simulator, word, kind, text) -> None:
    async def scenario(client) -> None:
        status, headers, body = await _asked(client, "/v2/clock", 2)
        assert status == 429
        assert headers["Content-Type"].startswith(kind)
        assert text in body

    on_simulator(scenario, rate_limit=1, quirks=Quirks(rate_body=word, rate_window="sliding"))


def test_the_trading_host_may_tell_nothing_of_its_budget(on_simulator) -> None:
    async def scenario(client) -> None:
        _, headers, _ = await _asked(client, "/v2/clock")
        assert "X-RateLimit-Limit" not in headers
        _, headers, _ = await _asked(client, "/v2/stocks/AAPL/trades/latest")
        assert headers["X-RateLimit-Limit"] == "250"  # the data host always does

    on_simulator(scenario, rate_limit=5, quirks=Quirks(rate_headers="absent"))


@pytest.mark.parametrize(("plan", "remaining"), [("basic", "0"), ("plus", "49")])
def test_the_data_host_has_a_budget_of_its_own_after_the_plan(on_simulator, plan, remaining) -> None:
    async def scenario(client) -> None:
        assert (await _asked(client, "/v2/clock", 2))[0] == 429
        status, headers, _ = await _asked(client, "/v2/stocks/AAPL/quotes/latest?feed=iex")
        assert (status, headers["X-RateLimit-Remaining"]) == (200, remaining)
        status, _, body = await _asked(client, "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD")
        assert status == (429 if plan == "basic" else 200)
        # The data host's has no code, whatever the trading host's has.
        assert (body == '{"message":"too many requests."}') == (plan == "basic")

    on_simulator(scenario, rate_limit=1, plan=plan, quirks=Quirks(rate_window="sliding"))


def test_a_fresh_account_has_a_fresh_budget(on_simulator) -> None:
    async def scenario(client) -> None:
        assert (await _asked(client, "/v2/clock", 2))[0] == 429
        await client.call("POST", "/sim/v1/reset")
        assert (await _asked(client, "/v2/clock"))[0] == 200

    on_simulator(scenario, rate_limit=1, quirks=Quirks(rate_window="sliding"))


def test_without_a_limit_there_are_no_headers_of_one(on_simulator) -> None:
    async def scenario(client) -> None:
        _, headers, _ = await _asked(client, "/v2/clock")
        assert [name for name in headers if "Rate" in name] == []

    on_simulator(scenario)
