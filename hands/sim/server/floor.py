"""The trading floor: the exchange, both streams, the history and the faults, wired together.

Owns what a tick and an order set in motion outside the exchange, and the way back to the start. The one idea:
everything happens on one event loop, in this order: the exchange matches, the market is recorded and published,
then the trade updates go out. When the exchange has something scheduled, the floor's clock wakes it for that moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Final

from hands.sim.market.feeds import PLANS
from hands.sim.market.load import Burst
from hands.sim.server.clock import ManualClock, WallClock
from hands.sim.server.config import SimConfig
from hands.sim.server.faults import Faults
from hands.sim.server.history import History
from hands.sim.server.market_stream import MarketHub
from hands.sim.server.portfolio import EquityRecord
from hands.sim.server.trade_events import TradeEvents
from hands.sim.server.trade_stream import TradeStream
from hands.sim.venue.orders import TradeUpdate
from hands.sim.venue.ticks import MarketEvent, Notice, Quote, Trade

NOTICES_MAX: Final = 10_000
UPDATES_MAX: Final = 50_000
"""How many trade updates can be asked for again; of a longer session the newest."""

PRINTS_MAX: Final = 10_000
"""How many prints of the controls are remembered, to be corrected or canceled."""


@dataclass(slots=True)
class RequestRecord:
    """One trading request as it arrived. `received_ns` is when its first bytes came off the socket; `conn`
    numbers the connection; `status` is None when no answer was sent."""

    method: str
    path: str
    body: Any
    received_ns: int
    conn: int
    status: int | None = None


class TradingFloor:
    """Everything that is one simulated venue, as `config` says, running on `clock`."""

    def __init__(self, config: SimConfig, clock: WallClock | ManualClock) -> None:
        self.started_with = self.config = config
        self.now_ns = self.clock = clock
        self.credentials = {config.key: config.secret}
        self.faults = Faults(clock, config.seed)
        self.hub = MarketHub(
            clock, self.credentials, self.faults, plan=PLANS[config.plan], quirks=config.quirks
        )
        self.history = History(clock, self.credentials, plan=PLANS[config.plan])
        self.updates: deque[TradeUpdate] = deque(maxlen=UPDATES_MAX)
        self.stream = TradeStream(clock, self.credentials, self.faults, self.updates, config.quirks)
        self.events = TradeEvents(clock, self.updates, lambda: self.config.quirks)
        self.load = config.open_load(clock)
        self._open_account()
        self.tape = config.open_tape(clock)
        self.requests: list[RequestRecord] = []
        self.notices: deque[Notice] = deque(maxlen=NOTICES_MAX)
        self.trade_ids = 0
        self.moving = asyncio.Lock()
        self.has_new_tape = asyncio.Event()
        self._prints: dict[tuple[str, int], Trade] = {}
        self._wakes: set[int] = set()
        self.flush()

    def emit(self, events: Sequence[MarketEvent]) -> None:
        """Let the market move: match, record, publish, report."""
        for is_tick, run in groupby(events, _is_tick):
            if is_tick:
                self.exchange.on_ticks([event for event in run if isinstance(event, Quote | Trade)])
                continue
            for event in run:
                assert not isinstance(event, Quote | Trade)
                self.notices.append(event)
                self.exchange.on_notice(event)
        self.history.record(events)
        self.hub.publish(events)
        self.flush()

    def emit_load(self, burst: Burst) -> None:
        """Let a burst of the prepared market pass: only what is traded here is matched and recorded."""
        ticks = burst.ticks(self.exchange.watched)
        if ticks:
            self.exchange.on_ticks(ticks)
            self.history.record(ticks)
        self.hub.publish_load(burst, ticks)
        self.flush()

    def remember_prints(self, trades: Sequence[Trade]) -> None:
        """Keep the prints of a control, so that a later one can correct or cancel them."""
        for trade in trades:
            self._prints[trade.symbol, trade.trade_id] = trade
        while len(self._prints) > PRINTS_MAX:
            del self._prints[next(iter(self._prints))]

    def find_print(self, symbol: str, trade_id: int) -> Trade | None:
        """Return a print that a control made."""
        return self._prints.get((symbol, trade_id))

    def flush(self) -> None:
        """Send the trade updates that are due, and have the exchange woken for what it has scheduled."""
        updates = self.exchange.take_updates()
        if updates:
            self.updates.extend(updates)
            self.stream.publish(updates)
            self.events.publish(updates)
        self.equity.note(self.clock(), lambda: self.exchange.funds().equity)
        due_ns = self.exchange.next_due_ns
        if due_ns is not None and due_ns not in self._wakes:
            self._wakes.add(due_ns)
            self.clock.call_at(due_ns, partial(self._wake, due_ns))

    def flush_soon(self) -> None:
        """Send them after the current request has been answered, as the venue usually does."""
        asyncio.get_running_loop().call_soon(self.flush)

    def pass_time(self) -> None:
        """Do what the clock has made due: sessions, expiries, what is scheduled, bars."""
        self.exchange.advance()
        self.hub.publish_bars()
        self.flush()

    def reset(self, config: SimConfig | None = None) -> None:
        """Go back to the start: a fresh exchange, no history, no faults, no requests; connections stay.

        The tape begins again, and a manual clock goes back too. `config` is another one to go on with.
        """
        self.config = config or self.started_with
        self.faults.reset(self.config.seed)
        if isinstance(self.clock, ManualClock):
            self.clock.restart()
        self.tape = self.config.open_tape(self.clock)
        self.has_new_tape.set()
        self.history.clear()
        self.hub.reset(self.config.quirks)
        self.stream.reset(self.config.quirks)
        self.requests.clear()
        self.notices.clear()
        self.updates.clear()
        self._prints.clear()
        self.trade_ids = 0
        self._open_account()
        self.flush()

    def close(self) -> None:
        """Drop every stream, so that a server can stop without waiting for its clients."""
        self.hub.close()
        self.stream.close()
        self.events.close()

    def _open_account(self) -> None:
        """Begin with a fresh exchange; whoever keeps something for an account begins anew with it."""
        self.exchange = self.config.open_exchange(self.clock)
        self.equity = EquityRecord(self.exchange.created_ns, self.exchange.opening_equity_usd)
        if self.load is not None:
            self.exchange.market_source = self.load.latest

    def _wake(self, due_ns: int) -> None:
        self._wakes.remove(due_ns)
        self.exchange.advance()
        self.flush()


def _is_tick(event: MarketEvent) -> bool:
    return isinstance(event, Quote | Trade)
