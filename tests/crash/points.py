"""Where an engine can die: every durable step and every step of a request or a trade update, in the order they happen.

Owns the naming of the steps as they are crossed. May not decide which of them kills. The one idea: the rig repeats
itself, so the n-th crossing of one run is the n-th crossing of the next, up to the moment at which something is changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hands.sim.server.fault_rows import FaultRow
from tests.rig.loop import ProcessDied
from tests.rig.stage import Stage
from tests.rig.wires import End, Tap

_EVENT = re.compile(rb'"event":"([a-z_]+)"')
_REQUEST = re.compile(rb"(GET|POST|DELETE|PATCH) (/v2/(?:orders|positions)[^ ?]*)(\?[^ ]*)? HTTP")
MOMENTS = ("before", "written", "taken", "answered", "after")


@dataclass(frozen=True, slots=True)
class Point:
    """One crossing. `what` is "commit", a request ("POST", "cancel", "ask", "truth") or "update fill"; `when` is the
    moment of it; `path` is a request's, for a fault to befall it."""

    what: str
    when: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.what}, {self.when}"


class PointTap(Tap):
    """Notes every crossing from `arm` on, and calls `at` when the one numbered `kill` is crossed; that one is deadly."""

    def __init__(self, stage: Stage, kill: int | None, at: Callable[[Point], None]) -> None:
        self.stage = stage
        self.points: list[Point] = []
        self.is_armed = False
        self._kill = kill
        self._at = at
        self._asked: dict[End, Point] = {}
        self._streams: set[End] = set()
        stage.engine.on_commit = lambda when: self._cross(Point("commit", when))

    def arm(self) -> None:
        """Every crossing counts from here on."""
        self.is_armed = True

    def disarm(self) -> None:
        """No crossing counts any more."""
        self.is_armed = False

    def _cross(self, point: Point, *, within: bool = True) -> None:
        if not self.is_armed or self.stage.engine.life is None:
            return
        self.points.append(point)
        if self._kill is not None and len(self.points) - 1 == self._kill:
            self.is_armed = False
            self._at(point)
            self.stage.engine.die()
            if within:
                raise ProcessDied

    # --- requests ------------------------------------------------------------------------------------------

    def writes(self, end: End, data: bytes) -> None:
        if data.startswith(b"GET /stream "):
            self._streams.add(end)
        found = _REQUEST.match(data)
        self._asked.pop(end, None)
        if found is not None:
            self._asked[end] = asked = _named(found)
            self._cross(asked)

    def wrote(self, end: End, data: bytes) -> None:
        self._cross_request(end, "written")

    def answered(self, end: End, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1"):
            self._cross_request(end, "taken", within=False)

    def receives(self, end: End, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1"):
            self._cross_request(end, "answered")
        self._cross_update(end, data, "before")

    def received(self, end: End, data: bytes) -> None:
        self._cross_request(end, "after")
        self._cross_update(end, data, "after")

    def _cross_request(self, end: End, when: str, *, within: bool = True) -> None:
        asked = self._asked.get(end)
        if asked is not None:
            self._cross(Point(asked.what, when, asked.path), within=within)

    def _cross_update(self, end: End, data: bytes, when: str) -> None:
        if end in self._streams:
            event = _EVENT.search(data)
            if event is not None:
                self._cross(Point(f"update {event[1].decode()}", when))


def _named(found: re.Match[bytes]) -> Point:
    method, path, query = found[1].decode(), found[2].decode(), (found[3] or b"").decode()
    if method != "GET":
        what = {"POST": "submit", "DELETE": "cancel", "PATCH": "replace"}[method]
    elif path == "/v2/positions" or "status=" in query:
        what = "truth"
    else:
        what = "ask"
    pattern = path if method == "POST" or what == "truth" else "/v2/orders*"
    return Point(what, "before", f"{method} {pattern}")


def fault_rows(fault: str, point: Point) -> list[dict[str, object]]:
    """Return what is installed at the exchange when a point is crossed: the fault befalls the point's own request where
    it has not been taken yet, else the next one of its kind; of a commit or an update the next order."""
    on = point.path or "POST /v2/orders"
    match fault:
        case "nothing":
            return []
        case "request dropped":
            return [{"on": on, "do": "drop_request", "times": 1}]
        case "response dropped":
            return [{"on": on, "do": "drop_response", "times": 1}]
        case "report duplicated":
            return [{"on": "trade_updates", "do": "duplicate", "times": 4, "copies": 2}]
        case "report delayed":
            return [{"on": "trade_updates", "do": "delay", "times": 2, "delay_ms": 1500}]
    raise ValueError(fault)


FAULTS = ("nothing", "request dropped", "response dropped", "report duplicated", "report delayed")

__all__ = ["FAULTS", "MOMENTS", "FaultRow", "Point", "PointTap", "fault_rows"]
