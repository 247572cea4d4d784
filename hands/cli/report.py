"""`hands report`: what a session came to, as a page to keep and a summary to read now.

Owns its flags, where prices are looked for, and the summary. May not compute or draw: that is `hands.replay.report`.
"""

from __future__ import annotations

import sys
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, state_folder
from hands.cli.times import moment_ns, zone_of

if TYPE_CHECKING:
    from hands.replay.prices import Prices, Span

Document = dict[str, Any]

PAGE = "report.html"


def report(
    state_dir: Annotated[
        Path | None,
        typer.Argument(metavar="[STATE_DIR]", help="A state directory. [hands.toml's]", show_default=False),
    ] = None,
    *,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="2026-01-05, or RFC 3339. [the first happening]"),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not including it. [the last happening]")
    ] = None,
    tz: Annotated[
        str, typer.Option(metavar="ZONE", help="For dates and the days of the ratios: America/New_York, say.")
    ] = "UTC",
    capital: Annotated[
        str | None,
        typer.Option(
            metavar="USD", help="What the curve begins with. [what sizing saw at the first refusal]"
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The page's heading. [the directory's name]")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page. [report.html in STATE_DIR]", show_default=False)
    ] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    as_json: JsonFlag = False,
) -> None:
    """Make a report of a state directory: one HTML file that needs nothing else, and its numbers.

    Equity and drawdown, every trade on its chart, verdicts, what each gate cost, slippage, latency, protection. Reads
    the ledger and the recorded market, so the daemon may run or not. With --json the numbers go to stdout, and the page is made only
    where --out says so. What is not known is said to be unknown; an empty session gives a page that says so.

    Example: hands report var --from 2026-01-05 --tz America/New_York --out january.html
    """
    state = state_folder(config, state_dir, as_json=as_json)
    zone = zone_of(tz, as_json=as_json)
    from_ns = None if from_ is None else moment_ns("--from", from_, as_json=as_json, zone=zone)
    to_ns = None if to is None else moment_ns("--to", to, as_json=as_json, zone=zone)
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        fail(ExitCode.USAGE, "--from must lie before --to", as_json=as_json)
    path = out if out is not None else None if as_json else state / PAGE
    asked = {
        "title": title or f"Session in {state.resolve().name}",
        "tz": tz,
        "from_ns": from_ns,
        "to_ns": to_ns,
    }
    asked["capital"] = None if capital is None else _dollars(capital, as_json=as_json)
    document = _made(state, path, asked, as_json=as_json)
    if as_json:
        print_json(document | {"page": None if path is None else str(path)})
        return
    say("\n".join(summary_lines(document, zone)))
    say(f"\n{path}")


def _made(state: Path, path: Path | None, asked: Document, *, as_json: bool) -> Document:
    import sqlite3
    from contextlib import closing

    from hands.journal.reader import LedgerUnreadable, open_ledger
    from hands.replay.prices import FirstKnown, KeptMinutes
    from hands.replay.report import write_report
    from hands.replay.report_data import report_data, windows

    try:
        with closing(open_ledger(state / "hands.db")) as db:
            db.execute("BEGIN")  # one moment of the ledger, whatever a running daemon adds meanwhile
            spans = windows(db, asked["from_ns"], asked["to_ns"])
            prices = FirstKnown(_recorded(state, spans), KeptMinutes(state))
            if path is None:
                return report_data(db, prices, **asked)
            return write_report(db, prices, path, **asked)
    except (LedgerUnreadable, sqlite3.Error) as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, "interrupted; no page was written", as_json=as_json)
    except OSError as error:
        fail(ExitCode.USAGE, f"{path} cannot be written: {error.strerror or error}", as_json=as_json)


def _recorded(state: Path, spans: list[Span]) -> Prices:
    """Return what was recorded of these stretches; a bar on a terminal's stderr shows the segments still to come."""
    from rich.console import Console
    from rich.progress import Progress

    from hands.replay.recorded_prices import recorded_prices, segments_of

    paths = segments_of(state, spans)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("recorded market", total=len(paths))
        return recorded_prices(paths, spans, lambda: progress.advance(task))


def _dollars(text: str, *, as_json: bool) -> int:
    from hands.core.units import NumberError, nano

    try:
        found = nano(text)
    except NumberError as error:
        fail(ExitCode.USAGE, f"--capital: {error}", as_json=as_json)
    if found <= 0:
        fail(ExitCode.USAGE, f"--capital must be above 0, not {text}", as_json=as_json)
    return found


# --- for people ----------------------------------------------------------------------------------------------


def summary_lines(document: Document, zone: tzinfo) -> list[str]:
    """Return the headline figures and the results by strategy for a terminal."""
    figures, verdicts = document["headline"], document["verdicts"]
    lines = [document["title"], _period(document, zone), ""]
    accepted = sum(row["count"] for row in verdicts["by_code"] if row["verdict"] == "ACCEPTED")
    lines.append(f"{verdicts['documents']} documents judged, {accepted} accepted")
    if not figures["trades"] and not figures["still_held"]:
        return [*lines, "no trade was opened"]
    held = f"; {figures['still_held']} still held" if figures["still_held"] else ""
    lines += [f"{figures['trades']} trades ended, {figures['won']} with a profit{held}", ""]
    lines += table(("figure", "value", ""), _figure_rows(document))
    rows = [
        [
            row["name"],
            row["trades"],
            f"{row['win_rate']:.0%}",
            _usd(row["pnl_usd"]),
            _usd(row["expectancy_usd"]),
        ]
        for row in document["by_strategy"]
    ]
    if rows:
        lines += ["", *table(("strategy", "trades", "won", "result", "a trade"), rows)]
    return lines


def _period(document: Document, zone: tzinfo) -> str:
    if document["from_ns"] is None:
        return "nothing is recorded"
    first, last = (
        datetime.fromtimestamp(document[name] // 10**9, zone).strftime("%Y-%m-%d %H:%M:%S")
        for name in ("from_ns", "to_ns")
    )
    return f"{first} to {last}, {document['tz']}"


def _figure_rows(document: Document) -> list[list[str | None]]:
    """Return (name, value, remark); what is not known has a dash."""
    f, cover = document["headline"], document["protection"]
    wire = next(row for row in document["latency"] if row["stage"] == "file_to_sent")
    few = f"of {f['days']} days" + ("; says little" if f["days"] < 30 else "")
    gap = cover["longest_unprotected_s"]
    return [
        ["net result", _usd(f["net_pnl_usd"]), "" if f["return"] is None else f"{f['return']:+.2%} of capital"],
        ["max drawdown", _usd(f["max_drawdown_usd"], sign=False), "" if f["max_drawdown"] is None else f"{f['max_drawdown']:.2%} of the peak"],
        ["win rate", None if f["win_rate"] is None else f"{f['win_rate']:.1%}", ""],
        ["expectancy", _usd(f["expectancy_usd"]), "" if f["expectancy_r"] is None else f"{f['expectancy_r']:+.2f} R"],
        ["profit factor", _plain(f["profit_factor"]), ""],
        ["Sharpe", _plain(f["sharpe"]), few],
        ["Sortino", _plain(f["sortino"]), few],
        ["fees", _usd(f["fees_usd"], sign=False), "estimated" if f["fees_estimated"] else ""],
        ["file to wire", None if wire["p50_us"] is None else f"{wire['p50_us'] / 1000:.2f} ms", "median"],
        ["longest unprotected", None if gap is None else f"{gap * 1000:.1f} ms", ""],
    ]  # fmt: skip


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _usd(value: float | None, *, sign: bool = True) -> str | None:
    return None if value is None else f"{value:{'+' if sign else ''},.2f} USD"
