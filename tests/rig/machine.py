"""The machine of the rig: what the code of both sides asks the operating system for, answered by virtual time and a seed.

Owns the replacement, for the length of a run, of the clock, of chance and of threads in the modules that use them. May
not change what any of them does with the answers. The one idea: a module that says `time.monotonic()` is given another
`time`; nothing else in the process is touched, so that a test runner's own clock goes on.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from types import ModuleType, SimpleNamespace
from typing import Any

from hands.journal.recorder import Recorder
from hands.runtime import config as config_module
from hands.runtime.clock import Clock
from hands.venues.alpaca.rate import RateBudget
from tests.rig.loop import VirtualLoop

OURS = ("hands.", "aiohttp.")

READ_AT_IMPORT: tuple[tuple[Any, str], ...] = (
    (RateBudget.__init__, "monotonic"),
    (Clock.__init__, "awake"),
    (Clock.__init__, "wall"),
    (Recorder.__init__, "clock"),
)
"""Functions of the module `time` that stand as a default value."""


class _Time:
    """The module `time`, as a machine with virtual time has it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def time_ns(self) -> int:
        return self._loop.wall_ns

    def time(self) -> float:
        return self._loop.wall_ns / 1e9

    def monotonic_ns(self) -> int:
        return self._loop.now_ns

    def monotonic(self) -> float:
        return self._loop.now_ns / 1e9

    def clock_gettime_ns(self, clock: int) -> int:
        del clock  # this machine never sleeps
        return self._loop.now_ns

    perf_counter_ns = monotonic_ns
    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a sleep of {seconds} s on the loop's own thread")

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Secrets:
    """The module `secrets`, from a seed: ids of files and jitter repeat themselves."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(f"{seed}/secrets")

    def randbelow(self, bound: int) -> int:
        return self._chance.randrange(bound)

    def randbits(self, bits: int) -> int:
        return self._chance.getrandbits(bits)

    def token_hex(self, nbytes: int = 32) -> str:
        return f"{self._chance.getrandbits(8 * nbytes):0{2 * nbytes}x}"

    def token_bytes(self, nbytes: int = 32) -> bytes:
        return self._chance.randbytes(nbytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(secrets, name)


class _NoThread:
    """A thread that never runs: whoever owns it is driven by the loop."""

    ident = 1

    def __init__(self, *args: Any, **more: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return True

    def join(self, timeout: float | None = None) -> None:
        pass


@contextlib.contextmanager
def virtual(loop: VirtualLoop, seed: str) -> Iterator[None]:
    """Give the modules of both sides this loop's time and this seed's chance, as long as the block runs."""
    virtual_time, virtual_secrets = _Time(loop), _Secrets(seed)
    threads = SimpleNamespace(Thread=_NoThread, Event=threading.Event, Condition=threading.Condition)
    changes: list[tuple[Any, str, Any]] = []

    def change(holder: Any, name: str, value: Any) -> None:
        changes.append((holder, name, getattr(holder, name)))
        setattr(holder, name, value)

    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or not name.startswith(OURS):
            continue
        if vars(module).get("time") is time:
            change(module, "time", virtual_time)
        if vars(module).get("secrets") is secrets:
            change(module, "secrets", virtual_secrets)
    change(sys.modules["hands.journal.ledger"], "threading", threads)

    class VirtualDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(loop.wall_ns / 1e9, tz or UTC)

    change(config_module, "datetime", VirtualDatetime)
    defaults = [(each.__kwdefaults__, name) for each, name in READ_AT_IMPORT]
    former = [given[name] for given, name in defaults]
    for (given, name), real in zip(defaults, former, strict=True):
        given[name] = getattr(virtual_time, real.__name__)
    try:
        yield
    finally:
        for (given, name), real in zip(defaults, former, strict=True):
            given[name] = real
        for holder, name, value in reversed(changes):
            setattr(holder, name, value)
