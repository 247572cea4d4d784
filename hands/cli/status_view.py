"""`hands status` for people: what Hands may do now and why not more, in a few lines.

Owns the lines only; the daemon (`hands.runtime.status`) or the ledger says what is in them.
"""

from __future__ import annotations

from typing import Any

from hands.cli.holdings import remarks, watchdog_line
from hands.cli.output import table
from hands.cli.times import short_time


def status_lines(document: dict[str, Any]) -> list[str]:
    """Return a status for people."""
    venue = document.get("venue") or "no venue"
    state = "STARTING" if document.get("starting") else document["state"]
    lines = [f"{state} on {venue}{', dry run' if document.get('dry_run') else ''}"]
    if document.get("starting"):
        lines.append(
            "  what was latched and what is owned is not known yet: `hands positions` has the ledger's word"
        )
    if document.get("message"):
        lines.append(f"  {document['message']}")
    if document.get("not_ready"):
        lines.append(f"  not ready: {document['not_ready']}")
    lines.extend(
        f"  {r['code']} since {short_time(r['since'])} UTC: {r['detail']} (clears: {r['clears']})"
        for r in document["reasons"]
    )
    lines.extend(
        f"  the changed limits file is not taken up: {problem}"
        for problem in ((document.get("limits") or {}).get("refused") or {}).get("problems", ())
    )
    if document.get("fenced") is not None:
        lines.append(
            f"  fenced since {short_time(document['fenced'])} UTC: nothing is sent until the venue has said what is true"
        )
    if document.get("clock_skew_ms"):
        lines.append(f"  clock: {document['clock_skew_ms']:+.1f} ms against the venue's, at least")
    account, day = document.get("account"), document.get("day")
    if account:
        lines.append(f"  equity {account['equity']} USD, buying power {account['buying_power']} USD")
    if day and not document.get("starting"):
        lines.append(
            f"  today: {day['trades']} of {day['max_daily_trades']} trades, {day['live']} of "
            f"{day['max_concurrent']} live, realised {day['realised_usd']} USD, loss {day['loss_usd']} of "
            f"{day['max_daily_loss_usd']} USD"
        )
    if document.get("watchdog") is not None:
        lines.append(f"  {watchdog_line(document['watchdog'])}")
    down = [name for name, up in document.get("links", {}).items() if not up]
    if down:
        lines.append(f"  links down: {', '.join(down)}")
    lines.extend(f"  {part}: {fault}" for part, fault in (document.get("faults") or {}).items())
    lines.extend(
        f"  agent {name} is latched: `hands resume --agent {name}`"
        for name, book in (document.get("agents") or {}).items()
        if book["latched"]
    )
    lines.extend(stream_line(name, stream) for name, stream in document.get("streams", {}).items())
    trades = document.get("trades", [])
    if trades:
        rows = [
            [
                t["symbol"],
                t["direction"],
                t["state"],
                t["stop_loss"],
                t["take_profit"],
                t.get("pnl_usd"),
                t["intent_id"],
            ]
            for t in trades
        ]
        lines += ["", *table(("symbol", "", "state", "stop", "target", "P&L", "intent"), rows)]
        lines += [f"  {t['symbol']}: {words}" for t in trades for words in remarks(t)]
    return lines


def stream_line(name: str, stream: dict[str, Any]) -> str:
    """Return how a market-data stream is, in one line."""
    gaps, age_ms = stream["gaps"], stream["last_age_ms"]
    words = [
        f"up since {short_time(stream['since'])} UTC" if stream["up"] else "down",
        "nothing came yet" if age_ms is None else f"last message {age_ms / 1000:.1f} s ago",
        f"venue clock {0 - round(stream['offset_ms'], 1):+.1f} ms",
    ]
    if gaps["filled"]:
        words.append(f"{gaps['filled']} gaps filled with {gaps['trades']} trades, last at {gaps['last']}")
    if gaps["filling"]:
        words.append("a gap is being filled")
    if stream["dropped"]:
        words.append(f"{stream['dropped']} messages dropped")
    if stream["suspicious"]:
        words.append(f"{stream['suspicious']} suspicious prints held aside")
    return f"  {name}: {', '.join(words)}"
