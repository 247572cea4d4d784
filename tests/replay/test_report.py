"""The report's numbers: made by hand from small ledgers, and the same on the page as in the document."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import empyrical
import msgspec
import numpy as np
import pandas as pd
import pytest

from hands.core.rows import RowFlag, RowKind, new_rows
from hands.core.units import NANO
from hands.core.views import SnapshotHead
from hands.journal import heads
from hands.journal.chain import Chain
from hands.journal.segments import FOLDER_NAME, SUFFIX, SegmentWriter
from hands.journal.steps import SESSION, Step
from hands.replay import curves
from hands.replay.prices import FirstKnown, KeptMinutes, NoPrices, TickPrices
from hands.replay.recorded_prices import recorded_prices, segments_of
from hands.replay.report import write_report
from hands.replay.report_data import find, report_data, thinned, windows
from hands.replay.unprotected import Cover, stretches
from tests.replay.made_ledger import DAY, HOUR, MINUTE, MS, T0, Book, empty_ledger, nano

CAPITAL = 100_000 * NANO
ARTICLE = {"title": "t"}


@pytest.fixture
def book() -> Book:
    """Two wins and a loss over three days: +10, -20 and +15 dollars, of 20 dollars at risk each."""
    book = Book()
    book.trade(T0, T0 + HOUR, exit=101.0, agent="atlas", strategy="a/v1")
    book.trade(T0 + DAY, T0 + DAY + HOUR, exit=98.0, reason="SL", strategy="b/v1")
    book.trade(T0 + 2 * DAY, T0 + 2 * DAY + HOUR, exit=101.5, reason="TIME", strategy="a/v1")
    return book


def ticks(*prices: tuple[int, float], symbol: str = "AAPL") -> TickPrices:
    times, values = zip(*prices, strict=True)
    return TickPrices({symbol: (np.array(times), np.array(values))})


# --- headline ------------------------------------------------------------------------------------------------


def test_the_headline_by_hand(book: Book) -> None:
    head = report_data(book.db, NoPrices(), capital=CAPITAL, **ARTICLE)["headline"]
    assert (head["trades"], head["won"], head["lost"], head["still_held"]) == (3, 2, 1, 0)
    assert head["net_pnl_usd"] == 5.0
    assert head["return"] == pytest.approx(5 / 100_000)
    assert head["win_rate"] == pytest.approx(2 / 3)
    assert head["expectancy_usd"] == pytest.approx(5 / 3)
    assert head["expectancy_r"] == pytest.approx((10 - 20 + 15) / 20 / 3)
    assert head["profit_factor"] == pytest.approx(25 / 20)
    assert (head["best_usd"], head["worst_usd"], head["average_held_s"]) == (15, -20, 3600)
    assert (head["max_drawdown_usd"], head["max_drawdown"]) == (20, pytest.approx(20 / 100_010))
    assert head["recovered_ns"] is None


def test_the_ratios_are_made_of_daily_returns_as_the_library_makes_them(book: Book) -> None:
    head = report_data(book.db, NoPrices(), capital=CAPITAL, **ARTICLE)["headline"]
    returns = pd.Series([10 / 100_000, -20 / 100_010, 15 / 99_990])
    assert (head["days"], head["days_per_year"]) == (3, 252)
    assert head["sharpe"] == pytest.approx(empyrical.sharpe_ratio(returns, annualization=252))
    assert head["sortino"] == pytest.approx(empyrical.sortino_ratio(returns, annualization=252))
    assert head["max_drawdown"] == pytest.approx(-empyrical.max_drawdown(returns))


def test_without_a_capital_nothing_is_a_share_of_it(book: Book) -> None:
    found = report_data(book.db, NoPrices(), **ARTICLE)
    head = found["headline"]
    assert (found["capital_usd"], found["capital_from"]) == (None, None)
    assert (head["return"], head["max_drawdown"], head["max_drawdown_usd"]) == (None, None, 20)
    expected = empyrical.sharpe_ratio(pd.Series([10.0, -20.0, 15.0]), annualization=252)
    assert (head["returns_of"], head["sharpe"]) == ("dollars", pytest.approx(expected))


def test_the_capital_is_what_sizing_had_before_it_at_the_first_refusal(book: Book) -> None:
    book.refusal(T0 - HOUR, equity=None)
    book.refusal(T0 - MINUTE, equity="50000")
    book.refusal(T0 + DAY, equity="49000")
    found = report_data(book.db, NoPrices(), **ARTICLE)
    assert (found["capital_usd"], found["capital_from"]) == (50_000, "refusal")
    assert report_data(book.db, NoPrices(), capital=CAPITAL, **ARTICLE)["capital_from"] == "given"


def test_days_without_a_trade_count_where_the_market_was_open() -> None:
    """From Friday to Tuesday: coins have five days; stocks three, and no Monday where that is a holiday."""
    friday = T0 + 4 * DAY
    for symbol, expected in (("AAPL", 3), ("BTC/USD", 5)):
        book = Book()
        book.trade(friday, friday + HOUR, symbol=symbol)
        book.trade(friday + 4 * DAY, friday + 4 * DAY + HOUR, symbol=symbol, exit=98.0)
        assert (
            report_data(book.db, NoPrices(), tz="America/New_York", **ARTICLE)["headline"]["days"] == expected
        )
    holiday = T0 + 11 * DAY  # Friday 16 January; Monday is Martin Luther King's day
    book = Book()
    book.trade(holiday, holiday + HOUR)
    book.trade(holiday + 4 * DAY, holiday + 4 * DAY + HOUR)
    found = report_data(book.db, NoPrices(), tz="America/New_York", **ARTICLE)
    assert [day["day"] for day in found["days"]] == ["2026-01-16", "2026-01-20"]


def test_a_day_is_the_zones() -> None:
    book = Book()
    book.trade(T0, T0 + 12 * HOUR)  # 21:30 in New York, the next day in UTC
    for tz, day in (("UTC", "2026-01-06"), ("America/New_York", "2026-01-05")):
        found = report_data(book.db, NoPrices(), tz=tz, **ARTICLE)
        assert [each["day"] for each in found["days"] if each["pnl_usd"]] == [day]


def test_what_is_not_known_is_null_and_never_nothing() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, exit=None, strategy=None)  # liquidated: nobody knows at what price
    found = report_data(book.db, NoPrices(), **ARTICLE)
    head = found["headline"]
    assert (head["trades"], head["result_unknown"]) == (0, 1)
    for name in (
        "net_pnl_usd",
        "win_rate",
        "expectancy_usd",
        "profit_factor",
        "sharpe",
        "max_drawdown_usd",
        "fees_usd",
    ):
        assert head[name] is None, name
    assert found["trades"][0]["pnl"] is None
    assert found["slippage"]["stop_bps"]["p50"] is None


# --- the curve -----------------------------------------------------------------------------------------------


def test_a_trade_is_marked_while_it_is_held_and_ends_on_what_was_booked() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, exit=101.0)
    market = ticks((T0, 100.0), (T0 + 10 * MINUTE, 97.0), (T0 + 40 * MINUTE, 103.0))
    found = find(book.db, market, capital=CAPITAL, **ARTICLE)
    amounts = [total / NANO for _, total in found.curve.points]
    assert (min(amounts), max(amounts), amounts[-1]) == (-30, 30, 10)
    assert found.document["headline"]["curve"] == "marked"
    assert found.document["headline"]["max_drawdown_usd"] == 30


def test_coins_are_marked_without_those_that_the_venue_kept() -> None:
    """Ten bought at 100 with 25 bps of fees in coins: 9.975 are held; sold at 104 with 25 bps in dollars."""
    book = Book()
    book.trade(T0, T0 + HOUR, symbol="SOL/USD", exit=104.0)
    [trade] = find(book.db, NoPrices(), **ARTICLE).trades
    assert curves.result_at(trade, T0 + MINUTE, nano(100)) == nano(-2.5)
    assert curves.result_at(trade, T0 - 1, nano(100)) is None
    sold = 9.975 * 104
    assert curves.result_at(trade, T0 + HOUR, nano(1)) == pytest.approx(
        nano(sold - 1000 - sold * 0.0025), abs=10
    )
    assert trade.pnl == pytest.approx(curves.result_at(trade, T0 + HOUR, nano(1)), abs=10)


def test_a_short_gains_while_the_price_falls() -> None:
    book = Book()
    book.trade(T0, None, is_long=False, stop=102, target=96)
    market = ticks((T0 + MINUTE, 99.0), (T0 + 2 * MINUTE, 98.0))
    book.put("alerts", at_ns=T0 + 5 * MINUTE, level="info", code="LINK", message="")
    found = report_data(book.db, market, **ARTICLE)
    assert found["trades"][0]["unrealised"] == "20"
    assert (found["headline"]["unrealised_usd"], found["headline"]["still_held"]) == (20, 1)


def test_trades_of_one_time_add_up_exactly() -> None:
    rows = [[(1, 5), (4, -2)], [(2, 3), (4, 10)], [(9, 1)]]
    assert curves._summed(rows) == [(1, 5), (2, 8), (4, 8), (9, 9)]


def test_a_thinned_curve_keeps_its_extremes() -> None:
    points = [(n, (n * 7919) % 1009 - 500) for n in range(50_000)]
    thin = thinned(points, 400)
    assert len(thin) <= 404
    assert {min(points, key=lambda p: p[1])[1], max(points, key=lambda p: p[1])[1]} <= {v for _, v in thin}
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert thinned(points[:9], 400) == points[:9]


# --- protection ----------------------------------------------------------------------------------------------


def covers(book: Book) -> list[tuple[str, int]]:
    found = find(book.db, NoPrices(), **ARTICLE)
    return [(str(each.cover), each.ns) for each in stretches(found.trades[0], found.to_ns)]


def test_a_brackets_stop_acts_from_the_fill_on_and_coins_wait_for_the_venues_word() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR)
    assert covers(book) == [("stop", HOUR)]
    book = Book()
    book.trade(T0, T0 + HOUR, symbol="SOL/USD", stop_after_ns=7 * MS, reason="SL", exit=98.0)
    assert covers(book) == [("none", 7 * MS), ("stop", HOUR - 7 * MS)]


def test_a_stop_that_is_moved_leaves_a_gap_where_the_new_one_was_not_yet_in_force() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, symbol="SOL/USD", moved=((T0 + MINUTE, 99.0),), stop_after_ns=3 * MS)
    kinds = covers(book)
    assert kinds[:4] == [
        ("none", 3 * MS),
        ("stop", MINUTE - 3 * MS),
        ("none", 3 * MS),
        ("stop", 59 * MINUTE - 3 * MS),
    ]


@pytest.mark.parametrize(("left", "kinds"), [(4, ["stop"]), (3, ["none"])])
def test_a_stop_was_for_more_before_its_target_filled_in_part(left: int, kinds: list[str]) -> None:
    """The ledger has the leg as it was last: the venue takes from it what the other leg fills."""
    book = Book()
    book.trade(T0, T0 + HOUR)
    book.db.execute("UPDATE ledger_orders SET qty_nano = qty_nano / 10 * ? WHERE leg = 'sl'", (left,))
    book.db.execute(
        "UPDATE ledger_fills SET qty_nano = qty_nano / 10 * 6, at_ns = ? WHERE leg = 'tp'", (T0 + MINUTE,)
    )
    assert [kind for kind, _ in covers(book)] == kinds


def test_an_exit_that_is_out_is_not_protection_and_not_nothing() -> None:
    book = Book()
    intent_id = book.trade(T0, T0 + HOUR, symbol="SOL/USD", exit=104.0)
    book.db.execute("UPDATE ledger_orders SET updated_ns = ? WHERE leg = 'sl'", (T0 + HOUR - 5 * MS,))
    book.db.execute("UPDATE ledger_orders SET created_ns = ? WHERE leg = 'exit'", (T0 + HOUR - 2 * MS,))
    assert covers(book) == [("stop", HOUR - 5 * MS), ("none", 3 * MS), ("exit", 2 * MS)]
    found = report_data(book.db, NoPrices(), **ARTICLE)["protection"]
    assert (found["unprotected_s"], found["exit_on_its_way_s"], found["longest_unprotected_s"]) == (
        0.003,
        0.002,
        0.003,
    )
    assert [(gap["intent_id"], gap["ms"], gap["exit_on_its_way"]) for gap in found["gaps"]] == [
        (intent_id, 3, False), (intent_id, 2, True)
    ]  # fmt: skip


def test_a_stop_whose_begin_is_not_told_is_unknown() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, symbol="SOL/USD")
    book.db.execute("UPDATE ledger_orders SET acked_ns = NULL WHERE leg = 'sl'")
    assert next(kind for kind, _ in covers(book)) == "unknown"
    assert report_data(book.db, NoPrices(), **ARTICLE)["protection"]["unprotected_s"] == 0


def test_a_stop_for_a_part_of_what_is_held_is_none() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR)
    book.db.execute("UPDATE ledger_orders SET qty_nano = ? WHERE leg = 'sl'", (nano(4),))
    assert covers(book)[0][0] == Cover.NONE


# --- the rest of the ledger ----------------------------------------------------------------------------------


def test_verdicts_by_code_by_agent_and_over_time(book: Book) -> None:
    book.refusal(T0 + MINUTE, "SLIPPAGE", agent="atlas")
    book.refusal(T0 + DAY, "SLIPPAGE")
    book.put("rejections", agent="default", code="MALFORMED_JSON", detail={}, at_ns=T0 + HOUR)
    found = report_data(book.db, NoPrices(), **ARTICLE)["verdicts"]
    assert found["documents"] == 6
    assert [(row["verdict"], row["code"], row["count"]) for row in found["by_code"]] == [
        ("ACCEPTED", "OK", 3), ("REJECTED", "SLIPPAGE", 2), ("REFUSED", "MALFORMED_JSON", 1)
    ]  # fmt: skip
    assert {"agent": "atlas", "ACCEPTED": 1, "REJECTED": 1} in found["by_agent"]
    assert sum(sum(bucket["codes"].values()) for bucket in found["over_time"]) == 6
    assert all(bucket["from_ns"] < bucket["to_ns"] for bucket in found["over_time"])


def test_gates_are_in_the_order_of_the_checks_and_unknown_until_they_are_looked_back_at(book: Book) -> None:
    book.refusal(T0, "SLIPPAGE", "slippage", result="target", r=1.5, usd=150)
    book.refusal(T0, "SLIPPAGE", "slippage", result="stop", r=-1, usd=-100)
    book.refusal(T0, "EXPIRED", "ttl")
    ttl, slippage = report_data(book.db, NoPrices(), **ARTICLE)["gates"]
    assert (ttl["check"], ttl["fired"], ttl["valued"], ttl["r_sum"], ttl["usd_sum"]) == (
        "ttl",
        1,
        0,
        None,
        None,
    )
    assert (slippage["fired"], slippage["would_have_won"], slippage["would_have_lost"]) == (2, 1, 1)
    assert (slippage["r_sum"], slippage["usd_sum"]) == (0.5, 50)


def test_a_ledger_of_an_older_version_has_no_alerts_and_no_hindsight(book: Book, tmp_path: Path) -> None:
    book.refusal(T0)
    for name in ("gates", "alerts", "hindsight"):
        book.db.execute(f"DROP VIEW {name}")
    for name in ("alerts", "hindsight"):
        book.db.execute(f"DROP TABLE ledger_{name}")
    found = write_report(book.db, NoPrices(), tmp_path / "r.html", **ARTICLE)
    assert found["alerts"] == {"known": False, "by_code": [], "serious": []}
    assert found["gates"][0]["valued"] == 0
    assert "kept no alerts" in (tmp_path / "r.html").read_text()


def test_reasons_hold_from_when_they_were_set_to_when_they_were_cleared(book: Book) -> None:
    for at_ns, reason, event in ((T0, "DAILY_LOSS", "set"), (T0 + 1, "DAILY_LOSS", "set"), (T0 + HOUR, "DAILY_LOSS", "cleared"), (T0 + DAY, "OPERATOR", "set")):  # fmt: skip
        book.put("states", at_ns=at_ns, state="HALTED", reason=reason, event=event, detail="")
    found = report_data(book.db, NoPrices(), **ARTICLE)["reasons"]
    assert [(each["reason"], each["from_ns"], each["to_ns"]) for each in found] == [
        ("DAILY_LOSS", T0, T0 + HOUR), ("OPERATOR", T0 + DAY, None)
    ]  # fmt: skip
    later = report_data(book.db, NoPrices(), from_ns=T0 + 2 * HOUR, **ARTICLE)["reasons"]
    assert [each["reason"] for each in later] == ["OPERATOR"]


def test_slippage_and_latency() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, entry=100.02, trigger=100.0, exit=97.9, stop=98.0, reason="SL", wire_ns=500_000)
    book.trade(
        T0 + DAY,
        T0 + DAY + HOUR,
        is_long=False,
        entry=99.95,
        trigger=100.0,
        stop=102,
        target=96,
        exit=96,
        wire_ns=700_000,
    )
    book.trade(T0 + 2 * DAY, T0 + 2 * DAY + HOUR, touch=True, wire_ns=300_000)
    found = report_data(book.db, NoPrices(), **ARTICLE)
    entry = found["slippage"]["entry_bps"]
    assert (entry["n"], entry["min"], entry["max"]) == (3, 0, pytest.approx(5))
    assert found["slippage"]["entry_cost_usd"] == pytest.approx(0.2 + 0.5)
    assert found["slippage"]["stop_bps"]["p50"] == pytest.approx(0.1 / 98 * 10_000)
    stages = {row["stage"]: row for row in found["latency"]}
    assert stages["decided"]["n"] == 2  # a touch waited for its price since its file came
    assert (
        stages["file_to_sent"]["n"],
        stages["file_to_sent"]["max_us"],
        stages["file_to_sent"]["p50_us"],
    ) == (3, 700, 500)


def test_a_stretch_of_time_has_what_ended_in_it(book: Book) -> None:
    book.trade(T0 + 3 * DAY, None)
    found = report_data(book.db, NoPrices(), from_ns=T0 + DAY, to_ns=T0 + 2 * DAY, **ARTICLE)
    assert [trade["pnl"] for trade in found["trades"]] == ["-20"]
    assert (
        found["verdicts"]["documents"] == 1
    )  # the next one's, a moment before its trade; its own was a moment too early
    everything = report_data(book.db, NoPrices(), **ARTICLE)
    assert [trade["pnl"] for trade in everything["trades"]] == ["10", "-20", "15", None]


def test_what_still_holds_is_told_up_to_the_last_happening_and_not_into_the_future(tmp_path: Path) -> None:
    book = Book()
    book.trade(T0, None)
    book.put("states", at_ns=T0 + HOUR, state="HALTED", reason="OPERATOR", event="set", detail="")
    found = find(book.db, NoPrices(), to_ns=T0 + 900 * DAY, **ARTICLE)
    assert (found.to_ns, found.until_ns) == (T0 + 900 * DAY, T0 + HOUR + 1)
    write_report(book.db, NoPrices(), tmp_path / "r.html", to_ns=T0 + 900 * DAY, **ARTICLE)
    assert '<span class="n">1 h</span>' in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tz": "Mars/Base"}, "no time zone"),
        ({"from_ns": 5, "to_ns": 5}, "ends before"),
        ({"capital": 0}, "above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(book: Book, asked: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        report_data(book.db, NoPrices(), **ARTICLE, **asked)


# --- the page ------------------------------------------------------------------------------------------------


def test_page_and_document_say_the_same_and_are_the_same_every_time(book: Book, tmp_path: Path) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    found = write_report(book.db, NoPrices(), first, capital=CAPITAL, **ARTICLE)
    assert found == report_data(book.db, NoPrices(), capital=CAPITAL, **ARTICLE)
    json.dumps(found, allow_nan=False)
    write_report(book.db, NoPrices(), second, capital=CAPITAL, **ARTICLE)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600
    text = first.read_text()
    for words in ("+$5.00", "66.7 %", "a/v1", "No prices are recorded", "still_held"[:5]):
        assert words in text
    assert not re.search(
        r"\b(?:nan|None|inf)\b", re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
    )


def test_an_empty_ledger_has_a_page_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    found = write_report(empty_ledger(), NoPrices(), path, **ARTICLE)
    assert (found["from_ns"], found["headline"]["trades"], found["trades"]) == (None, 0, [])
    assert "nothing is recorded" in path.read_text()


def test_a_page_that_cannot_be_written_leaves_nothing_behind(book: Book, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    (path / "full").mkdir(parents=True)
    with pytest.raises(OSError, match=r"page\.html"):
        write_report(book.db, NoPrices(), path, **ARTICLE)
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_nothing_is_written_to_the_ledger(book: Book, tmp_path: Path) -> None:
    path = tmp_path / "hands.db"
    with sqlite3.connect(path) as copy:
        book.db.backup(copy)
    before = path.read_bytes()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        write_report(db, NoPrices(), tmp_path / "r.html", **ARTICLE)
    assert path.read_bytes() == before


# --- prices --------------------------------------------------------------------------------------------------


def test_of_a_market_only_what_a_report_draws_is_kept(book: Book) -> None:
    """Rows of two symbols over three days; trades that count, one that does not, quotes of a symbol without trades."""
    rows = new_rows(6)
    rows["recv_ns"] = [T0 - DAY, T0, T0 + MINUTE, T0 + MINUTE, T0 + 2 * MINUTE, T0 + 12 * HOUR]
    rows["sym"] = [1, 1, 0, 1, 0, 1]
    rows["kind"] = [RowKind.TRADE, RowKind.TRADE, RowKind.QUOTE, RowKind.TRADE, RowKind.QUOTE, RowKind.TRADE]
    rows["flags"] = [RowFlag.ELIGIBLE, RowFlag.ELIGIBLE, 0, RowFlag.VOLUME, 0, RowFlag.ELIGIBLE]
    rows["price"], rows["price2"] = [1, 100, 9, 777, 0, 2], [0, 0, 10, 0, 11, 0]
    spans = [*windows(book.db), ("SPY", T0, T0 + HOUR), ("TSLA", T0, T0 + HOUR)]
    prices = TickPrices.of_rows(("SPY", "AAPL"), [rows[:2], rows[2:]], spans)
    assert prices.bars("AAPL", 0, 2 * T0, 5) == [(pytest.approx(T0, rel=1), 100.0, 100.0, 100.0, 100.0)]
    assert [bar[1:] for bar in prices.bars("SPY", T0, T0 + HOUR, 5)] == [(9.5, 9.5, 9.5, 9.5)]
    assert prices.bars("TSLA", 0, 2 * T0, 5) == []


def test_kept_minutes_are_read_and_what_is_broken_is_not_there(tmp_path: Path) -> None:
    day = tmp_path / "minutes" / "host_iex" / "2026-01-05"
    day.mkdir(parents=True)
    lines = [
        "timestamp,open,high,low,close",
        *(f"2026-01-05T14:{n:02d}:00Z,1,{2 + n},0.5,1.5" for n in range(30, 40)),
    ]
    (day / "SOL-USD.csv").write_text("\n".join(lines))
    (day / "AAPL.csv").write_text("timestamp,open,high,low,close\n2026-01-05T14:30:00Z,1,nan,1,1\n")
    prices = FirstKnown(NoPrices(), KeptMinutes(tmp_path))
    assert len(prices.bars("SOL/USD", T0, T0 + DAY, 100)) == 10
    few = prices.bars("SOL/USD", T0, T0 + DAY, 4)
    assert [bar[1:] for bar in few] == [
        (1, 34, 0.5, 1.5),
        (1, 37, 0.5, 1.5),
        (1, 40, 0.5, 1.5),
        (1, 41, 0.5, 1.5),
    ]
    assert prices.bars("AAPL", T0, T0 + DAY, 4) == []
    assert prices.bars("SPY", T0, T0 + DAY, 4) == []
    assert KeptMinutes(tmp_path / "nowhere").bars("SPY", T0, T0 + DAY, 4) == []


def test_what_a_session_recorded_is_read_as_far_as_it_goes(book: Book, tmp_path: Path) -> None:
    """Three segments: of a time that is not asked for, whole, and broken behind its first block."""
    folder = tmp_path / FOLDER_NAME
    folder.mkdir()
    markets = [("SPY", "AAPL"), ("SPY", "AAPL"), ("AAPL",)]
    for number, (symbols, at_ns) in enumerate(
        zip(markets, (T0 - 9 * DAY, T0 - MINUTE, T0 + DAY - MINUTE), strict=True)
    ):
        rows = new_rows(3)
        rows["recv_ns"] = [at_ns + 2 * MINUTE, at_ns + 3 * MINUTE, at_ns + 4 * MINUTE]
        rows["sym"], rows["kind"], rows["flags"] = symbols.index("AAPL"), RowKind.TRADE, RowFlag.ELIGIBLE
        rows["price"] = [100 + number, 101 + number, 102 + number]
        segment(folder, 1 + 10 * number, at_ns, symbols, rows)
    broken = folder / f"{21:016d}{SUFFIX}"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-40])
    (folder / f"{31:016d}{SUFFIX}").write_bytes(b"torn")
    spans = windows(book.db)
    paths = segments_of(tmp_path, spans)
    assert [path.stem[-2:] for path in paths] == ["11", "21"]
    passed: list[int] = []
    prices = recorded_prices(paths, spans, lambda: passed.append(1))
    assert len(passed) == 2
    assert [bar[4] for bar in prices.bars("AAPL", T0, T0 + HOUR, 1_000)] == [101, 102, 103]
    assert [bar[4] for bar in prices.bars("AAPL", T0 + DAY, T0 + DAY + HOUR, 1_000)] == [102, 103, 104]
    assert segments_of(tmp_path / "nowhere", spans) == []
    assert segments_of(tmp_path, []) == []


def segment(folder: Path, first: int, began_ns: int, symbols: tuple[str, ...], rows: np.ndarray) -> None:
    """Write a segment as a recorder does: its head first, then rows, then its end."""
    names = SnapshotHead(v=2, layout="", symbols=symbols, intervals_s=(), rows_seen=0, table=0)
    head = heads.Head(
        format=heads.FORMAT, versions=heads.versions(), state=b"", market=msgspec.json.encode(names) + b"\n"
    )
    writer = SegmentWriter.create(folder, first, first, 0, began_ns, Chain(b"k" * 32))
    writer.add_steps([Step(first, began_ns, SESSION, heads._pack(head))])
    writer.add_rows(0, rows)
    writer.add_end(len(rows), int(rows["recv_ns"][-1]))
    writer.close()
