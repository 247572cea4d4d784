"""`replay`: a market of the past through the same `decide`, with the simulator's exchange at the other end.

Owns the assembly: state, engine, exchange, latency, polls, documents and the strategy, and what is measured. May not
decide anything. The one idea: a replay is a start of the daemon on another clock; it is told account, assets, session and
truth before the first row, and is ready when the market begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from hands.core.events import (
    AssetsReport,
    LimitsRead,
    Link,
    LinkReport,
    OperatorAction,
    OperatorRequest,
    Started,
)
from hands.core.limits import LimitsFile, read_limits
from hands.core.market import Market
from hands.core.state import State
from hands.core.tightening import narrowed
from hands.core.units import NS_PER_MS, NS_PER_S, Ns, mul_floor
from hands.core.vocab import Venue
from hands.replay import translation
from hands.replay.agenda import Agenda
from hands.replay.arrivals import Arrival
from hands.replay.as_recorded import Act, Restarted
from hands.replay.engine import Engine
from hands.replay.floor import Floor
from hands.replay.given import (
    LOOKED_AT,
    Circumstances,
    Documents,
    Rows,
    check_settings,
    circumstances,
    cut,
    documents,
    first_rows,
    tape_of,
)
from hands.replay.ledger import new_ledger
from hands.replay.outcome import Equity, OpenPosition, Replay, exact
from hands.replay.player import Player, ReplayError
from hands.replay.polls import Polls
from hands.replay.session import looks_like_calendar, rolls_ns
from hands.replay.strategy import Strategy
from hands.replay.venue import VenueLink
from hands.version import __version__

BEFORE_NS = NS_PER_S
"""How long before the first row the engine starts, at least: it is then ready when the market begins."""

EARLIEST_NS = 631_152_000 * NS_PER_S
"""1990: what is earlier was meant in another unit."""

ROLL_AHEAD_NS = 3_660 * 86_400 * NS_PER_S
"""Trading days are known for ten years from the first row on."""


SETTLE_WAYS = 20
"""So many ways there or back are waited for when the rows are over: the engine's books are then the exchange's."""

INTERVALS_S = (60, 300)


Progress = Callable[[int, int | None, int], None]
"""Called now and then with rows played, rows in all (None: not known) and the time that has been reached."""


def replay(
    market: Rows | Path | str | Sequence[Path | str],
    intents: Documents | Iterable[Arrival] | Path | str = (),
    *,
    limits: LimitsFile | Path | str | None = None,
    strategy: Strategy | Path | str | None = None,
    start: int | None = None,
    end: int | None = None,
    fills: str = "realistic",
    latency_ms: float | None = None,
    seed: int = 0,
    equity: float | Decimal | str | None = None,
    session: str = "auto",
    symbols: Sequence[str] | None = None,
    intervals_s: Sequence[int] = INTERVALS_S,
    periods: Mapping[str, Mapping[str, float]] | None = None,
    suspicious_jump: float = 0.10,
    close_intent: bool = True,
    batch_rows: int = 1_000_000,
    progress: Progress | None = None,
    one_by_one: bool = False,
) -> Replay:
    """Play `market` and judge `intents` (or what `strategy` says) at their own times; return all that came of it.

    `market`: a tape, or the names of what `hands.replay.sources.open_market` opens.
    `intents`: arrivals, or where they are (`hands.replay.arrivals`). `limits`: a limits file, or its path.
    Documents of a state directory bring what is on record with them: limits, latencies, equity, the kind of session and what
    the operator did. What is named here counts before it; where neither is, `latency_ms` is 20 and `equity` 100 000.
    `start`, `end`: Unix ns; rows received in [start, end). `fills`: "realistic" (at most what is displayed, a queue) or
    "instant". `latency_ms`: what a request takes to the venue, and an answer or report back. `equity` in dollars.
    `session`: "calendar", "always", or "auto" (by the calendar where the market's shares kept to it). `symbols` narrows
    the allow-list. `intervals_s`, `periods`, `suspicious_jump`, `close_intent` as in hands.toml. `batch_rows`: the most
    rows given to the market at once. `one_by_one`: show every row to engine and exchange alone; slow, and the same.

    Raises:
        ReplayError: a setting out of range, or rows that are no market.
        ArrivalError, StrategyError, LimitsError, OSError: intents, strategy or limits cannot be read.
        FileError, TapeError: the market cannot be opened or read.
    """
    check_settings(fills, session, latency_ms, batch_rows)
    told = documents(intents)
    around = circumstances(
        told.recorded, limits=limits, symbols=symbols, latency_ms=latency_ms, equity=equity, session=session
    )
    tape = tape_of(market)
    chunks = cut(tape.chunks(), start, end, batch_rows)
    begun = first_rows(chunks)
    if not begun:
        raise ReplayError("no rows to play: the market is empty, or empty between start and end")
    play = _Play(
        tuple(tape.symbols),
        np.concatenate([rows[:LOOKED_AT] for rows in begun])[:LOOKED_AT],
        around,
        fills=fills,
        since_ns=around.since_ns(int(begun[0]["recv_ns"][0])),
        seed=seed,
        intervals_s=intervals_s,
        periods=periods,
        suspicious_jump=suspicious_jump,
        close_intent=close_intent,
        one_by_one=one_by_one,
    )
    began = time.perf_counter()
    play.begin(
        told.arrivals,
        strategy if isinstance(strategy, Strategy | None) else Strategy.load(Path(strategy)),
    )
    for chunk in chain(begun, chunks):
        play.player.play(chunk)
        if progress is not None:
            progress(play.player.rows, tape.rows, int(chunk["recv_ns"][-1]))
    play.end(around.until_ns(int(begun[0]["recv_ns"][0])) if end is None else None)
    return play.result(time.perf_counter() - began, seed)


class _Play:
    """Everything of one replay."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        first: np.ndarray,
        around: Circumstances,
        *,
        fills: str,
        since_ns: int | None,
        seed: int,
        intervals_s: Sequence[int],
        periods: Mapping[str, Mapping[str, float]] | None,
        suspicious_jump: float,
        close_intent: bool,
        one_by_one: bool,
    ) -> None:
        law = around.law
        self.symbols, self.law, self._around, self._fills = symbols, law, around, fills
        self._latency_ns = latency_ns = around.ways.usual_ns
        self._first_ns = int(first["recv_ns"][0])
        if self._first_ns < EARLIEST_NS:
            raise ReplayError(f"the first row was received at {self._first_ns}: rows have Unix nanoseconds")
        self._from_ns = self._first_ns - BEFORE_NS  # what documents came earlier, are left out
        if since_ns is not None:
            self._from_ns = min(self._from_ns, since_ns)
        self._began_ns = min(self._from_ns, self._first_ns - max(BEFORE_NS, 10 * latency_ns))
        Market.warm_up()
        every = symbols + tuple(symbol for symbol in law.allow if symbol not in symbols)
        try:
            market = Market(every, tuple(intervals_s), periods, suspicious_jump=suspicious_jump)
            rolls = rolls_ns(law.roll_time, law.roll_zone, self._began_ns, self._began_ns + ROLL_AHEAD_NS)
        except ValueError as error:
            raise ReplayError(str(error)) from error
        self._rolls = rolls
        self.session = around.session
        if self.session == "auto":
            self.session = "calendar" if looks_like_calendar(first, symbols) else "always"
        self.state = State(law, market, Venue.SIM)
        self.agenda = Agenda()
        self.floor = Floor(
            every,
            self._began_ns,
            cash_usd=around.cash,
            seed=seed,
            fills=fills,
            session=self.session,
            multiplier=around.multiplier,
            random_partials=around.random_partials,
            every_row=one_by_one,
        )
        self.floor.begin_with(around.holdings)
        self.engine = Engine(self.state, new_ledger())
        self.venue = VenueLink(
            self.floor,
            self.agenda,
            around.ways,
            self.engine.feed,
            self.engine.take_rows,
            close_intent=close_intent,
        )
        self.engine.connect(self.venue)
        self.polls = Polls(
            self.state, self.engine, self.venue, self.floor, self.agenda,
            began_ns=self._began_ns, latency_ns=latency_ns, asked_ns=around.account_asked_ns(self._first_ns),
        )  # fmt: skip
        self._one_by_one = one_by_one
        self._equity: list[tuple[int, int]] = []
        self.venue.equity_seen = self._note_equity

    # --- the start -------------------------------------------------------------------------------------------

    def begin(self, arrivals: Sequence[Arrival], strategy: Strategy | None) -> None:
        """Start as the daemon starts, and let time pass to the first row."""
        acts = bool(arrivals or self._around.acts) or strategy is not None
        self.player = Player(
            self.state, self.engine, self.floor, self.venue, self.polls, self.agenda,
            acts=acts, one_by_one=self._one_by_one,
        )  # fmt: skip
        feed, now = self.engine.feed, Ns(self._began_ns)
        sha = self.law.sha256
        feed(self.venue.account_now(self._began_ns))
        feed(Started(ts_ns=now, version=__version__, limits_sha256=sha, rolls_ns=self._rolls))
        feed(LimitsRead(ts_ns=now, text=self._around.text, at_start=True))
        feeds = {
            Link.CRYPTO_DATA if "/" in symbol else Link.EQUITY_DATA for symbol in self.state.market.symbols
        }
        for link in (Link.JOURNAL, Link.ORDER_ENTRY, *sorted(feeds)):
            feed(LinkReport(ts_ns=now, link=link, up=True))
        assets = self.floor.exchange.assets
        listed = tuple(translation.asset(assets.add(symbol)) for symbol in self.state.market.symbols)
        feed(AssetsReport(ts_ns=now, assets=listed))
        self.polls.tell_session()
        feed(LinkReport(ts_ns=now, link=Link.TRADE_UPDATES, up=True))
        self.polls.look()
        if strategy is not None:
            strategy.begin(self)
            self.player.brain = strategy
        from_ns = self._from_ns
        self.player.expect([arrival for arrival in arrivals if arrival.at_ns >= from_ns])
        for act in self._around.acts:
            if isinstance(act, OperatorRequest) and act.action is OperatorAction.ADOPT:
                self._let_truth_be_fresh(act.ts_ns)
            self.agenda.at(max(act.ts_ns, self._began_ns), partial(self._act, act))
        self._given, self._before = len(arrivals), sum(arrival.at_ns < from_ns for arrival in arrivals)
        self.player.pass_time(self._first_ns - 1)

    def _let_truth_be_fresh(self, at_ns: int) -> None:
        """Have an answer to what is held shortly before then: an adoption wants one, and the daemon asks regularly."""
        asked_ns = at_ns - max(BEFORE_NS, 4 * self._latency_ns)
        self.agenda.at(max(asked_ns, self._began_ns), partial(self.venue.request_truth, ()))

    def _act(self, act: Act) -> None:
        """Do to the engine what was done to it from outside."""
        if isinstance(act, Restarted):
            self.engine.begin_anew(None)
            alive = (order for ticket in self.state.tickets.values() for order in ticket.orders.values())
            self.venue.request_truth(tuple(order.client_order_id for order in alive))
            return
        if isinstance(act, LimitsRead) and act.at_start:
            self.engine.begin_anew(narrowed(read_limits(act.text), act.symbols))
        self.player.operate(act)

    def end(self, until_ns: int | None) -> None:
        """Do what is due at the last row's time or by `until_ns`, let what is on its way arrive, and write down what is left."""
        until_ns = self._to_ns = max(self.floor.now_ns, until_ns or 0)
        self.player.pass_time(until_ns)
        for _ in range(SETTLE_WAYS):
            if not self.venue.in_flight:
                break
            until_ns += self._latency_ns
            self.player.pass_time(until_ns)
        self.floor.catch_up()
        at_ns = max(self._to_ns, self._equity[-1][0])
        self._note_equity(at_ns, self.floor.exchange.funds().equity)
        self.engine.finish()

    def _note_equity(self, at_ns: int, equity: int) -> None:
        if not self._equity or self._equity[-1][1] != equity:
            self._equity.append((at_ns, equity))

    # --- the result ------------------------------------------------------------------------------------------

    def result(self, wall_s: float, seed: int) -> Replay:
        player, floor, market = self.player, self.floor, self.state.market
        if self._equity[-1][0] < self._to_ns:
            self._equity.append((self._to_ns, self._equity[-1][1]))
        return Replay(
            symbols=self.symbols,
            session=self.session,
            fills_model=self._fills,
            latency_ms=self._around.ways.usual_ns / NS_PER_MS,
            latency_from=self._around.latency_from,
            left_out=self._around.left_out,
            seed=seed,
            limits_sha256=self.law.sha256,
            rows=player.rows,
            from_ns=self._first_ns,
            to_ns=self._to_ns,
            opening_equity=exact(self._around.equity),
            equity=tuple(Equity(at_ns, exact(value)) for at_ns, value in self._equity),
            open_positions=tuple(self._open_positions()),
            refused=tuple(self.engine.refused),
            unquoted=tuple(each for each, sym in self._numbered() if market.quote(sym) is None),
            untraded=tuple(
                each for each, sym in self._numbered() if "/" not in each and market.last_trade(sym) is None
            ),
            counters={
                "rows": player.rows,
                "decisions": self.engine.decisions,
                "documents": player.documents,
                "documents_before": self._before,
                "documents_after": self._given - self._before - player.arrived,
                "acts": player.acts,
                "triggers_fired": self.engine.triggers_fired,
                "wakes": player.wakes,
                "ticks_shown": floor.ticks_shown,
            },
            wall_s=wall_s,
            digest=self.engine.digest(),
            ledger=self.engine.ledger,
        )

    def _numbered(self) -> Iterator[tuple[str, int]]:
        return ((symbol, sym) for sym, symbol in enumerate(self.symbols))

    def _open_positions(self) -> Iterator[OpenPosition]:
        exchange = self.floor.exchange
        owners = {holding.symbol for holding in self._around.holdings}
        for symbol, position in exchange.account.positions.items():
            if symbol in owners and not self.state.live_on(symbol):
                continue  # nobody has adopted it: no trade's
            mark = exchange.mark(symbol)
            gain = mul_floor(position.qty, mark) - (position.cost if position.qty > 0 else -position.cost)
            yield OpenPosition(
                symbol, exact(position.qty), exact(position.avg_entry_price), exact(mark), exact(gain)
            )
