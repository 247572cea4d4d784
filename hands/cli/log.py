"""`hands log`: what happened, in order, from the ledger, with or without a daemon.

Owns how happenings are shown and the following of them. May not ask the daemon. The one idea: the ledger is a file that a
reader may hold open, so following it costs the engine nothing.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.cli.times import began_ns, clock_text

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

Document = dict[str, Any]

POLL_S = 0.25
TEXT_MAX = 300


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def log(
    *,
    since: Annotated[str, typer.Option(metavar="SPAN", help="90s, 30m, 24h, 7d.")] = "1h",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    level: Annotated[Level, typer.Option(help="Only what is at least so grave.")] = Level.INFO,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell what happened: verdicts, orders, fills, ends of trades, why trading was stopped or allowed again, and alerts.

    Reads the ledger, with or without a daemon; times are UTC. warning: refused documents, orders that the venue rejected,
    REDUCE_ONLY, trades that were liquidated or flattened, alerts (links, halts, what was done outside). critical: HALTED,
    and alerts that cannot wait. With --json --follow: one document per line.

    Example: hands log --since 24h --level warning
    """
    since_ns = began_ns(since, as_json=as_json)
    folder = state_folder(config, state, as_json=as_json)
    try:
        if follow:
            _follow(folder, since_ns, level, as_json=as_json)
        else:
            _once(folder, since_ns, level, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None


def _open(folder: Path, *, as_json: bool) -> sqlite3.Connection:
    from hands.journal.reader import LedgerUnreadable, open_ledger

    try:
        return open_ledger(folder / "hands.db")
    except LedgerUnreadable as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)


def _once(folder: Path, since_ns: int, level: Level, *, as_json: bool) -> None:
    import sqlite3
    from contextlib import closing

    from hands.journal.happenings import SHOWN_MAX, happenings

    with closing(_open(folder, as_json=as_json)) as db:
        try:
            found = happenings(db, since_ns, level=level)
        except sqlite3.Error as error:
            fail(ExitCode.NEGATIVE, f"{folder / 'hands.db'}: {error}", as_json=as_json)
    if as_json:
        print_json({"since_ns": since_ns, "happened": found, "older_left_out": len(found) == SHOWN_MAX})
        return
    if len(found) == SHOWN_MAX:
        say(f"hands: only the newest {SHOWN_MAX}; narrow it with --since or --level", err=True)
    for each in found:
        say(happening_line(each))


def _follow(folder: Path, since_ns: int, level: Level, *, as_json: bool) -> None:
    import sqlite3
    from contextlib import closing

    from hands.journal.happenings import Tail

    tail = Tail(since_ns, level=level)
    with closing(_open(folder, as_json=as_json)) as db:
        while True:
            try:
                for each in tail.new(db):
                    if as_json:
                        print_json(each)
                    else:
                        say(happening_line(each))
            except sqlite3.Error as error:
                fail(ExitCode.NEGATIVE, f"{folder / 'hands.db'}: {error}")
            time.sleep(POLL_S)


_MARKS = {"info": " ", "warning": "!", "critical": "X"}


def happening_line(each: Document) -> str:
    """Return one happening in one line: when, how grave, what it is about, what happened."""
    text = " ".join(str(each["text"]).split())
    text = text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 3]}..."
    about = " ".join(
        part for part in (each["symbol"], each["intent_id"] and each["intent_id"][:8], each["agent"]) if part
    )
    return f"{clock_text(each['at_ns'])} {_MARKS[each['level']]} {about + '  ' if about else ''}{text}"
