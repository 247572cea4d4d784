"""`python -m tests.exploration`: explore the machine of brackets and pairs, and print what was looked at.

Every scenario by default, as deep as a test does. `--depth N`: every order of every possible move, N moves long, with at
most `--faults` faults on a path. `--departures N`: whole lives of a trade, departing N times from what happens when nothing
goes wrong, everywhere and in every way (faults and late or early messages are departures). From every situation that is
reached, the way home is followed: a world without faults must end protected or flat. A counterexample is printed as the
moves that lead to it and a command that plays them again. Ends with 1 where there is one.

What stands between this and the world:
- One long trade of two or three units on one symbol, in an open session; a fill is of one unit or of all that is left. The
  market is at one of three or four levels, moves at most twice, and its quote is always fresh.
- Time passes only to the engine's next timer; a submit or a replacement takes a millisecond, everything else no time. A
  message may be as late as one likes, in steps of those timers. A process that starts late was away for 20 s.
- The journal is lost back to the last order's commit or not at all; after a crash what was asked for last has left or not.
- Receipts and the day's list of orders are answered at once; nobody answers for fills (they are about money).
- A list of positions may lag by less than a second behind a fill.
- The regular snapshot (every 30 s) never comes: what only it would cure is a counterexample.
- Two situations are one if they differ in nothing but money, records, text, budgets and ages beyond a minute
  (`tests.exploration.likeness` lists it; a test compares the futures of situations that are taken for one).
- States are told apart by 96 bits of a hash.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.core.world import NOW
from tests.exploration.explorer import Counterexample, Explorer, Result
from tests.exploration.invariants import ALWAYS, AT_REST, is_at_rest, is_safe
from tests.exploration.scenarios import SCENARIOS, first
from tests.exploration.situation import Situation
from tests.exploration.wires import Broken, short

SEPARATOR = " / "


def report(result: Result) -> str:
    """Return a result as a few lines of text."""
    home = result.longest
    looked_at = f"{result.states} states, {result.transitions} transitions, {result.decisions} decisions"
    lines = [
        f"{result.scenario}: {result.how_far}: {looked_at} in {result.seconds:.1f} s of CPU",
        "  checked: " + ", ".join(f"{name} {count}" for name, count in result.checked.items()),
        f"  the longest way home: {home.steps} moves, {home.ns / 1e9:.1f} s, uncovered {home.naked_ns / 1e9:.1f} s",
    ]
    if result.alerts:
        lines.append(
            "  told: " + ", ".join(f"{code} {count}" for code, count in sorted(result.alerts.items()))
        )
    return "\n".join([*lines, *map(story, result.found)])


def story(found: Counterexample) -> str:
    """Return a counterexample as the moves that lead to it and the command that plays them again."""
    lines = [f"  NOT SO: {found.invariant}: {found.detail}"]
    lines += [f"    {number:3} {move}" for number, move in enumerate(found.path, 1)]
    lines += [
        f"    {number:3} {move}   (nothing goes wrong)"
        for number, move in enumerate(found.home, 1 + len(found.path))
    ]
    moves = SEPARATOR.join((*found.path, *found.home))
    lines.append(f'    again: python -m tests.exploration --scenario {found.scenario} --replay "{moves}"')
    return "\n".join(lines)


def replay(name: str, moves: list[str]) -> int:
    """Play moves and show what each leads to; return 1 where an invariant does not hold."""
    s, failed = first(name, faults=len(moves), swings=len(moves)), False
    show(s, "at first")
    for move in moves:
        try:
            s.make(move)
        except Broken as error:
            print(f"  NOT SO: {error}")
            return 1
        show(s, move)
        for invariant, holds in (ALWAYS | AT_REST if is_at_rest(s) else ALWAYS).items():
            for detail in holds(s):
                failed = True
                print(f"  NOT SO: {invariant}: {detail}")
    print("safe" if is_safe(s) else "not safe yet; next would be: " + str(s.fair_move()))
    return int(failed)


def show(s: Situation, move: str) -> None:
    """Print a move, what the venue has, and what our book says."""
    venue = s.exchange
    orders = ", ".join(f"{short(o.client_id)} {o.word}" for o in venue.orders.values())
    print(f"{(s.now_ns - NOW) / 1e9:8.3f} s  {move}")
    print(f"             venue: {venue.level}, holds {venue.position / 1e9:g}, {orders or 'no order'}")
    for ticket in (*s.state.tickets.values(), *s.state.finished.values()):
        known = ", ".join(
            f"{o.leg} {o.status} {o.filled_qty / 1e9:g}/{o.qty / 1e9:g}" for o in ticket.orders.values()
        )
        print(f"             book: {ticket.state}, owns {ticket.owned / 1e9:g}, {known}")


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.exploration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append")
    parser.add_argument("--depth", type=int, help="every order of every move, so many moves long")
    parser.add_argument(
        "--departures", type=int, help="whole lives, departing so many times from the fair one"
    )
    parser.add_argument("--faults", type=int, help="with --depth: how many faults a path may have")
    parser.add_argument("--replay", metavar="MOVES", help=f'play these moves, separated by "{SEPARATOR}"')
    parser.add_argument(
        "--json", metavar="OUT", type=Path, help="write the figures and counterexamples there too"
    )
    asked = parser.parse_args(arguments)
    names = asked.scenario or list(SCENARIOS)
    if asked.replay is not None:
        return replay(names[0], [move.strip() for move in asked.replay.split(SEPARATOR) if move.strip()])
    results = []
    for name in names:
        scenario = SCENARIOS[name]
        print(f"{name}: {scenario.says}", flush=True)
        if asked.depth is not None or asked.departures is None:
            depth = scenario.depth if asked.depth is None else asked.depth
            results.append(Explorer(name, faults=asked.faults).to_depth(depth, progress))
            print(report(results[-1]), flush=True)
        if asked.departures is not None or asked.depth is None:
            most = scenario.departures if asked.departures is None else asked.departures
            results.append(Explorer(name, faults=most).to_departures(most, progress))
            print(report(results[-1]), flush=True)
    if asked.json is not None:
        documents = [
            r._asdict() | {"longest": r.longest._asdict(), "found": [c._asdict() for c in r.found]}
            for r in results
        ]
        asked.json.write_text(json.dumps(documents, indent=1) + "\n")
    return int(any(result.found for result in results))


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
