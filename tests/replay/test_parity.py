"""The quick way and the slow way come to the same: the exchange shown what can matter, or every row; the market given a
million rows at once, or each alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hands.replay.outcome import Replay
from hands.replay.run import replay
from tests.replay.markets import LOOSE, Recorded, limits_file, some_intents, walk

SYMBOLS = (("AAPL",), ("AAPL", "SPY"), ("BTC/USD", "AAPL"), ("SOL/USD",))


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return limits_file(tmp_path_factory.mktemp("limits"), **LOOSE)


def outcome(found: Replay) -> tuple[object, ...]:
    """What of a replay must be the same; names first, so that a difference says where it began."""
    told = (found.verdicts, found.orders, found.fills, found.trades, found.open_positions, found.equity)
    return (*told, found.counters | {"ticks_shown": 0}, found.digest)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10**6),
    symbols=st.sampled_from(SYMBOLS),
    count=st.integers(50, 700),
    chunk=st.integers(1, 300),
    step_ms=st.sampled_from([2, 40, 400, 4_000]),
    jump=st.sampled_from([0.00005, 0.0005, 0.003]),
    quotes=st.sampled_from([0.3, 0.6, 0.95]),
    latency_ms=st.sampled_from([0.0, 0.5, 20.0, 700.0]),
    fills=st.sampled_from(["realistic", "realistic", "instant"]),
    session=st.sampled_from(["calendar", "always"]),
)
def test_what_is_not_shown_changes_nothing(
    law: Path,
    seed: int,
    symbols: tuple[str, ...],
    count: int,
    chunk: int,
    step_ms: float,
    jump: float,
    quotes: float,
    latency_ms: float,
    fills: str,
    session: str,
) -> None:
    market = walk(symbols, count, seed, step_ms=step_ms, jump=jump, quotes=quotes)
    arrivals = some_intents(market, 8, seed)

    def run(rows: Recorded, *, one_by_one: bool) -> Replay:
        return replay(
            rows,
            arrivals,
            limits=law,
            fills=fills,
            latency_ms=latency_ms,
            session=session,
            seed=seed,
            one_by_one=one_by_one,
        )

    slow, quick = run(market, one_by_one=True), run(market.cut(chunk), one_by_one=False)
    assert outcome(quick) == outcome(slow)
    assert quick.counters["ticks_shown"] <= slow.counters["ticks_shown"]
