"""The quick way and the slow way come to the same: the exchange shown what can matter, or every row; the market given a
million rows at once, or each alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hands.core.rows import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.replay.outcome import Replay
from hands.replay.run import replay
from tests.replay.markets import LOOSE, NOON, Recorded, intent, limits_file, some_intents, walk

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
    jump=st.sampled_from([0.00002, 0.0001, 0.0005, 0.003]),
    quotes=st.sampled_from([0.3, 0.6, 0.95]),
    size=st.sampled_from([3, 30, 200]),
    latency_ms=st.sampled_from([0.0, 0.5, 20.0, 700.0]),
    minutes=st.sampled_from([0, 0, -40, 350]),
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
    size: int,
    latency_ms: float,
    minutes: int,
    fills: str,
    session: str,
) -> None:
    start_ns = NOON + minutes * 60 * NS_PER_S  # in the session, before it opens, before it closes
    market = walk(
        symbols, count, seed, step_ms=step_ms, jump=jump, quotes=quotes, size=size, start_ns=start_ns
    )
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


def test_the_place_in_the_queue_follows_every_quote_that_moves_it(law: Path) -> None:
    """A target rests at 150.05 behind 500 shares, then behind 5, of which a quote of 500 gives none back: a print of 40
    leaves 35 for us."""
    rows = new_rows(6)
    rows["recv_ns"] = rows["venue_ns"] = [
        NOON + ms * NS_PER_MS for ms in (0, 1_000, 1_100, 1_200, 1_300, 9_000)
    ]
    rows["kind"], rows["flags"] = RowKind.QUOTE, RowFlag.ELIGIBLE
    rows["price"], rows["price2"] = (
        [149.98, 150.03, 150.03, 150.03, 0, 150.03],
        [150.0, 150.05, 150.05, 150.05, 0, 150.05],
    )
    rows["size"], rows["size2"] = 900, [900, 500, 5, 500, 0, 500]
    rows["kind"][4], rows["price"][4], rows["size"][4] = RowKind.TRADE, 150.05, 40
    market = Recorded(("AAPL",), rows)
    bought = intent(1, NOON + 100 * NS_PER_MS, "AAPL", 150.0, take_profit=150.05)
    for one_by_one in (True, False):
        found = replay(market, [bought], limits=law, session="calendar", one_by_one=one_by_one)
        assert [(fill.leg, fill.qty) for fill in found.fills] == [("entry", 66), ("tp", 35)]
