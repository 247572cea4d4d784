"""The report's sections: what stands around the drawings, in words and tables.

Owns the prose and the order of the figures. May not compute a figure. The one idea: a section with nothing to show says why,
in one sentence; a figure that is not known says so and what would make it known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hands.replay import charts
from hands.replay.plots import behind, table
from hands.replay.report_data import Found
from hands.replay.words import (
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
GAPS_SHOWN = 50
ALERTS_SHOWN = 100
MESSAGE_MOST = 400

VENUES = {"sim": "simulator", "paper": "paper account", "live": "live account"}
REASONS = {
    "TP": "target",
    "SL": "stop",
    "TIME": "time",
    "MANUAL": "by hand",
    "HALT": "halt",
    "LIQUIDATED": "liquidated",
}


def section(identity: str, title: str, inner: str, lede: str = "") -> str:
    """Return a section; `lede` is markup."""
    words = f'<p class="lede">{lede}</p>' if lede else ""
    return f'<section id="{identity}"><h2>{said(title)}</h2>{words}{inner}</section>'


def empty(words: str) -> str:
    return f'<p class="none">{said(words)}</p>'


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


# --- verdicts --------------------------------------------------------------------------------------------------


def verdicts(found: Found) -> str:
    document = found.document["verdicts"]
    if not document["documents"]:
        return section("verdicts", "Verdicts", empty("No document was judged in this time."))
    rows = [
        [said(row["verdict"].lower()), f"<code>{said(row['code'])}</code>", f"{row['count']:,}", share(row["count"] / document["documents"])]
        for row in document["by_code"]
    ]  # fmt: skip
    inner = f"<figure>{charts.verdicts(document, found.zone)}{charts.legend(document['by_code'])}</figure>"
    inner += table(("verdict", "code", ">documents", ">share"), rows, "Documents by verdict and code")
    by_agent = [
        [f"<bdi>{said(row['agent'], NAME_MOST)}</bdi>", *(f"{row.get(v, 0):,}" for v in ("ACCEPTED", "REJECTED", "REFUSED"))]
        for row in document["by_agent"]
    ]  # fmt: skip
    if len(by_agent) > 1:
        inner += behind(
            "By agent", table(("agent", ">accepted", ">rejected", ">refused"), by_agent, "Verdicts by agent")
        )
    return section("verdicts", "Verdicts", inner)


def gates(found: Found) -> str:
    rows = found.document["gates"]
    if not rows:
        return section("gates", "What each gate cost", empty("No check refused anything in this time."))
    cells = []
    for row in rows:
        r = row["r_sum"]
        word = (
            "not looked back at yet"
            if not row["valued"]
            else "nothing"
            if not r
            else "has cost"
            if r > 0
            else "has saved"
        )
        cells.append(
            [
                said(row["check"]), f"<code>{said(row['code'])}</code>", f"{row['fired']:,}", f"{row['valued']:,}",
                _whole(row["would_have_won"]), _whole(row["would_have_lost"]), signed(r, 2), money(row["usd_sum"]), word,
            ]
        )  # fmt: skip
    headings = (
        "check",
        "code",
        ">refused",
        ">valued",
        ">would have won",
        ">lost",
        ">R",
        ">dollars",
        "the gate",
    )
    lede = (
        "What the refused trades would have come to, each taken for itself, by the market after them. "
        "A gate with a sum above nothing has cost that much, one below has saved it."
    )
    return section(
        "gates", "What each gate cost", table(headings, cells, "What each check refused", "groups"), lede
    )


def _whole(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


# --- execution -------------------------------------------------------------------------------------------------

STAGES = {
    "decided": ("File to decision", "from the file's event to the verdict"),
    "journaled": ("Decision to journal", "until the order was on record"),
    "sent": ("Journal to wire", "until its bytes were handed to the socket"),
    "file_to_sent": ("File to wire", "all of the above; a touch counts from its price"),
    "acknowledged": ("Wire to acknowledgement", "the network and the venue"),
    "filled": ("Wire to fill", "until the entry was filled"),
}


def execution(found: Found) -> str:
    slip, latency = found.document["slippage"], found.document["latency"]
    entry, stop = slip["entry_bps"], slip["stop_bps"]
    inner = '<div class="pair"><div><h3>Entry slippage</h3>'
    inner += _slippage(entry, "Entry slippage in basis points of the trigger price", "No entry was filled.")
    if entry["n"]:
        inner += (
            f'<p class="note">Against the trigger price, {money_cost(slip["entry_cost_usd"])} in all.</p>'
        )
    inner += "</div><div><h3>Stop slippage</h3>"
    inner += _slippage(stop, "How far beyond its stop a stopped trade filled", "No trade ended at its stop.")
    inner += "</div></div><h3>Latency</h3>"
    wire = next(row for row in latency if row["stage"] == "file_to_sent")
    if not any(row["n"] for row in latency):
        return section("execution", "Execution", inner + empty("No order was sent in this time."))
    drawing = charts.latencies(wire["histogram"], "File to wire: how many orders took how long")
    if drawing:
        inner += (
            f"<figure>{drawing}<figcaption>File to wire, {count(wire['n'], 'order')}</figcaption></figure>"
        )
    rows = [
        [
            f"{STAGES[row['stage']][0]}<small>{STAGES[row['stage']][1]}</small>", f"{row['n']:,}",
            *(micros(row[name]) for name in ("p50_us", "p90_us", "p99_us", "max_us")),
        ]
        for row in latency
    ]  # fmt: skip
    inner += table(("stage", ">n", ">median", ">p90", ">p99", ">most"), rows, "Latency by stage")
    return section("execution", "Execution", inner)


def money_cost(value: float | None) -> str:
    """Return what slippage came to: a gain where it is below nothing."""
    if value is None:
        return UNKNOWN
    return f"{plain(abs(value), 2, '$')} {'worse' if value > 0 else 'better'}"


def _slippage(found: Document, label: str, nothing: str) -> str:
    if not found["n"]:
        return empty(nothing)
    drawing = charts.histogram(found["histogram"], label, "bps")
    words = ", ".join(
        f"{name} {signed(found[key], 1)}"
        for name, key in (("median", "p50"), ("mean", "mean"), ("p90", "p90"), ("worst", "max"))
    )
    return f"<figure>{drawing}<figcaption>{words} bps of {found['n']:,}; + is worse</figcaption></figure>"


# --- protection ------------------------------------------------------------------------------------------------


def protection(found: Found) -> str:
    cover = found.document["protection"]
    lanes = charts.covered_lanes(found)
    title = "Protection"
    if not lanes:
        return section("protection", title, empty("Nothing was held in this time, or no fill is recorded."))
    begin_ns = min(each[0] for _, own in lanes for each in own)
    end_ns = max(each[1] for _, own in lanes for each in own)
    drawing = charts.lanes(
        lanes, begin_ns, end_ns, found.zone, "When each symbol was held, and how it was covered"
    )
    keys = '<div class="legend"><span><i class="c-stop"></i>live stop</span><span><i class="c-exit"></i>exit on its way</span><span><i class="c-none"></i>neither</span><span><i class="c-unknown"></i>unknown</span></div>'
    gaps = cover["gaps"]
    rows = [
        [
            said(gap["symbol"]), moment(gap["from_ns"], found.zone), lasting(gap["ms"] * 1e6),
            "an exit was on its way" if gap["exit_on_its_way"] else "no live stop for all that was held",
            f"<code>{said(gap['intent_id'][:8])}</code>",
        ]
        for gap in gaps[:GAPS_SHOWN]
    ]  # fmt: skip
    told = table(
        ("symbol", "from", ">for", "what there was", "intent"), rows, "Stretches without a live stop"
    )
    more = (
        f"The {GAPS_SHOWN} longest of {len(gaps):,} gaps"
        if len(gaps) > GAPS_SHOWN
        else f"{count(len(gaps), 'gap')}, the longest first"
    )
    inner = f"<figure>{drawing}{keys}</figure>" + (behind(more, told) if gaps else "")
    lede = (
        f"Held for {lasting(cover['held_s'] * 1e9)} in all: {lasting(cover['unprotected_s'] * 1e9)} without a live stop "
        f"for all of it, {lasting(cover['exit_on_its_way_s'] * 1e9)} with an exit on its way"
        + (f", {lasting(cover['unknown_s'] * 1e9)} unknown" if cover["unknown_s"] else "")
        + ". Made up from the times of orders and fills; where the engine saw its own bound broken, there is an alert."
    )
    return section("protection", title, inner, lede)


def happenings(found: Found) -> str:
    """Return the reasons not to trade and the alerts."""
    reasons, alerts = found.document["reasons"], found.document["alerts"]
    inner = "<h3>Reasons not to trade</h3>"
    if reasons:
        by_reason: dict[str, list[tuple[int, int, str, str]]] = {}
        for each in reasons:
            end_ns = found.to_ns if each["to_ns"] is None else each["to_ns"]
            kind = "r-halted" if each["state"] == "HALTED" else "r-reduce"
            words = f"{each['reason']}: {lasting(end_ns - each['from_ns'])}"
            by_reason.setdefault(each["reason"], []).append((each["from_ns"], end_ns, kind, words))
        drawing = charts.lanes(
            list(by_reason.items()), found.from_ns, found.to_ns, found.zone, "When each reason held"
        )
        rows = [
            [
                f"<code>{said(each['reason'])}</code>", said(each["state"]), moment(each["from_ns"], found.zone),
                "it still holds" if each["to_ns"] is None else lasting(each["to_ns"] - each["from_ns"]),
                f"<bdi>{said(each['detail'] or '', MESSAGE_MOST)}</bdi>",
            ]
            for each in reversed(reasons)
        ]  # fmt: skip
        told = table(
            ("reason", "state", "from", ">for", "what was said"), rows[:ALERTS_SHOWN], "Reasons not to trade"
        )
        inner += f"<figure>{drawing}</figure>" + behind(f"{count(len(reasons), 'reason')} as a table", told)
    else:
        inner += empty("Trading was never stopped or reduced in this time.")
    inner += "<h3>Alerts</h3>"
    serious = alerts["serious"]
    if not alerts["known"]:
        inner += empty("This ledger is of a version that kept no alerts.")
    elif not serious:
        inner += empty("The operator was told nothing above the level of information.")
    else:
        rows = [
            [
                moment(each["at_ns"], found.zone), f'<span class="lvl {said(each["level"])}">{said(each["level"])}</span>',
                f"<code>{said(each['code'])}</code>", f"<bdi>{said(each['message'] or '', MESSAGE_MOST)}</bdi>",
            ]
            for each in serious[:ALERTS_SHOWN]
        ]  # fmt: skip
        inner += table(("at", "level", "code", "message"), rows, "Alerts", "alerts")
        if len(serious) > ALERTS_SHOWN:
            inner += f'<p class="note">The newest {ALERTS_SHOWN} of {len(serious):,}.</p>'
    return section("happenings", "What stood in the way", inner)
