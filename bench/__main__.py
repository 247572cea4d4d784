"""`python -m bench`: run the measurements, show them, write them down.

Owns the command line and the order of things. The machine is described first, before it is put to work.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import (
    drops_flood,
    endurance,
    feed,
    footprint,
    indicators,
    ingest,
    intent_to_wire,
    kernel,
    naked,
    peers,
    record,
    replay,
    verdict,
)
from bench.machine import Others, machine
from bench.processes import ROOT, BenchError
from bench.report import show


class Name(StrEnum):
    INTENT_TO_WIRE = "intent_to_wire"
    SIM_FEED = "sim_feed"
    INGEST = "ingest"
    INDICATORS = "indicators"
    REPLAY = "replay"
    SCALE = "scale"
    FOOTPRINT = "footprint"
    VERDICT = "verdict"
    FLOOD = "flood"
    ENDURANCE = "endurance"
    NAKED = "naked"
    RECORD = "record"


def main(
    *,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the result as one JSON object.")
    ] = None,
    only: Annotated[list[Name] | None, typer.Option(help="Only this measurement (repeatable).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer samples: a look, not a result.")] = False,
) -> None:
    """Measure Hands on this machine, beside a floor and beside what one would use instead.

    intent_to_wire: from an intent's rename to the first byte of its order at the exchange's socket, for Hands (the
    real daemon, every check on), for a floor program that checks nothing, and for two peers; all in one run.
    sim_feed: market data from `hands sim` to a consumer that only counts.
    ingest: market data from a socket's bytes to updated indicators, and what alpaca-py's stream takes.
    indicators: one market row through the kernel, in a batch and alone, beside nautilus_trader and talipp where they are
    installed, and how far from TA-Lib. replay: a market of ten million rows from beginning to end, with and without intents,
    beside nautilus_trader's backtest of the same ticks. scale: the same with up to 5 000 symbols and 100 000 triggers. footprint: memory,
    start, import. verdict: one document before the guardian, accepted and refused. endurance: twelve hours of market with everything going wrong, memory hour by hour, every number
    recomputed from scratch. flood: ten thousand documents at once, and how long a good one in their midst waits. naked: whole trades, and for how long of each nothing protected it. record: what keeping the record costs.

    Everything runs on loopback sockets in a folder under var/ that is removed afterwards. Leave the machine alone
    meanwhile: what others did with it is in the result. What this version does not measure is absent from it.

    Example: python -m bench --quick --only intent_to_wire --json bench-today.json
    """
    console = Console()
    wanted = only or list(Name)
    result: dict[str, Any] = {"machine": machine()}
    others = Others()
    try:
        for name in wanted:
            result[name.value] = _MEASUREMENTS[name](quick, console)
    except BenchError as error:
        console.print(f"bench: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    busy = others.busy()
    if busy is not None:
        result["machine"]["busy_by_others"] = busy
    show(console, result, _left_out(wanted))
    if json_out is not None:
        json_out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _left_out(wanted: list[Name]) -> list[str]:
    left_out = []
    if {Name.INTENT_TO_WIRE, Name.INGEST} & set(wanted):
        absent = {peer: peers.missing(peer) for peer in ("naive", "tuned")}
        left_out += [
            f"the {peer} peer: {package} is not installed" for peer, package in absent.items() if package
        ]
    if Name.INDICATORS in wanted:
        left_out += [f"comparison with {package}: it is not installed" for package in indicators.missing()]
    if Name.REPLAY in wanted:
        left_out += [f"replay beside {package}: it is not installed" for package in replay.missing()]
    return left_out


def _intent_to_wire(quick: bool, console: Console) -> dict[str, Any]:
    size = intent_to_wire.QUICK if quick else intent_to_wire.FULL
    with _room() as room, _progress(console) as progress:
        task = progress.add_task("intent_to_wire", total=intent_to_wire.drops_planned(size))

        def tell(name: str, drops: int) -> None:
            progress.update(task, advance=drops, description=f"intent_to_wire: {name}")

        return intent_to_wire.measure(room, size, tell)


def _ingest(quick: bool, console: Console) -> dict[str, Any]:
    size = ingest.QUICK if quick else ingest.FULL
    with _room() as room, _progress(console) as progress:
        task = progress.add_task("ingest", total=ingest.runs_planned(size))

        def tell(name: str) -> None:
            progress.update(task, advance=1, description=f"ingest: {name}")

        return ingest.measure(room, size, tell)


def _indicators(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("indicators"):
        return dict(indicators.run(quick))


def _replay(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("replay"):
        return dict(replay.run(quick))


def _scale(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("scale"):
        return kernel.scale(quick)


def _sim_feed(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("sim_feed"), _room() as room:
        return feed.measure(room, quick=quick)


def _endurance(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("endurance"), _room() as room:
        return endurance.measure(room, endurance.QUICK if quick else endurance.FULL)


def _footprint(quick: bool, console: Console) -> dict[str, Any]:
    del quick
    with console.status("footprint"), _room() as room:
        return footprint.measure(room)


def _naked(quick: bool, console: Console) -> dict[str, Any]:
    size = naked.QUICK if quick else naked.FULL
    with _room() as room, _progress(console) as progress:
        task = progress.add_task("naked", total=naked.trades_planned(size))

        def tell(name: str) -> None:
            progress.update(task, advance=1, description=f"naked: {name}")

        return naked.measure(room, size, tell)


def _verdict(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("verdict"):
        return dict(verdict.measure(quick=quick))


def _flood(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("flood"), _room() as room:
        return dict(drops_flood.measure(room, quick=quick))


def _record(quick: bool, console: Console) -> dict[str, Any]:
    with console.status("record"), _room() as room:
        return record.measure(room, quick=quick)


_MEASUREMENTS: dict[Name, Callable[[bool, Console], dict[str, Any]]] = {
    Name.INTENT_TO_WIRE: _intent_to_wire,
    Name.SIM_FEED: _sim_feed,
    Name.INGEST: _ingest,
    Name.INDICATORS: _indicators,
    Name.REPLAY: _replay,
    Name.SCALE: _scale,
    Name.FOOTPRINT: _footprint,
    Name.VERDICT: _verdict,
    Name.FLOOD: _flood,
    Name.ENDURANCE: _endurance,
    Name.NAKED: _naked,
    Name.RECORD: _record,
}


@contextmanager
def _room() -> Iterator[Path]:
    """Make a folder for one measurement, on the disk that the tree is on: /tmp is often memory and would flatter."""
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var", prefix="bench-") as folder:
        yield Path(folder)


def _progress(console: Console) -> Progress:
    """A bar that is drawn twice a second: drawing takes time on a processor that is being measured."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        refresh_per_second=2,
        transient=True,
    )


if __name__ == "__main__":
    typer.run(main)
