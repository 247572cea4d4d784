"""Drawings: round marks, curves of any length with the extremes they have, labels apart, and texts that stay texts."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.units import NANO
from hands.replay import axes, charts, plots, words
from hands.replay.axes import Scale
from hands.replay.prices import NoPrices, TickPrices
from hands.replay.report_data import chart_window, find
from hands.replay.trade_chart import stop_path, trade_chart
from hands.replay.trade_list import trade_list
from tests.replay.made_ledger import HOSTILE, HOUR, MINUTE, T0, Book, big_ledger

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANO


# --- axes ----------------------------------------------------------------------------------------------------


@given(st.floats(-1e7, 1e7), st.floats(1e-6, 1e7), st.integers(2, 8))
def test_marks_are_round_few_and_within(low: float, extent: float, about: int) -> None:
    marks = axes.value_marks(low, low + extent, about)
    assert len(marks) <= about + 1
    assert all(low - 1e-6 * extent <= mark <= low + extent * (1 + 1e-6) for mark in marks)


def test_marks_say_what_tells_them_apart() -> None:
    marks = axes.value_marks(-0.03, 0.031, 4)
    assert [axes.mark_text(mark, marks) for mark in marks] == ["\u22120.020", "0.000", "0.020"]
    assert axes.mark_text(1250000, [1000000, 1250000]) == "1,250,000"


@pytest.mark.parametrize(
    ("begin", "end", "zone", "labels"),
    [
        ("2026-01-05T14:30:00", "2026-01-05T21:00:00", NEW_YORK, ["10:00", "12:00", "14:00", "16:00"]),
        ("2026-01-05T14:30:00", "2026-01-05T14:30:09", UTC, ["14:30:00", "14:30:02", "14:30:04", "14:30:06", "14:30:08"]),
        ("2026-03-06T12:00:00", "2026-03-10T12:00:00", NEW_YORK, ["7 Mar", "8 Mar", "9 Mar", "10 Mar"]),
        ("2026-01-05T20:00:00", "2026-01-07T04:00:00", UTC, ["6 Jan", "06:00", "12:00", "18:00", "7 Jan"]),
    ],
)  # fmt: skip
def test_times_are_marked_where_a_clock_on_the_wall_is_round(
    begin: str, end: str, zone, labels: list[str]
) -> None:
    found = axes.time_marks(ns(begin), ns(end), zone)
    assert [label for _, label in found] == labels


def test_midnights_stay_midnights_where_the_clock_was_changed() -> None:
    found = axes.time_marks(ns("2026-03-06T12:00:00"), ns("2026-03-10T12:00:00"), NEW_YORK)
    times = [datetime.fromtimestamp(at_ns // NANO, NEW_YORK) for at_ns, _ in found]
    assert {(at.hour, at.minute) for at in times} == {(0, 0)}


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=4_000))
def test_a_curve_keeps_its_extremes_and_its_ends(values: list[float]) -> None:
    points = [(n * axes.WIDE / len(values), value) for n, value in enumerate(values)]
    found = axes.columns(points, 50)
    assert len(found) <= max(100, 4 * 51)
    assert {min(values), max(values)} <= {value for _, value in found}
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert found == sorted(found, key=lambda point: point[0])


@given(st.lists(st.floats(0, 200), min_size=1, max_size=6))
def test_labels_do_not_lie_on_each_other(places: list[float]) -> None:
    found = sorted(axes.apart(places, 17, 200))
    assert all(b - a >= 17 - 1e-6 for a, b in itertools.pairwise(found))
    assert all(-1e-6 <= place <= 200 for place in found)


def test_a_scale_without_extent_puts_everything_in_the_middle() -> None:
    assert Scale(5, 5, 0, 1000).at(5) == 500


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*HOSTILE, "\ud800", "\x00\x1b[0m", "a\tb\nc", "&lt;"])
def test_what_somebody_wrote_is_text(text: str) -> None:
    shown = words.said(text)
    assert not re.search(r"[<>\"'\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    ET.fromstring(f'<p a="{shown}">{shown}</p>')
    shown.encode("utf-8")


def test_a_long_text_says_how_much_of_it_is_missing() -> None:
    assert words.said("x" * 64_000, 100) == "x" * 100 + " \u2026 (63,900 more characters)"
    assert words.said("short", 100) == "short"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.money(-1234.5), "\u2212$1,234.50"), (words.money(0.001), "$0.00"), (words.money(250_000.4), "+$250,000"),
        (words.money(None), words.UNKNOWN), (words.plain(-0.001), "0.00"), (words.share(0.4567), "45.7 %"),
        (words.lasting(1), "1 ns"), (words.lasting(1_500), "2 \u00b5s"), (words.lasting(2_500_000), "2.5 ms"), (words.lasting(90 * NANO), "1 min 30 s"),
        (words.lasting(26 * 3600 * NANO), "1 d 2 h"), (words.lasting(3600 * NANO), "1 h"), (words.price(0.12345678), "0.1235"),
        (words.price(64_000.5), "64,000.50"), (words.exact("-1234.5000001"), "\u22121,234.5000001"), (words.count(1, "day"), "1 day"),
    ],
)  # fmt: skip
def test_numbers_for_people(shown: str, expected: str) -> None:
    assert shown == expected


# --- drawings ------------------------------------------------------------------------------------------------


def well_formed(markup: str) -> ET.Element:
    """Return the drawing as XML: what a browser would have to guess at is an error here."""
    return ET.fromstring(f"<div>{markup}</div>")


def test_a_drawing_is_well_formed_and_its_words_are_escaped() -> None:
    plot = plots.Plot(100, '<b>"label"</b>')
    value = plot.y(0, 10)
    plot.value_axis(value)
    plot.bar(0, 10, value.at(5), value.at(0), "win", "</title><script>")
    plot.hover([(1.0, 2.0, "<i>'words'</i>")])
    plot.tag(3, "<u>", "tag")
    root = well_formed(plot.markup())
    assert root.find(".//svg").get("aria-label") == '<b>"label"</b>'
    assert root.find(".//title").text == "</title><script>"
    assert "script" not in {each.tag for each in root.iter()}


def trade_of(book: Book):
    found = find(book.db, NoPrices(), title="t")
    return found.trades[0], found


def test_a_trade_shows_its_stop_as_it_moved() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, stop=98, moved=((T0 + 20 * MINUTE, 99.5), (T0 + 40 * MINUTE, 100.2)))
    trade, found = trade_of(book)
    assert stop_path(trade, found.to_ns) == [
        (T0, 98), (T0 + 20 * MINUTE, 99.5), (T0 + 40 * MINUTE, 100.2), (T0 + HOUR, 100.2)
    ]  # fmt: skip
    markup = trade_chart(trade, [], chart_window(trade, found.to_ns), [], NEW_YORK)
    tags = [each.text for each in well_formed(markup).iter("span") if "tag" in each.get("class", "")]
    assert tags == ["target 104.00", "entry 100.00", "exit 101.00", "stop 100.20"]


def test_a_trade_without_any_price_of_the_market_is_drawn_all_the_same() -> None:
    book = Book()
    book.trade(T0, None)
    trade, found = trade_of(book)
    root = well_formed(trade_chart(trade, [], chart_window(trade, found.to_ns), [], NEW_YORK))
    assert len([each for each in root.iter("path") if each.get("class") == "dot in"]) == 1
    assert not [each for each in root.iter("path") if "wick" in each.get("class", "")]


def test_bars_rise_and_fall_where_the_market_did() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR)
    trade, found = trade_of(book)
    window = chart_window(trade, found.to_ns)
    bars = [(T0, 100.0, 102.0, 99.0, 101.0), (T0 + MINUTE, 101.0, 101.5, 98.0, 99.0)]
    root = well_formed(trade_chart(trade, bars, window, [], NEW_YORK))
    drawn = {each.get("class"): each.get("d") for each in root.iter("path")}
    assert drawn["wick rose"].count("v") == 1
    assert drawn["wick fell"].count("v") == 1
    scale = Scale(*window, 0, axes.WIDE)
    x = round(scale.at(T0 + MINUTE // 2))
    assert drawn["wick rose"].startswith(f"m{x}")


def test_every_drawing_of_a_large_report_is_well_formed() -> None:
    ledger, prices = big_ledger(60)
    found = find(ledger, prices, title="t", tz="America/New_York", capital=100_000 * NANO)
    document = found.document
    for markup in (
        charts.equity(found), charts.days(document["days"]), charts.verdicts(document["verdicts"], NEW_YORK),
        charts.legend(document["verdicts"]["by_code"]), charts.durations(document["latency"][3]["histogram"], "l"),
        charts.histogram(document["slippage"]["entry_bps"]["histogram"], "s", "bps"),
        charts.lanes(charts.covered_lanes(found), found.from_ns, found.to_ns, NEW_YORK, "p"),
    ):  # fmt: skip
        assert "nan" not in markup
        well_formed(markup)
    assert trade_list(found, prices).count('class="trade"') == 60


def test_large_amounts_get_a_wider_margin_and_both_curves_the_same() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, qty=1_000)
    for capital, wide in ((100_000, 0), (25_000_000, 2)):
        markup = charts.equity(find(book.db, NoPrices(), title="t", capital=capital * NANO))
        plots = [each.get("class") for each in well_formed(markup)]
        assert len(plots) == 2
        assert sum("wide" in each for each in plots) == wide


def test_a_lane_shows_a_gap_longer_than_it_is_only_as_a_mark_below() -> None:
    book = Book()
    book.trade(T0, T0 + HOUR, symbol="SOL/USD", stop_after_ns=4_000_000)
    book.trade(T0 + 2 * HOUR, T0 + 3 * HOUR, symbol="SOL/USD", stop_after_ns=5 * NANO)
    found = find(book.db, NoPrices(), title="t")
    ((name, stretches),) = charts.covered_lanes(found)
    assert name == "SOL/USD"
    assert [kind for _, _, kind, _ in stretches] == ["c-stop", "c-stop", "c-brief", "c-none"]


# --- prices ---------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.floats(1, 200)), min_size=1, max_size=200),
    st.integers(1, 40),
)
def test_bars_hold_every_price_of_their_stretch(ticks: list[tuple[int, float]], most: int) -> None:
    import numpy as np

    ticks.sort()
    times, values = np.array([at for at, _ in ticks]), np.array([price for _, price in ticks])
    bars = TickPrices({"A": (times, values)}).bars("A", 100, 9_000, most)
    within = [price for at, price in ticks if 100 <= at < 9_000]
    assert len(bars) <= most
    if not within:
        assert bars == []
        return
    assert max(bar[2] for bar in bars) == max(within)
    assert min(bar[3] for bar in bars) == min(within)
    assert (bars[0][1], bars[-1][4]) == (within[0], within[-1])
    assert all(100 <= bar[0] < 9_000 for bar in bars)
