"""What a report tells besides trades: verdicts, latencies, gates, reasons not to trade, alerts, all from the ledger.

Owns these questions; reads only. May not judge or draw. The one idea: it asks of the base tables, whose times are integers,
so any stretch of time can be asked for; what an older ledger does not have is empty.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from hands.core.risk import CHECKS
from hands.core.units import NANO, NS_PER_S
from hands.journal.stories import SPANS
from hands.replay.trades import as_object

Rows = list[dict[str, Any]]

BUCKETS_MAX = 90
_WIDTHS_S = (1, 5, 15, 60, 300, 900, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400, 7 * 86_400, 28 * 86_400)

_EDGES = (
    ("intents", "received_ns"),
    ("intents", "updated_ns"),
    ("rejections", "at_ns"),
    ("orders", "updated_ns"),
    ("fills", "at_ns"),
    ("trade_episodes", "opened_at_ns"),
    ("trade_episodes", "closed_at_ns"),
    ("states", "at_ns"),
    ("alerts", "at_ns"),
)

_JUDGED = """
SELECT verdict, code, agent, coalesce(decided_ns, received_ns) AS at_ns FROM ledger_intents
WHERE coalesce(decided_ns, received_ns) >= :from AND coalesce(decided_ns, received_ns) < :to
UNION ALL
SELECT 'REFUSED', code, agent, at_ns FROM ledger_rejections r WHERE at_ns >= :from AND at_ns < :to
  AND NOT EXISTS (SELECT 1 FROM ledger_intents i WHERE i.intent_id = r.intent_id AND i.code = r.code)
"""

_GATES = """
SELECT json_extract(r.detail, '$.check'), r.code, count(*), {values}
FROM ledger_rejections r {join}
WHERE r.at_ns >= ? AND r.at_ns < ? AND json_valid(r.detail) AND json_extract(r.detail, '$.check') IS NOT NULL
GROUP BY 1, 2
"""
_VALUED = "h.result NOT IN ('unknown', 'impossible')"
_WITH_HINDSIGHT = {
    "values": f"coalesce(sum({_VALUED}), 0), sum(coalesce(h.r_nano, 0) > 0) FILTER (WHERE {_VALUED}),"
    f" sum(coalesce(h.r_nano, 0) < 0) FILTER (WHERE {_VALUED}),"
    f" sum(coalesce(h.r_nano, 0)) FILTER (WHERE {_VALUED}),"
    " sum(CASE h.result WHEN 'unfilled' THEN 0 ELSE h.usd_nano END)",
    "join": "LEFT JOIN ledger_hindsight h ON h.intent_id = r.intent_id",
}
_WITHOUT = {"values": "0, NULL, NULL, NULL, NULL", "join": ""}


def has(ledger: sqlite3.Connection, view: str) -> bool:
    """Whether a ledger has a view's base table: one of an older version may not."""
    sql = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return ledger.execute(sql, (f"ledger_{view}",)).fetchone() is not None


def edges(ledger: sqlite3.Connection) -> tuple[int, int] | None:
    """Return the first and the last nanosecond at which anything happened, None in an empty ledger. Raises sqlite3.Error."""
    found: list[int] = []
    for view, column in _EDGES:
        if has(ledger, view):
            row = ledger.execute(f"SELECT min({column}), max({column}) FROM ledger_{view}").fetchone()  # noqa: S608
            found += [int(at_ns) for at_ns in tuple(row) if at_ns is not None]
    return (min(found), max(found)) if found else None


def venue(ledger: sqlite3.Connection) -> str | None:
    """Return the venue that the newest receipt names: "sim", "paper" or "live"."""
    sql = "SELECT receipt FROM ledger_intents WHERE receipt IS NOT NULL ORDER BY number DESC LIMIT 1"
    row = ledger.execute(sql).fetchone()
    said = as_object(row[0]).get("venue") if row else None
    return said if isinstance(said, str) else None


def capital_seen(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> int | None:
    """Return the equity that sizing had before it at the first refusal of that time which kept it, nano-dollars."""
    sql = (
        "SELECT json_extract(detail, '$.scene.equity') FROM ledger_rejections WHERE at_ns >= ? AND at_ns < ?"
        " AND json_valid(detail) AND json_extract(detail, '$.scene.equity') IS NOT NULL ORDER BY number LIMIT 1"
    )
    row = ledger.execute(sql, (from_ns, to_ns)).fetchone()
    try:
        return round(float(row[0]) * NANO) or None if row else None
    except (TypeError, ValueError):
        return None


# --- verdicts --------------------------------------------------------------------------------------------------


def verdicts(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> dict[str, Any]:
    """Return how many documents got which verdict and code, the commonest first, by agent too, and over time."""
    rows = [tuple(row) for row in ledger.execute(_JUDGED, {"from": from_ns, "to": to_ns})]
    counts: dict[tuple[str, str], int] = {}
    by_agent: dict[str, dict[str, int]] = {}
    for verdict, code, agent, _ in rows:
        counts[verdict, code] = counts.get((verdict, code), 0) + 1
        own = by_agent.setdefault(agent or "", {})
        own[verdict] = own.get(verdict, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "documents": len(rows),
        "by_code": [{"verdict": v, "code": c, "count": n} for (v, c), n in ordered],
        "by_agent": [{"agent": agent, **found} for agent, found in sorted(by_agent.items())],
        "over_time": _buckets([(at_ns, code) for _, code, _, at_ns in rows]),
    }


def _buckets(rows: list[tuple[int, str]]) -> Rows:
    """Return counts by code in at most `BUCKETS_MAX` stretches of one round width."""
    if not rows:
        return []
    first, last = min(at for at, _ in rows), max(at for at, _ in rows)
    width = next(
        (
            seconds * NS_PER_S
            for seconds in _WIDTHS_S
            if last // (seconds * NS_PER_S) - first // (seconds * NS_PER_S) < BUCKETS_MAX
        ),
        _WIDTHS_S[-1] * NS_PER_S,
    )
    begin = first // width
    found: Rows = [
        {"from_ns": number * width, "to_ns": (number + 1) * width, "codes": {}}
        for number in range(begin, last // width + 1)
    ]
    for at_ns, code in rows:
        codes = found[at_ns // width - begin]["codes"]
        codes[code] = codes.get(code, 0) + 1
    return found


# --- how long it took ------------------------------------------------------------------------------------------


def stages(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> dict[str, list[int]]:
    """Return how long each stage of accepted intents took, ns.

    What begins with the file is left out of a touch: it waited for its price.
    """
    sql = (
        "SELECT receipt, document FROM ledger_intents WHERE kind = 'intent' AND verdict = 'ACCEPTED'"
        " AND decided_ns >= ? AND decided_ns < ?"
    )
    found: dict[str, list[int]] = {name: [] for name, _, _ in SPANS}
    for receipt, document in ledger.execute(sql, (from_ns, to_ns)):
        stamps = as_object(as_object(receipt).get("stamps_ns"))
        touch = as_object(document).get("entry") == "touch"
        for name, first, last in SPANS:
            begin, end = stamps.get(first), stamps.get(last)
            if isinstance(begin, int) and isinstance(end, int) and not (touch and first == "file_event"):
                found[name].append(end - begin)
    return found


# --- what stood in the way -------------------------------------------------------------------------------------


def gates(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> Rows:
    """Return per check what it refused and what that would have come to, in the order of the checks; unknown is None."""
    sql = _GATES.format(**(_WITH_HINDSIGHT if has(ledger, "hindsight") else _WITHOUT))
    rows = [
        {
            "check": check,
            "code": code,
            "fired": fired,
            "valued": valued,
            "would_have_won": won,
            "would_have_lost": lost,
            "r_sum": None if r is None else r / NANO,
            "usd_sum": None if dollars is None else dollars / NANO,
        }
        for check, code, fired, valued, won, lost, r, dollars in ledger.execute(sql, (from_ns, to_ns))
    ]
    order = {check.name: number for number, check in enumerate(CHECKS)}
    return sorted(rows, key=lambda row: (order.get(row["check"], len(order)), row["check"], row["code"]))


def reasons(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> Rows:
    """Return from when to when each reason not to trade held, as far as it lies in that time; `to_ns` None: it still does."""
    sql = "SELECT at_ns, state, reason, event, detail FROM ledger_states WHERE at_ns < ? ORDER BY number"
    held: dict[str, dict[str, Any]] = {}
    found: Rows = []
    for at_ns, state, reason, event, detail in ledger.execute(sql, (to_ns,)):
        if event == "set" and reason not in held:
            held[reason] = {
                "reason": reason,
                "state": state,
                "detail": detail,
                "from_ns": at_ns,
                "to_ns": None,
            }
            found.append(held[reason])
        elif event == "cleared" and reason in held:
            held.pop(reason)["to_ns"] = at_ns
    return [each for each in found if each["to_ns"] is None or each["to_ns"] >= from_ns]


def alerts(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> dict[str, Any]:
    """Return what the operator was told: counts by level and code, and every warning and worse, newest first."""
    if not has(ledger, "alerts"):
        return {"known": False, "by_code": [], "serious": []}
    span = (from_ns, to_ns)
    counts = ledger.execute(
        "SELECT level, code, count(*) FROM ledger_alerts WHERE at_ns >= ? AND at_ns < ? GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
        span,
    )
    serious = ledger.execute(
        "SELECT at_ns, level, code, message FROM ledger_alerts WHERE at_ns >= ? AND at_ns < ? AND level <> 'info'"
        " ORDER BY number DESC",
        span,
    )
    return {
        "known": True,
        "by_code": [{"level": level, "code": code, "count": n} for level, code, n in counts],
        "serious": [
            {"at_ns": at_ns, "level": level, "code": code, "message": message}
            for at_ns, level, code, message in serious
        ],
    }
