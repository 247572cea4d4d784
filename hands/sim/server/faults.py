"""What can go wrong on purpose: the registry of faults, consulted by every request and every stream frame.

Owns which faults are installed, when they are used up and what they were used on; does no I/O itself. The one idea:
a fault is a row with a budget (`times` uses, or `for_ms` of the exchange's clock) and perhaps a chance (`rate`,
drawn from the seed), and whoever is about to answer or to send asks first.

For a stream ("market_data" or "trade_updates"), in this order:

    if not faults.stream(name).admits():            # refuse_reconnect: refuse the upgrade (429)
    line = faults.stream(name).attach(close)        # `close` drops the socket at once; used by `disconnect`
    line.deliver(frames, send)                      # calls `send(frame)`, now or later, as often as the faults say
    line.detach()                                   # when the connection is gone

`faults.stream(name).quiet` is True while nothing is installed, so that a busy sender can skip `deliver`; frames given
to it later never overtake delayed ones.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from hands.core.units import NS_PER_MS
from hands.sim.server.clock import Clock
from hands.sim.server.fault_rows import STREAMS, FaultRow, parse_fault

REORDER_HOLD_MS: Final = 100
"""How long a frame that is alone in its burst is kept back by `reorder`, for a later one to overtake it."""

USED_MAX: Final = 10_000
"""How many uses are remembered; of a longer soak the newest."""

FrameT = TypeVar("FrameT")


@dataclass(slots=True)
class Fault:
    """An installed fault: what was asked for, and what is left of it."""

    row: FaultRow
    times: int | None
    until_ns: int | None

    @property
    def do(self) -> str:
        return self.row.do


class FaultList:
    """The faults of one target in the order of installation: what is left, whose turn it is, what was used."""

    def __init__(self, clock: Clock, used: deque[dict[str, Any]]) -> None:
        self.clock = clock
        self._chance = random.Random()  # noqa: S311  noise, not a secret
        self._used = used
        self._faults: list[Fault] = []

    @property
    def is_empty(self) -> bool:
        return not self._faults

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def seed(self, text: str) -> None:
        """Begin chance anew. Each target has its own, so that a busy stream does not change what befalls requests."""
        self._chance.seed(text)

    def remaining(self) -> list[dict[str, Any]]:
        """Return what is installed, as it could be installed again."""
        self._drop_expired()
        now_ns = self.clock()
        return [
            fault.row.document
            | ({} if fault.times is None else {"times": fault.times})
            | ({} if fault.until_ns is None else {"for_ms": (fault.until_ns - now_ns) / NS_PER_MS})
            for fault in self._faults
        ]

    def take(self, fits: Callable[[FaultRow], bool], what: str) -> FaultRow | None:
        """Use up one application of the first installed fault that fits and whose chance has come, or return None."""
        if not self._faults:
            return None
        self._drop_expired()
        for fault in self._faults:
            if not fits(fault.row):
                continue
            if fault.row.rate is not None and self._chance.random() >= fault.row.rate:
                continue
            self.use(fault, what)
            return fault.row
        return None

    def use(self, fault: Fault, what: str) -> None:
        """Count and write down one application."""
        self._used.append({"t_ns": self.clock(), "on": fault.row.on, "do": fault.row.do, "what": what})
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0 and fault in self._faults:
                self._faults.remove(fault)

    def _drop_expired(self) -> None:
        now_ns = self.clock()
        self._faults = [f for f in self._faults if f.until_ns is None or now_ns < f.until_ns]


class StreamFaults:
    """The faults of one stream and the connections they apply to."""

    def __init__(self, name: str, faults: FaultList) -> None:
        self.name = name
        self.installed = faults
        self._lines: list[StreamLine] = []

    @property
    def quiet(self) -> bool:
        """True while no fault is installed."""
        return self.installed.is_empty

    def install(self, fault: Fault) -> None:
        """Add one fault; a `disconnect` acts at once on every attached connection, and then on later ones."""
        self.installed.add(fault)
        if fault.do == "disconnect" and fault.row.rate is None:
            for line in tuple(self._lines):
                line.close()
            if fault.times is not None:
                self.installed.use(fault, "at once")

    def drop_waiting(self) -> None:
        """Forget the frames that are still on their way."""
        for line in self._lines:
            line.drop_waiting()

    def admits(self) -> bool:
        """Return whether a new connection may be made; a refusal uses up one `refuse_reconnect`."""
        return self.take("refuse_reconnect") is None

    def attach(self, close: Callable[[], None]) -> StreamLine:
        """Register a connection, `close` dropping it at once, and return its line."""
        line = StreamLine(self, close)
        self._lines.append(line)
        return line

    def detach(self, line: StreamLine) -> None:
        """Forget a connection; a second time is harmless."""
        if line in self._lines:
            self._lines.remove(line)

    def take(self, *actions: str) -> FaultRow | None:
        """Use up one application of the first installed fault among `actions`, or return None."""
        return self.installed.take(lambda row: row.do in actions, self.name)


@dataclass(slots=True, eq=False)
class StreamLine:
    """One connection's way through the faults."""

    owner: StreamFaults
    close: Callable[[], None]
    _release_ns: int = 0
    _waiting: deque[Callable[[], None]] = field(default_factory=deque)

    @property
    def quiet(self) -> bool:
        """True while no fault is installed and nothing is on its way, so that `deliver` may be skipped."""
        return self.owner.quiet and not self._waiting

    def detach(self) -> None:
        """The connection is gone, and what was on its way with it."""
        self.drop_waiting()
        self.owner.detach(self)

    def drop_waiting(self) -> None:
        """Forget the frames that are still on their way."""
        self._waiting.clear()
        self._release_ns = 0

    def deliver(self, frames: Sequence[FrameT], send: Callable[[FrameT], None]) -> None:
        """Send `frames`, or what the faults make of them, through `send`: now, or when they are due."""
        for due_ns, frame in self._plan(frames, self.owner.installed.clock()):
            if due_ns:
                self._send_at(due_ns, frame, send)
            elif self._waiting and self._release_ns:
                self._send_at(self._release_ns, frame, send)  # what is late already still goes first
            else:
                send(frame)

    def _plan(self, frames: Sequence[FrameT], now_ns: int) -> list[tuple[int, FrameT]]:
        """Return what to send instead of `frames`, each with the time to send it (0: now), in order."""
        if self.owner.quiet:
            due_ns = self._backlog_ns(now_ns)
            return [(due_ns, frame) for frame in frames]
        out: list[tuple[int, FrameT]] = []
        held: FrameT | None = None
        for frame in frames:
            fault = self.owner.take("mute", "duplicate", "reorder", "delay", "disconnect")
            action = fault.do if fault is not None else "send"
            if action == "mute":
                continue
            if action == "disconnect":
                self.close()
                return out
            if action == "reorder" and held is None:
                held = frame
                continue
            if fault is not None and action == "delay":
                self._release_ns = max(self._release_ns, now_ns + int(fault.delay_ms * NS_PER_MS))
            copies = 1 + fault.copies if fault is not None and action == "duplicate" else 1
            out += [(self._backlog_ns(now_ns), frame)] * copies
            if held is not None:
                out.append((self._backlog_ns(now_ns), held))
                held = None
        if held is not None:
            out.append((max(self._backlog_ns(now_ns), now_ns) + REORDER_HOLD_MS * NS_PER_MS, held))
        return out

    def _send_at(self, due_ns: int, frame: FrameT, send: Callable[[FrameT], None]) -> None:
        def arrive() -> None:
            if arrive in self._waiting:  # unless the line was cut meanwhile
                self._waiting.remove(arrive)
                send(frame)

        self._waiting.append(arrive)
        self.owner.installed.clock.call_at(due_ns, arrive)

    def _backlog_ns(self, now_ns: int) -> int:
        """Return until when delayed frames hold back those behind them, 0 if they do not."""
        return self._release_ns if self._release_ns > now_ns else 0


class Faults:
    """Every installed fault; `clock` is the exchange's, `seed` decides those that happen by chance."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self.used: deque[dict[str, Any]] = deque(maxlen=USED_MAX)
        self._requests = FaultList(self._clock, self.used)
        self._streams = {name: StreamFaults(name, FaultList(self._clock, self.used)) for name in STREAMS}
        self.reset(seed)

    def stream(self, name: str) -> StreamFaults:
        """Return the faults of stream "market_data" or "trade_updates"."""
        return self._streams[name]

    def for_request(self, method: str, path: str) -> FaultRow | None:
        """Use up and return the first fault on `method` and `path` (without its query), or None."""
        target = f"{method} {path}"
        return self._requests.take(lambda row: row.on == target or fnmatchcase(target, row.on), target)

    def installed(self) -> list[dict[str, Any]]:
        """Return what is installed and not yet used up, as it could be installed again."""
        lists = [self._requests, *(stream.installed for stream in self._streams.values())]
        return [document for faults in lists for document in faults.remaining()]

    def clear(self) -> None:
        """Forget every fault; connections, and frames that are on their way, stay."""
        self._requests.clear()
        for stream in self._streams.values():
            stream.installed.clear()

    def reset(self, seed: int) -> None:
        """Go back to the start: no faults, nothing used, nothing on its way, chance from the seed again."""
        self.clear()
        self._requests.seed(f"{seed}/requests")
        for name, stream in self._streams.items():
            stream.drop_waiting()
            stream.installed.seed(f"{seed}/{name}")
        self.used.clear()

    def install(self, documents: Sequence[Mapping[str, Any]]) -> int:
        """Install all of `documents` (contract's form) or, at the first that is wrong, none. Returns how many.

        Raises:
            FaultError: an unknown key, target or action, or a number out of range.
        """
        rows = [parse_fault(document) for document in documents]
        now_ns = self._clock()
        for row in rows:
            until_ns = None if row.for_ms is None else now_ns + int(row.for_ms * NS_PER_MS)
            fault = Fault(row, row.times, until_ns)
            if row.on in self._streams:
                self._streams[row.on].install(fault)
            else:
                self._requests.add(fault)
        return len(rows)
