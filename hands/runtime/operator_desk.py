"""The operator's desk: what is asked over the control socket, and what is answered.

Owns the meaning of each request (`control` has the list). May not decide: what is to happen becomes an event like any
other. Everything here is the operator's: the socket is private to the engine's user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hands.core.events import AnyEvent, OperatorAction, OperatorRequest
from hands.core.limits import DEFAULT_AGENT
from hands.core.state import State
from hands.core.units import Ns, NumberError, nano
from hands.intake.inbox import HALT_FILE
from hands.runtime import status
from hands.runtime.envelope import envelope
from hands.runtime.limits_table import limits_table
from hands.runtime.watching import watch
from hands.runtime.what_if import what_if

Answer = dict[str, Any]


class OperatorDesk:
    """Answers one request at a time.

    `seq` is the number of the newest event; `faults` says what is wrong with each part, None where nothing is,
    `streams` how the market data comes in.
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
        streams: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.is_open = False
        self._state = state
        self._clock = clock
        self._intents = intents
        self._agents = agents
        self._feed = feed
        self._seq = seq
        self._faults = faults
        self._streams = streams

    def operate(self, action: OperatorAction, *, agent: str | None = None, reason: str = "") -> None:
        """Let an act of the operator happen."""
        self._feed(OperatorRequest(ts_ns=self._clock(), action=action, agent=agent, reason=reason))

    def answer(self, request: dict[str, Any]) -> Answer:
        """Do what is asked and return the answer; until the desk `is_open` only questions are answered."""
        if not self.is_open and request.get("do") not in ("status", "quote", "watch", "view", "limits"):
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
            case "limits":
                return self._limits(request)
            case "check":
                return self._check(request)
            case "envelope":
                return self._envelope(request)
            case "halt":
                self.operate(OperatorAction.HALT, reason=str(request.get("reason") or ""))
                return self._status()
            case "resume":
                return self._resume(request)
            case other:
                return {"ok": False, "error": f"unknown request {other!r}"}

    def _limits(self, request: dict[str, Any]) -> Answer:
        agent, symbol = request.get("agent"), request.get("symbol")
        if not isinstance(agent, str | None) or not isinstance(symbol, str | None):
            return {"ok": False, "error": "agent and symbol must be names"}
        try:
            table = limits_table(self._state.limits, self._state, self._clock(), agent=agent, symbol=symbol)
        except KeyError as error:
            return {"ok": False, "error": str(error.args[0])}
        return {"ok": True, "limits": table}

    def _check(self, request: dict[str, Any]) -> Answer:
        document, agent = request.get("document"), request.get("agent") or "default"
        if not isinstance(document, str) or not isinstance(agent, str):
            return {"ok": False, "error": "document must be a string"}
        answer = what_if(self._state, document.encode("utf-8", "surrogatepass"), agent, self._clock())
        return {"ok": True, "receipt": answer}

    def _envelope(self, request: dict[str, Any]) -> Answer:
        symbol, agent = request.get("symbol"), request.get("agent") or DEFAULT_AGENT
        if not isinstance(symbol, str) or not isinstance(agent, str):
            return {"ok": False, "error": "symbol and agent must be names"}
        if agent != DEFAULT_AGENT and agent not in self._agents:
            return {"ok": False, "error": f"there is no agent {agent[:64]!r}"}
        prices: dict[str, int | None] = {}
        for name in ("trigger", "stop"):
            text = request.get(name)
            try:
                prices[name] = None if text is None else nano(str(text))
            except NumberError as error:
                return {"ok": False, "error": f"{name}: {error}"}
            price = prices[name]
            if price is not None and price <= 0:
                return {"ok": False, "error": f"{name} must be positive"}
        return {"ok": True, "envelope": envelope(self._state, symbol[:32], agent, self._clock(), **prices)}

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
        return {"ok": True, "status": answer | {"streams": self._streams(), "faults": faults}}
