"""What is refused before anything is connected: all problems at once, and what would be unsafe with real money."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hands.runtime.config import ConfigError, Options, Unsafe, load

KEYS = {"APCA_API_KEY_ID": "PKTEST", "APCA_API_SECRET_KEY": "sekrit-0123456789"}


@pytest.fixture
def options(root: Path, tmp_path: Path) -> Options:
    for name in ("hands.toml", "risk_limits.toml"):
        (tmp_path / name).write_text((root / "config" / name).read_text())
    return Options(
        config=tmp_path / "hands.toml",
        limits=tmp_path / "risk_limits.toml",
        intents=tmp_path / "intents",
        state=tmp_path / "var",
        alpaca_url="http://127.0.0.1:1",
    )


def problems(options: Options) -> str:
    with pytest.raises(ConfigError) as error:
        load(options, KEYS)
    return "\n".join(error.value.problems)


def test_what_is_shipped_can_be_used(options: Options) -> None:
    assert load(options, KEYS).live is None


def test_a_symbol_named_twice_is_a_usage_error(options: Options) -> None:
    assert "AAPL" in problems(replace(options, symbols=("AAPL", "SPY", "AAPL")))


@pytest.mark.parametrize("intervals", ["[60, 60]", "[0]", "[-60]", "[60, 1e3]", "[]", "[9999999999]"])
def test_bar_intervals_that_cannot_be_are_named(options: Options, intervals: str) -> None:
    text = options.config.read_text()
    before = next(line for line in text.splitlines() if line.startswith("intervals_s"))
    options.config.write_text(text.replace(before, f"intervals_s = {intervals}"))
    assert "market.intervals_s" in problems(options)


@pytest.fixture
def live(options: Options) -> Options:
    return replace(options, alpaca_url="https://api.alpaca.markets", live="123456789")


@pytest.mark.parametrize(
    ("mode", "why"), [(0o775, "sticky"), (0o1775, "sticky"), (0o2775, "sticky"), (0o3777, "everybody")]
)
def test_real_money_needs_a_drop_folder_in_which_others_can_only_drop(
    live: Options, mode: int, why: str
) -> None:
    folder = live.intents
    assert folder is not None
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(Unsafe, match=why):
        load(live, KEYS)
    assert load(replace(live, alpaca_url="http://127.0.0.1:1"), KEYS), "on paper it is only warned of"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_real_money_needs_a_drop_folder_of_our_own(live: Options) -> None:
    assert live.intents is not None
    live.intents.mkdir()
    os.chown(live.intents, 12345, -1)
    live.intents.chmod(0o3775)
    with pytest.raises(Unsafe, match="belongs to user 12345"):
        load(live, KEYS)


def test_real_money_with_a_safe_drop_folder_or_none_yet_is_taken(live: Options) -> None:
    assert load(live, KEYS).live == "123456789"
    assert live.intents is not None
    live.intents.mkdir()
    live.intents.chmod(0o3775)
    assert load(live, KEYS).live == "123456789"


def test_an_empty_list_of_symbols_is_a_usage_error(options: Options) -> None:
    assert "names no symbol" in problems(replace(options, symbols=()))


@pytest.mark.parametrize("state", ["intents", "intents/var"])
def test_the_state_directory_may_not_lie_where_agents_write(
    options: Options, tmp_path: Path, state: str
) -> None:
    assert "must not lie in the drop folder" in problems(replace(options, state=tmp_path / state))


def test_the_drop_folder_may_lie_in_the_state_directory(options: Options, tmp_path: Path) -> None:
    assert load(replace(options, intents=tmp_path / "var" / "intents"), KEYS)
