"""`hands export`: the ledger as a file for taxes and spreadsheets.

Owns the flags, the three formats and the file. May not decide what stands in a row: that is `hands.journal.exports`. The
one idea: a row is written as it is read, so size costs no memory, and a file appears whole or not at all. A spreadsheet
runs what looks like a formula, and agents choose their own words: in CSV such words are defused.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from hands.cli.output import ExitCode, fail, harmless, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.cli.times import moment_ns, zone_of

if TYPE_CHECKING:
    import sqlite3

    from hands.journal.exports import Export, Span

Row = dict[str, Any]
Form = Literal["csv", "json", "jsonl"]

NUMBER = re.compile(r"-?\d+(\.\d+)?")
FORMULA = re.compile("(^|;)(\\s*)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a cell begins that a spreadsheet would run; some take a semicolon for the end of a cell, quoted or not, and
the wide signs of East Asian input for the narrow ones."""

BAR_EVERY = 256


def export(
    what: Annotated[Literal["trades", "fills", "intents"], typer.Argument(help="What to export.")],
    *,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="2026-01-05, or RFC 3339 with an offset.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Not including it.")] = None,
    tz: Annotated[
        str, typer.Option(metavar="ZONE", help="Of dates and times: America/New_York, Europe/Berlin.")
    ] = "UTC",
    as_csv: Annotated[bool, typer.Option("--csv", help="RFC 4180, with a header. [the default]")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object per line.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="F", help="A file, replaced as a whole, readable by you alone. [stdout]"),
    ] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
) -> None:
    """Write the ledger's trades, fills or intents as CSV or JSON, oldest first, with or without a daemon.

    trades: those that are over, by when they ended, both legs with their orders, times, averages and values, fees, P&L, the
    reason of the end. fills: every execution. intents: every judged or refused document, its verdict and its plan.
    Amounts are exact decimals; what is unknown is empty, never 0. Fees of coins are estimates and say so; what a broker
    charges by the day (regulatory fees) is not known here. Nothing found is no error.

    Example: hands export trades --from 2026-01-01 --to 2027-01-01 --tz America/New_York --out trades-2026.csv
    """
    asked: dict[Form, bool] = {"csv": as_csv, "json": as_json, "jsonl": as_jsonl}
    forms = [form for form, is_asked in asked.items() if is_asked]
    if len(forms) > 1:
        fail(ExitCode.USAGE, "one of --csv, --json and --jsonl", as_json=as_json)
    form = forms[0] if forms else "csv"
    span = _span(from_, to, tz, as_json=as_json)
    _check_place(out, as_json=as_json)
    path = state_folder(config, state, as_json=as_json) / "hands.db"
    try:
        count = _export(path, what, form, span, out, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    if out is None:
        return
    if form == "json":
        print_json({"ok": True, "what": what, "rows": count, "out": str(out)})
    else:
        say(f"{count} {what} in {out}")


def _span(from_: str | None, to: str | None, tz: str, *, as_json: bool) -> Span:
    from hands.journal.exports import Span

    zone = zone_of(tz, as_json=as_json)
    from_ns = None if from_ is None else moment_ns("--from", from_, zone=zone, as_json=as_json)
    to_ns = None if to is None else moment_ns("--to", to, zone=zone, as_json=as_json)
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        fail(ExitCode.USAGE, "--from must lie before --to, which is not included", as_json=as_json)
    return Span(from_ns, to_ns, zone)


def _check_place(out: Path | None, *, as_json: bool) -> None:
    """End with 2 where a file cannot be put: before anything is read."""
    if out is None:
        return
    try:
        if not out.absolute().parent.is_dir():
            fail(ExitCode.USAGE, f"--out: there is no folder {out.absolute().parent}", as_json=as_json)
        if out.exists() and not out.is_file():
            fail(ExitCode.USAGE, f"--out: {out} is no regular file", as_json=as_json)
    except OSError as error:
        fail(ExitCode.USAGE, f"--out: {out}: {error.strerror}", as_json=as_json)


def _export(path: Path, what: str, form: Form, span: Span, out: Path | None, *, as_json: bool) -> int:
    """Write every row; return how many there were. Ends with 2 where there is no ledger to read, with 1 where reading or
    writing fails on the way: a locked or broken ledger, a full disk."""
    import sqlite3

    from hands.journal.exports import EXPORTS, open_for_export
    from hands.journal.reader import LedgerUnreadable

    export, begun = EXPORTS[what], False
    try:
        with closing(open_for_export(path, what)) as db:
            rows = iter(export.rows(db, span))
            first = next(rows, None)  # what cannot be read at all is said before anything is written
            with _opened(out) as file, _bar(db, export, span, out) as counted:
                begun = out is None
                every = () if first is None else _chain(first, rows)
                return WRITERS[form](file, export.columns, counted(every))
    except (LedgerUnreadable, sqlite3.Error) as error:
        if _is_locked(error):
            why = (
                f"{path} is locked by another program, which a daemon never does: try again when that is done"
            )
            fail(ExitCode.NEGATIVE, why, as_json=as_json and not begun)
        if isinstance(error, LedgerUnreadable):
            fail(ExitCode.USAGE, str(error), as_json=as_json)
        fail(ExitCode.NEGATIVE, f"{path}: {error}", as_json=as_json and not begun)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(ExitCode.NEGATIVE, f"{out or 'stdout'}: {error.strerror}", as_json=as_json and not begun)


def _is_locked(error: Exception) -> bool:
    return "locked" in str(error.__cause__ or error)


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


# --- the formats -------------------------------------------------------------------------------------------------


def _write_csv(file: TextIO, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    writer, count = csv.writer(file, lineterminator="\r\n"), 0
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row[name]) for name in columns])
        count += 1
    return count


def cell(value: Any) -> str:
    """Return a value as a spreadsheet may read it: unknown is empty, and no text becomes a formula.

    Text that would begin one gets an apostrophe before it, and control characters become question marks; JSON has it as
    it was.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = " ".join(value) if isinstance(value, list) else str(value)
    return text if NUMBER.fullmatch(text) else FORMULA.sub(r"\1\2'", harmless(text))


def _write_json(file: TextIO, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    count = 0
    file.write('{"columns":' + _json(columns) + ',"rows":[')
    for row in rows:
        file.write(("," if count else "") + "\n" + _json(row))
        count += 1
    file.write("]}\n")
    return count


def _write_jsonl(file: TextIO, _columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    count = 0
    for row in rows:
        file.write(_json(row) + "\n")
        count += 1
    return count


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


WRITERS: dict[Form, Callable[[TextIO, tuple[str, ...], Iterable[Row]], int]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_jsonl,
}


# --- the file ----------------------------------------------------------------------------------------------------


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Give what is written to: stdout, or a file (0600) that takes its name when all of it is on disk. Raises OSError."""
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # the same bytes as in a file
        yield sys.stdout
        sys.stdout.flush()
        return
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(out.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _bar(
    db: sqlite3.Connection, export: Export, span: Span, out: Path | None
) -> Iterator[Callable[[Iterable[Row]], Iterator[Row]]]:
    """Give what counts rows as they pass; on a terminal, where they go into a file, with a bar on stderr."""
    if out is None or not sys.stderr.isatty():
        yield iter
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=export.count(db, span))

        def counted(rows: Iterable[Row]) -> Iterator[Row]:
            for number, row in enumerate(rows, 1):
                if number % BAR_EVERY == 0:
                    progress.update(task, completed=number)
                yield row

        yield counted
