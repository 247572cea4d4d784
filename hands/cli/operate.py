"""The operator's commands: what is, and stopping and resuming.

Owns `status`, `quote`, `halt`, `reduce-only` and `resume`. They ask the running daemon over its control socket; `halt` falls back
on the HALT file, which works with the daemon wedged or down. May not change anything by itself otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hands.cli.holdings import remarks
from hands.cli.output import ExitCode, JsonFlag, fail, harmless, print_json, say, table
from hands.cli.places import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigFlag,
    IntentsFlag,
    StateFlag,
    ask,
    intents_folder,
    state_folder,
    unreadable,
)
from hands.cli.status_view import status_lines
from hands.runtime.control import NoDaemon, call, noted_drop_folder

HALT_TIMEOUT_S = 2.0


def status(
    *,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what Hands may do now and why not more; with no daemon, what the ledger knows (state DOWN).

    Exit 0 where trading is ACTIVE and ready, 1 otherwise.

    Example: hands status --json
    """
    folder = state_folder(config, state, as_json=as_json)
    try:
        answer = call(folder, {"do": "status"})
    except NoDaemon as error:
        document = _down(folder) | {"message": str(error)}
    else:
        if not answer.get("ok"):
            fail(ExitCode.NEGATIVE, str(answer.get("error")), as_json=as_json)
        document = answer["status"]
    if as_json:
        print_json(document)
    else:
        say("\n".join(status_lines(document)))
    fine = document["state"] == "ACTIVE" and document["ready"]
    raise typer.Exit(int(ExitCode.FINE if fine else ExitCode.NEGATIVE))


def _down(folder: Path) -> dict[str, Any]:
    """Return the state of a daemon that is not there, from the ledger where there is one."""
    import sqlite3
    from contextlib import closing

    from hands.journal.reader import LedgerUnreadable, open_ledger
    from hands.runtime.beat import watchdog_beside
    from hands.runtime.status import down

    try:
        with closing(open_ledger(folder / "hands.db")) as db:
            return down(db) | {"watchdog": {"state": watchdog_beside(folder)}}
    except (LedgerUnreadable, sqlite3.Error) as error:
        empty: dict[str, Any] = {"reasons": [], "trades": [], "verdicts": []}
        return {"state": "DOWN", "venue": None, "ready": False, "ledger": str(error)} | empty


def quote(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="AAPL SOL/USD")],
    *,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the daemon's market: bid, ask, last, age and indicators. Exit 1 where a symbol has no quote.

    Example: hands quote AAPL SOL/USD
    """
    request = {"do": "quote", "symbols": symbols}
    found = ask(state_folder(config, state, as_json=as_json), request, as_json=as_json)["quotes"]
    if as_json:
        print_json(found)
    else:
        rows = [_quote_row(row) for row in found]
        headings = ("symbol", "bid", "ask", "last", "age ms", "rsi", "macd", "vwap")
        say("\n".join(table(headings, rows)))
    missing = [row["symbol"] for row in found if row["bid"] is None and row["ask"] is None]
    if missing:
        say(f"hands: no quote of {', '.join(missing)}", err=True)
        raise typer.Exit(int(ExitCode.NEGATIVE))


def _quote_row(row: dict[str, Any]) -> list[Any]:
    known = row.get("indicators") or {}

    def rounded(name: str, places: int) -> str | None:
        value = known.get(name)
        if value is None:
            value = known.get(f"tick_{name}")
        return None if value is None else f"{value:.{places}f}"

    head = [row["symbol"], row["bid"], row["ask"], row["last"], row["age_ms"]]
    return [*head, rounded("rsi", 1), rounded("macd", 4), rounded("vwap", 2)]


def halt(
    *,
    reason: Annotated[str, typer.Option(help="Kept in the ledger and shown by `hands status`.")] = "",
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    intents: IntentsFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Stop all trading at once, latched until `hands resume`. Positions keep their protection.

    Works with the daemon wedged or down: then a HALT file is written into the drop folder, which halts it as soon
    as it looks.

    Example: hands halt --reason "news I do not understand"
    """
    broken = unreadable(config) if state is None else None  # whatever is wrong with a file, it is to halt
    folder = DEFAULT_STATE if broken is not None else state_folder(config, state, as_json=as_json)
    reason = " ".join(harmless(reason).split())[:200]
    try:
        answer = call(folder, {"do": "halt", "reason": reason}, HALT_TIMEOUT_S)
        refusal = None if answer.get("ok") else str(answer.get("error"))
    except NoDaemon as error:
        answer, refusal = {}, str(error)
    if refusal is not None:  # the file is taken in as soon as the daemon looks
        if broken is not None and intents is None and noted_drop_folder(folder) is None:
            message = f"NOT HALTED: {refusal}, and {broken}; say where it runs with --state or --intents"
            fail(ExitCode.UNSAFE, message, as_json=as_json)
        path = _write_halt(intents_folder(config, folder, intents, as_json=as_json), reason, as_json=as_json)
        message = f"{refusal}; wrote {path}"
        if as_json:
            print_json({"ok": True, "by": "file", "file": str(path), "message": message})
        else:
            say(f"HALT file written: {message}")
        return
    if as_json:
        print_json(answer | {"by": "daemon"})
    else:
        say("HALTED; positions keep their protection. `hands resume` clears it.")


def _write_halt(folder: Path, reason: str, *, as_json: bool) -> Path:
    path = folder / "HALT"
    try:
        folder.mkdir(mode=0o775, parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{reason or 'halted by the operator'}\n")
    except OSError as error:
        fail(ExitCode.UNSAFE, f"NOT HALTED: {path} cannot be written: {error.strerror}", as_json=as_json)
    return path.absolute()


def reduce_only(
    *,
    reason: Annotated[str, typer.Option(help="Kept in the ledger and shown by `hands status`.")] = "",
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Enter nothing any more, latched until `hands resume`: entries that wait or work are cancelled, agents may still close.

    Positions keep their protection, targets and time exits go on. `hands halt` also refuses agents' documents;
    `hands flatten` gets out.

    Example: hands reduce-only --reason "quiet until the numbers are out"
    """
    folder = state_folder(config, state, as_json=as_json)
    said = " ".join(harmless(reason).split())[:200]
    instead = "`hands halt` works without it: it writes a file, which halts as soon as the daemon looks"
    answer = ask(folder, {"do": "reduce_only", "reason": said}, as_json=as_json, instead=instead)
    if as_json:
        print_json({name: answer[name] for name in ("ok", "message", "state")})
    else:
        say(f"{answer['message']}\n{answer['state']}; `hands resume` clears it.")


def resume(
    *,
    agent: Annotated[str | None, typer.Option(help="Only lift the latch of this agent.")] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Clear what is latched. Exit 1, naming what still blocks, where trading is not ACTIVE afterwards.

    Example: hands resume --agent momentum
    """
    folder = state_folder(config, state, as_json=as_json)
    answer = ask(folder, {"do": "resume", "agent": agent}, as_json=as_json, instead=NOT_LIFTED)
    document = answer.get("status") or ask(folder, {"do": "status"}, as_json=as_json)["status"]
    blocking = [
        {"code": reason["code"], "clears": reason["clears"], "detail": reason["detail"]}
        for reason in document["reasons"]
    ]
    if not document["ready"]:
        blocking.append({"code": "NOT_READY", "clears": "auto", "detail": str(document["not_ready"])})
    latched = [name for name, book in (document.get("agents") or {}).items() if book["latched"]]
    closing = [trade for trade in document["trades"] if trade.get("exit_wanted")]
    if as_json:
        found = {
            "ok": not blocking,
            "state": document["state"],
            "blocking": blocking,
            "agents_latched": latched,
        }
        print_json(found | {"closing": [trade["intent_id"] for trade in closing]})
    else:
        say("\n".join(_resumed_lines(document["state"], blocking, latched, closing)))
    if blocking:
        raise typer.Exit(int(ExitCode.NEGATIVE))


NOT_LIFTED = "what is latched stays so until a daemon is asked: start it with `hands run`"


def _resumed_lines(
    state: str, blocking: list[dict[str, Any]], latched: list[str], closing: list[dict[str, Any]]
) -> list[str]:
    lines = [f"{state}: still blocked by" if blocking else f"{state}: nothing blocks"]
    lines += [f"  {b['code']}: {b['detail']} (clears: {b['clears']})" for b in blocking]
    lines += [f"  agent {name} is latched: `hands resume --agent {name}`" for name in latched]
    return lines + [f"  {t['symbol']}: still {'; '.join(remarks(t))}" for t in closing]
