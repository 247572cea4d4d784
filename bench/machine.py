"""Where it was measured: a number without its machine says nothing."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("hands", "numpy", "numba", "uvloop")
BUSY_OVER_S = 1.0
BUSY_MAX = 0.05
"""Where others use more of the processors than this, latencies contain waiting for one."""


def machine() -> dict[str, Any]:
    """Return processor, cores, interpreter, kernel, versions, and how busy it was before anything ran."""
    found = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": {name: version(name) for name in PACKAGES},
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    busy = _busy_fraction()
    return found if busy is None else found | {"busy_before": busy}


def _busy_fraction() -> float | None:
    """Return which part of all processors' time is used while nothing of ours runs; None where nobody tells."""
    before = _processor_ticks()
    if before is None:
        return None
    time.sleep(BUSY_OVER_S)
    after = _processor_ticks()
    if after is None or after[1] <= before[1]:
        return None
    return round((after[0] - before[0]) / (after[1] - before[1]), 3)


def _processor_ticks() -> tuple[int, int] | None:
    """Return (busy, all) ticks of all processors since the start of the system."""
    try:
        first = Path("/proc/stat").read_text("ascii").partition("\n")[0]
    except OSError:
        return None
    ticks = [int(part) for part in first.split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # less idle and waiting for the disk


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


class Others:
    """What everybody else did with the processors since this was made, so that a disturbed run is known as one."""

    def __init__(self) -> None:
        self._before = _processor_ticks()
        self._ours_s = _our_seconds()

    def busy(self) -> float | None:
        """Return the part of all processors' time that others used; None where the system does not tell.

        Processes of ours count once they have ended.
        """
        after = _processor_ticks()
        if self._before is None or after is None or after[1] <= self._before[1]:
            return None
        ours = (_our_seconds() - self._ours_s) * os.sysconf("SC_CLK_TCK")
        return round(max(0.0, after[0] - self._before[0] - ours) / (after[1] - self._before[1]), 3)


def _our_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
