"""What can go wrong on purpose: the registry of faults, consulted by every request and every stream frame.

Owns which faults are installed and when they are used up; does no I/O itself. The one idea: a fault is a row
with a budget (`times` uses, or `for_ms` of wall time), and whoever is about to answer or to send asks first.

For a stream ("market_data" or "trade_updates"), in this order:

    if not faults.stream(name).admits():            # refuse_reconnect: refuse the upgrade (429)
    line = faults.stream(name).attach(close)        # `close` drops the socket at once; used by `disconnect`
    for delay_ms, frame in line.transform(frames):  # 0.0: send now; else send it `delay_ms` later
    line.detach()                                   # when the connection is gone

`transform` accepts frames of any type and keeps their type. `faults.stream(name).quiet` is True while nothing
is installed, so that a busy sender can skip `transform`; frames given to it later never overtake delayed ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

STREAMS: Final = ("market_data", "trade_updates")
REQUEST_ACTIONS: Final = frozenset({"drop_response", "drop_request", "delay", "status", "close"})
STREAM_ACTIONS: Final = frozenset({"disconnect", "mute", "duplicate", "reorder", "delay", "refuse_reconnect"})

REORDER_HOLD_MS: Final = 100
"""How long a frame that is alone in its burst is kept back by `reorder`, for a later one to overtake it."""

_NS_PER_MS = 1_000_000
_KEYS = frozenset({"on", "do", "times", "for_ms", "delay_ms", "status", "body", "at"})

FrameT = TypeVar("FrameT")


class FaultError(ValueError):
    """A fault's description is not one the simulator knows; the message says which word and what is allowed."""


@dataclass(slots=True)
class RequestFault:
    """One thing to do to matching requests.

    drop_response: process, then close without answering. drop_request: close without processing. delay: wait
    `delay_ms` before the answer (`at` "response", the default) or before processing (`at` "request").
    status: answer `status` and `body` without processing. close: process, answer, then close the connection.
    """

    on: str
    do: str
    times: int = 1
    delay_ms: float = 0.0
    status: int = 500
    body: Any = None
    at: str = "response"


@dataclass(slots=True)
class StreamFault:
    """One thing to do to a stream: for `times` frames (or connections), or until `until_ns` (monotonic)."""

    do: str
    times: int | None
    until_ns: int | None
    delay_ms: float


class StreamFaults:
    """The faults of one stream and the connections they apply to."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._faults: list[StreamFault] = []
        self._lines: list[StreamLine] = []

    @property
    def quiet(self) -> bool:
        """True while no fault is installed."""
        return not self._faults

    def install(self, fault: StreamFault) -> None:
        """Add one fault; a `disconnect` acts at once on every attached connection, and then on later ones."""
        if fault.do == "disconnect":
            for line in tuple(self._lines):
                line.close()
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    return
        self._faults.append(fault)

    def clear(self) -> None:
        """Forget every fault; connections stay."""
        self._faults.clear()

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

    def take(self, *actions: str) -> StreamFault | None:
        """Use up one application of the first installed fault among `actions`, or return None."""
        now_ns = self._monotonic_ns()
        self._faults = [f for f in self._faults if f.until_ns is None or now_ns < f.until_ns]
        for fault in self._faults:
            if fault.do in actions:
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None

    def now_ns(self) -> int:
        """Return the monotonic clock the faults run on."""
        return self._monotonic_ns()


@dataclass(slots=True, eq=False)
class StreamLine:
    """One connection's way through the faults."""

    owner: StreamFaults
    close: Callable[[], None]
    _release_ns: int = field(default=0)

    def detach(self) -> None:
        """The connection is gone."""
        self.owner.detach(self)

    def transform(self, frames: Sequence[FrameT]) -> list[tuple[float, FrameT]]:
        """Return what to send instead of `frames`, each with the milliseconds to wait (0.0: now), in order."""
        if self.owner.quiet:
            wait_ms = self._backlog_ms()
            return [(wait_ms, frame) for frame in frames]
        out: list[tuple[float, FrameT]] = []
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
                self._release_ns = max(
                    self._release_ns, self.owner.now_ns() + int(fault.delay_ms * _NS_PER_MS)
                )
            copies = 2 if action == "duplicate" else 1
            out += [(self._backlog_ms(), frame)] * copies
            if held is not None:
                out.append((self._backlog_ms(), held))
                held = None
        if held is not None:
            out.append((self._backlog_ms() + REORDER_HOLD_MS, held))
        return out

    def _backlog_ms(self) -> float:
        return max(0.0, (self._release_ns - self.owner.now_ns()) / _NS_PER_MS) if self._release_ns else 0.0


class Faults:
    """Every installed fault."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._requests: list[RequestFault] = []
        self._streams = {name: StreamFaults(monotonic_ns) for name in STREAMS}

    def stream(self, name: str) -> StreamFaults:
        """Return the faults of stream "market_data" or "trade_updates"."""
        return self._streams[name]

    def for_request(self, method: str, path: str) -> RequestFault | None:
        """Use up and return the first fault on `method` and `path` (without its query), or None."""
        target = f"{method} {path}"
        for fault in self._requests:
            if fault.on == target or fnmatchcase(target, fault.on):
                fault.times -= 1
                if fault.times <= 0:
                    self._requests.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Forget every fault."""
        self._requests.clear()
        for stream in self._streams.values():
            stream.clear()

    def install(self, documents: Sequence[Mapping[str, Any]]) -> int:
        """Install all of `documents` (contract's form) or, at the first that is wrong, none. Returns how many.

        Raises:
            FaultError: an unknown key, target or action, or a number out of range.
        """
        ready = [self._parse(document) for document in documents]
        for on, fault in ready:
            if isinstance(fault, RequestFault):
                self._requests.append(fault)
            else:
                self._streams[on].install(fault)
        return len(ready)

    def _parse(self, document: Mapping[str, Any]) -> tuple[str, RequestFault | StreamFault]:
        unknown = sorted(set(document) - _KEYS)
        if unknown:
            raise FaultError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
        on, do = document.get("on"), document.get("do")
        if not isinstance(on, str) or not isinstance(do, str):
            raise FaultError("a fault needs the strings 'on' and 'do'")
        times = _number(document, "times", None)
        for_ms = _number(document, "for_ms", None)
        delay_ms = _number(document, "delay_ms", for_ms if do == "delay" and for_ms is not None else 0.0)
        assert delay_ms is not None
        if on in self._streams:
            if do not in STREAM_ACTIONS:
                raise FaultError(f"a stream cannot {do!r}; it can {', '.join(sorted(STREAM_ACTIONS))}")
            return on, self._stream_fault(do, times, for_ms, delay_ms)
        if " /" not in on:
            raise FaultError(f"{on!r} is neither 'METHOD /path' nor one of {', '.join(STREAMS)}")
        if do not in REQUEST_ACTIONS:
            raise FaultError(f"a request cannot {do!r}; it can {', '.join(sorted(REQUEST_ACTIONS))}")
        at = document.get("at", "response")
        if at not in {"request", "response"}:
            raise FaultError(f"'at' is {at!r}; it is 'request' or 'response'")
        status = _number(document, "status", 500.0)
        assert status is not None
        if not 200 <= status <= 599:
            raise FaultError(f"status {status:g} is not 200..599")
        fault = RequestFault(on, do, int(times or 1), delay_ms, int(status), document.get("body"), at)
        return on, fault

    def _stream_fault(
        self, do: str, times: float | None, for_ms: float | None, delay_ms: float
    ) -> StreamFault:
        # A mute without a bound lasts until reset; everything else without a bound happens once.
        bounded = times is not None or for_ms is not None or do == "mute"
        count = int(times) if times is not None else None if bounded else 1
        until_ns = self._monotonic_ns() + int(for_ms * _NS_PER_MS) if for_ms is not None else None
        return StreamFault(do, count, until_ns, delay_ms)


def _number(document: Mapping[str, Any], key: str, default: float | None) -> float | None:
    value = document.get(key, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 3.6e6:
        raise FaultError(f"{key!r} is {value!r}; a number from 0 to 3600000")
    return float(value)
