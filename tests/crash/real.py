"""`python -m tests.crash.real`: real daemons, killed by real SIGKILLs at named steps, started again, and judged.

Owns the command line, the desks and the table that is printed. Two desks play half of the cells each, at the same time;
a desk at which a cell went wrong is cleared away, so that no cell is blamed for another's.

Example: python -m tests.crash.real --only 'crypto target' --json real.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.crash.real_cells import CELLS
from tests.crash.real_desk import Desk
from tests.crash.real_play import BOUND_MS, Cell, Play, Verdict
from tests.e2e.harness import MARKET, Exchange

Tell = Callable[[Verdict], None]


def play(cells: Sequence[Cell], folder: Path, tell: Tell) -> list[Verdict]:
    """Play cells one after the other, at one desk as long as all goes well; return their verdicts."""
    verdicts: list[Verdict] = []
    left = list(cells)
    with ExitStack() as stack:
        exchange = Exchange(folder, tape=["manual"], fills="realistic")
        stack.callback(exchange.process.end)
        number = 0
        while left:
            room = folder / f"desk-{number}"
            room.mkdir()
            number += 1
            exchange.reset()
            count = len(verdicts)
            verdicts += _sit_down(Desk(room, exchange), left, tell)
            left = left[len(verdicts) - count :]
    return verdicts


def _sit_down(desk: Desk, cells: Sequence[Cell], tell: Tell) -> list[Verdict]:
    """Play until the first cell that goes wrong, or to the end."""
    verdicts: list[Verdict] = []
    try:
        desk.start_life(*MARKET)
        for cell in cells:
            verdict = Play(desk, cell).run()
            verdicts.append(verdict)
            if cell is cells[-1] or not verdict.is_ok:
                verdict.complaints += _leave(desk)
            tell(verdict)
            if not verdict.is_ok:
                break
    finally:
        desk.close()
    return verdicts


def _leave(desk: Desk) -> list[str]:
    """End the day orderly and return what does not add up."""
    complaints = [] if desk.is_dead else [f"SIGTERM ended it with {code}" for code in [desk.stop()] if code]
    try:
        desk.check()
    except AssertionError as error:
        complaints.append(str(error).splitlines()[0])
    return complaints


def play_all(cells: Sequence[Cell], folder: Path, desks: int, tell: Tell) -> list[Verdict]:
    """Play cells at several desks at once; return the verdicts in the order of the cells."""
    rooms = []
    for number in range(desks):
        room = folder / f"room-{number}"
        room.mkdir()
        rooms.append(room)
    shares = [list(cells[number::desks]) for number in range(desks)]
    with ThreadPoolExecutor(desks) as pool:
        parts = list(pool.map(lambda share, room: play(share, room, tell), shares, rooms))
    order = {cell: number for number, cell in enumerate(cells)}
    return sorted((verdict for part in parts for verdict in part), key=lambda verdict: order[verdict.cell])


# --- what is shown -------------------------------------------------------------------------------------------


def line(verdict: Verdict) -> str:
    """Return a cell's line of the table."""
    cell = verdict.cell
    step = f"{cell.step} > {cell.again}" if cell.again else cell.step
    times = f"{verdict.naked_alive_ms:8.1f} {verdict.naked_down_ms:8.1f} {verdict.down_ms:7.0f}"
    what = "ok" if verdict.is_ok else "BROKEN: " + "; ".join(verdict.complaints)
    return f"{cell.asset + ' ' + cell.scenario:15} {step:57} {cell.fault:13} {times}  {what}"


HEAD = (
    f"{'scenario':15} {'killed at':57} {'fault':13} {'naked ms':>8} {'down':>8} {'down ms':>7}\n"
    f"{'':15} {'':57} {'':13} {'alive':>8} {'naked':>8} {'':>7}"
)


def document(verdicts: Sequence[Verdict], took_s: float) -> dict[str, Any]:
    """Return the matrix as JSON: milliseconds, and what broke."""
    return {
        "cells": [
            {
                "scenario": f"{v.cell.asset} {v.cell.scenario}",
                "step": v.cell.step,
                "again": v.cell.again or None,
                "fault": v.cell.fault,
                "ok": v.is_ok,
                "complaints": v.complaints,
                "state": v.state,
                "naked_ms": round(v.naked_alive_ms, 1),
                "naked_down_ms": round(v.naked_down_ms, 1),
                "down_ms": round(v.down_ms),
                "took_s": round(v.took_s, 2),
            }
            for v in verdicts
        ],
        "summary": summary(verdicts, took_s),
    }


def summary(verdicts: Sequence[Verdict], took_s: float) -> dict[str, Any]:
    """Return what the matrix comes to."""
    return {
        "cells": len(verdicts),
        "broken": sum(not v.is_ok for v in verdicts),
        "naked_max_ms": round(max((v.naked_alive_ms for v in verdicts), default=0.0), 1),
        "naked_bound_ms": BOUND_MS,
        "naked_down_max_ms": round(max((v.naked_down_ms for v in verdicts), default=0.0), 1),
        "down_max_ms": round(max((v.down_ms for v in verdicts), default=0.0)),
        "took_s": round(took_s, 1),
    }


def _progress(cells: int) -> Tell:
    began = time.monotonic()
    done: Iterator[int] = iter(range(1, cells + 1))

    def tell(verdict: Verdict) -> None:
        mark = "" if verdict.is_ok else f"  BROKEN {verdict.cell.name}: {'; '.join(verdict.complaints)}"
        said = f"{next(done)}/{cells} cells, {time.monotonic() - began:.0f} s{mark}"
        if mark or sys.stderr.isatty():
            print(f"\r{said}", end="\n" if mark else "", file=sys.stderr, flush=True)

    return tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the matrix; return 1 if a cell is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.real", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only the cells whose name contains this")
    parser.add_argument("--desks", type=int, default=2, help="how many are played at once (2)")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--list", action="store_true", help="print the cells' names and end")
    options = parser.parse_args(arguments)
    cells = [cell for cell in CELLS if options.only in cell.name]
    if options.list or not cells:
        print("\n".join(cell.name for cell in cells) or f"no cell contains {options.only!r}")
        return 0 if cells else 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hands-crash-") as folder:
        verdicts = play_all(cells, Path(folder), min(options.desks, len(cells)), _progress(len(cells)))
    took_s = time.monotonic() - began
    clear = f"\r{' ' * 30}\r" if sys.stderr.isatty() else ""
    print(f"{clear}{HEAD}", *map(line, verdicts), sep="\n")
    print(json.dumps(summary(verdicts, took_s)))
    if options.json is not None:
        options.json.write_text(json.dumps(document(verdicts, took_s), indent=2) + "\n")
    return 1 if any(not verdict.is_ok for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
