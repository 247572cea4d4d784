"""The operator's desk: what is asked over the control socket, and what is answered.

Owns the meaning of each request (`control` has the list). May not decide: what is to happen becomes an event like any
other, and the core answers each with exactly one `OperatorAnswer`. Everything here is the operator's: the socket is
private to the engine's user. The one idea: answers come in the order of the requests, so that none needs a number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hands.core.commands import OperatorAnswer
from hands.core.events import AnyEvent, OperatorAction, OperatorRequest
from hands.core.limits import DEFAULT_AGENT
from hands.core.state import State
from hands.core.units import Ns, NumberError, nano
from hands.intake.inbox import HALT_FILE
from hands.runtime import holdings, status
from hands.runtime.acts import KINDS, REASON_MAX, NotMeant, read_act
from hands.runtime.envelope import envelope
from hands.runtime.limits_table import limits_table
from hands.runtime.watching import watch
from hands.runtime.what_if import what_if

Answer = dict[str, Any]

ANSWER_WITHIN_S = 2.0
"""An act that waits behind other events is answered within moments, or something is wrong."""

QUESTIONS = frozenset({"status", "quote", "watch", "view", "limits"})
"""What is answered before the journal has been read, too: nothing of it says what is owned."""

STARTING = (
    "still starting: the account has not been made sure of yet, so what is owned is not known and nothing can be"
    " changed; a HALT file in the drop folder halts as soon as it has"
)

TRADES_MAX = 200


class Asked:
    """One act that was fed to the engine, until its answer comes."""

    def __init__(self) -> None:
        self.answer: OperatorAnswer | None = None
        self.arrived = asyncio.Event()


class OperatorDesk:
    """Answers one request at a time.

    `seq` is the number of the newest event; `faults` says what is wrong with each part, None where nothing is,
    `streams` how the market data comes in, `watchdog` how the second process is.
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
        watchdog: Callable[[], str] = lambda: "absent",
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
        self._watchdog = watchdog
        self._asked: deque[Asked] = deque()

    def operate(self, action: OperatorAction, *, agent: str | None = None, reason: str = "") -> None:
        """Let an act of the operator happen."""
        self._ask(OperatorRequest(ts_ns=self._clock(), action=action, agent=agent, reason=reason))

    def _ask(self, event: OperatorRequest) -> Asked:
        """Feed an act. Its answer is there at once, unless other events go first."""
        asked, before = Asked(), self._seq()
        self._asked.append(asked)
        self._feed(event)
        if asked.answer is None and self._seq() != before:  # decided, and nothing was said: nothing will be
            self._asked.remove(asked)
        return asked

    def take_answer(self, answer: OperatorAnswer) -> None:
        """Take what the core said to the oldest act that has no answer yet."""
        if self._asked:
            asked = self._asked.popleft()
            asked.answer = answer
            asked.arrived.set()

    def answer(self, request: dict[str, Any]) -> Answer | Awaitable[Answer]:
        """Do what is asked and return the answer; until the desk `is_open` only questions are answered."""
        if not self.is_open and request.get("do") not in QUESTIONS:
            # what was latched and owned before is not known yet, so nothing can be added to it or taken from it
            return {"ok": False, "error": STARTING, "starting": True}
        match request.get("do"):
            case "halt":
                self.operate(OperatorAction.HALT, reason=str(request.get("reason") or "")[:REASON_MAX])
                return self._status()
            case "resume":
                return self._resume(request)
            case str() as act if act in KINDS:
                return self._act(request)
            case _:
                return self._question(request)

    def _question(self, request: dict[str, Any]) -> Answer:
        """Answer what changes nothing."""
        state, now_ns = self._state, self._clock()
        match request.get("do"):
            case "status":
                return self._status()
            case "quote":
                symbols = request.get("symbols")
                wanted = symbols if isinstance(symbols, list) and symbols else list(state.market.symbols)
                return {"ok": True, "quotes": status.quotes(state, wanted, now_ns=now_ns)}
            case "watch":
                return watch(state, request, now_ns, seq=self._seq())
            case "view":
                return {"ok": True, "view": status.view(state, now_ns=now_ns)}
            case "positions":
                found = holdings.positions(state, now_ns) | {"watchdog": {"state": self._watchdog()}}
                return {"ok": True, "positions": found}
            case "orders":
                return {"ok": True, "orders": holdings.orders(state, every=bool(request.get("all")))}
            case "trades":
                return self._trades(request.get("ids"))
            case "limits":
                return self._limits(request)
            case "check":
                return self._check(request)
            case "envelope":
                return self._envelope(request)
            case other:
                return {"ok": False, "error": f"unknown request {other!r}"}

    # --- acts ----------------------------------------------------------------------------------------------

    def _act(self, request: dict[str, Any]) -> Answer | Awaitable[Answer]:
        try:
            event = read_act(self._state, request, self._clock())
        except NotMeant as error:
            refusal: Answer = {"ok": False, "error": str(error), "problems": error.problems}
            return refusal | {"usage": error.usage}
        asked = self._ask(event)
        return self._act_answer(asked) if asked not in self._asked else self._wait(asked)

    async def _wait(self, asked: Asked) -> Answer:
        """Wait for an act that was queued behind other events."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await asked.arrived.wait()
        except TimeoutError:
            return {"ok": False, "error": "the engine has not come to it yet: look at `hands status`"}
        return self._act_answer(asked)

    def _act_answer(self, asked: Asked) -> Answer:
        found = asked.answer
        if found is None:
            return {"ok": False, "error": "the engine said nothing to it: look at `hands status`"}
        answer: Answer = {"ok": found.ok, "message": found.message, "intent_ids": list(found.intent_ids)}
        answer["trades"] = self._rows(found.intent_ids)
        answer["state"] = str(self._state.trading_state)
        return answer if found.ok else answer | {"error": found.message}

    def _trades(self, ids: Any) -> Answer:
        if not isinstance(ids, list) or len(ids) > TRADES_MAX or not all(isinstance(i, str) for i in ids):
            return {"ok": False, "error": f"ids must be a list of at most {TRADES_MAX} ids"}
        return {"ok": True, "trades": self._rows(ids)}

    def _rows(self, ids: Iterable[str]) -> list[Answer]:
        """Return the trades among `ids` that are known, each once."""
        known = (self._state.ticket(intent_id) for intent_id in dict.fromkeys(ids))
        found = [ticket for ticket in known if ticket is not None][:TRADES_MAX]
        return [status.trade(self._state, ticket, self._clock()) for ticket in found]

    # --- questions -----------------------------------------------------------------------------------------

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
        more = {"streams": self._streams(), "faults": faults, "watchdog": {"state": self._watchdog()}}
        return {"ok": True, "status": answer | more | {"starting": not self.is_open}}
