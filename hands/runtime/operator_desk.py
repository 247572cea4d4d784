"""The operator's desk: what is asked over the control socket, and what is answered.

Owns the meaning of each request (`control` has the list). May not decide: what is to happen becomes an event like any
other. Everything here is the operator's: the socket is private to the engine's user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hands.core.events import AnyEvent, OperatorAction, OperatorRequest
from hands.core.state import State
from hands.core.units import Ns
from hands.intake.inbox import HALT_FILE
from hands.runtime import status
from hands.runtime.watching import watch
from hands.runtime.what_if import what_if

Answer = dict[str, Any]


class OperatorDesk:
    """Answers one request at a time.

    `seq` is the number of the newest event; `faults` says what is wrong with each part, None where nothing is.
    """

    def __init__(
        self,
        state: State,
        clock: Callable[[], Ns],
        *,
        intents: Path,
        agents: Mapping[str, int | None],
        feed: Callable[[AnyEvent], None],
        seq: Callable[[], int],
        faults: Callable[[], Mapping[str, str | None]],
    ) -> None:
        self.is_open = False
        self._state = state
        self._clock = clock
        self._intents = intents
        self._agents = agents
        self._feed = feed
        self._seq = seq
        self._faults = faults

    def operate(self, action: OperatorAction, *, agent: str | None = None, reason: str = "") -> None:
        """Let an act of the operator happen."""
        self._feed(OperatorRequest(ts_ns=self._clock(), action=action, agent=agent, reason=reason))

    def answer(self, request: dict[str, Any]) -> Answer:
        """Do what is asked and return the answer; until the desk `is_open` only questions are answered."""
        if not self.is_open and request.get("do") not in ("status", "quote", "watch", "view"):
            # what was latched before is not known yet, so nothing can be added to it or taken from it
            return {"ok": False, "error": "still starting: the venue has not answered yet; use the HALT file"}
        match request.get("do"):
            case "status":
                return self._status()
            case "quote":
                symbols = request.get("symbols")
                wanted = (
                    symbols if isinstance(symbols, list) and symbols else list(self._state.market.symbols)
                )
                return {"ok": True, "quotes": status.quotes(self._state, wanted, now_ns=self._clock())}
            case "watch":
                return watch(self._state, request, self._clock(), seq=self._seq())
            case "view":
                return {"ok": True, "view": status.view(self._state, now_ns=self._clock())}
            case "check":
                return self._check(request)
            case "halt":
                self.operate(OperatorAction.HALT, reason=str(request.get("reason") or ""))
                return self._status()
            case "resume":
                return self._resume(request)
            case other:
                return {"ok": False, "error": f"unknown request {other!r}"}

    def _check(self, request: dict[str, Any]) -> Answer:
        document, agent = request.get("document"), request.get("agent") or "default"
        if not isinstance(document, str) or not isinstance(agent, str):
            return {"ok": False, "error": "document must be a string"}
        answer = what_if(self._state, document.encode("utf-8", "surrogatepass"), agent, self._clock())
        return {"ok": True, "receipt": answer}

    def _resume(self, request: dict[str, Any]) -> Answer:
        agent = request.get("agent")
        if agent is not None and not isinstance(agent, str):
            return {"ok": False, "error": "agent must be a name"}
        if agent is not None and agent != "default" and agent not in self._agents:
            return {"ok": False, "error": f"there is no agent {agent!r}"}
        still_there = (self._intents / HALT_FILE).exists()
        self.operate(OperatorAction.RESUME, agent=agent, reason="HALT_FILE" if still_there else "")
        return self._status()

    def _status(self) -> Answer:
        answer = status.status(self._state, self._clock(), intents=str(self._intents))
        faults = {name: fault for name, fault in self._faults().items() if fault is not None}
        return {"ok": True, "status": answer | {"faults": faults}}
