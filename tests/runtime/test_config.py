"""What is refused before anything is connected: all problems at once, and what would be unsafe with real money."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hands.core.indicators import PERIODS
from hands.core.market import Market
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


@pytest.mark.parametrize(
    ("key", "table"), [("close_intent", "venue"), ("audit_s", "market"), ("truth_s", "poll")]
)
def test_a_key_that_a_newer_version_wants_is_named_with_the_line_to_paste(
    options: Options, key: str, table: str
) -> None:
    lines = options.config.read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{key} ")]
    options.config.write_text("\n".join(other for other in lines if other != line))
    assert f"{table}.{key} is missing; paste into [{table}]: {line}" in problems(options)


def test_a_symbol_named_twice_is_a_usage_error(options: Options) -> None:
    assert "AAPL" in problems(replace(options, symbols=("AAPL", "SPY", "AAPL")))


@pytest.mark.parametrize("intervals", ["[60, 60]", "[0]", "[-60]", "[60, 1e3]", "[]", "[9999999999]"])
def test_bar_intervals_that_cannot_be_are_named(options: Options, intervals: str) -> None:
    text = options.config.read_text()
    before = next(line for line in text.splitlines() if line.startswith("intervals_s"))
    options.config.write_text(text.replace(before, f"intervals_s = {intervals}"))
    assert "market.intervals_s" in problems(options)


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ('"*".rsi = 1', "rsi is 1; from 2 to 100000"),
        ('"*".rsi = 14.5', "rsi is 14.5; it must be whole"),
        ('"*".rsi = true', "market.periods"),
        ("AAPL.rsy = 14", "no period is called 'rsy'"),
        ("AAPL.macd_fast = 26", "macd_fast must be shorter than macd_slow"),
        ("AAPL.bollinger = 121", "from 2 to 120"),
        ('"*" = {rsi = 14}', '[market.periods."*"] does not say macd_fast'),
        ("AAPK.rsi = 21", "market.periods: AAPK is not among the allowed symbols"),
    ],
)
def test_periods_that_cannot_be_are_named(options: Options, own: str, why: str) -> None:
    name, _, rest = own.partition(".")
    text = options.config.read_text()
    if rest and name == '"*"':
        text = text.replace("rsi = 14", rest, 1)
    elif rest:
        text += f"\n[market.periods.{name}]\n{rest}\n"
    else:
        table = text[text.index("[market.periods") : text.index("[poll]")]
        text = text.replace(table, "[market.periods]\n" + own + "\n\n")
    options.config.write_text(text)
    assert why in problems(options)


def test_a_symbol_has_its_own_periods_and_the_others_those_of_all(options: Options) -> None:
    text = options.config.read_text().replace("ema = 20", "ema = 30", 1)
    options.config.write_text(text + '\n[market.periods."BTC/USD"]\nrsi = 21\nbollinger_width = 2.5\n')
    told = load(options, KEYS).settings.market
    market = Market(("AAPL", "BTC/USD"), periods=told.periods_of(("AAPL", "BTC/USD")))
    periods = [[market.period(sym, name) for name in ("rsi", "ema", "bollinger_width")] for sym in range(2)]
    assert periods == [[14, 30, 2.0], [21, 30, 2.5]]
    assert told.periods_of(("AAPL",)).keys() == {"*"}
    assert load(replace(options, symbols=("AAPL",)), KEYS).live is None, "narrowed is not unknown"


def test_what_is_shipped_are_the_engines_own_periods(options: Options) -> None:
    told = load(options, KEYS).settings.market.periods
    assert told == {"*": {period.name: period.default for period in PERIODS}}


@pytest.fixture
def live(options: Options, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Real money; nobody else is on the machine who could write the limits (`test_limits_file` has those who could)."""
    monkeypatch.setattr("hands.runtime.config.brains", lambda _root, _agents: [])
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
