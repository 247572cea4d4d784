"""`hands replay`: a market of the past, played through the same guardian and engine.

Owns its flags, the progress bar and what is printed. May not play or compare anything: `hands.replay` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, members, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag
from hands.cli.times import clock_text, moment_ns

if TYPE_CHECKING:
    from hands.replay.arrivals import Arrival
    from hands.replay.compare import Comparison
    from hands.replay.result import Replay, Trade
    from hands.replay.run import Progress, Rows
    from hands.runtime.config import Settings

SHOWN = 20
"""So many trades and differing verdicts are listed; `--json` has them all."""

Document = dict[str, Any]


def replay(
    market: Annotated[
        list[str],
        typer.Argument(help="Recorded files, folders of them, a state directory, or synthetic:SEED:1h."),
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
    limits: Annotated[Path, typer.Option(help="The limits file.")] = Path("config/risk_limits.toml"),
    vs: Annotated[
        Path | None, typer.Option("--vs", help="Other limits: play both, and tell only what differs.")
    ] = None,
    fills: Annotated[
        Literal["realistic", "instant"], typer.Option(help="What is displayed bounds what fills, or nothing.")
    ] = "realistic",
    latency_ms: Annotated[
        float, typer.Option(min=0, max=2000, help="Each way between engine and venue.")
    ] = 20.0,
    session: Annotated[
        Literal["auto", "calendar", "always"], typer.Option(help="When shares trade.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the exchange's ids and partial fills.")] = 0,
    equity: Annotated[str, typer.Option(metavar="USD", help="What the account begins with.")] = "100000",
    symbols: Annotated[str | None, typer.Option(metavar="A,B/USD", help="Narrows the allow-list.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report's page there.")] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    as_json: JsonFlag = False,
) -> None:
    """Play a recorded market through the same checks, engine and protection as live, and tell what came of it.

    Documents are judged at their own times, by the limits file that is named. Orders meet the simulator's exchange after
    --latency-ms, so nothing can act on what it could not have seen. The same inputs give the same digest, everywhere.
    Without --intents and --strategy only the market is played. docs/replay.md has the formats. Exit 0 when it was played.

    Example: hands replay SPY_trades.parquet SPY_quotes.parquet --intents brain.jsonl --limits a.toml --vs b.toml
    """
    from hands.core.limits import LimitsError
    from hands.replay.arrivals import ArrivalError, read_arrivals
    from hands.replay.player import ReplayError
    from hands.replay.run import replay as play
    from hands.replay.strategy import Strategy, StrategyError
    from hands.replay.tape import TapeError
    from hands.sim.market.file_rows import FileError

    if report is not None and vs is not None:
        fail(ExitCode.USAGE, "a report is of one replay: leave --report or --vs out", as_json=as_json)
    settings = _settings(config, as_json=as_json)
    start = None if from_ is None else moment_ns("--from", from_, as_json=as_json)
    end = None if to is None else moment_ns("--to", to, as_json=as_json)
    narrowed = None if symbols is None else members(symbols)
    try:
        tape = _tape(market)
        arrivals: list[Arrival] = [] if intents is None else read_arrivals(intents)

        def run(law: Path, name: str) -> Replay:
            with _progress(name) as progress:
                return play(
                    tape,
                    arrivals,
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
    if other is None:
        _tell(found, as_json=as_json)
    else:
        _tell_difference(found, other, limits, vs or limits, as_json=as_json)


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
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
        task = bar.add_task(name, total=None, rows=0, reached="")

        def tell(rows: int, total: int | None, at_ns: int) -> None:
            bar.update(task, completed=rows, total=total, rows=rows, reached=clock_text(at_ns)[:19])

        yield tell


# --- one replay --------------------------------------------------------------------------------------------


def document(found: Replay) -> Document:
    """Return a replay as `--json` prints it: amounts as decimal text, times as Unix ns."""
    return {
        **_head(found),
        "equity": [[each.at_ns, _text(each.equity)] for each in found.equity],
        "verdicts": [_plain(each) for each in found.verdicts],
        "orders": [_plain(each) for each in found.orders],
        "fills": [_plain(each) for each in found.fills],
        "trades": [_plain(each) for each in found.trades],
        "open_positions": [_plain(each) for each in found.open_positions],
        "refused": [_plain(each) for each in found.refused],
    }


def _head(found: Replay) -> Document:
    return {
        "ok": True,
        "digest": found.digest,
        "symbols": list(found.symbols),
        "from_ns": found.from_ns,
        "to_ns": found.to_ns,
        "fills_model": found.fills_model,
        "latency_ms": found.latency_ms,
        "session": found.session,
        "seed": found.seed,
        "limits_sha256": found.limits_sha256,
        "opening_equity": _text(found.opening_equity),
        "closing_equity": _text(found.equity[-1].equity),
        "verdicts_by_code": found.verdicts_by_code,
        "realised_pnl": _text(found.realised_pnl),
        "open_pnl": _text(found.open_pnl),
        "counters": found.counters,
        "wall_s": round(found.wall_s, 3),
        "rows_per_s": round(found.rows_per_s),
    }


def _text(value: Decimal) -> str:
    """Return a decimal without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: Any) -> Document:
    from dataclasses import asdict

    return {
        name: _text(found) if isinstance(found, Decimal) else found for name, found in asdict(value).items()
    }


def _tell(found: Replay, *, as_json: bool) -> None:
    if as_json:
        print_json(document(found))
        return
    say("\n".join([*_summary(found), "", *_trade_lines(found.trades), *_open_lines(found)]))


def _summary(found: Replay) -> list[str]:
    counters = found.counters
    lines = [
        f"{', '.join(found.symbols)}  {clock_text(found.from_ns)} to {clock_text(found.to_ns)} UTC",
        f"{found.rows:,} rows in {found.wall_s:.1f} s ({found.rows_per_s:,.0f} a second);"
        f" fills {found.fills_model}, {found.latency_ms:g} ms each way, session {found.session}",
        "",
    ]
    codes = found.verdicts_by_code
    if codes:
        lines += table(("verdicts", "documents"), codes.items())
    else:
        lines.append("no document was judged")
    if counters["documents_before"]:
        lines.append(f"{counters['documents_before']} documents from before the market's first row were left out")
    won = sum(trade.pnl > 0 for trade in found.trades)
    gain = found.equity[-1].equity - found.opening_equity
    lines += [
        "",
        f"{len(found.trades)} trades over, {won} of them won; {len(found.open_positions)} still open",
        f"P&L {_money(found.realised_pnl)} USD realised, {_money(found.open_pnl)} open;"
        f" equity {_money(found.equity[-1].equity, sign=False)} ({_money(gain)})",
        f"digest {found.digest}",
    ]
    return lines


def _money(value: Decimal, *, sign: bool = True) -> str:
    return f"{value:+,.2f}" if sign else f"{value:,.2f}"


def _trade_lines(trades: tuple[Trade, ...]) -> list[str]:
    if not trades:
        return []
    rows = [
        (clock_text(t.opened_ns), t.symbol, t.direction, _text(t.qty), _price(t.entry_price), _price(t.exit_price),
         t.exit_reason, _money(t.pnl), t.strategy_ref)
        for t in trades[-SHOWN:]
    ]  # fmt: skip
    headings = ("opened", "symbol", "side", "qty", "entry", "exit", "why", "P&L", "strategy")
    more = len(trades) - SHOWN
    return [*([f"the last {SHOWN} of {len(trades)} trades:"] if more > 0 else []), *table(headings, rows)]


def _price(value: Decimal | None) -> str | None:
    return None if value is None else _text(value)


def _open_lines(found: Replay) -> list[str]:
    rows = [(p.symbol, _text(p.qty), _text(p.avg_price), _text(p.mark), _money(p.pnl)) for p in found.open_positions]
    return ["", *table(("still open", "qty", "entry", "market", "P&L"), rows)] if rows else []


# --- two replays -------------------------------------------------------------------------------------------


def _tell_difference(before: Replay, after: Replay, old: Path, new: Path, *, as_json: bool) -> None:
    from hands.replay.compare import compare

    found = compare(before, after)
    if as_json:
        print_json(
            {
                "ok": True,
                "same": found.is_same,
                "before": {"limits": str(old), **_head(before)},
                "after": {"limits": str(new), **_head(after)},
                "verdicts": [
                    {
                        "intent_id": each.intent_id,
                        "before": None if each.before is None else _plain(each.before),
                        "after": None if each.after is None else _plain(each.after),
                    }
                    for each in found.verdicts
                ],
                "only_before": [_plain(trade) for trade in found.only_before],
                "only_after": [_plain(trade) for trade in found.only_after],
                "moved": [{"before": _plain(m.before), "after": _plain(m.after)} for m in found.moved],
                "realised_pnl_difference": _text(found.realised_pnl),
                "open_pnl_difference": _text(found.open_pnl),
            }
        )
        return
    say("\n".join(_difference(found, before, after, old, new)))


def _difference(found: Comparison, before: Replay, after: Replay, old: Path, new: Path) -> list[str]:
    lines = [f"A {old}: {_short(before)}", f"B {new}: {_short(after)}", ""]
    if found.is_same:
        return [*lines, "no verdict, no trade and no result differs"]
    if found.verdicts:
        rows = [
            (each.intent_id[:8], _at(each), _code(each.before), _code(each.after)) for each in found.verdicts[:SHOWN]
        ]
        lines += [f"{len(found.verdicts)} verdicts differ:", *table(("intent", "at", "A", "B"), rows)]
    for name, trades in (("A", found.only_before), ("B", found.only_after)):
        if trades:
            lines += ["", f"{len(trades)} trades only in {name}:", *_trade_lines(trades)]
    if found.moved:
        rows = [
            (m.before.intent_id[:8], m.before.symbol, _text(m.before.qty), _text(m.after.qty), _money(m.before.pnl),
             _money(m.after.pnl), _money(m.pnl))
            for m in found.moved[:SHOWN]
        ]  # fmt: skip
        headings = ("intent", "symbol", "qty A", "qty B", "P&L A", "P&L B", "B - A")
        lines += ["", f"{len(found.moved)} trades came to another end:", *table(headings, rows)]
    difference = f"{_money(found.realised_pnl)} USD realised, {_money(found.open_pnl)} open"
    return [*lines, "", f"B - A: {difference}"]


def _short(found: Replay) -> str:
    return f"{len(found.trades)} trades, {_money(found.realised_pnl)} USD realised, digest {found.digest[:16]}"


def _at(changed: Any) -> str:
    known = changed.before or changed.after
    return clock_text(known.at_ns)


def _code(verdict: Any) -> str | None:
    return None if verdict is None else str(verdict.code)
