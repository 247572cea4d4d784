"""Processes that say when they are ready, and are ended by whoever started them.

Owns starting, the wait for the ready line, and the end. The one idea: a process that does not come up fails the
run with what it wrote to stderr, never with a number.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 120.0
"""The first start on a machine compiles the kernel."""

END_WITHIN_S = 10.0


class BenchError(Exception):
    """A measurement could not be made, or what was measured did not do its work; the message says what."""


class Running:
    """A process of ours: `ready` is its ready line as JSON, `ready_s` how long that took."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any], ready_s: float) -> None:
        self.process = process
        self.ready = ready
        self.ready_s = ready_s


@contextmanager
def running(arguments: Sequence[str], log: Path) -> Iterator[Running]:
    """Start `python ARGUMENTS`, wait for its ready line, end it afterwards. Raises BenchError.

    stderr goes to `log`. Credentials of the caller's shell are not passed on: nothing here may reach an account.
    """
    began = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("APCA_")},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        ready = _ready_line(process, log, arguments)
        yield Running(process, ready, time.monotonic() - began)
    finally:
        _end(process)


def _ready_line(process: subprocess.Popen[bytes], log: Path, arguments: Sequence[str]) -> dict[str, Any]:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_WITHIN_S)
    line = process.stdout.readline() if readable else b""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("event") != "ready":
        said = log.read_text("utf-8", "replace")[-2_000:].strip()
        raise BenchError(f"{' '.join(arguments[:3])} did not become ready: {said or line!r}")
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
