"""The naked measurement: every trade counts once, the distribution is its trades', and its limits are real ones."""

from __future__ import annotations

import tomllib

import pytest

from bench import naked
from bench.naked import LOAD_SYMBOLS, LOADS, QUICK, WAYS, Trade, _is_covered, result, trades_planned


def test_a_trades_time_is_both_parts_and_the_percentiles_are_of_real_trades():
    trades = [Trade(entry_ns=n * 1_000_000, exit_ns=n * 500_000) for n in range(1, 101)]
    found = result(trades)
    assert (found["n"], found["p50_ms"], found["p90_ms"], found["p99_ms"], found["max_ms"]) == (
        100, 75.0, 135.0, 148.5, 150.0,
    )  # fmt: skip
    assert (found["entry_max_ms"], found["exit_max_ms"]) == (100.0, 50.0)
    assert set(naked.QUANTILES) <= set(found)


def test_every_trade_is_told_of():
    told: list[str] = []
    for way in WAYS:
        for load in LOADS:
            list(naked._counted(QUICK.trades, f"{way.name} {load}", told.append))
    assert len(told) == trades_planned(QUICK)
    assert len(set(told)) == len(WAYS) * len(LOADS)


def test_the_limits_are_the_benchs_with_other_symbols_and_room_for_losses():
    limits = tomllib.loads(naked._limits())
    assert limits["symbols"]["allow"] == [*(way.symbol for way in WAYS), *LOAD_SYMBOLS]
    shipped = tomllib.loads((naked.CONFIG / "risk_limits.toml").read_text("utf-8"))
    changed = {name for name, value in shipped["hard_limits"].items() if limits["hard_limits"][name] != value}
    assert changed == {"max_daily_loss", "max_drawdown", "semantic_duplicate_s"}
    assert limits["hard_limits"]["unprotected_max_ms"] == 2000


@pytest.mark.parametrize(
    ("state", "stop_qty", "covered"),
    [("OPEN", "66.4", True), ("OPEN", "66.3", False), ("OPEN", None, False), ("CLOSING", "66.4", False)],
)
def test_a_trade_is_in_when_its_stop_is_for_all_of_it(state, stop_qty, covered):
    protection = None if stop_qty is None else {"qty": stop_qty}
    receipt = {"state": state, "position": {"qty": "66.4"}, "protection": protection}
    assert _is_covered(receipt) is covered
