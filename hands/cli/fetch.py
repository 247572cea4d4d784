"""`hands fetch`: the venue's history to a file.

Owns its flags, the progress bar, the summary and the exit codes. May not ask the venue anything itself: that is
`hands.replay.fetching`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say

if TYPE_CHECKING:
    from hands.replay.fetching import Progress, Request

ENDINGS: Final = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")


def fetch(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="AAPL, BTC/USD, ...")],
    *,
    from_: Annotated[
        str, typer.Option("--from", metavar="TIME", help="2024-01-02 (midnight UTC), or RFC 3339.")
    ],
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Not including it. [now]")] = None,
    kind: Annotated[Literal["trades", "quotes", "bars"], typer.Option(help="What of it.")] = "trades",
    timeframe: Annotated[str, typer.Option(help="Of bars: 1Min, 5Min, 1Hour, 1Day, ...")] = "1Min",
    feed: Annotated[
        Literal["iex", "sip"],
        typer.Option(help="Stocks of all exchanges (sip), or of the one that is free live."),
    ] = "sip",
    out: Annotated[
        Path | None,
        typer.Option(help=f"The file: {' '.join(ENDINGS)}. [in this folder, named after what is fetched]"),
    ] = None,
    requests_per_minute: Annotated[
        int, typer.Option(min=4, max=100_000, help="What your plan allows; three quarters of it are used.")
    ] = 200,
    alpaca_url: Annotated[str | None, typer.Option(help="As for `hands run`.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fetch trades, quotes or bars of the venue's history into a file that `hands replay` and `hands sim` read.

    It takes as long as the venue's rate limit asks for. Stop it when you like (Ctrl-C, or worse): the same command goes on
    where it was, from FILE.part, and the file is the same as if it had never been stopped. The file appears when it is
    whole; nothing is overwritten. Credentials come from the environment: APCA_API_KEY_ID, APCA_API_SECRET_KEY.

    A free plan has everything of `--feed sip` but the last fifteen minutes. Exit 1: nothing there, or the venue refused.

    Example: hands fetch SPY QQQ --from 2024-01-02 --to 2024-01-03 --kind trades
    """
    from hands.replay.fetching import FetchError, part_of
    from hands.replay.spool import SpoolError
    from hands.runtime.config import ConfigError
    from hands.sim.market.file_rows import FileError

    request, ending = _request(symbols, from_, to, kind, timeframe, feed, out, as_json=as_json)
    path = out if out is not None else Path(_name(request, ending, has_end=to is not None))
    if path.exists():
        fail(ExitCode.USAGE, f"{path} is there already; remove it, or name another --out", as_json=as_json)
    try:
        asked = _Asked(request, path, ending, alpaca_url, requests_per_minute, has_end=to is not None)
        document = _to_file(asked, as_json=as_json)
    except (SpoolError, FileError) as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)
    except ConfigError as error:
        fail(ExitCode.USAGE, error.problems, as_json=as_json)
    except OSError as error:
        fail(ExitCode.USAGE, f"{error.filename or path}: {error.strerror or error}", as_json=as_json)
    except FetchError as error:
        fail(ExitCode.NEGATIVE, [str(error), *_advice(str(error), part_of(path))], as_json=as_json)
    if as_json:
        print_json(document)
    else:
        of = ", ".join(request.symbols)
        say(
            f"{path}: {document['items']} {kind} of {of} ({document['bytes']} bytes, {document['seconds']:.0f} s)"
        )
    raise typer.Exit(int(ExitCode.FINE if document["items"] else ExitCode.NEGATIVE))


# --- what is asked for ---------------------------------------------------------------------------------------


def _request(
    symbols: list[str], from_: str, to: str | None, kind: str, timeframe: str, feed: str, out: Path | None,
    *, as_json: bool,
) -> tuple[Request, str]:  # fmt: skip
    """Return the request and the file's ending; end with 2 and every problem where it cannot be meant."""
    from hands.replay.fetching import Request, check

    problems: list[str] = []
    from_ns, to_ns = _moment("--from", from_, problems), time.time_ns()
    if to is not None:
        to_ns = _moment("--to", to, problems)
    request = Request(
        symbols=tuple(symbols), kind=kind, from_ns=from_ns, to_ns=to_ns, feed=feed,
        timeframe=timeframe if kind == "bars" else "",
    )  # fmt: skip
    if not problems:
        problems += check(request)
    ending = _ending(out)
    if ending is None:
        problems.append(f"--out {out}: allowed are {' '.join(ENDINGS)}")
    if problems or ending is None:
        fail(ExitCode.USAGE, problems, as_json=as_json)
    return request, ending


def _moment(flag: str, text: str, problems: list[str]) -> int:
    from hands.core.members import parse_time_ns

    try:
        return parse_time_ns(f"{date.fromisoformat(text)}T00:00:00Z" if len(text) == 10 else text)
    except ValueError as error:
        problems.append(f"{flag}: {error}; a date is midnight UTC")
        return 0


def _ending(out: Path | None) -> str | None:
    """Return the format of a file: by its name, Parquet where none is given and it can be written."""
    if out is not None:
        return next((ending for ending in ENDINGS if out.name.endswith(ending)), None)
    return ".csv.gz" if find_spec("pyarrow") is None else ".parquet"


def _name(request: Request, ending: str, *, has_end: bool) -> str:
    """Return a name; where no end was given it is the same tomorrow, so that what is unfinished is found."""
    from hands.replay.fetching import default_name

    name = default_name(request, ending)
    return name if has_end else f"{name.removesuffix(ending).rpartition('_')[0]}_now{ending}"


def _about(request: Request) -> dict[str, Any]:
    from hands.sim.market.times import rfc3339

    return {
        "symbols": list(request.symbols), "kind": request.kind, "timeframe": request.timeframe or None,
        "from": rfc3339(request.from_ns), "to": rfc3339(request.to_ns), "feed": request.feed,
    }  # fmt: skip


# --- doing it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A fetch as the command line has it."""

    request: Request
    path: Path
    ending: str
    alpaca_url: str | None
    requests_per_minute: int
    has_end: bool


def _to_file(asked: _Asked, *, as_json: bool) -> dict[str, Any]:
    """Fetch and finish; return the summary."""
    from hands.replay.fetching import Fetch, budget_of, finish, part_of, taken_up
    from hands.replay.item_files import needs_pyarrow
    from hands.replay.spool import Spool
    from hands.runtime.config import access

    if asked.ending == ".parquet":
        needs_pyarrow(asked.path)
    endpoints, credentials = access(asked.alpaca_url, asked.request.feed)
    began_s = time.monotonic()
    with Spool(part_of(asked.path)) as spool:
        went_on = not spool.is_new
        request = taken_up(spool, asked.request, has_end=asked.has_end)
        made = Fetch(request, endpoints, credentials, spool, budget_of(asked.requests_per_minute))

        def keeps() -> bool:
            return went_on or made.progress.pages > 0  # the pages of before are counted only once it runs

        try:
            with _bar() as told:
                made.told = told
                asyncio.run(made.run())
            items = finish(request, spool, asked.path, asked.ending, _about(request))
        except KeyboardInterrupt:
            there = (
                f"{made.progress.items} {request.kind} are" if made.progress.pages else "what was fetched is"
            )
            said = f"{there} in {spool.path}: the same command goes on" if keeps() else "nothing had come"
            fail(ExitCode.INTERRUPTED, f"stopped; {said}", as_json=as_json)
        finally:
            if not keeps():
                spool.remove()
    return {
        "ok": True, "file": str(asked.path), "bytes": asked.path.stat().st_size, "items": items,
        "pages": made.progress.pages, "requests": made.progress.requests, "went_on": went_on,
        "seconds": round(time.monotonic() - began_s, 3),
    } | _about(request)  # fmt: skip


@contextmanager
def _bar() -> Iterator[Any]:
    """Yield what shows how far it is: a bar on a terminal's stderr, by the time that is covered."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>5.1f} %"), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("fetching", total=1.0, note="")

        def told(progress: Progress) -> None:
            symbols = progress.request.symbols
            name = symbols[min(progress.symbol, len(symbols) - 1)]
            bar.update(
                task, completed=progress.share, description=f"{name} {progress.request.kind} ({progress.items})",
                note=f"waiting: {progress.waits}" if progress.waits else "",
            )  # fmt: skip

        yield told


def _advice(reason: str, part: Path) -> list[str]:
    """Return what can be done about a refusal."""
    found = []
    if "recent SIP data" in reason:
        found.append("say --feed iex, or a --to that is more than fifteen minutes ago")
    if part.exists():
        found.append(f"what has been fetched is in {part}; the same command goes on from there")
    return found
