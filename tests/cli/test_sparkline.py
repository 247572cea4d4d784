"""Spark-lines: the glyph of every value, and an RSI that is the daemon's own or none."""

from __future__ import annotations

import random

import pytest

from hands.cli.sparkline import rsi_beside, rsi_series, spark
from hands.core.market import Market, RowFlag, RowKind, new_rows


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([], 8, ""),
        ([None, None], 8, ""),
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, "▁▂▃▄▅▆▇█"),
        ([8, 1], 8, "█▁"),
        ([1, 2, 3, 4], 2, "▁█"),
        ([1, 2, 3, 4], 0, ""),
        ([1, 2, 3, 4], -3, ""),
        ([5, 5, 5], 8, "▄▄▄"),
        ([5], 8, "▄"),
        ([1, None, 2], 8, "▁ █"),
    ],
)
def test_the_last_values_are_drawn_from_the_least_to_the_greatest(
    values: list[float | None], width: int, shown: str
) -> None:
    assert spark(values, width) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "▁"),
        (12.4, "▁"),
        (12.6, "▂"),
        (50, "▅"),
        (87.4, "▇"),
        (87.6, "█"),
        (100, "█"),
        (-3, "▁"),
        (130, "█"),
    ],
)
def test_a_scale_can_be_given(value: float, shown: str) -> None:
    assert spark([value], 8, 0, 100) == shown


def closes(count: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    found = [100.0]
    while len(found) < count:
        found.append(round(found[-1] + rng.choice((-0.07, -0.02, 0.0, 0.03, 0.05)), 2))
    return found


def of_the_daemon(prices: list[float]) -> float | None:
    """Return the RSI that the market engine has after a bar for each of `prices`."""
    market = Market(("X",))
    rows = new_rows(len(prices) + 1)
    rows["kind"], rows["flags"], rows["size"] = RowKind.TRADE, RowFlag.ELIGIBLE, 1
    rows["price"] = [*prices, prices[-1]]
    rows["venue_ns"] = rows["recv_ns"] = [n * 60 * 10**9 for n in range(len(prices) + 1)]
    market.consume(rows, 0, len(rows))
    return market.indicators(0).rsi_14


@pytest.mark.parametrize("count", [15, 16, 60])
def test_the_rsi_of_all_closes_is_the_daemons(count: int) -> None:
    prices = closes(count)
    assert len(rsi_series(prices)) == count
    assert rsi_series(prices)[-1] == pytest.approx(of_the_daemon(prices), rel=1e-12)


@pytest.mark.parametrize("count", [0, 1, 14])
def test_before_the_fifteenth_close_there_is_no_rsi(count: int) -> None:
    assert rsi_series(closes(14)[:count]) == [None] * count
    assert of_the_daemon(closes(14)) is None


def test_the_rsi_of_the_last_closes_ends_at_the_daemons() -> None:
    prices = closes(400)
    told = of_the_daemon(prices)
    assert rsi_series(prices[-120:])[-1] == pytest.approx(told, abs=0.1)
    beside = rsi_beside(prices[-120:], None, told)
    assert len(beside) == 120


def test_the_bar_in_progress_goes_on_from_the_last_close() -> None:
    prices = closes(60)
    beside = rsi_beside(prices, 101.0, of_the_daemon(prices))
    assert beside == [*rsi_series(prices), rsi_series([*prices, 101.0])[-1]]


@pytest.mark.parametrize("told", [None, 5.0])
def test_an_rsi_that_is_not_the_daemons_is_not_drawn(told: float | None) -> None:
    assert rsi_beside(closes(60), 101.0, told) == []
    assert rsi_beside([], None, told) == []


def test_prices_that_never_moved_have_no_rsi() -> None:
    assert rsi_series([5.0] * 20) == [None] * 20
