"""`python -m tests.crash`: the crash matrix of injected deaths; `python -m tests.crash.real` plays the real ones.

Prints one line per scenario and step, one column per fault; what broke is told below, each with the command that plays
it again. Exit 0 only if every cell is well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.crash.cells import Cell, Outcome, cells, run
from tests.crash.points import FAULTS

COMMAND = "python -m tests.crash"


def table(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the matrix as text: how many cells are well, or how many broke; the longest naked time and downtime."""
    rows: dict[tuple[str, str], dict[str, list[Outcome]]] = {}
    for each in outcomes:
        rows.setdefault((each.cell.scenario, each.step or "no death"), {}).setdefault(
            each.cell.fault, []
        ).append(each)
    lines = [
        f"{'scenario':30} {'dies at':28} {' '.join(f'{fault:>17}' for fault in FAULTS)} {'naked ms':>9} {'down ms':>8}"
    ]
    former = ""
    for (scenario, step), found in rows.items():
        shown = [_cell(found.get(fault, [])) for fault in FAULTS]
        every = [each for some in found.values() for each in some]
        naked, down = max(each.naked_ms for each in every), max(each.down_ms for each in every)
        name, former = (scenario if scenario != former else ""), scenario
        lines.append(
            f"{name:30} {step:28} {' '.join(f'{text:>17}' for text in shown)} {naked:9.0f} {down:8.0f}"
        )
    return lines


def _cell(outcomes: list[Outcome]) -> str:
    broken = sum(1 for each in outcomes if each.wrongs)
    if broken:
        return f"BROKE {broken}/{len(outcomes)}"
    return f"ok {len(outcomes)}" if outcomes else "-"


def summary(outcomes: list[Outcome], seconds: float) -> list[str]:
    """Return what came of all of it, and each cell that broke with its command."""
    broken = [each for each in outcomes if each.wrongs]
    lines = [f"{len(outcomes)} cells, {len(broken)} broke, in {seconds:.0f} s"]
    for each in broken:
        lines.append(f'{COMMAND} --cell "{each.cell}"   # {each.step}')
        lines += [f"    {wrong}" for wrong in each.wrongs[:5]]
    for kind in ("native", "engine-held"):
        naked = sorted(each.naked_ms for each in outcomes if each.cell.scenario.endswith(kind))
        if naked:
            at = [naked[min(len(naked) - 1, int(len(naked) * part))] for part in (0.5, 0.9, 0.99)]
            lines.append(
                f"longest naked time of a cell, {kind}, ms: p50 {at[0]:.0f}, p90 {at[1]:.0f}, p99 {at[2]:.0f}, max {naked[-1]:.0f}"
                f" (the time without a process included)"
            )
    return lines


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--cell", help="one cell, as a failure names it; its log follows")
    parser.add_argument("--all", action="store_true", help="every fault at every point (slow)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every cell there")
    given = parser.parse_args()
    if given.cell is not None:
        outcome = run(_parsed(given.cell))
        print("\n".join(outcome.log))
        print("\n".join([str(outcome.cell), outcome.step, *outcome.wrongs]))
        return 1 if outcome.wrongs else 0
    began_s = time.monotonic()
    outcomes = []
    is_whole = False
    with contextlib.suppress(KeyboardInterrupt):  # what was done until then is told
        for cell in cells(given.only, everything=given.all):
            outcomes.append(run(cell))
            outcomes[-1].log.clear()
            if sys.stderr.isatty():
                print(f"\r{len(outcomes)} {cell}\033[K", end="", file=sys.stderr)
        is_whole = True
    print("\n".join([*table(outcomes), *summary(outcomes, time.monotonic() - began_s)]))
    if given.json is not None:
        given.json.write_text(json.dumps([each.row() for each in outcomes], indent=1))
    if not is_whole:
        print("interrupted: these are not all")
    return 0 if is_whole and not any(each.wrongs for each in outcomes) else 1


def _parsed(text: str) -> Cell:
    scenario, point, fault = text.split("/")
    return Cell(scenario, None if point == "None" else int(point), fault)


if __name__ == "__main__":
    sys.exit(main())
