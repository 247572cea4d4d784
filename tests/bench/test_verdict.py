"""The guardian's benchmark: that what it measures is what it says, from a run too short to mean anything."""

from __future__ import annotations

import pytest

from bench import verdict
from bench.verdict import Desk
from hands.core.vocab import TradeState

KINDS = ("long", "coin", "touch", "denied_middle", "denied_last", "document", "denied_first")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "WARM", 2)


@pytest.mark.usefixtures("short")
def test_each_kind_of_verdict_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict other than the one that is meant fails the measurement itself."""
    monkeypatch.setattr(verdict, "QUICK", 40)
    found = verdict.measure(quick=True)
    assert tuple(found) == KINDS
    assert {row["n"] for row in found.values()} == {10, 40}
    assert all(0 < row["p50_us"] <= row["p99_us"] <= row["max_us"] for row in found.values())


def test_the_desk_is_that_of_a_busy_day() -> None:
    state = Desk().state
    assert [ticket.symbol for ticket in state.committed()] == ["SPY", "BTC/USD", "MSFT"]
    assert [ticket.owned > 0 for ticket in state.committed()] == [True, True, False]
    armed = [ticket for ticket in state.tickets.values() if ticket.state is TradeState.ARMED]
    assert (len(armed), len(state.accepted), len(state.approvals)) == (
        verdict.TOUCHES,
        verdict.TOUCHES + 3,
        3,
    )
    assert len(state.market.symbols) == 18
    assert not state.reasons
