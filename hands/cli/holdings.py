"""`hands positions` and `hands orders`: what Hands owns and what it does not, and what works at the venue.

Owns how they are shown, and what is told of them with the daemon down: what the ledger last knew, said to be that. May not
compute anything the daemon did not say.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.cli.times import short_time

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

Document = dict[str, Any]

UNFILLED_SHOWN = 20

UNTIL_IT_RUNS = "what rests at the venue protects; as the ledger last knew it:"


def positions(
    *,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what Hands owns, at what price, what it is worth now and what protects it; and what it does not own.

    With no daemon: the open trades as the ledger last knew them. Exit 1 where something that is owned has been without
    protection for longer than the limit unprotected_max_ms.

    Example: hands positions
    """
    folder = state_folder(config, state, as_json=as_json)
    request = {"do": "positions"}
    document = _asked(folder, request, "positions", lambda db: _ledger_positions(db, folder), as_json=as_json)
    if as_json:
        print_json(document)
    else:
        say("\n".join(position_lines(document)))
    naked = any(row["naked_too_long"] for row in document["owned"])
    raise typer.Exit(int(ExitCode.NEGATIVE if naked else ExitCode.FINE))


def orders(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the orders of Hands that may still fill: entries, stops, targets and exits; with --all the latest others too.

    With no daemon: from the ledger.

    Example: hands orders --all
    """
    folder = state_folder(config, state, as_json=as_json)
    request = {"do": "orders", "all": every}
    document = _asked(folder, request, "orders", lambda db: _ledger_orders(db, every), as_json=as_json)
    if as_json:
        print_json(document)
    else:
        say("\n".join(order_lines(document)))


def _asked(folder: Path, request: Document, member: str, from_ledger: Any, *, as_json: bool) -> Document:
    """Return the daemon's answer, or with none what `from_ledger` makes of the ledger; end with 3 without either."""
    from hands.runtime.control import NoDaemon, call

    try:
        answer = call(folder, request)
    except NoDaemon as error:
        return _down(folder, str(error), from_ledger, as_json=as_json)
    if answer.get("starting"):
        return _down(folder, str(answer["error"]), from_ledger, as_json=as_json)
    if not answer.get("ok"):
        fail(ExitCode.NEGATIVE, str(answer.get("error")), as_json=as_json)
    found: Document = answer[member]
    return found


def _down(folder: Path, why: str, from_ledger: Any, *, as_json: bool) -> Document:
    import sqlite3
    from contextlib import closing

    from hands.journal.reader import LedgerUnreadable, open_ledger

    try:
        with closing(open_ledger(folder / "hands.db")) as db:
            found: Document = from_ledger(db)
    except (LedgerUnreadable, sqlite3.Error) as error:
        fail(ExitCode.UNSAFE, [why, str(error)], as_json=as_json)
    say(f"hands: {why}; {UNTIL_IT_RUNS}", err=True)
    return {"daemon": False, "message": why} | found


# --- with the daemon down ------------------------------------------------------------------------------------


def _ledger_positions(db: sqlite3.Connection, folder: Path) -> Document:
    """Return the open trades by their last receipts; what only a market could tell is null."""
    from hands.core.receipts import time_text
    from hands.journal import reader
    from hands.runtime.beat import watchdog_beside

    owned, unfilled = [], []
    for row in reader.open_trades(db):
        receipt = json.loads(row["receipt"]) if row["receipt"] else {}
        held, protection = receipt.get("position"), receipt.get("protection")
        head = {name: row[name] for name in ("intent_id", "agent", "symbol", "direction", "state")}
        if held is None or held["qty"] == "0":
            unfilled.append(head)
            continue
        since = None if protection is None else protection["since_ns"]
        owned.append(
            head
            | {
                "qty": held["qty"], "avg_price": held["avg_price"], "mark": None, "unrealised_usd": None,
                "realised_usd": None, **reader.levels(row), "exit_by": None,
                "protection": None if protection is None else protection | {"since": time_text(since)},
                "protected_qty": None if protection is None else protection["qty"],
                "naked_ms": None, "naked_too_long": False, "exit_wanted": None, "closing_qty": None, "waits_for_open": None,
                "moved": None, "opens_again": None, "next": receipt.get("next"),
            }
        )  # fmt: skip
    totals = {"owned_total": len(owned), "unfilled_total": len(unfilled)}
    watchdog = {"state": watchdog_beside(folder)}
    empty: Document = {"state": "DOWN", "at": None, "others": [], "watchdog": watchdog}
    return empty | {"owned": owned, "unfilled": unfilled} | totals


def _ledger_orders(db: sqlite3.Connection, every: bool) -> Document:
    from hands.core.receipts import time_text
    from hands.journal.happenings import orders as rows

    found = rows(db, every=every)
    numbers = ("qty", "filled_qty", "limit_price", "stop_price", "avg_price")
    told = [
        {name: row[name] for name in ("client_order_id", "intent_id", "symbol", "leg", "side", "status", "order_id")}
        | {name: _number(row[name]) for name in numbers}
        | {"type": row["order_type"], "created": time_text(row["created_ns"])}
        for row in found
    ]  # fmt: skip
    return {"orders": told, "orders_total": len(told)}


def _number(value: float | None) -> str | None:
    """Return a number of the ledger's views as decimal text."""
    return None if value is None else f"{value:.9f}".rstrip("0").rstrip(".")


# --- for people ----------------------------------------------------------------------------------------------


def position_lines(document: Document) -> list[str]:
    """Return what is owned as a table, what is peculiar about each, and what is not ours."""
    lines: list[str] = []
    if document["owned"]:
        headings = (
            "symbol",
            "",
            "qty",
            "entry",
            "mark",
            "P&L",
            "stop",
            "target",
            "protected",
            "since",
            "intent",
        )
        lines += table(headings, [_position_row(row) for row in document["owned"]])
        for row in document["owned"]:
            lines += [f"  {row['symbol']}: {words}" for words in remarks(row)]
    else:
        lines.append("Hands owns nothing")
    if document["owned_total"] > len(document["owned"]):
        lines.append(f"... and {document['owned_total'] - len(document['owned'])} more")
    for row in document["unfilled"][:UNFILLED_SHOWN]:
        lines.append(f"{row['symbol']}: {row['state']}, nothing filled yet ({row['intent_id'][:8]})")
    if document["unfilled_total"] > UNFILLED_SHOWN:
        lines.append(f"... and {document['unfilled_total'] - UNFILLED_SHOWN} more that are not filled yet")
    if document["others"]:
        rows = [[row["symbol"], row["qty"], row["avg_price"], row["what"]] for row in document["others"]]
        lines += ["", "not Hands' own, and left alone:", *table(("symbol", "qty", "entry", "what"), rows)]
    if document.get("watchdog") is not None:
        lines += ["", watchdog_line(document["watchdog"])]
    return lines


def _position_row(row: Document) -> list[Any]:
    protection = row["protection"]
    by, since = None, None
    if protection is not None:
        whole = protection["qty"] == row["qty"]
        by = protection["kind"] if whole else f"{protection['kind']} {protection['qty']}"
        since = None if protection["since"] is None else short_time(protection["since"])[11:19]
    head = [row["symbol"], row["direction"], row["qty"], row["avg_price"], row["mark"], row["unrealised_usd"]]
    return [*head, row["stop_loss"], row["take_profit"], by or "NONE", since, row["intent_id"][:8]]


def remarks(trade: Document) -> list[str]:
    """Return what is peculiar about a trade now: no protection, an exit that is due, a part, levels that moved."""
    words = []
    if trade.get("naked_ms") is not None:
        words.append(f"NOT PROTECTED, at least in part, for {trade['naked_ms'] / 1000:.1f} s")
    wanted, waits = trade.get("exit_wanted"), trade.get("waits_for_open")
    if wanted is not None:
        since = "" if wanted["since"] is None else f" since {short_time(wanted['since'])}"
        words.append(f"being closed ({wanted['reason']}: {wanted['note'] or 'no more said'}){since}")
    if trade.get("closing_qty") is not None:
        words.append(f"{trade['closing_qty']} of it being closed")
    if waits is not None:
        words.append(f"the market is closed: the stop stays, the exit waits for {short_time(waits)}")
    words += [
        f"{name} moved from {change['from'] or 'none'} to {change['to']}"
        for name, change in (trade.get("moved") or {}).items()
    ]
    if trade.get("exit_by") is not None:
        words.append(f"held until {short_time(trade['exit_by'])} at the latest")
    return words


def watchdog_line(watchdog: Document) -> str:
    detail = watchdog.get("detail")
    return f"watchdog: {watchdog.get('state')}" + (f", {detail}" if detail else "")


def order_lines(document: Document) -> list[str]:
    """Return orders as a table, oldest first."""
    if not document["orders"]:
        return ["no orders"]
    rows = [
        [
            short_time(order["created"]), order["symbol"], order["leg"], order["side"], order["qty"],
            order["filled_qty"], order["type"], order["limit_price"], order["stop_price"], order["status"],
            order["intent_id"][:8],
        ]
        for order in document["orders"]
    ]  # fmt: skip
    headings = ("sent", "symbol", "leg", "side", "qty", "filled", "type", "limit", "stop", "status", "intent")
    lines = table(headings, rows)
    if document["orders_total"] > len(document["orders"]):
        lines.append(f"... and {document['orders_total'] - len(document['orders'])} older ones")
    return lines
