"""A day of trading in minutes: the ledger equals the truth, trade by trade, and the engine's memory is flat.

Without `HANDS_SOAK=1` a few minutes of it, with lives of two minutes.
"""

from __future__ import annotations

import os

import pytest

from tests.storms import day

IS_SOAK = bool(os.environ.get("HANDS_SOAK"))
HOURS, TRADES_MIN = (24.0, 5_000) if IS_SOAK else (0.12, 10)


def test_a_day_of_trading(monkeypatch: pytest.MonkeyPatch) -> None:
    if not IS_SOAK:
        monkeypatch.setattr(day, "LIFE_H", 0.05)
        monkeypatch.setattr(day, "SETTLED_H", 0.02)
    found = day.run(HOURS)
    assert not found.verdict.wrongs, "\n".join(found.verdict.wrongs[:20])
    assert found.verdict.trades >= TRADES_MIN
    assert found.deaths >= 2
    assert found.growth, "no life was long enough to be measured"
