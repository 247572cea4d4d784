"""The report's other half: how documents were judged, orders executed and positions protected, and what stood in the way.

Owns the prose and the tables of these sections. May not compute a figure. The one idea: a section with nothing to show says
why, in one sentence.
"""

from __future__ import annotations

from typing import Any

from hands.replay import charts
from hands.replay.headlines import NAME_MOST
from hands.replay.plots import behind, empty, section, table
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
)

Document = dict[str, Any]

GAPS_SHOWN = 50
ALERTS_SHOWN = 100
MESSAGE_MOST = 400

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
    drawing = charts.durations(wire["histogram"], "File to wire: how many orders took how long")
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
    keys = '<div class="legend"><span><i class="c-stop"></i>live stop</span><span><i class="c-exit"></i>exit on its way</span><span><i class="c-none"></i>neither</span><span><i class="c-none brief"></i>a gap of less than a second</span><span><i class="c-unknown"></i>unknown</span></div>'
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
    inner = f"<figure>{drawing}{keys}</figure>"
    if gaps:
        lengths = charts.durations(cover["gaps_histogram"], "How long the gaps were")
        words = "<figcaption>How long the gaps were, and how many of each length</figcaption>"
        inner += f"<h3>Gaps</h3><figure>{lengths}{words}</figure>{behind(more, told)}"
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
            end_ns = found.until_ns if each["to_ns"] is None else each["to_ns"]
            kind = "r-halted" if each["state"] == "HALTED" else "r-reduce"
            words = f"{each['reason']}: {lasting(end_ns - each['from_ns'])}"
            by_reason.setdefault(each["reason"], []).append((each["from_ns"], end_ns, kind, words))
        drawing = charts.lanes(
            list(by_reason.items()), found.from_ns, found.until_ns, found.zone, "When each reason held"
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
