"""The bench's configuration is the shipped one, but for what it says it changed."""

from __future__ import annotations

import tomllib

from bench.intent_to_wire import CONFIG
from bench.venue import SYMBOLS
from hands.core.limits import read_limits
from hands.runtime.config import read_settings


def _toml(path):
    return tomllib.loads(path.read_text())


def _changed(ours, shipped):
    assert ours.keys() == shipped.keys()
    return {
        key for section in shipped for key, value in shipped[section].items() if ours[section][key] != value
    }


def test_the_limits_are_loosened_only_where_a_thousand_orders_would_meet_them(root):
    ours, shipped = (_toml(folder / "risk_limits.toml") for folder in (CONFIG, root / "config"))
    assert _changed(ours, shipped) == {
        "max_daily_trades", "max_concurrent", "max_gross_exposure", "orders_per_minute", "rejections_latch",
        "quote_age_max_ms", "no_entry_last_s", "allow",
    }  # fmt: skip
    assert read_limits((CONFIG / "risk_limits.toml").read_text()).allow == SYMBOLS


def test_the_settings_differ_in_the_request_budget_and_in_patience_with_silence_and_refusals(root):
    ours, shipped = (_toml(folder / "hands.toml") for folder in (CONFIG, root / "config"))
    assert _changed(ours, shipped) == {"requests_per_minute", "mute_after_s", "rejections_latch"}
    assert read_settings(CONFIG / "hands.toml").venue.requests_per_minute == 100_000
