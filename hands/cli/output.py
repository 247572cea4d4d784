"""What a command prints and how it ends: one JSON document or a few readable lines, and the contract's exit codes.

Owns stdout, stderr and the exit codes of client commands, and how a service says that it does not start. May not compute anything. The one idea: with `--json`
stdout is exactly one JSON document whatever happens; what is only for people goes to stderr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import typer


class ExitCode(IntEnum):
    FINE = 0
    NEGATIVE = 1
    USAGE = 2
    UNSAFE = 3
    INTERRUPTED = 130


JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def harmless(text: str) -> str:
    """Return `text` as a terminal may show it: what an agent wrote must not move a cursor or set a title.

    Control characters (C0, DEL, C1) and what is no character at all become a question mark; line ends stay.
    """
    return "".join(
        c if c == "\n" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else "?" for c in text
    )


def say(text: str, *, err: bool = False) -> None:
    """Write lines for people."""
    typer.echo(harmless(text), err=err)


def print_json(document: Any) -> None:
    """Write `document` as one line of JSON, in ASCII: it may hold anything."""
    typer.echo(json.dumps(document, separators=(",", ":")))


def fail(code: ExitCode, problems: str | Sequence[str], *, as_json: bool = False) -> NoReturn:
    """Say what is wrong on stderr (every problem at once), with `as_json` also as a document, and end."""
    lines = [problems] if isinstance(problems, str) else list(problems)
    if as_json:
        print_json({"ok": False, "error": "; ".join(lines), "problems": lines})
    for line in lines:
        say(f"hands: {line}", err=True)
    raise typer.Exit(int(code))


def refuse_start(code: ExitCode, problems: Iterable[str], *, as_json: bool) -> NoReturn:
    """Say on stderr, everything at once, why nothing was started, and end: JSON lines with `--json`, as all logs are."""
    for problem in problems:
        line = {"level": "critical", "event": "refused", "exit_code": int(code), "message": problem}
        say(json.dumps(line) if as_json else f"hands: {problem}", err=True)
    raise typer.Exit(int(code))


def members(text: str) -> tuple[str, ...]:
    """Return the members of an option like "A,B/USD"."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return aligned lines; None is shown as a dash, numbers are set to the right."""
    cells = [["-" if value is None else str(value) for value in row] for row in rows]
    widths = [max(len(row[n]) for row in [list(headings), *cells]) for n in range(len(headings))]
    right = [bool(cells) and all(_is_number(row[n]) for row in cells) for n in range(len(headings))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [list(headings), *cells]
    ]


def _is_number(text: str) -> bool:
    return text == "-" or text.removeprefix("-").replace(".", "", 1).isdecimal()


def receipt_lines(receipt: Mapping[str, Any]) -> list[str]:
    """Return a receipt for people: the verdict and why, the order and what protects it, what happens next."""
    head = f"{receipt['verdict']} {receipt['code']}"
    lines = [f"{head}  {receipt.get('intent_id') or ''}  [{receipt['state']}]", f"  {receipt['message']}"]
    order = receipt.get("order")
    if order:
        lines.append(
            f"  {order['side']} {order['qty']} at {order['limit_price']} or better, stop {order['stop_loss']}, "
            f"target {order['take_profit']}; risk {order['risk_usd']} USD of {order['notional_usd']} USD"
        )
    sizing = receipt.get("sizing")
    if sizing:
        lines.append(f"  size bound by {sizing['binding']}")
    protection = receipt.get("protection")
    if protection:
        lines.append(f"  protected by {protection['kind']} at {protection['stop']}, qty {protection['qty']}")
    ended = receipt.get("exit")
    if ended:
        lines.append(f"  ended by {ended['reason']} at {ended['price']}: {ended['pnl_usd']} USD")
    failed = [check for check in receipt.get("checks", ()) if not check["ok"]]
    lines.extend(f"  {c['check']}: found {c['observed']}, allowed {c['limit']}" for c in failed if c["limit"])
    if receipt.get("nearest_admissible"):
        changes = ", ".join(f"{name} {value}" for name, value in receipt["nearest_admissible"].items())
        lines.append(f"  would have passed with {changes}")
    if receipt.get("next"):
        lines.append(f"  {receipt['next']}")
    return lines


def print_receipt(receipt: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(receipt)
    else:
        say("\n".join(receipt_lines(receipt)))
