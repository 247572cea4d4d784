"""`python -m tests.storms`: one storm, many, or a long day of trading; what broke is told with the command that plays it
again.

Exit 0 only if nothing broke. `--seed N` tells the run's log too.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.rig.judge import Episode
from tests.storms.storm import TRADES, Report, run

COMMAND = "python -m tests.storms"


def distribution(naked: list[Episode]) -> list[str]:
    """Return the naked time of every episode: all of it, and what neither a fault nor a dead process explains."""
    lines = []
    for kind in ("native", "engine-held"):
        some = [each for each in naked if each.kind == kind]
        for what, times in (
            ("all", sorted(each.total_ns for each in some)),
            ("while the engine was up", sorted(each.total_ns - each.away_ns for each in some)),
            ("unexplained", sorted(each.unexplained_ns for each in some)),
        ):
            if times:
                at = [times[min(len(times) - 1, int(len(times) * part))] / 1e6 for part in (0.5, 0.9, 0.99)]
                lines.append(
                    f"naked, {kind}, {what}: {len(times)} episodes, ms: p50 {at[0]:.0f}, p90 {at[1]:.0f},"
                    f" p99 {at[2]:.0f}, max {times[-1] / 1e6:.0f}"
                )
    return lines


def reproduction(report: Report, trades: int) -> str:
    """Return the one command that plays a storm again."""
    return f"{COMMAND} --seed {report.seed}" + (f" --trades {trades}" if trades != TRADES else "")


def complaint(report: Report, trades: int) -> str:
    """Return what went wrong in a storm, and how to see it again."""
    return "\n".join(
        [
            f"{reproduction(report, trades)}   # digest {report.digest[:16]}",
            *(f"    {w}" for w in report.verdict.wrongs[:8]),
        ]
    )


def _one(seed: int, trades: int) -> int:
    report = run(seed, trades)
    print("\n".join(report.log))
    print(f"digest {report.digest}")
    print(
        f"{report.verdict.trades} trades, {report.crashes} crashes, {report.virtual_s:.0f} s; receipts: {report.codes}"
    )
    print("\n".join(distribution(report.verdict.naked)))
    if report.verdict.wrongs:
        print(complaint(report, trades))
    return 1 if report.verdict.wrongs else 0


def _many(first: int, last: int, trades: int) -> int:
    began_s, broken, made, crashes = time.monotonic(), 0, 0, 0
    naked: list[Episode] = []
    for seed in range(first, last + 1):
        report = run(seed, trades)
        made, crashes = made + report.verdict.trades, crashes + report.crashes
        naked += report.verdict.naked
        if report.verdict.wrongs:
            broken += 1
            print(complaint(report, trades), flush=True)
        if sys.stderr.isatty() or (seed - first + 1) % 100 == 0:
            end = "" if sys.stderr.isatty() else "\n"
            print(
                f"\r{seed - first + 1} storms, {made} trades, {broken} broke",
                end=end,
                file=sys.stderr,
                flush=True,
            )
    print(
        f"{last - first + 1} storms, {made} trades, {crashes} crashes, {broken} broke,"
        f" in {time.monotonic() - began_s:.0f} s"
    )
    print("\n".join(distribution(naked)))
    return 1 if broken else 0


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="one storm, with its log")
    which.add_argument("--seeds", metavar="FIRST-LAST", help="many")
    which.add_argument(
        "--hours", type=float, help="so many hours of trading, with everything going wrong now and then"
    )
    parser.add_argument("--trades", type=int, default=TRADES, help=f"documents per storm (default {TRADES})")
    given = parser.parse_args()
    if given.seed is not None:
        return _one(given.seed, given.trades)
    if given.hours is not None:
        from tests.storms.day import main as day

        return day(given.hours)
    first, _, last = given.seeds.partition("-")
    return _many(int(first), int(last or first), given.trades)


if __name__ == "__main__":
    sys.exit(main())
