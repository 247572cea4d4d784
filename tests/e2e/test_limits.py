"""The limits file of a running daemon: tightened in place, loosened in vain, law again after a restart."""

from __future__ import annotations

import json
import re

import pytest

from hands.core.limits import read_limits
from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e


def with_values(text: str, **values: str) -> str:
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^{key} *= *[^#\n]*", f"{key} = {value} ", text)
        assert count == 1, key
    return text


def sha(text: str) -> str:
    return read_limits(text).sha256


def test_limits_can_be_tightened_and_not_loosened_until_a_restart(floor: Floor) -> None:
    shipped = floor.limits.read_text()
    floor.open()
    position = floor.drop()
    assert floor.protected(position)["limits_sha256"] == sha(shipped)

    tight = with_values(shipped, min_confidence="0.9", max_daily_trades="4")
    floor.limits.write_text(tight)  # in place
    until("the tighter limits", lambda: floor.status()["limits_sha256"] == sha(tight))
    denied = floor.expect(floor.drop("SPY"), "REJECTED", code="CONFIDENCE_TOO_LOW")
    assert denied["limits_sha256"] == sha(tight)
    assert floor.stops("AAPL") == 66, "what is held keeps its protection"

    loose = floor.limits.with_name("loose.toml")
    loose.write_text(with_values(tight, max_daily_trades="3", max_daily_loss="0.05"))
    loose.rename(floor.limits)
    until("the refusal", lambda: floor.status()["limits"]["refused"])
    told = floor.hands("limits", "--json")
    assert told.returncode == 1
    document = json.loads(told.stdout)
    assert document["refused"]["problems"] == [
        "hard_limits.max_daily_loss: 0.04 -> 0.05 (looser: takes a restart)"
    ]
    rows = {row["key"]: row for row in document["rows"]}
    assert (rows["max_daily_trades"]["used"], rows["max_daily_trades"]["allowed"]) == ("1", "4")
    assert floor.status()["limits_sha256"] == sha(tight)

    assert floor.stop() == 0
    floor.limits.write_text(shipped)
    floor.open()  # after a restart the file is law, and what it loosens is seen
    assert floor.status()["limits"]["loosened_at_start"] == [
        "hard_limits.max_daily_trades: 4 -> 5",
        "hard_limits.min_confidence: 0.9 -> 0.6",
    ]
    assert floor.daemon is not None
    assert "LIMITS_LOOSENED" in floor.daemon.said
    floor.protected(floor.drop("SOL/USD"))
