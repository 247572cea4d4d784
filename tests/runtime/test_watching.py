"""The answer behind `hands watch`: what of a symbol it tells, at which moment, and that it costs no more than it may."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.core.vocab import TradeState
from hands.runtime import watching
from hands.runtime.watching import BARS_MAX, SYMBOLS_MAX, watch
from tests.core.desk import Desk
from tests.core.world import NOW, halt, intent_id, world

MINUTE_NS = 60 * NS_PER_S


def start_of(minute: int) -> int:
    """Return when a minute after the world's quotes begins."""
    return (int(NOW) // MINUTE_NS + 1 + minute) * MINUTE_NS


def told(desk: Desk, *symbols: str, **request: Any) -> dict[str, Any]:
    """Return what is told of `symbols`; it must be JSON."""
    answer = watch(desk.state, {"symbols": list(symbols)} | request, desk.now_ns, seq=7)
    assert answer["ok"], answer
    document: dict[str, Any] = json.loads(json.dumps(answer["watch"]))
    assert [row["symbol"] for row in document["symbols"]] == list(symbols)
    return document


def trade_minutes(market: Market, symbol: str, minutes: range) -> None:
    """Trade once in each minute, at 100 and a cent more in each; the last minute is in progress."""
    rows = new_rows(len(minutes))
    rows["sym"], rows["kind"], rows["flags"] = market.index[symbol], RowKind.TRADE, RowFlag.ELIGIBLE
    rows["price"], rows["size"] = [100 + n / 100 for n in minutes], 10
    rows["venue_ns"] = rows["recv_ns"] = [start_of(n) + NS_PER_S for n in minutes]
    market.consume(rows, 0, len(rows))


def bars_of(state: Any, have: dict[str, int] | None = None, *symbols: str) -> dict[str, Any]:
    answer = watch(state, {"symbols": list(symbols), "have": have or {}}, int(NOW), seq=7)
    return {row["symbol"]: row["bars"] for row in answer["watch"]["symbols"]}


def test_a_symbol_has_its_quote_its_spread_and_what_it_may_be() -> None:
    desk = Desk()
    desk.print("AAPL", "150.00")
    desk.now_ns += 250 * NS_PER_MS
    [row] = told(desk, "AAPL")["symbols"]
    assert (row["bid"], row["ask"], row["last"]) == ("149.98", "150.00", "150.00")
    assert (row["age_ms"], row["last_age_ms"], row["spread_bps"]) == (250.0, 250.0, 1.33)
    assert (row["quote_age_max_ms"], row["spread_max_bps"]) == (5000.0, 50.0)
    assert row["indicators"].keys() >= {"rsi_14", "macd", "macd_signal", "macd_hist", "vwap", "volume"}
    assert (row["position"], row["armed"], row["armed_total"], row["foreign"]) == (None, [], 0, None)


def test_what_is_not_known_is_null() -> None:
    desk = Desk(world(quotes={"AAPL": None}))
    [row] = told(desk, "AAPL")["symbols"]
    for name in ("bid", "ask", "last", "age_ms", "last_age_ms", "spread_bps", "bar"):
        assert row[name] is None, name
    assert row["bars"] == []


def test_a_one_sided_quote_has_no_spread() -> None:
    desk = Desk()
    desk.quote("AAPL", "149.98", "0")
    [row] = told(desk, "AAPL")["symbols"]
    assert (row["bid"], row["ask"], row["spread_bps"]) == ("149.98", None, None)


def test_all_is_of_one_moment_and_says_which() -> None:
    desk = Desk()
    document = told(desk, "AAPL", "SOL/USD")
    assert (document["seq"], document["rows_seen"]) == (7, desk.state.market.rows_seen)
    assert document["at"].endswith("Z")
    assert (document["state"], document["not_ready"], document["reasons"]) == ("ACTIVE", None, [])
    halt(desk.state)
    halted = told(desk, "AAPL")
    assert (halted["state"], halted["reasons"][0]["code"]) == ("HALTED", "OPERATOR")


def test_without_symbols_it_is_of_all_there_are() -> None:
    desk = Desk()
    answer = watch(desk.state, {"symbols": []}, desk.now_ns, seq=7)
    assert [row["symbol"] for row in answer["watch"]["symbols"]] == list(desk.state.market.symbols)
    assert answer["watch"]["interval_s"] == 60


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"symbols": ["APPL", "SPY"]}, "not watched: APPL; the daemon watches AAPL, SPY, "),
        ({"symbols": "AAPL"}, "list of names"),
        ({"symbols": [7]}, "list of names"),
        ({"symbols": [["AAPL"]]}, "list of names"),
        ({"symbols": ["AAPL", "AAPL"]}, "twice"),
        ({"symbols": [f"S{n}" for n in range(SYMBOLS_MAX + 1)]}, f"at most {SYMBOLS_MAX}"),
        ({"interval_s": 7}, "no bars of 7 s; the daemon keeps those of 60, 300 s"),
        ({"interval_s": [60]}, "no bars of"),
        ({"have": {"AAPL": "now"}}, "starts of bars"),
        ({"have": [1]}, "starts of bars"),
    ],
)
def test_what_cannot_be_meant_is_refused(request_: dict[str, Any], why: str) -> None:
    answer = watch(world(), request_, int(NOW), seq=7)
    assert (answer["ok"], answer["usage"]) == (False, True)
    assert why in answer["error"]


# --- bars ----------------------------------------------------------------------------------------------------


def test_bars_are_told_once_and_the_one_in_progress_always() -> None:
    state = world()
    trade_minutes(state.market, "AAPL", range(1, 5))
    assert bars_of(state, None, "AAPL") == {
        "AAPL": [(start_of(1), "100.01"), (start_of(2), "100.02"), (start_of(3), "100.03")]
    }
    assert bars_of(state, {"AAPL": start_of(1)}, "AAPL")["AAPL"][0] == (start_of(2), "100.02")
    assert bars_of(state, {"AAPL": start_of(3)}, "AAPL") == {"AAPL": []}
    [row] = told(Desk(state), "AAPL", have={"AAPL": start_of(3)})["symbols"]
    assert (row["bar"]["open"], row["bar"]["close"], row["bar"]["trades"]) == ("100.04", "100.04", 1)


@pytest.mark.parametrize("have", [10**19, -5, 17])
def test_all_bars_are_told_to_who_has_others(have: int) -> None:
    state = world()
    trade_minutes(state.market, "AAPL", range(1, 5))
    assert len(bars_of(state, {"AAPL": have}, "AAPL")["AAPL"]) == 3


def test_a_gap_in_trading_is_no_reason_to_miss_a_bar() -> None:
    state = world()
    for minutes in (range(1, 3), range(50, 53), range(400, 402)):
        trade_minutes(state.market, "AAPL", minutes)
    everything = bars_of(state, None, "AAPL")["AAPL"]
    starts = [(start - start_of(0)) // MINUTE_NS for start, _ in everything]
    assert starts == [1, 2, 50, 51, 52, 400]
    for number, start in enumerate(starts):
        had = bars_of(state, {"AAPL": start_of(start)}, "AAPL")["AAPL"]
        assert had in (everything, everything[number + 1 :])
        assert had != everything or start < 400 - BARS_MAX + 1


def test_one_answer_has_a_bounded_number_of_bars_and_the_next_ones_the_rest() -> None:
    state = world()
    symbols = ("AAPL", "SPY", "SOL/USD", "BTC/USD")
    for symbol, minutes in zip(symbols, (30, 100, 300, 1), strict=True):
        trade_minutes(state.market, symbol, range(minutes))
    have: dict[str, int] = {}
    got: dict[str, list[Any]] = {symbol: [] for symbol in symbols}
    for answers in itertools.count(1):
        bars = bars_of(state, have, *symbols)
        assert sum(len(found or ()) for found in bars.values()) < 2 * BARS_MAX
        for symbol, found in bars.items():
            got[symbol] += found or []
        have = {symbol: found[-1][0] for symbol, found in got.items() if found}
        if None not in bars.values():
            break
        assert answers <= len(symbols)
    assert {symbol: len(found) for symbol, found in got.items()} == {
        "AAPL": 29,
        "SPY": 99,
        "SOL/USD": BARS_MAX,
        "BTC/USD": 0,
    }
    assert got["SOL/USD"][-1][0] == start_of(298)


# --- our business --------------------------------------------------------------------------------------------


def test_a_trade_is_told_with_its_stop_and_what_it_has_earned() -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    desk.quote("AAPL", "149.50", "149.52")
    apple, spy = told(desk, "AAPL", "SPY")["symbols"]
    assert spy["position"] is None
    assert apple["position"] == {
        "intent_id": intent_id(1), "agent": "default", "direction": "LONG", "state": "OPEN", "qty": "66",
        "avg_price": "150.00", "stop": "148.00", "target": "155.00", "protected_qty": "66", "pnl_usd": "-33.00",
    }  # fmt: skip
    assert told(desk, "AAPL")["day_pnl_usd"] == "-33.00"
    assert told(desk, "AAPL")["day_trades"] == 1


def test_what_waits_for_a_price_is_told_the_nearest_first() -> None:
    desk = Desk(max_daily_trades=50)
    for number in range(1, 13):
        level = 147.1 + number / 5
        desk.drop(
            number,
            entry="touch",
            arm_seconds="600",
            trigger_price=f"{level:.2f}",
            stop_loss=f"{level - 2:.2f}",
            take_profit=f"{level + 5:.2f}",
        )
    armed = [t for t in desk.state.tickets.values() if t.state is TradeState.ARMED]
    desk.print("AAPL", "149.99")
    [row] = told(desk, "AAPL")["symbols"]
    assert row["armed_total"] == len(armed) > watching.ARMED_SHOWN == len(row["armed"])
    assert row["armed"][0]["fires"] == "BELOW"
    levels = [float(trigger["level"]) for trigger in row["armed"]]
    assert levels == sorted(levels, reverse=True)
    assert row["position"] is None


def test_an_engine_held_target_is_armed_and_its_stop_rests() -> None:
    desk = Desk()
    desk.drop(1, "SOL/USD")
    desk.run(1)
    [row] = told(desk, "SOL/USD")["symbols"]
    assert {trigger["kind"]: trigger["fires"] for trigger in row["armed"]} == {
        "target": "ABOVE",
        "stop": "BELOW",
    }
    assert row["position"]["protected_qty"] == row["position"]["qty"]


def test_what_is_not_ours_is_named() -> None:
    desk = Desk()
    desk.state.foreign["AAPL"] = "the account holds 5"
    [row] = told(desk, "AAPL")["symbols"]
    assert row["foreign"] == "the account holds 5"


def test_tickets_beyond_the_bound_are_not_looked_at_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "TICKETS_LOOKED_AT", 1)
    desk = Desk()
    desk.drop(1)
    desk.drop(2, "SPY")
    desk.run(1)
    document = told(desk, "AAPL", "SPY")
    assert [row["position"] is None for row in document["symbols"]] == [True, False]
    assert (document["tickets_left_out"], document["day_pnl_usd"]) == (1, None)


def test_asking_changes_nothing() -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    before = desk.state.market.digest()
    told(desk, "AAPL", "SOL/USD")
    assert desk.state.market.digest() == before
    assert desk.state.changed == {}
