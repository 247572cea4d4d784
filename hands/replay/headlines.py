"""The report's results: the head, the headline figures, the equity curve, and where the result came from.

Owns the prose and the order of these figures. May not compute one. The one idea: a figure that is not known says so, and says
what would make it known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hands.replay import charts
from hands.replay.plots import behind, empty, section, table
from hands.replay.report_data import Found
from hands.replay.words import (
    REASONS,
    UNKNOWN,
    count,
    lasting,
    micros,
    moment,
    money,
    plain,
    said,
    share,
    signed,
    tone,
)

Document = dict[str, Any]

FEW_DAYS = 30
NAME_MOST = 96

VENUES = {"sim": "simulator", "paper": "paper account", "live": "live account"}


# --- the head --------------------------------------------------------------------------------------------------


def head(found: Found) -> str:
    """Return title, time and what it is about in two sentences."""
    document, figures = found.document, found.document["headline"]
    venue = VENUES.get(document["venue"] or "", "")
    where = f" \u00b7 {venue}" if venue else ""
    period = "nothing is recorded"
    if document["from_ns"] is not None:
        period = (
            f"{moment(found.from_ns, found.zone)} \u2013 {moment(found.to_ns, found.zone)}, {said(found.tz)}"
        )
    return (
        f'<header><p class="brand">Hands{where}</p><h1>{said(found.title, 200)}</h1><p class="period">{period}</p>'
        f'<p class="summary">{_summary(document, figures)}</p></header>'
    )


def _summary(document: Document, figures: Document) -> str:
    verdicts = document["verdicts"]
    accepted = sum(row["count"] for row in verdicts["by_code"] if row["verdict"] == "ACCEPTED")
    judged = f"{count(verdicts['documents'], 'document')} judged, {accepted:,} accepted."
    if not figures["trades"] and not figures["still_held"]:
        return f"{judged} No trade was opened."
    parts = [f"{count(figures['trades'], 'trade')} ended, {figures['won']:,} of them with a profit"]
    if figures["still_held"]:
        marked = figures["unrealised_usd"]
        now = "" if marked is None else f", marked at {money(marked)}"
        parts.append(f"{figures['still_held']:,} still held{now}")
    if figures["result_unknown"]:
        parts.append(f"{figures['result_unknown']:,} with a result that is not known")
    return f"{judged} {'; '.join(parts)}."


def tiles(found: Found) -> str:
    """Return the headline figures."""
    f = found.document["headline"]
    entry, cover = found.document["slippage"]["entry_bps"], found.document["protection"]
    wire = next(row for row in found.document["latency"] if row["stage"] == "file_to_sent")
    interval = f["win_rate_95"]
    few = f"{count(f['days'], 'day')}: says little" if f["days"] < FEW_DAYS else f"{f['days']:,} days"
    error = "" if f["sharpe_error"] is None else f"\u00b1 {plain(f['sharpe_error'], 1)} \u00b7 "
    cells = [
        ("Net result", money(f["net_pnl_usd"]), tone(f["net_pnl_usd"]), _of_capital(found)),
        ("Max drawdown", _fall(f), "", _fall_when(found)),
        ("Win rate", share(f["win_rate"]), "", "" if not interval else f"95 %: {share(interval[0], 0)} to {share(interval[1], 0)}"),
        ("Expectancy a trade", money(f["expectancy_usd"]), tone(f["expectancy_usd"]), _in_r(f)),
        ("Profit factor", plain(f["profit_factor"]), "", _factor_words(f)),
        ("Sharpe, annualised", plain(f["sharpe"]), "", f"{error}{few}"),
        ("Sortino, annualised", plain(f["sortino"]), "", few if f["sortino"] is not None or f["days"] < 2 else "no losing day"),
        ("Fees", plain(f["fees_usd"], 2, "$") + _estimated(f), "", "paid on trades that ended"),
        ("Entry slippage, median", signed(entry["p50"], 1, after=" bps"), "", "of the trigger price; + is worse"),
        ("File to wire, median", micros(wire["p50_us"]), "", f"p99 {micros(wire['p99_us'])}" if wire["n"] else "no order was sent"),
        ("Longest unprotected", _longest(cover), "", _unprotected_words(cover)),
        ("Average time held", UNKNOWN if f["average_held_s"] is None else lasting(f["average_held_s"] * 1e9), "", ""),
    ]  # fmt: skip
    inner = "".join(
        f'<div class="tile"><dt>{said(name)}</dt><dd class="big{kind}">{value}</dd><dd class="small">{note or "&nbsp;"}</dd></div>'
        for name, value, kind, note in cells
    )
    return f'<dl class="tiles">{inner}</dl>'


def _of_capital(found: Found) -> str:
    f = found.document["headline"]
    if f["return"] is None:
        return "no capital is known: --capital" if f["trades"] else ""
    return f"{signed(f['return'] * 100, 2, after=' %')} of {plain(found.document['capital_usd'], 0, '$')}"


def _estimated(row: Document) -> str:
    if row["fees_estimated"] and row["fees_usd"] is not None:
        return ' <abbr class="est" title="estimated: at the venue\'s first fee tier">est.</abbr>'
    return ""


def _fall(f: Document) -> str:
    if f["max_drawdown"] is not None:
        return share(f["max_drawdown"], 2)
    return plain(f["max_drawdown_usd"], 2, "$")


def _fall_when(found: Found) -> str:
    f = found.document["headline"]
    if not f["max_drawdown_usd"]:
        return "" if f["max_drawdown_usd"] is None else "never below its peak"
    back = "not made up yet" if f["recovered_ns"] is None else "made up since"
    return f"{plain(f['max_drawdown_usd'], 0, '$')} \u00b7 {back}"


def _in_r(f: Document) -> str:
    return "" if f["expectancy_r"] is None else f"{signed(f['expectancy_r'], 2, after=' R')} of risk"


def _factor_words(f: Document) -> str:
    if f["profit_factor"] is None:
        return "nothing was lost" if f["trades"] else ""
    wins, losses = money(f["average_win_usd"]), money(f["average_loss_usd"])
    return f'<span class="nb">wins {wins},</span> <span class="nb">losses {losses}</span>'


def _longest(cover: Document) -> str:
    longest = cover["longest_unprotected_s"]
    return UNKNOWN if longest is None else "never" if longest == 0 else lasting(longest * 1e9)


def _unprotected_words(cover: Document) -> str:
    if cover["held_s"] is None:
        return "no position is recorded"
    return f"{lasting(cover['unprotected_s'] * 1e9)} of {lasting(cover['held_s'] * 1e9)} held"


# --- results ---------------------------------------------------------------------------------------------------


def equity(found: Found) -> str:
    drawing = charts.equity(found)
    if not drawing:
        return section("equity", "Equity", empty("No trade has ended, so there is no curve yet."))
    rows = [
        [said(row["day"]), _coloured(row["pnl_usd"]), money(row["total_usd"])]
        for row in reversed(found.document["days"])
    ]
    inner = f"<figure>{drawing}</figure>"
    per_day = charts.days(found.document["days"])
    if per_day:
        inner += f"<h3>Day by day</h3><figure>{per_day}</figure>"
    inner += behind(
        "The days as a table", table(("day", ">result", ">since the begin"), rows, "Results by day")
    )
    return section("equity", "Equity", inner, _curve_words(found))


def _curve_words(found: Found) -> str:
    curve = found.curve
    since = (
        f"From {plain(found.document['capital_usd'], 0, '$')}"
        if found.capital
        else "The capital is not known, so the curve begins at nothing"
    )
    if found.capital_from == "refusal":
        since += ", the equity that sizing had before it at the first refusal"
    how = {
        "marked": "marked to market while trades were held",
        "partly marked": f"marked to market where prices were recorded ({curve.marked:,} of {curve.held:,} trades), else as booked",
        "realised": "as booked at the end of each trade; no prices were recorded between",
    }[curve.basis]
    return f"{since}; {how}."


def _coloured(value: float | None) -> str:
    return f'<span class="{tone(value).strip()}">{money(value)}</span>' if value else money(value)


def sources(found: Found) -> str:
    """Return the results apart, by strategy, agent, symbol and exit."""
    document = found.document
    groups = (
        ("By strategy", "strategy", document["by_strategy"], None),
        ("By agent", "agent", document["by_agent"], None),
        ("By symbol", "symbol", document["by_symbol"], None),
        ("By how it ended", "exit", document["by_exit"], REASONS),
    )
    if not document["by_agent"]:
        return section("sources", "Where it came from", empty("No trade has ended."))
    inner = "".join(
        f"<h3>{title}</h3>{_apart(name, rows, words or {})}" for title, name, rows, words in groups
    )
    return section("sources", "Where it came from", inner)


def _apart(name: str, rows: Sequence[Document], words: dict[str, str]) -> str:
    largest = max((abs(row["pnl_usd"]) for row in rows), default=0) or 1
    cells = []
    for row in rows:
        label = (
            UNKNOWN
            if row["name"] is None
            else f"<bdi>{said(words.get(row['name'], row['name']), NAME_MOST)}</bdi>"
        )
        width = 50 * abs(row["pnl_usd"]) / largest
        side = "left:50%" if row["pnl_usd"] >= 0 else f"left:{50 - width:.1f}%"
        bar = f'<span class="meter"><i class="{"win" if row["pnl_usd"] >= 0 else "loss"}" style="{side};width:{width:.1f}%"></i></span>'
        cells.append(
            [
                label, _coloured(row["pnl_usd"]), bar, f"{row['trades']:,}", share(row["win_rate"], 0),
                money(row["expectancy_usd"]), signed(row["expectancy_r"], 2), plain(row["profit_factor"]) if row["profit_factor"] is not None else "\u2013",
                plain(row["fees_usd"], 2, "$") + _estimated(row),
            ]
        )  # fmt: skip
    headings = (name, ">result", "", ">trades", ">won", ">a trade", ">R a trade", ">profit factor", ">fees")
    return table(headings, cells, f"Results by {name}", "groups")
