"""`hands explain`: why it did or did not trade, told from the ledger.

Owns how a story is told to people (`hands.journal.stories` finds it). May not ask the daemon: it works with it down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.cli.times import began_ns, clock_text

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

Document = dict[str, Any]

MESSAGE_MAX = 80


def explain(
    intent_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="An intent's id, or the first characters of one.")
    ] = None,
    *,
    since: Annotated[
        str | None, typer.Option(metavar="SPAN", help="A table of everything since: 90s, 30m, 24h, 7d.")
    ] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell why it did or did not trade: the verdict, every check, the orders, the fills, the end, and how long it took.

    Reads the ledger, with or without a daemon. Exit 1 where nothing is known of ID, or nothing happened since.

    Example: hands explain --since 24h
    """
    if (intent_id is None) == (since is None):
        fail(ExitCode.USAGE, "give an intent's ID, or --since", as_json=as_json)
    folder = state_folder(config, state, as_json=as_json)
    if since is not None:
        _explain_since(folder, since, as_json=as_json)
    elif intent_id is not None:
        _explain_one(folder, intent_id, as_json=as_json)


def _ledger(folder: Path, *, as_json: bool) -> sqlite3.Connection:
    from hands.journal.reader import LedgerUnreadable, open_ledger

    try:
        return open_ledger(folder / "hands.db")
    except LedgerUnreadable as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)


# --- a time --------------------------------------------------------------------------------------------------


def _explain_since(folder: Path, since: str, *, as_json: bool) -> None:
    from contextlib import closing

    from hands.journal.stories import summary

    since_ns = began_ns(since, as_json=as_json)
    with closing(_ledger(folder, as_json=as_json)) as db:
        found = summary(db, since_ns)
    if as_json:
        print_json(found)
    else:
        say("\n".join(summary_lines(found)))
    raise typer.Exit(int(ExitCode.FINE if found["documents"] else ExitCode.NEGATIVE))


def summary_lines(found: Document) -> list[str]:
    """Return the verdicts of a time as a table, the commonest first."""
    rows = [
        [
            row["count"], row["verdict"], row["code"], row["agent"], row["symbol"], clock_text(row["last_ns"]),
            (row["intent_id"] or "-")[:8], _short(row["message"]),
        ]
        for row in found["verdicts"]
    ]  # fmt: skip
    headings = ("n", "verdict", "code", "agent", "symbol", "last", "intent", "said last")
    closed, won = found["trades_closed"], found["trades_won"]
    return [
        *table(headings, rows),
        "",
        f"{found['documents']} documents; {closed} trades ended, {won} of them with a profit: {found['pnl_usd']:.2f} USD",
    ]


def _short(message: str | None) -> str | None:
    text = None if message is None else " ".join(message.split())
    return text if text is None or len(text) <= MESSAGE_MAX else f"{text[: MESSAGE_MAX - 3]}..."


# --- one document --------------------------------------------------------------------------------------------


def _explain_one(folder: Path, start: str, *, as_json: bool) -> None:
    from contextlib import closing

    from hands.journal.stories import PREFIX_MIN, matching, story

    if len(start) < PREFIX_MIN:
        fail(ExitCode.USAGE, f"at least {PREFIX_MIN} characters of an id, not {start!r}", as_json=as_json)
    with closing(_ledger(folder, as_json=as_json)) as db:
        ids = matching(db, start)
        if len(ids) > 1:
            fail(ExitCode.USAGE, f"several begin with {start}: {', '.join(ids)}", as_json=as_json)
        found = story(db, ids[0]) if ids else None
    if found is None:
        fail(ExitCode.NEGATIVE, f"the ledger knows nothing of {start[:64]}", as_json=as_json)
    if as_json:
        print_json(found)
    else:
        say("\n".join(story_lines(found)))


def story_lines(found: Document) -> list[str]:
    """Return one document's story for people."""
    intent, receipt = found["intent"], found["receipt"]
    if intent is None or not isinstance(receipt, dict):
        return [f"{found['intent_id']}: never judged", *_refusal_lines(found["rejections"])]
    if intent["kind"] != "intent":
        lines = _change_lines(intent, receipt)
    else:
        lines = [
            f"{found['intent_id']}  {_whose(intent)}",
            f"  {clock_text(intent['received_ns'])} asked: {_asked(intent)}",
            f"  {clock_text(intent['decided_ns'])} {receipt['verdict']} {receipt['code']}: {receipt['message']}",
            *_check_lines(receipt),
            *_size_lines(receipt),
            *_order_lines(found),
            *_end_lines(found),
            *_latency_lines(found["latencies_us"]),
            f"  now {receipt['state']}: {receipt['next']}",
        ]
    others = [each for each in found["rejections"] if each["code"] != receipt["code"]]
    return lines + _refusal_lines(others)


def _whose(intent: Document) -> str:
    return f"{intent['symbol']} {intent['direction']} of agent {intent['agent']} ({intent['strategy_ref']})"


def _asked(intent: Document) -> str:
    """Return the numbers of an intent; an adopted holding has only those that the operator gave."""
    names = {
        "trigger": "trigger_price",
        "stop": "stop_loss",
        "target": "take_profit",
        "confidence": "confidence",
    }
    return ", ".join(
        f"{word} {_number(intent[name])}" for word, name in names.items() if intent[name] is not None
    )


def _change_lines(intent: Document, receipt: Document) -> list[str]:
    """Return the story of a document that changes an intent: what it says of another is all there is."""
    return [
        f"{intent['intent_id']}  {intent['kind']} of {receipt.get('target_id')} by agent {intent['agent']}",
        f"  {clock_text(intent['decided_ns'])} {receipt['verdict']} {receipt['code']}: {receipt['message']}",
        f"  now {receipt['state']}: {receipt['next']}",
    ]


def _refusal_lines(rejections: list[Document]) -> list[str]:
    return [
        f"  {clock_text(each['at_ns'])} a document under this id was refused, {each['code']}: {_detail(each)}"
        for each in rejections
    ]


def _detail(rejection: Document) -> str:
    detail = rejection["detail"]
    return str(detail.get("message") if isinstance(detail, dict) else rejection["observed"])


def _check_lines(receipt: Document) -> list[str]:
    rows = [
        ["ok" if c["ok"] else "NO", c["check"], c["observed"], c["limit"], c["age_ms"]]
        for c in receipt["checks"]
    ]
    return ["", *(f"  {line}" for line in table(("", "check", "found", "allowed", "age ms"), rows)), ""]


def _size_lines(receipt: Document) -> list[str]:
    sizing, order, lines = receipt["sizing"], receipt["order"], []
    if sizing is not None:
        caps = ", ".join(f"{name} {qty}" for name, qty in sizing["caps"].items())
        lines.append(f"  size bound by {sizing['binding']} ({caps})")
    if order is not None:
        lines.append(
            f"  {order['order_class']} {order['side']} {order['qty']} at {order['limit_price']}: {order['notional_usd']}"
            f" USD, {order['risk_usd']} USD at risk"
        )
    if receipt.get("nearest_admissible"):
        lines.append(f"  would have passed with {_values(receipt['nearest_admissible'])}")
    return lines


def _values(members: Document) -> str:
    return ", ".join(f"{name} {value}" for name, value in members.items())


def _order_lines(found: Document) -> list[str]:
    """Return what was sent and what was filled, in the order in which it happened."""
    happened = [(order["created_ns"] or 0, _order_line(order)) for order in found["orders"]]
    happened += [
        (
            fill["at_ns"],
            f"filled {fill['side']} {_number(fill['qty'])} at {_number(fill['price'])} ({fill['leg']})",
        )
        for fill in found["fills"]
    ]
    return [f"  {clock_text(at_ns)} {line}" for at_ns, line in sorted(happened, key=_when)]


def _when(happened: tuple[int, str]) -> int:
    return happened[0]


def _order_line(order: Document) -> str:
    prices = ", ".join(
        f"{word} {_number(order[name])}"
        for word, name in (("limit", "limit_price"), ("stop", "stop_price"))
        if order[name] is not None
    )
    line = f"{order['leg']} {order['side']} {_number(order['qty'])} {order['order_type']} ({prices}): {order['status']}"
    if not order["filled_qty"]:
        return line
    average = "" if order["avg_price"] is None else f" at {_number(order['avg_price'])}"
    return f"{line}, {_number(order['filled_qty'])} filled{average}"


def _end_lines(found: Document) -> list[str]:
    protection, ended, trade = found["receipt"]["protection"], found["receipt"]["exit"], found["trade"]
    lines = []
    if protection is not None:
        lines.append(f"  protected by {protection['kind']} at {protection['stop']}, qty {protection['qty']}")
    if ended is not None:
        lines.append(
            f"  {ended['at'][:10]} {ended['at'][11:23]} ended by {ended['reason']} at {ended['price']}: {ended['pnl_usd']} USD"
            f" ({float(ended['pnl_pct'] or 0):+.2%} of the entry)"
        )
    if trade is not None and trade["slippage"] is not None:
        lines.append(
            f"  expected {trade['expected_pnl']:.2f} USD; slippage {_number(trade['slippage'])}, fees {_number(trade['fees'])}"
        )
    return lines


def _latency_lines(latencies: dict[str, float | None]) -> list[str]:
    known = [f"{name} {_us(value)}" for name, value in latencies.items() if value is not None]
    return [f"  took: {', '.join(known)}"] if known else []


def _us(value: float) -> str:
    return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:g} us"


def _number(value: float) -> str:
    """Return a number of the ledger's views to the last of its nine decimals."""
    return f"{value:.9f}".rstrip("0").rstrip(".")
