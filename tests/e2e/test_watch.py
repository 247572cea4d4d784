"""Watching: the market of the exchange and our own business in it, live and of one moment, while the daemon trades."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e


def ticks(floor: Floor, *arguments: str) -> list[dict[str, Any]]:
    done = floor.hands("watch", *arguments, "--json", "--every", "0.1")
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_market_a_position_and_an_armed_touch_are_watched(floor: Floor) -> None:
    floor.setting(intervals_s="[1, 60]")
    floor.open()
    floor.protected(floor.drop())
    floor.expect(
        floor.drop("SPY", entry="touch", arm_seconds=60, trigger_price=598, stop_loss=590, take_profit=620),
        "ARMED",
    )
    floor.move("AAPL", 150.05, 150.07, print_at=150.06)
    floor.seen({"symbol": "AAPL", "bid": 150.05})

    first, second = ticks(floor, "AAPL", "SPY", "--count", "2")
    assert first["seq"] <= second["seq"]
    assert first["rows_seen"] <= second["rows_seen"]
    assert (second["state"], second["venue"], second["not_ready"]) == ("ACTIVE", "sim", None)
    apple, spy = second["symbols"]
    assert (apple["bid"], apple["ask"], apple["last"], apple["spread_bps"]) == (
        "150.05",
        "150.07",
        "150.06",
        1.33,
    )
    assert apple["age_ms"] < 60_000
    assert (apple["position"]["qty"], apple["position"]["protected_qty"]) == ("66", "66")
    assert (apple["position"]["stop"], apple["position"]["target"]) == ("148.00", "155.00")
    assert [trigger["level"] for trigger in spy["armed"]] == ["598.00"]

    def has_a_bar() -> bool:  # the second a trade was made in ends with a later row of its symbol
        floor.move("AAPL", 150.05, 150.07, print_at=150.06)
        [tick] = ticks(floor, "AAPL", "--count", "1")
        return len(tick["symbols"][0]["closes"]) >= 2

    until("completed bars", has_a_bar)
    drawn = floor.hands("watch", "AAPL", "SPY", "--count", "1")
    assert drawn.returncode == 0, drawn
    assert "LONG 66 at 150.00  stop 148.00  target 155.00" in drawn.stdout
    assert "armed touch <= 598.00 (LONG)" in drawn.stdout

    unknown = floor.hands("watch", "MSFT")
    assert unknown.returncode == 2
    assert "AAPL" in unknown.stderr
    assert floor.stop() == 0
    assert floor.hands("watch", "AAPL").returncode == 3
