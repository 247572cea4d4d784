"""`hands gates`: what each check has refused, and what that would have made or lost.

Owns its flags, the adding up check by check, and the table. May not value a trade itself: that is `hands.core.hindsight`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.cli.times import SECONDS, SPAN, moment_ns

if TYPE_CHECKING:
    from hands.core.hindsight import Gate, Hindsight, Minute, Refused

Document = dict[str, Any]
NANO = 10**9
BY = {"agent": "agent", "symbol": "symbol"}


def gates(
    *,
    since: Annotated[
        str | None, typer.Option(metavar="SPAN", help="90s, 30m, 24h, 7d. [24h]", show_default=False)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="2026-01-05, or RFC 3339 with an offset.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Not including it. [now]")] = None,
    by: Annotated[
        Literal["agent", "symbol"] | None, typer.Option(help="Each check's refusals apart by this.")
    ] = None,
    market: Annotated[
        list[Path] | None, typer.Option(help="A recorded market, as for hands sim --tape (repeatable).")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Ask the venue for minute bars; days that are over are kept.")
    ] = False,
    config: ConfigFlag = DEFAULT_CONFIG,
    limits: Annotated[Path, typer.Option(help="The limits file; for --fetch.")] = Path(
        "config/risk_limits.toml"
    ),
    alpaca_url: Annotated[str | None, typer.Option(help="As for `hands run`; for --fetch.")] = None,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell per check how often it refused, and what the refused trades would have come to, fees included.

    R is the risk a trade would have taken. Without --market or --fetch: what the daemon has noted at night. What no market is
    known for is counted, not valued. Exit 1 where nothing was refused.

    Example: hands gates --since 7d --fetch --by agent
    """
    if market and fetch:
        fail(ExitCode.USAGE, "either --market or --fetch", as_json=as_json)
    from_ns, to_ns = _span(since, from_, to, as_json=as_json)
    folder = state_folder(config, state, as_json=as_json)
    refused, known = _ledger(folder, from_ns, to_ns, as_json=as_json)
    source = "files" if market else "venue" if fetch else "noted"
    if market:
        known = _valued(refused, _recorded(market, as_json=as_json))
    elif fetch:
        known = _valued(refused, _fetched(refused, config, limits, folder, alpaca_url, as_json=as_json))
    rows = added_up(refused, known, by)
    if as_json:
        print_json({"from_ns": from_ns, "to_ns": to_ns, "market": source, "by": by} | document(rows))
    else:
        say("\n".join(gate_lines(rows, by, source)))
    raise typer.Exit(int(ExitCode.FINE if rows else ExitCode.NEGATIVE))


# --- which time ----------------------------------------------------------------------------------------------


def _span(since: str | None, from_: str | None, to: str | None, *, as_json: bool) -> tuple[int, int]:
    now_ns = time.time_ns()
    if since is not None and from_ is not None:
        fail(ExitCode.USAGE, "either --since or --from", as_json=as_json)
    to_ns = now_ns if to is None else moment_ns("--to", to, as_json=as_json)
    if from_ is not None:
        from_ns = moment_ns("--from", from_, as_json=as_json)
        if from_ns >= to_ns:
            fail(
                ExitCode.USAGE,
                "--from must lie before --to, which is now unless it is given",
                as_json=as_json,
            )
        return from_ns, to_ns
    match = SPAN.fullmatch(since or "24h")
    if match is None:
        fail(ExitCode.USAGE, f"--since takes 90s, 30m, 24h or 7d, not {since!r}", as_json=as_json)
    return now_ns - int(match.group(1)) * SECONDS[match.group(2)] * NANO, to_ns


# --- where it comes from -------------------------------------------------------------------------------------


def _ledger(
    folder: Path, from_ns: int, to_ns: int, *, as_json: bool
) -> tuple[list[Refused], dict[str, Hindsight]]:
    import sqlite3
    from contextlib import closing

    from hands.journal.reader import LedgerUnreadable, open_ledger
    from hands.journal.refusals import noted, refusals

    try:
        with closing(open_ledger(folder / "hands.db")) as db:
            return list(refusals(db, from_ns, to_ns)), noted(db, from_ns, to_ns)
    except (LedgerUnreadable, sqlite3.Error) as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)


def _recorded(paths: list[Path], *, as_json: bool) -> dict[str, list[Minute]]:
    from hands.cli.gates_market import minutes_of
    from hands.sim.market.file_rows import FileError

    try:
        return minutes_of(paths)
    except FileError as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)


def _fetched(
    refused: list[Refused], config: Path, limits: Path, folder: Path, url: str | None, *, as_json: bool
) -> dict[str, list[Minute]]:
    """Return minutes of the venue's history; a bar on a terminal's stderr shows the days that are still to come."""
    from rich.console import Console
    from rich.progress import Progress

    from hands.runtime.config import ConfigError, Options, read_config
    from hands.runtime.past_minutes import Unanswered, fetch, wanted

    try:
        found = read_config(Options(config=config, limits=limits, state=folder, alpaca_url=url))
    except ConfigError as error:
        fail(ExitCode.USAGE, error.problems, as_json=as_json)
    days = wanted(refused, time.time_ns())
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("minute bars, by day", total=len(days))
        try:
            return fetch(found.endpoints, found.credentials, folder, days, lambda: progress.advance(task))
        except Unanswered as error:
            fail(ExitCode.NEGATIVE, f"the market cannot be fetched: {error}", as_json=as_json)


def _valued(refused: list[Refused], minutes: dict[str, list[Minute]]) -> dict[str, Hindsight]:
    """Return what would have become of each; a stock's stops trade in regular sessions only, but for the simulator's."""
    from hands.cli.gates_market import regular
    from hands.core.hindsight import look_back

    in_session: dict[str, list[Minute]] = {}
    found = {}
    for each in refused:
        symbol = each.symbol
        if "/" in symbol or each.venue == "sim":
            traded = minutes.get(symbol, [])
        else:
            if symbol not in in_session:
                in_session[symbol] = regular(minutes.get(symbol, []))
            traded = in_session[symbol]
        found[each.intent_id] = look_back(each, traded)
    return found


# --- adding up -----------------------------------------------------------------------------------------------


def added_up(refused: list[Refused], known: dict[str, Hindsight], by: str | None) -> list[Gate]:
    """Return the checks that refused anything, in the order in which they are asked."""
    from hands.core.hindsight import Gate, Hindsight, Result
    from hands.core.risk import CHECKS

    found: dict[tuple[str, str], Gate] = {}
    for each in refused:
        of = getattr(each, BY[by]) if by else None
        gate = found.setdefault((each.check, of or ""), Gate(check=each.check, code=each.code, of=of))
        gate.count(known.get(each.intent_id, Hindsight(result=Result.UNKNOWN)))
    order = {check.name: number for number, check in enumerate(CHECKS)}
    return [found[key] for key in sorted(found, key=lambda key: (order.get(key[0], len(order)), key))]


def document(rows: list[Gate]) -> Document:
    return {
        "refused": sum(row.fired for row in rows),
        "valued": sum(row.valued for row in rows),
        "r_sum": _sum(sum(row.r for row in rows), sum(row.valued for row in rows)),
        "usd_sum": _sum(sum(row.usd for row in rows), sum(row.dollars for row in rows)),
        "gates": [
            {
                "check": row.check,
                "code": row.code,
                "of": row.of,
                "fired": row.fired,
                "valued": row.valued,
                "unknown": row.unknown,
                "impossible": row.impossible,
                "unfilled": row.unfilled,
                "still_open": row.still_open,
                "would_have_won": row.won,
                "would_have_lost": row.lost,
                "r_sum": _sum(row.r, row.valued),
                "usd_sum": _sum(row.usd, row.dollars),
                "usd_of": row.dollars,
                "sized_by_caps": row.by_caps,
            }
            for row in rows
        ],
    }


def _sum(value: int, count: int) -> float | None:
    return value / NANO if count else None


HEADINGS = (
    "check",
    "code",
    "fired",
    "valued",
    "unfilled",
    "won",
    "lost",
    "open",
    "R",
    "USD",
    "the gate",
)


def gate_lines(rows: list[Gate], by: str | None, source: str) -> list[str]:
    """Return the gates for people."""
    if not rows:
        return ["nothing was refused by a check"]
    headings = HEADINGS if by is None else (by, *HEADINGS)
    cells = [_cells(row) if by is None else [row.of, *_cells(row)] for row in rows]
    total = document(rows)
    unknown, impossible = sum(row.unknown for row in rows), sum(row.impossible for row in rows)
    lines = [*table(headings, cells), ""]
    lines.append(
        f"{total['refused']} refused, {total['valued']} valued; {unknown} of which no market is known"
    )
    if impossible:
        lines.append(f"{impossible} could not have been sent: their prices make no order")
    if total["r_sum"] is not None:
        usd = "" if total["usd_sum"] is None else f", {total['usd_sum']:+.2f} USD"
        lines.append(f"together they would have come to {total['r_sum']:+.2f} R{usd}, each taken for itself")
        guessed = sum(row.dollars - row.by_caps for row in rows)
        if guessed:
            lines.append(
                f"the dollars of {guessed} stand for one percent of the equity at risk, the others for the size"
                " that sizing would have left"
            )
    elif source == "noted":
        lines.append(
            "say --fetch or --market FILE to value them now; the daemon does it after the day's roll"
        )
    return lines


def _cells(row: Gate) -> list[Any]:
    r, usd = _sum(row.r, row.valued), _sum(row.usd, row.dollars)
    word = None if not r else "has cost" if r > 0 else "has saved"
    return [
        row.check, row.code, row.fired, row.valued, row.unfilled, row.won, row.lost, row.still_open,
        None if r is None else f"{r:.2f}", None if usd is None else f"{usd:.2f}", word,
    ]  # fmt: skip
