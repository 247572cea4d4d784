"""Limits files that come and go while trades live: never looser, never exceeded by what is new, never in the way of a stop.

Owns the random limits files; everything else that happens is `test_protection_properties`'s. Every run is a function of
its seed.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.commands import SubmitEntry
from hands.core.events import LimitsRead
from hands.core.limits import LimitsFile
from hands.core.orders import ApprovedEntry
from hands.core.units import NANO, NS_PER_S, Ns, mul_floor
from tests.core.desk import Desk
from tests.core.world import limits_text
from tests.properties.test_protection_properties import act, assert_sound, build, settle

SOME = settings(max_examples=settings().max_examples // 5)
"""Minutes of trading each, as there."""

VALUES: dict[str, tuple[str, ...]] = {
    "max_concurrent": ("3", "2", "1", "0"),
    "max_daily_trades": ("100", "20", "5", "0"),
    "max_gross_exposure": ("5", "0.2", "0.1", "0"),
    "max_order_notional_usd": ("25000", "5000", "100", "0"),
    "max_position_size": ("0.10", "0.05", "0"),
    "max_risk_per_trade": ("0.02", "0.001", "0"),
    "max_daily_loss": ("0.9", "0.01", "0.0001"),
    "max_drawdown": ("0.9", "0.02", "0.0002"),
    "partial_grace_ms": ("400", "100", "0"),
    "unprotected_max_ms": ("2000", "900"),
    "orders_per_minute": ("60", "3"),
    "allow": ('["AAPL", "SPY", "BTC/USD", "SOL/USD"]', '["SPY", "SOL/USD"]', '["AAPL"]', "[]"),
    "allow_short": ("true", "false"),
}
FIRST = {key: values[0] for key, values in VALUES.items()} | {"semantic_duplicate_s": "0"}


def swap(desk: Desk, rng: Random) -> None:
    """Let the engine hear of another file: mostly a little tighter than the first, often looser than what is in force."""
    said = dict(FIRST)
    for key in rng.sample(list(VALUES), rng.choice((0, 1, 1, 2))):
        said[key] = rng.choice(VALUES[key])
    text = limits_text(**said)
    if rng.random() < 0.15:
        text = text[: rng.randrange(len(text))]
    before = desk.state.limits
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=text))
    is_no_looser(before, desk.state.limits)


def is_no_looser(before: LimitsFile, after: LimitsFile) -> None:
    """Say it without the engine's own comparison: all of these numbers are the tighter, the lower they are."""
    assert set(after.allow) <= set(before.allow)
    assert before.allow_short or not after.allow_short
    for key in VALUES.keys() - {"allow", "allow_short"}:
        assert getattr(after.hard, key) <= getattr(before.hard, key), key


def hold_to_limits(desk: Desk) -> None:
    """Hold every new entry against the limits in force as it leaves."""
    carry_out = desk._carry_out

    def check(command: object) -> None:
        if isinstance(command, SubmitEntry):
            within(desk, command.entry)
        carry_out(command)  # type: ignore[arg-type]

    desk._carry_out = check  # type: ignore[method-assign]


def within(desk: Desk, entry: ApprovedEntry) -> None:
    state, hard = desk.state, desk.state.limits.hard
    assert state.limits.allows(entry.symbol)
    assert state.limits.allow_short or entry.side == "buy"
    assert mul_floor(entry.limit_price, entry.qty) <= hard.max_order_notional_usd
    assert mul_floor(entry.limit_price, entry.qty) <= mul_floor(100_000 * NANO, hard.max_position_size)
    assert len(state.committed()) <= hard.max_concurrent
    assert state.day.trades_of(None) <= hard.max_daily_trades
    minute = [at for at, _ in state.approvals if at > desk.now_ns - 60 * NS_PER_S]
    assert len(minute) <= hard.orders_per_minute


@pytest.mark.parametrize("mode", ["partial", "everything"])
@SOME
@given(seed=st.integers(0, 10**9))
def test_limits_only_tighten_and_never_stand_in_the_way_of_protection(mode: str, seed: int) -> None:
    every = mode == "everything"
    desk = build(seed, lossy=every, partial=True)
    hold_to_limits(desk)
    rng = Random(seed)
    for number in range(1, 41):
        act(desk, rng, number, deaths=False, gaps=every)
        if rng.random() < 0.3:
            swap(desk, rng)
            desk.run(rng.choice((0.0, 0.02, 0.3)))
    settle(desk)
    assert_sound(desk)
    if not every:
        assert desk.worst_naked_ns <= 2.3 * NS_PER_S
