"""What a running engine costs at rest: memory, time to ready, time to import.

Time to ready is from the start of the process to its ready line, at a venue that answers at once; the machine code
is in numba's cache by then (the first start on a machine compiles it, which takes some ten seconds once).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.intent_to_wire import start_hands
from bench.processes import ROOT, BenchError
from bench.venue import open_venue

RUNS = 3
_IMPORT = "import time; began = time.perf_counter(); import hands.runtime.daemon; print(time.perf_counter() - began)"


def measure(room: Path) -> dict[str, Any]:
    """Return `rss_mb` when ready, `start_to_ready_s` and `import_s` (best of a few: noise only adds)."""
    starts: list[float] = []
    memory: list[float] = []
    for run in range(RUNS):
        inner = room / f"start-{run}"
        inner.mkdir()
        with open_venue(inner) as venue, start_hands(inner, venue) as daemon:
            starts.append(daemon.ready_s)
            resident = resident_mb(daemon.process.pid)
            memory += [resident] if resident is not None else []
    found = {
        "start_to_ready_s": round(min(starts), 2),
        "import_s": round(min(_import_s() for _ in range(RUNS)), 2),
    }
    return ({"rss_mb": round(max(memory), 1)} if memory else {}) | found


def resident_mb(pid: int) -> float | None:
    """Return the resident memory of a process, None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), None)


def _import_s() -> float:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"the daemon cannot be imported: {done.stderr[-500:]}")
    return float(done.stdout)
