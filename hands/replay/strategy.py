"""A strategy of the user's: a Python file that is shown the market and answers with intents.

Owns its loading, when it is called, and the making of documents from what it returns. May not judge them: they go the way
of every document. The one idea: it stands where the agent stands, beside the engine and not in it, so it sees what an
agent could see at that moment and can do what an agent could do.

The file has `on_bar(view)`, `on_time(view)`, or both; or a class `Strategy` with these as methods, made once, without
arguments. `on_bar` is called for a symbol at the first row after one of its bars has ended, `on_time` every `EVERY_S`
seconds of the market's time. Each returns None, a document (dict) or a list of them. What a document lacks of
`intent_id`, `timestamp`, `ttl_seconds`, `strategy_ref`, `confidence` (1.0) and `asset` is put in.
"""

from __future__ import annotations

import importlib.util
import json
import linecache
import sys
import traceback
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from hands.core.limits import DEFAULT_AGENT
from hands.core.receipts import time_text
from hands.core.state import State
from hands.core.units import NS_PER_S
from hands.replay.agenda import Agenda
from hands.replay.arrivals import Arrival
from hands.replay.floor import Floor
from hands.replay.player import Player
from hands.replay.view import View

_NAMESPACE: Final = uuid.UUID("2b0c8c0e-5a0f-4f0b-9a77-6a4a2f1f5d10")
EVERY_S: Final = 60
"""How often `on_time` is called where the file does not say."""

Answer = dict[str, Any] | list[dict[str, Any]] | None
Asked = Callable[[View], Answer]


class StrategyError(Exception):
    """A strategy that cannot be used or has failed; the message ends with its own lines of the traceback."""


class Stage(Protocol):
    """What of a replay a strategy is connected to."""

    state: State
    floor: Floor
    agenda: Agenda
    player: Player

    @property
    def symbols(self) -> tuple[str, ...]: ...


class Strategy:
    """What was loaded from a file. `agent`: whose documents they are. One replay at a time: its object may remember."""

    def __init__(
        self,
        name: str,
        *,
        on_bar: Asked | None = None,
        on_time: Asked | None = None,
        every_s: float = EVERY_S,
        interval_s: int | None = None,
        agent: str = DEFAULT_AGENT,
        file: str | None = None,
    ) -> None:
        """`interval_s`: of the bars that `on_bar` waits for, by default the first. Raises StrategyError."""
        if on_bar is None and on_time is None:
            raise StrategyError(f"{name}: neither on_bar(view) nor on_time(view) in it")
        if not 0.001 <= every_s <= 86_400:
            raise StrategyError(f"{name}: EVERY_S is {every_s}; it is from 0.001 to 86400 seconds")
        self.name = name
        self._on_bar, self._on_time = on_bar, on_time
        self._every_ns = round(every_s * NS_PER_S)
        self._interval_s = interval_s
        self._agent = agent
        self._file = file

    @classmethod
    def load(cls, path: Path) -> Strategy:
        """Load a file. Raises StrategyError: it is none, or fails while it is loaded."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StrategyError(f"{path}: cannot be read: {error}") from error
        module = _loaded(path, text)
        found: Any = module
        if isinstance(made := getattr(module, "Strategy", None), type):
            try:
                found = made()
            except Exception as error:
                raise StrategyError(_failed(str(path), "making Strategy()", error)) from error

        def say(name: str, default: Any = None) -> Any:
            return getattr(found, name, getattr(module, name, default))

        every_s, interval_s = say("EVERY_S", EVERY_S), say("INTERVAL_S")
        if isinstance(every_s, bool) or not isinstance(every_s, int | float):
            raise StrategyError(f"{path}: EVERY_S is {every_s!r}, not a number of seconds")
        if interval_s is not None and (isinstance(interval_s, bool) or not isinstance(interval_s, int)):
            raise StrategyError(f"{path}: INTERVAL_S is {interval_s!r}, not whole seconds")
        return cls(
            path.stem,
            on_bar=say("on_bar"),
            on_time=say("on_time"),
            every_s=every_s,
            interval_s=interval_s,
            agent=str(say("AGENT", DEFAULT_AGENT)),
            file=str(path),
        )

    # --- being called ----------------------------------------------------------------------------------------

    def begin(self, stage: Stage) -> None:
        """Connect to a replay, and ask to be called. Raises StrategyError: there are no such bars."""
        self._stage = stage
        market = stage.state.market
        interval_s = self._interval_s or market.intervals_s[0]
        if interval_s not in market.intervals_s:
            kept = ", ".join(map(str, market.intervals_s))
            raise StrategyError(f"{self.name}: INTERVAL_S is {interval_s}; bars are kept of {kept} seconds")
        self._bar_s, self._bar_ns = interval_s, interval_s * NS_PER_S
        self._expects_end = False
        self._newest = [-1] * len(stage.symbols)
        if self._on_bar is not None:
            self._expect_end()
        if self._on_time is not None:
            self._wait(self._every_ns, self._time_has_come)

    def _wait(self, period_ns: int, act: Callable[[], None]) -> None:
        """Be called at the next whole multiple of a period."""
        self._stage.agenda.at((self._stage.floor.now_ns // period_ns + 1) * period_ns, act)

    def _expect_end(self) -> None:
        """Be called at the end of the interval that runs, if that is not arranged already."""
        if not self._expects_end:
            self._expects_end = True
            self._wait(self._bar_ns, self._bar_ended)

    def _bar_ended(self) -> None:
        """An interval is over: each symbol's next row closes its bar. Until one has, no later end can change anything."""
        self._expects_end = False
        for sym in range(len(self._stage.symbols)):
            self._stage.floor.strategy_waits(sym, waits=True)

    def row(self, sym: int, venue_ns: int) -> Iterable[Arrival]:
        """A row that was waited for has passed: if it has closed a bar, return what is said to that."""
        if venue_ns < self._stage.floor.now_ns // self._bar_ns * self._bar_ns:
            return ()  # it was made before the end of the newest interval that is over
        self._stage.floor.strategy_waits(sym, waits=False)
        self._expect_end()
        bars = self._stage.state.market.bars(sym, self._bar_s, 1)
        if not bars or bars[-1].start_ns == self._newest[sym] or self._on_bar is None:
            return ()  # nothing was traded in it
        self._newest[sym] = bars[-1].start_ns
        return self._call("on_bar", self._on_bar, self._stage.symbols[sym])

    def _time_has_come(self) -> None:
        self._wait(self._every_ns, self._time_has_come)
        if self._on_time is not None:
            self._stage.player.drop(self._call("on_time", self._on_time, None))

    def _call(self, what: str, asked: Asked, symbol: str | None) -> list[Arrival]:
        view = View(self._stage.state, self._stage.symbols, symbol, self._bar_s, self._stage.floor.now_ns)
        try:
            answer = asked(view)
            documents = [] if answer is None else answer if isinstance(answer, list) else [answer]
            return [self._arrival(document, symbol, place) for place, document in enumerate(documents)]
        except StrategyError:
            raise
        except Exception as error:
            raise StrategyError(_failed(self._file or self.name, what, error)) from error
        finally:
            view.end()

    # --- documents -------------------------------------------------------------------------------------------

    def _arrival(self, document: dict[str, Any], symbol: str | None, place: int) -> Arrival:
        """Return a document as it arrives. An id of ours follows from name, moment and place: two replays can be compared."""
        if not isinstance(document, dict):
            raise StrategyError(
                f"{self.name}: returned {document!r:.80}; a document is a dict, several are a list"
            )
        now_ns = self._stage.floor.now_ns
        own = uuid.uuid5(_NAMESPACE, f"{self.name}/{now_ns}/{symbol}/{place}")
        own_id = str(uuid.UUID(bytes=own.bytes, version=4))
        whole: dict[str, Any] = {"intent_id": own_id, "timestamp": time_text(now_ns)}
        if document.get("kind", "intent") == "intent":
            ttl_ns = self._stage.state.limits.hard.ttl_seconds
            whole |= {"strategy_ref": self.name, "confidence": 1.0, "ttl_seconds": ttl_ns / NS_PER_S}
            if symbol is not None:
                whole["asset"] = symbol
        whole |= document
        try:
            data = json.dumps(whole, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise StrategyError(f"{self.name}: a document that cannot be JSON: {error}") from error
        return Arrival(now_ns, self._agent, f"{whole['intent_id']}.json", data)


def _loaded(path: Path, text: str) -> ModuleType:
    name = f"hands_strategy_{path.stem}"
    spec = importlib.util.spec_from_loader(name, None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    linecache.checkcache(str(path))
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102  the user's own file, named by the user
    except Exception as error:
        raise StrategyError(_failed(str(path), "loading it", error)) from error
    return module


def _failed(file: str, what: str, error: Exception) -> str:
    """Return what went wrong, with the lines of the strategy's own file."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((n for n, frame in enumerate(frames) if frame.filename == file), len(frames))
    own = "".join(traceback.format_list(frames[first:])).rstrip()
    said = "".join(traceback.format_exception_only(error)).rstrip()
    return "\n".join(part for part in (f"{file}: {what} failed", own, said) if part)
