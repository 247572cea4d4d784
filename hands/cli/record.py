"""`hands record`: the live market to a Parquet file.

Owns its flags, the line that shows how it goes, the summary and the exit codes. May not listen itself: that is
`hands.replay.listening`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.cli.times import SECONDS, SPAN, clock_text

if TYPE_CHECKING:
    from hands.replay.listening import Listener
    from hands.replay.recorded_file import RecordedFile


def record(
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="AAPL, BTC/USD, ... [all the daemon's]")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="Where to; it appears at the end.")],
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="SPAN", help="90s, 30m, 6h, 1d. [until Ctrl-C]", show_default=False),
    ] = None,
    feed: Annotated[Literal["iex", "sip"], typer.Option(help="Of stocks; without a daemon.")] = "iex",
    finish: Annotated[
        bool, typer.Option("--finish", help="Only make the file of a recording that was killed.")
    ] = False,
    alpaca_url: Annotated[str | None, typer.Option(help="As for `hands run`; without a daemon.")] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Record trades and quotes as they come, until Ctrl-C or for a time, into a file that `hands replay` and `hands sim` read.

    Beside a running daemon (on --state) its own rows are recorded, since the venue allows one data connection per key;
    otherwise the venue is listened to, with the credentials of the environment. What was lost (a connection, a restart) is
    noted in the file as a gap. A recording that was killed loses a second at most: the same command goes on with it.

    Exit 1 where nothing came.

    Example: hands record AAPL BTC/USD --out market.parquet --for 6h
    """
    from hands.replay.item_files import needs_pyarrow
    from hands.replay.listening import UNREADABLE
    from hands.replay.spool import SpoolError
    from hands.runtime.config import ConfigError

    wanted = tuple(symbols or ())
    for_s = _checked(out, for_, wanted, as_json=as_json)
    asked = _Asked(out, wanted, for_s, feed, alpaca_url, state_folder(config, state, as_json=as_json))
    try:
        needs_pyarrow(out)
        summary = _finished(out) if finish else _recorded(asked, as_json=as_json)
    except (SpoolError, *UNREADABLE) as error:
        fail(ExitCode.USAGE, f"{error}{_kept(out)}", as_json=as_json)
    except ConfigError as error:
        fail(ExitCode.USAGE, error.problems, as_json=as_json)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, f"stopped; what was recorded is in {out}.part (--finish)", as_json=as_json)
    except OSError as error:
        what = f"{error.filename or out}: {error.strerror or error}"
        fail(ExitCode.NEGATIVE, f"{what}{_kept(out)}", as_json=as_json)
    if as_json:
        print_json(summary)
    else:
        say("\n".join(_lines(summary)))
    raise typer.Exit(int(ExitCode.FINE if summary["rows"] else ExitCode.NEGATIVE))


def _kept(out: Path) -> str:
    return f"; what was recorded is in {out}.part (--finish)" if Path(f"{out}.part").exists() else ""


def _checked(out: Path, for_: str | None, symbols: tuple[str, ...], *, as_json: bool) -> float | None:
    """Return for how many seconds is recorded, None: until it is stopped; end with 2 and every problem."""
    problems = []
    match = SPAN.fullmatch(for_) if for_ is not None else None
    if for_ is not None and match is None:
        problems.append(f"--for takes 90s, 30m, 6h or 1d, not {for_!r}")
    if out.suffix != ".parquet":
        problems.append(f"--out {out}: allowed is .parquet")
    if out.exists():
        problems.append(f"{out} is there already; remove it, or name another --out")
    if len(set(symbols)) != len(symbols):
        problems.append("a symbol twice")
    if problems:
        fail(ExitCode.USAGE, problems, as_json=as_json)
    return None if match is None else float(int(match.group(1)) * SECONDS[match.group(2)])


# --- doing it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A recording as the command line has it."""

    out: Path
    symbols: tuple[str, ...]
    for_s: float | None
    feed: str
    alpaca_url: str | None
    state: Path


def _finished(out: Path) -> dict[str, Any]:
    """Make the file of what a recording has left; return its summary."""
    from hands.replay.recorded_file import RecordedFile, symbols_left
    from hands.replay.spool import SpoolError

    left = symbols_left(out)
    if left is None:
        raise SpoolError(f"there is no {out}.part to be finished")
    return _summary(RecordedFile(out, left, time.time_ns(), goes_on=False))


def _recorded(asked: _Asked, *, as_json: bool) -> dict[str, Any]:
    """Record, and make the file; return its summary."""
    from hands.replay.listening import listen, wall_clock
    from hands.replay.recorded_file import RecordedFile

    clock = wall_clock()
    symbols, listener_of = _source(asked, clock, as_json=as_json)
    file = RecordedFile(asked.out, symbols, clock())
    try:
        listener = listener_of(file)

        async def main() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
            with _shown(file, listener) as told:
                await listen(listener, file, stop, for_s=asked.for_s, told=told)

        asyncio.run(main())
    except BaseException:
        file.close()
        file.discard_if_empty()
        raise
    return _summary(file)


def _source(
    asked: _Asked, clock: Callable[[], int], *, as_json: bool
) -> tuple[tuple[str, ...], Callable[[RecordedFile], Listener]]:
    """Return what is recorded, and how it is listened to: the daemon's rows where there is one."""
    from hands.replay.listening import DaemonTap, OwnConnection, daemon_symbols
    from hands.runtime.config import access
    from hands.runtime.control import NoDaemon, call
    from hands.runtime.machine import holder_of

    def is_running() -> bool:
        if Path("/proc/locks").exists():
            return holder_of(asked.state) is not None
        try:
            call(asked.state, {"do": "status"})
        except NoDaemon:
            return False
        return True

    if is_running():
        known = tuple(daemon_symbols(asked.state))
        strange = [symbol for symbol in asked.symbols if symbol not in known]
        if strange:
            said = f"the daemon on {asked.state} does not watch {', '.join(strange)}, but {', '.join(known)}"
            fail(
                ExitCode.USAGE,
                [said, "name others, or another --state to listen to the venue oneself"],
                as_json=as_json,
            )
        return asked.symbols or known, lambda file: DaemonTap(asked.state, file, clock, is_running)
    if not asked.symbols:
        fail(
            ExitCode.USAGE,
            f"name the symbols: no daemon runs on {asked.state} whose market could be recorded",
            as_json=as_json,
        )
    endpoints, credentials = access(asked.alpaca_url, asked.feed)
    return asked.symbols, lambda file: OwnConnection(endpoints, credentials, file, clock)


def _summary(file: RecordedFile) -> dict[str, Any]:
    """Make the file, and return what it says of itself."""
    about = file.about(time.time_ns())
    try:
        file.finish(time.time_ns())
    except BaseException:
        file.close()
        raise
    return {
        "ok": True,
        "file": str(file.path),
        "bytes": file.path.stat().st_size,
        "went_on": file.went_on,
    } | about


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    of = ", ".join(summary["symbols"])
    yield f"{summary['file']}: {summary['rows']} rows of {of} ({summary['bytes']} bytes)"
    for gap in summary["gaps"]:
        yield f"  missing from {gap['from']} to {gap['to']}: {gap['reason']}"


@contextmanager
def _shown(file: RecordedFile, listener: Listener) -> Iterator[Callable[[], None]]:
    """Yield what shows how it goes: a line on a terminal's stderr; elsewhere a line whenever the links change."""
    if not (sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")):
        yield partial(_say_changes, listener, [])
        return
    from rich.console import Console
    from rich.status import Status

    with Status("connecting", console=Console(stderr=True)) as status:
        seen: list[tuple[float, int]] = []

        def told() -> None:
            now_s = time.monotonic()
            seen.append((now_s, file.rows))
            del seen[:-20]
            (from_s, before), span_s = seen[0], now_s - seen[0][0]
            rate = (file.rows - before) / span_s if span_s > 0 and from_s else 0.0
            gaps = f", {len(file.gaps)} gaps" if file.gaps else ""
            last = clock_text(file.last_ns) if file.last_ns else "-"
            status.update(
                f"{file.rows} rows, {rate:.0f} rows/s, last {last} UTC{gaps}; {listener.state} (Ctrl-C ends)"
            )

        yield told


def _say_changes(listener: Listener, said: list[str]) -> None:
    if said[-1:] != [listener.state]:
        said[:] = [listener.state]
        say(f"hands: {listener.state}", err=True)
