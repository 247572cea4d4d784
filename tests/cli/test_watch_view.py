"""The picture of `hands watch`: every figure's text, what is drawn in how much room, and no line too long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hands.cli.sparkline import rsi_series, spark
from hands.cli.watch_view import (
    DOWN,
    FIGURE_WIDTH,
    PLAIN_GLYPHS,
    UNKNOWN,
    UP,
    age_text,
    figure,
    moves,
    picture,
)

RISING = [f"{100 + n / 100:.2f}" for n in range(60)]
RSI_OF_RISING = 100.0


def symbol_row(symbol: str = "AAPL", **changes: Any) -> dict[str, Any]:
    indicators = {
        "rsi_14": RSI_OF_RISING, "macd": 0.0345, "macd_signal": 0.0212, "macd_hist": 0.0133, "tick_rsi_14": 48.04,
        "tick_macd": None, "tick_macd_signal": None, "tick_macd_hist": None, "vwap": 149.5, "volume": 12_345.0,
        "volume_24h": None,
    }  # fmt: skip
    return {
        "symbol": symbol, "known": True, "bid": "149.98", "ask": "150.00", "bid_size": 500.0, "ask_size": 1200.0,
        "last": "149.99", "age_ms": 250.0, "last_age_ms": 10.0, "spread_bps": 1.33, "quote_age_max_ms": 5000.0,
        "spread_max_bps": 50.0, "rsi_period": 14, "indicators": indicators, "closes": RISING, "position": None, "armed": [],
        "bar": {"start": "", "open": "100.60", "high": "100.60", "low": "100.60", "close": "100.60", "volume": 1.0, "trades": 1},
        "armed_total": 0, "foreign": None,
    } | changes  # fmt: skip


NOTHING: dict[str, Any] = {
    "bid": None, "ask": None, "bid_size": None, "ask_size": None, "last": None, "age_ms": None, "last_age_ms": None,
    "spread_bps": None, "indicators": dict.fromkeys(symbol_row()["indicators"]), "closes": [], "bar": None,
}  # fmt: skip
HELD = {
    "intent_id": "x", "agent": "default", "direction": "LONG", "state": "OPEN", "qty": "66", "avg_price": "150.00",
    "stop": "148.00", "target": "155.00", "protected_qty": "66", "pnl_usd": "-3.30",
}  # fmt: skip
TOUCH = {"kind": "touch", "level": "151.00", "fires": "ABOVE", "direction": "SHORT", "intent_id": "y"}


def tick(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "seq": 7, "rows_seen": 88, "at": "2026-11-20T14:03:22.123456789Z", "interval_s": 60, "state": "ACTIVE",
        "venue": "sim", "dry_run": False, "not_ready": None, "reasons": [], "links_down": [], "equity": "100000.00",
        "day_trades": 1, "day_trades_max": 5, "day_pnl_usd": "-3.30", "tickets_left_out": 0,
        "symbols": list(rows) or [symbol_row()],
    } | changes  # fmt: skip


def shown(document: dict[str, Any], width: int = 80, height: int | None = 24, **more: Any) -> list[str]:
    return [line.plain for line in picture(document, width, height, **more)]


def styles(document: dict[str, Any], text: str) -> set[str]:
    """Return the styles under `text` where it is first drawn."""
    for line in picture(document, 80, 24):
        at = line.plain.find(text)
        if at >= 0:
            return {str(span.style) for span in line.spans if span.start <= at < span.end and str(span.style)}
    raise AssertionError(f"{text} is not shown")


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [(None, UNKNOWN), (0, "0.0s"), (249, "0.2s"), (-5, "0.0s"), (9_940, "9.9s"), (9_960, "10s"), (59_000, "59s"),
     (60_000, "1m"), (3_599_000, "59m"), (3_600_000, "1h"), (86_400_000, "1d"), (10**9, "11d")],
)  # fmt: skip
def test_an_age_is_short(age_ms: float | None, text: str) -> None:
    assert age_text(age_ms) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("macd", None, UNKNOWN),
        ("rsi", 54.24, "54.2"),
        ("tick_rsi_14", 100.0, "100.0"),
        ("rsi_divergence", -1.0, "-1"),
        ("macd", 0.034567, "0.0346"),
        ("macd", 0.00012, "0.00012"),
        ("macd", -0.00062, "-0.0006"),
        ("macd", 1.2e-7, "1e-07"),
        ("macd", -5e-5, "-5e-05"),
        ("macd", -1234.56, "-1234.6"),
        ("macd", -123456.7, "-123457"),
        ("macd_hist", 0.0133, "+0.0133"),
        ("macd_hist", -0.0133, "-0.0133"),
        ("macd_hist", 0.0, "0"),
        ("macd_hist", -3e-17, "0"),
        ("ema", 149.987, "149.99"),
        ("ema", 100010.04, "100010"),
        ("volume", 999.0, "999"),
        ("volume", 0.25, "0.250"),
        ("volume", 999_600.0, "1.00M"),
        ("volume", 12_345.0, "12.3k"),
        ("volume_24h", 4.56e9, "4.56G"),
        ("volume_z", 2.31, "2.3100"),
        ("anything_new", 3e9, "3e+09"),
    ],
)
def test_a_figure_is_short_and_what_is_not_known_is_a_dash(name: str, value: float | None, text: str) -> None:
    assert figure(name, value) == text


@given(st.floats(-1e12, 1e12) | st.floats(-1, 1), st.sampled_from(["macd", "macd_hist", "atr", "brand_new"]))
def test_no_figure_is_wider_than_its_place(value: float, name: str) -> None:
    text = figure(name, value)
    assert len(text) <= FIGURE_WIDTH
    assert float(text) == pytest.approx(value, rel=0.51, abs=5e-10)


def test_a_symbol_has_a_row_of_figures_and_its_closes() -> None:
    head, row, *_ = shown(tick())
    assert head.split()[:8] == ["SYMBOL", "LAST", "BID", "ASK", "BPS", "AGE", "VWAP", "RSI"]
    assert "CLOSES OF 1 min" in head
    assert row.split()[:8] == ["AAPL", "149.99", "149.98", "150.00", "1.3", "0.2s", "149.50", "100.0"]
    assert row.split()[8].startswith("▁")
    assert row.endswith("█")


def test_the_rsi_is_drawn_under_the_closes_of_the_same_bars() -> None:
    for width in (80, 120, 200):
        _, row, below, *_ = shown(tick(), width)
        assert below.endswith("█")
        assert len(row) == len(below) <= width
        assert row.index("▁") + 14 == below.index("█") or width == 80
    assert "█" not in shown(tick(symbol_row(indicators=symbol_row()["indicators"] | {"rsi_14": 40.0})))[2]


def test_nothing_known_is_dashes_and_not_an_error() -> None:
    row, *below = shown(tick(symbol_row(**NOTHING)))[1:]
    assert row.split() == ["AAPL", *[UNKNOWN] * 7]
    assert below[0].split()[:8] == [
        "macd",
        UNKNOWN,
        "signal",
        UNKNOWN,
        "hist",
        UNKNOWN,
        "size",
        f"{UNKNOWN}x{UNKNOWN}",
    ]


def test_decimal_points_stand_in_a_column() -> None:
    coin = symbol_row("SOL/USD", bid="149.9", ask="149.95", last="149.9005")
    row = shown(tick(coin))[1].split()
    assert row[1:4] == ["149.9005", "149.9000", "149.9500"]


def test_an_indicator_nobody_has_heard_of_is_shown() -> None:
    known = symbol_row()["indicators"] | {"bollinger_upper": 151.25, "brand_new": 0.5, "not_yet": None}
    text = " ".join(" ".join(shown(tick(symbol_row(indicators=known)))).split())
    assert "bollinger upper 151.25" in text
    assert "brand new 0.5000" in text
    assert "not yet" not in text


def test_the_rsi_of_another_period_says_so_and_is_drawn_as_what_it_is() -> None:
    closes = [f"{100 + n % 7 / 10:.2f}" for n in range(60)]
    told = rsi_series([float(close) for close in closes], 5)[-1]
    known = symbol_row()["indicators"] | {"rsi": told, "rsi_14": None}
    row = symbol_row(closes=closes, bar=None, indicators=known, rsi_period=5)
    lines = shown(tick(row), 160)
    assert "RSI 5" in lines[0]
    expected = spark(rsi_series([float(close) for close in closes], 5), 121, 0.0, 100.0).strip()
    assert expected[-20:] in lines[2]
    assert expected[-20:] not in shown(tick(row | {"rsi_period": 6}), 160)[2], "that is another one's"
    both = shown(tick(row, symbol_row("SPY")), 160)
    assert " RSI " in both[0], "one heading cannot say two periods"
    assert "RSI 5" not in both[0]


def test_an_rsi_of_a_chosen_period_comes_before_that_of_fourteen() -> None:
    known = symbol_row()["indicators"] | {"rsi": 61.5, "rsi_14": None, "tick_rsi": 33.3}
    lines = shown(tick(symbol_row(indicators=known)))
    assert lines[1].split()[7] == "61.5"
    assert "tick rsi    33.3" in " ".join(lines)
    assert "48.0" not in " ".join(lines)


def test_a_trade_its_stop_and_what_is_armed_have_lines_of_their_own() -> None:
    lines = shown(
        tick(symbol_row(position=HELD, armed=[TOUCH], armed_total=3, foreign="owner \x1b[31m holds 5"))
    )
    assert "  LONG 66 at 150.00  stop 148.00  target 155.00  P&L -3.30  OPEN" in lines
    assert "  armed touch >= 151.00 (SHORT) and 2 more" in lines
    assert "  not ours: owner ?[31m holds 5" in lines


def test_what_is_not_protected_is_said_loudly() -> None:
    naked = tick(symbol_row(position=HELD | {"protected_qty": "0"}))
    assert "UNPROTECTED 0 of 66" in " ".join(shown(naked))
    assert styles(naked, "UNPROTECTED") == {"bold red"}
    assert "UNPROTECTED" not in " ".join(shown(tick(symbol_row(position=HELD))))


@pytest.mark.parametrize(
    ("changes", "text", "style"),
    [
        ({"age_ms": 4_900.0}, "4.9s", set()),
        ({"age_ms": 5_100.0}, "5.1s", {"yellow"}),
        ({"spread_bps": 49.9}, "49.9", set()),
        ({"spread_bps": 50.1}, "50.1", {"yellow"}),
        ({"spread_bps": -1.0}, "-1.0", {"yellow"}),
    ],
)
def test_what_an_entry_would_be_refused_for_is_yellow(
    changes: dict[str, Any], text: str, style: set[str]
) -> None:
    assert styles(tick(symbol_row(**changes)), text) == style


def test_the_last_line_is_the_moment_and_the_one_above_it_the_trading_state() -> None:
    lines = shown(tick(), 100, 24)
    assert len(lines) == 24
    assert lines[-2] == "ACTIVE on sim"
    assert lines[-1] == "14:03:22Z  trades 1 of 5  P&L today -3.30  equity 100000.00  seq 7  rows 88"


def test_why_trading_is_not_active_is_said() -> None:
    reasons = [{"code": "OPERATOR", "detail": "lunch \x07", "clears": "operator"}]
    document = tick(
        state="HALTED", reasons=reasons, not_ready="no account", links_down=["trade_updates"], dry_run=True
    )
    line = shown(document, 120)[-2]
    assert line == (
        "HALTED on sim, dry run  not ready: no account; OPERATOR: lunch ?; links down: trade_updates"
    )
    assert styles(document, "HALTED") == {"bold red"}


def test_without_a_daemon_the_picture_says_how_old_it_is() -> None:
    lines = shown(tick(), notice="no daemon runs on var; waiting")
    assert lines[-2] == "no daemon runs on var; waiting"
    assert lines[-1].startswith("as of 14:03:22Z")


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 8, 12, 24, 40, 60])
@pytest.mark.parametrize("width", [1, 5, 12, 24, 40, 60, 80, 120, 300])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    rows = [
        symbol_row("AAPL", position=HELD, armed=[TOUCH] * 8, armed_total=99),
        symbol_row("BTC/USD", bid="100009.12345", last="123456789.123456789"),
        symbol_row("SPY", **NOTHING),
        *[symbol_row(f"S{number}") for number in range(9)],
    ]
    for count in (1, 3, 12):
        lines = shown(tick(*rows[:count]), width, height)
        assert len(lines) <= height
        assert all(cell_len(line) <= width for line in lines)
        if height >= 3:
            assert len(lines) == height
            assert lines[-2][:6] == "ACTIVE on sim"[: min(6, width)] or width < 13


def test_more_room_shows_more_and_every_symbol_as_much() -> None:
    rows = [symbol_row(f"S{number}") for number in range(4)]
    low, fitting, high = (shown(tick(*rows), 80, height) for height in (7, 11, 40))
    assert [line for line in low if "macd" in line] == []
    assert len([line for line in fitting if "macd" in line]) == 4
    assert len([line for line in high if "volume" in line]) == 4
    assert [bool(line) for line in high[1:6]] == [True, True, True, False, True]


def test_symbols_without_room_are_counted() -> None:
    lines = shown(tick(*[symbol_row(f"S{number}") for number in range(9)]), 80, 7)
    assert [line.split()[0] for line in lines[1:4]] == ["S0", "S1", "S2"]
    assert lines[4] == "  and 6 more: there is no room"


def test_a_trade_is_shown_before_details() -> None:
    rows = [symbol_row("S0", position=HELD), symbol_row("S1")]
    lines = shown(tick(*rows), 80, 6)
    assert [line.split()[0] for line in lines[:4]] == ["SYMBOL", "S0", "LONG", "S1"]


def test_a_table_is_as_long_as_it_comes() -> None:
    lines = shown(tick(symbol_row("S0", position=HELD), symbol_row("S1")), 80, None)
    assert len(lines) == 1 + 3 + 2 + 2


def test_every_glyph_has_a_plain_one() -> None:
    document = tick(symbol_row(), symbol_row("SPY", **NOTHING))
    text = "\n".join(shown(document, 120, 24, went={"AAPL": UP, "SPY": DOWN}))
    assert not text.isascii()
    assert text.translate(PLAIN_GLYPHS).isascii()
    assert len(text.translate(PLAIN_GLYPHS)) == len(text)


def test_the_way_of_the_last_price_stays_until_it_changes_again() -> None:
    went: dict[str, str] = {}
    before: dict[str, str] = {}
    ways = []
    for last in ("150.00", "150.01", "150.010", None, "150.00"):
        document = tick(symbol_row(last=last))
        went = moves(before, document, went)
        ways.append(went["AAPL"])
        if last is not None:
            before["AAPL"] = last
    assert ways == [" ", UP, UP, UP, DOWN]
    assert "▲ 149.99" in shown(tick(), went={"AAPL": UP})[1]
