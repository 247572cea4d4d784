"""What is shipped beside the code: every limit of the contract once, with its value; every dependency explained."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

CONFIG = Path(__file__).resolve().parents[2] / "config"

HARD_LIMITS: dict[str, float] = {
    "max_risk_per_trade": 0.02,
    "max_position_size": 0.10,
    "max_slippage_pct": 0.001,
    "ttl_seconds": 15,
    "max_daily_trades": 5,
    "max_concurrent": 3,
    "max_daily_loss": 0.04,
    "max_drawdown": 0.10,
    "max_gross_exposure": 0.30,
    "max_order_notional_usd": 25000,
    "max_stop_distance": 0.20,
    "min_stop_distance": 0.001,
    "min_reward_risk": 1.0,
    "min_confidence": 0.60,
    "price_collar": 0.02,
    "max_spread": 0.005,
    "quote_age_max_ms": 5000,
    "account_age_max_ms": 15000,
    "clock_skew_max_ms": 2000,
    "orders_per_minute": 60,
    "semantic_duplicate_s": 30,
    "cooldown_after_stop_s": 0,
    "rejections_latch": 20,
    "partial_grace_ms": 400,
    "unprotected_max_ms": 2000,
    "max_arm_seconds": 3600,
    "stop_limit_offset": 0.01,
    "capital_usd": 0,
}

REST_OF_THE_LIMITS: dict[str, Any] = {
    "symbols": {"allow": ["AAPL", "SPY", "BTC/USD", "SOL/USD"], "allow_short": False},
    "session": {"no_entry_first_s": 0, "no_entry_last_s": 60, "flatten_before_close_s": 0},
    "day": {"roll": "17:00 America/New_York"},
}

HANDS_KEYS = {
    "venue": {
        "feed",
        "order_connections",
        "request_timeout_s",
        "requests_per_minute",
        "mute_after_s",
        "close_intent",
        "rejections_latch",
    },
    "folders": {"intents", "state"},
    "journal": {"durability", "segment_mb", "segment_s", "keep_days", "keep_gb"},
    "market": {"audit_s", "intervals_s", "suspicious_jump", "periods"},
    "poll": {"account_s", "session_s", "truth_s"},
    "watchdog": {"late_ms"},
}


def _lines(name: str) -> list[str]:
    return (CONFIG / name).read_text().splitlines()


@pytest.mark.parametrize("key", HARD_LIMITS)
def test_every_hard_limit_stands_on_a_line_of_its_own_exactly_once(key: str) -> None:
    assert sum(bool(re.match(rf"\s*{key}\s*=", line)) for line in _lines("risk_limits.toml")) == 1


def test_the_shipped_limits_are_the_contracts() -> None:
    limits = tomllib.loads((CONFIG / "risk_limits.toml").read_text())
    assert limits == {"hard_limits": HARD_LIMITS, **REST_OF_THE_LIMITS}


def test_every_limit_says_what_it_is() -> None:
    assert [
        line for line in _lines("risk_limits.toml") if re.match(r"\w+ =", line) and "# " not in line
    ] == []


def test_the_commented_examples_are_toml_that_can_be_uncommented() -> None:
    text = "\n".join(re.sub(r"^# (?=\[|\w+ = )", "", line) for line in _lines("risk_limits.toml"))
    limits = tomllib.loads(text)
    assert limits["agents"]["momentum"]["user"] == "brain"
    assert limits["symbols"]["SOL/USD"]["max_position_size"] < limits["hard_limits"]["max_position_size"]


def test_hands_toml_has_the_keys_the_daemon_reads_and_no_others() -> None:
    config = tomllib.loads((CONFIG / "hands.toml").read_text())
    assert {section: set(keys) for section, keys in config.items()} == HANDS_KEYS


def test_no_configuration_file_has_room_for_a_secret() -> None:
    for path in CONFIG.glob("*.toml"):
        keys = re.findall(r"^\s*(\w+)\s*=", path.read_text(), re.MULTILINE)
        assert [key for key in keys if re.search(r"key|secret|token|password", key)] == []


def test_every_dependency_has_a_row_in_its_decision_record() -> None:
    project = tomllib.loads((CONFIG.parent / "pyproject.toml").read_text())["project"]
    names = [
        re.split(r"[<>=;\[ ]", line)[0]
        for line in project["dependencies"] + project["optional-dependencies"]["dev"]
    ]
    rows = [
        line
        for line in (CONFIG.parent / "docs/adr/0002-dependencies.md").read_text().splitlines()
        if line[:1] == "|"
    ]
    first_cells = " ".join(row.split("|")[1] for row in rows)
    assert [
        name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", first_cells)
    ] == []
