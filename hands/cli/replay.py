"""`hands replay`: a market of the past, played through the same guardian and engine.

Owns its flags, the progress bar and what is printed. May not play or compare anything: `hands.replay` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, members, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag
from hands.cli.replay_view import tell, tell_difference
from hands.cli.times import clock_text, moment_ns

if TYPE_CHECKING:
    from hands.replay.given import Rows
    from hands.replay.outcome import Replay
    from hands.replay.run import Progress
    from hands.runtime.config import Settings

DEFAULT_LIMITS = Path("config/risk_limits.toml")


def replay(
    market: Annotated[
        list[str],
        typer.Argument(
            metavar="MARKET", help="Recorded files, folders of them, a state directory, or synthetic:SEED:1h."
        ),
    ],
    *,
    intents: Annotated[
        Path | None,
        typer.Option(help='Documents: JSON lines {"at", "agent", "intent"}, a folder, a state directory.'),
    ] = None,
    strategy: Annotated[Path | None, typer.Option(help="A Python file with on_bar(view).")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="2026-01-05, or RFC 3339.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Not including it.")] = None,
    limits: Annotated[
        Path | None,
        typer.Option(help="The limits file [those on record with --intents, else config/risk_limits.toml]."),
    ] = None,
    vs: Annotated[
        Path | None, typer.Option("--vs", help="Other limits: play both, and tell only what differs.")
    ] = None,
    fills: Annotated[
        Literal["realistic", "instant"], typer.Option(help="What is displayed bounds what fills, or nothing.")
    ] = "realistic",
    latency_ms: Annotated[
        float | None,
        typer.Option(min=0, max=2000, help="Each way between engine and venue [as on record, else 20]."),
    ] = None,
    session: Annotated[
        Literal["auto", "calendar", "always"], typer.Option(help="When shares trade.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the exchange's ids and partial fills.")] = 0,
    equity: Annotated[
        str | None,
        typer.Option(metavar="USD", help="What the account begins with [as on record, else 100000]."),
    ] = None,
    symbols: Annotated[str | None, typer.Option(metavar="A,B/USD", help="Narrows the allow-list.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report's page there.")] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    as_json: JsonFlag = False,
) -> None:
    """Play a recorded market through the same checks, engine and protection as live, and tell what came of it.

    Documents are judged at their own times, by the limits file that is named. Orders meet the simulator's exchange after
    --latency-ms, so nothing can act on what it could not have seen. The same inputs give the same digest.
    With --intents STATE_DIR the limits, latencies, equity and what the operator did are those on record, unless named here.
    Without --intents and --strategy only the market is played. docs/replay.md has the formats. Exit 0 when it was played.

    Example: hands replay SPY_trades.parquet SPY_quotes.parquet --intents brain.jsonl --limits a.toml --vs b.toml
    """
    from hands.core.limits import LimitsError
    from hands.replay.arrivals import ArrivalError
    from hands.replay.given import documents, law_of
    from hands.replay.player import ReplayError
    from hands.replay.run import replay as play
    from hands.replay.strategy import Strategy, StrategyError
    from hands.replay.tape import TapeError
    from hands.sim.market.file_rows import FileError

    if report is not None and vs is not None:
        fail(ExitCode.USAGE, "a report is of one replay: leave --report or --vs out", as_json=as_json)
    if report is not None:
        _check_place(report, as_json=as_json)
    settings = _settings(config, as_json=as_json)
    start = None if from_ is None else moment_ns("--from", from_, as_json=as_json)
    end = None if to is None else moment_ns("--to", to, as_json=as_json)
    narrowed = None if symbols is None else members(symbols)
    try:
        told = documents(() if intents is None else intents)
        if limits is None and (told.recorded is None or told.recorded.limits is None):
            limits = DEFAULT_LIMITS
        for law in (limits, vs):
            if law is not None:
                law_of(law, narrowed)  # what cannot be meant is said before the first row
        tape = _tape(market)

        def run(law: Path | None, name: str) -> Replay:
            with _progress(name) as progress:
                return play(
                    tape,
                    told,
                    limits=law,
                    strategy=None if strategy is None else Strategy.load(strategy),
                    start=start,
                    end=end,
                    fills=fills,
                    latency_ms=latency_ms,
                    session=session,
                    seed=seed,
                    equity=equity,
                    symbols=narrowed,
                    intervals_s=settings.market.intervals_s,
                    periods=settings.market.periods_of(tape.symbols),
                    suspicious_jump=settings.market.suspicious_jump,
                    close_intent=settings.venue.close_intent,
                    progress=progress,
                )

        found = run(limits, "replay")
        other = None if vs is None else run(vs, "the other limits")
    except LimitsError as error:
        fail(ExitCode.USAGE, error.problems, as_json=as_json)
    except (ArrivalError, StrategyError, ReplayError, TapeError, FileError) as error:
        fail(ExitCode.USAGE, str(error), as_json=as_json)
    except OSError as error:
        fail(ExitCode.USAGE, f"{error.filename}: {error.strerror}", as_json=as_json)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, "interrupted; nothing was kept", as_json=as_json)
    if report is not None:
        _write(found, tape, report, as_json=as_json)
    if other is None:
        tell(found, as_json=as_json)
    else:
        tell_difference(found, other, limits or "on record", vs or "on record", as_json=as_json)


def _check_place(path: Path, *, as_json: bool) -> None:
    """End with 2 where no page can be written: better now than after an hour of rows."""
    if path.is_dir():
        fail(ExitCode.USAGE, f"--report {path}: a folder; name a file in it", as_json=as_json)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        why = "may not be written to" if path.parent.exists() else "is not there"
        fail(ExitCode.USAGE, f"--report {path}: the folder {path.parent} {why}", as_json=as_json)


def _write(found: Replay, tape: Rows, path: Path, *, as_json: bool) -> None:
    from hands.replay.page import write_page

    try:
        write_page(found, tape, path)
    except OSError as error:
        fail(ExitCode.USAGE, f"{path} cannot be written: {error.strerror or error}", as_json=as_json)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, "interrupted; no report was written", as_json=as_json)
    say(f"report: {path}", err=True)


def _settings(config: Path, *, as_json: bool) -> Settings:
    """Return hands.toml; where the usual place is empty, as it is shipped."""
    import tempfile

    from hands.runtime.config import ConfigError, read_settings
    from hands.runtime.set_up import shipped

    try:
        if config == DEFAULT_CONFIG and not config.exists():
            with tempfile.NamedTemporaryFile(suffix=".toml") as file:
                file.write(shipped("hands.toml"))
                file.flush()
                return read_settings(Path(file.name))
        return read_settings(config)
    except ConfigError as error:
        fail(ExitCode.USAGE, error.problems, as_json=as_json)


def _tape(names: list[str]) -> Rows:
    from hands.replay.sources import open_market

    return open_market(names)


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """Show how far a replay has come, on a terminal's stderr; twice a second, since drawing takes time too."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:>13,} rows  {task.fields[reached]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=2, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(name, total=None, rows=0, reached="")

        def tell(rows: int, total: int | None, at_ns: int) -> None:
            bar.update(task, completed=rows, total=total, rows=rows, reached=clock_text(at_ns)[:19])

        yield tell
