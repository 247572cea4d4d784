"""The witness: stands at the exchange while a run goes on, and notes what no engine may ever do.

Owns what is judged at the moment it happens: limits at each entry, what is owned at each fill, and what the network and
the rig did to the engine meanwhile (`Disturbance`). May not change anything. The one idea: the exchange's own books are
the truth, so an entry is held against the account as it is when the order arrives, and against what was traded and
lost since the roll; only that a price takes a moment to be seen, and an order to arrive, is allowed for (`unseen_gain`).
"""

from __future__ import annotations

import bisect
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hands.core.orders import parse_client_order_id
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, mul_floor
from hands.core.vocab import Leg, Side
from hands.sim.server.fault_rows import FaultRow
from hands.sim.venue.orders import Order, OrderRequest
from hands.sim.venue.ticks import MarketEvent
from tests.rig.exchange import Exchange

SLACK = 1.02
"""The account is asked for every few seconds, so equity may have moved by this much since."""

ROLL_ZONE, ROLL_AFTER = ZoneInfo("America/New_York"), timedelta(hours=17)
"""When the day begins, as shipped."""

ROLL_SLACK_NS = 15 * NS_PER_S
"""Around the roll the engine's clock, a step or an entry on its way may put a trade into either day: it is put into none."""

UNSEEN_NS = 2 * NS_PER_S
"""What happened at the exchange so shortly before an entry arrived, its decision may not have known: the price and the
order are each up to 0.08 s on the slow network's way, and behind what was sent before; an entry waits for a free
connection."""

DUST = 11 * NANO
"""Coins worth less than this count as no trade: they cannot be sold."""

TIMEOUT_S = 5.0
TRUTH_S = 30.0
"""The shipped request timeout, and how often the venue is asked for everything."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """From and to when (nanoseconds of the loop) something kept the engine from seeing or doing what it should."""

    from_ns: int
    to_ns: int
    why: str


@dataclass(slots=True)
class Limits:
    """The limits that are held against the exchange's own books."""

    max_position_size: float
    max_gross_exposure: float
    max_order_notional_usd: float
    max_risk_per_trade: float
    max_concurrent: int
    max_daily_trades: int
    orders_per_minute: int
    max_daily_loss: float
    stop_limit_offset: float


@dataclass(slots=True)
class Today:
    """What the exchange's books say of a day: what the account was worth at its roll, and its entries."""

    date: date
    began_ns: int
    equity: int
    entries: list[Order] = field(default_factory=list)


@dataclass(slots=True)
class Witness:
    """What was seen. `wrongs` is empty if all is well."""

    exchange: Exchange
    limits: Limits
    documents: dict[str, bytes]
    wrongs: list[str] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    refuse_stops: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    """Answers with which the next stops are refused, whatever they are."""
    entries: dict[str, Order] = field(default_factory=dict)
    _entry_ns: list[int] = field(default_factory=list)
    _marks: dict[str, deque[tuple[int, int]]] = field(default_factory=dict)
    """Each symbol's marks and since when they stood: those of the last while, and the one before them."""
    _today: Today = field(init=False)
    _pass_time: Callable[[], None] = field(init=False)
    _emit: Callable[[Sequence[MarketEvent]], None] = field(init=False)
    _submit: Callable[[OrderRequest], Order] = field(init=False)
    _fault_of: Callable[[str, str], FaultRow | None] = field(init=False)

    def __post_init__(self) -> None:
        floor = self.exchange.floor
        # The day under way when a run begins has no roll to be in doubt about.
        self._today = Today(
            self._date(self.exchange.now_ns),
            self.exchange.now_ns - ROLL_SLACK_NS,
            floor.exchange.funds().equity,
        )
        self._pass_time = floor.pass_time
        floor.pass_time = self.pass_time  # type: ignore[method-assign]
        self._emit = floor.emit
        floor.emit = self.emit  # type: ignore[method-assign]
        self._submit = floor.exchange.submit
        self._fault_of = floor.faults.for_request
        floor.exchange.submit = self.submit  # type: ignore[method-assign]
        floor.faults.for_request = self.for_request  # type: ignore[method-assign]

    # --- the day ---------------------------------------------------------------------------------------------

    def pass_time(self) -> None:
        """Let time pass as the floor does; a day that begins is noted."""
        self._pass_time()
        today = self._date(self.exchange.now_ns)
        if today > self._today.date:
            self._today = Today(today, self.exchange.now_ns, self.exchange.floor.exchange.funds().equity)

    def _date(self, at_ns: int) -> date:
        """Return the day of a moment by the exchange's clock, named by when it began."""
        return (datetime.fromtimestamp(at_ns / 1e9, ROLL_ZONE) - ROLL_AFTER).date()

    # --- what can have been seen -----------------------------------------------------------------------------

    def emit(self, events: Sequence[MarketEvent]) -> None:
        """Let the market move as the floor does; what it shows from now on is noted."""
        self._emit(events)
        now = self.exchange.now_ns
        for symbol in sorted({event.symbol for event in events}):
            marks = self._marks.setdefault(symbol, deque())
            marks.append((now, self.exchange.floor.exchange.mark(symbol)))
            while len(marks) > 1 and marks[1][0] < now - KEPT_NS:
                marks.popleft()

    def best_mark(self, symbol: str, since_ns: int) -> int:
        """Return the highest mark of a symbol that stood at any moment since then."""
        best: int = self.exchange.floor.exchange.mark(symbol)
        for at_ns, mark in reversed(self._marks.get(symbol, ())):
            best = max(best, mark)
            if at_ns <= since_ns:
                break
        return best

    def unseen_gain(self, since_ns: int) -> int:
        """Return how much more the account was worth by the best that an engine may have seen which knows nothing that
        happened since then: what is held at its best mark, and what was sold since as still held."""
        exchange = self.exchange.floor.exchange
        gain: int = sum(
            mul_floor(self.best_mark(symbol, since_ns) - exchange.mark(symbol), position.qty)
            for symbol, position in exchange.account.positions.items()
        )
        for fill in reversed(exchange.blotter.fills):
            if fill.t_ns < since_ns:
                break
            if fill.side is Side.SELL:
                gain += mul_floor(max(0, self.best_mark(fill.symbol, since_ns) - fill.price), fill.qty)
        return gain

    def _known_ns(self, client_order_id: str) -> int:
        """Return until when the decision behind an order that has been taken now must have known everything."""
        return self._received_ns(client_order_id) - UNSEEN_NS

    def _received_ns(self, client_order_id: str | None) -> int:
        """Return when the request of an order that is taken now came in: a slow exchange may have taken others meanwhile."""
        for record in reversed(self.exchange.floor.requests):
            if isinstance(record.body, dict) and record.body.get("client_order_id") == client_order_id:
                return min(record.received_ns, self.exchange.now_ns)
        return self.exchange.now_ns

    def _bought_since(self, since_ns: int) -> dict[str, int]:
        """Return what was bought from a moment on, by symbol: nobody who decided before it can have known."""
        bought: dict[str, int] = {}
        for fill in reversed(self.exchange.floor.exchange.blotter.fills):
            if fill.t_ns < since_ns:
                break
            if fill.side is Side.BUY:
                bought[fill.symbol] = bought.get(fill.symbol, 0) + fill.qty
        return bought

    # --- the network's doings --------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        return self.exchange.loop.now_ns

    def disturb(self, seconds: float, why: str) -> None:
        """Note that from now on, for so long, the engine cannot be blamed."""
        now = self.now_ns
        self.disturbances.append(Disturbance(now, now + int(seconds * NS_PER_S), why))

    def for_request(self, method: str, path: str) -> FaultRow | None:
        """Return what is to happen to a request, and note what that explains."""
        row = self._refusal(method, path) or self._fault_of(method, path)
        if row is not None:
            if row.do == "delay":
                self.disturb(row.delay_ms / 1000 + 1, f"{method} {path} delayed")
            elif row.do in ("drop_request", "drop_response", "truncate", "close"):
                self.disturb(3, f"{method} {path} {row.do}")
            else:
                self.disturb(3, f"{method} {path} answered {row.status}")
        return row

    def _refusal(self, method: str, path: str) -> FaultRow | None:
        if not self.refuse_stops or (method, path) != ("POST", "/v2/orders"):
            return None
        body = self.exchange.floor.requests[-1].body
        if not isinstance(body, dict) or not (
            "stop" in str(body.get("type")) or body.get("order_class") == "oco"
        ):
            return None
        status, answer = self.refuse_stops.popleft()
        return FaultRow("POST /v2/orders", "status", {}, 1, None, None, status=status, body=answer)

    def note_stream_faults(self) -> None:
        """Note what was done to the trade stream since the last call."""
        used = self.exchange.floor.faults.used
        fresh = list(used)
        used.clear()
        offset = self.exchange.now_ns - self.now_ns
        for use in fresh:
            if use["on"] == "trade_updates":
                lasts = {"mute": TRUTH_S + TIMEOUT_S, "disconnect": 6.0, "refuse_reconnect": 12.0}.get(
                    use["do"], 4.0
                )
                at = use["t_ns"] - offset
                self.disturbances.append(Disturbance(at, at + int(lasts * NS_PER_S), f"stream {use['do']}"))

    # --- entries ---------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> Order:
        """Take an order as the exchange does; an entry is held against the account before."""
        named = parse_client_order_id(request.client_order_id or "")
        is_entry = named is not None and named[1] is Leg.ENTRY
        unseen = self._bought_since(self._received_ns(request.client_order_id)) if is_entry else {}
        before: tuple[int, int, int] = self._account(unseen) if is_entry else (0, 0, 0)
        held = max(0, self.exchange.held(request.symbol) - unseen.get(request.symbol, 0))
        acknowledged = self._submit(request)
        if is_entry and named is not None:
            # The answer shows the order as it was taken; the blotter's own is what fills and ends.
            order = self.exchange.floor.exchange.blotter.find(acknowledged.order_id)
            self._judge_entry(order, named, before, held)
        return acknowledged

    def _account(self, unseen: Mapping[str, int]) -> tuple[int, int, int]:
        """Return equity; what was paid for what is held, or may be paid by live entries; and how many trades that is.

        Positions that are no larger than what is `unseen` do not count.
        """
        exchange = self.exchange.floor.exchange
        funds = exchange.funds()
        seen = {s: p for s, p in exchange.account.positions.items() if p.qty > unseen.get(s, 0)}
        exposed: int = sum(position.cost for position in seen.values())
        busy = set(seen)
        for orders in exchange.blotter.live.values():
            for order in orders:
                named = parse_client_order_id(order.client_order_id)
                if named is not None and named[1] is Leg.ENTRY and order.status.value != "held":
                    exposed += mul_floor(order.limit_price or 0, order.remaining)
                    if order.remaining:
                        busy.add(order.symbol)
        dust = sum(1 for s, p in seen.items() if p.market_value(exchange.mark(s)) < DUST)
        return funds.equity, exposed, len(busy) - dust

    def _judge_entry(
        self, order: Order, named: tuple[str, Leg, int], before: tuple[int, int, int], held: int
    ) -> None:
        intent_id, _, attempt = named
        equity, exposed, busy = before
        limits, price = self.limits, order.limit_price or 0
        notional = mul_floor(price, order.qty)
        if intent_id in self.entries or attempt != 1:
            self.wrongs.append(f"{intent_id}: a second entry order, {order.client_order_id}")
        self._at_most(intent_id, "max_order_notional_usd", notional, limits.max_order_notional_usd * NANO)
        self._at_most(intent_id, "max_position_size", notional, limits.max_position_size * equity * SLACK)
        self._at_most(
            intent_id, "max_gross_exposure", exposed + notional, limits.max_gross_exposure * equity * SLACK
        )
        self._at_most(intent_id, "max_concurrent", busy + 1, limits.max_concurrent)
        if mul_floor(held, price) >= DUST:
            self.wrongs.append(f"{intent_id}: an entry in {order.symbol}, of which {held / NANO:g} are held")
        risk = mul_floor(price - self._worst_exit(order, intent_id), order.qty)
        self._at_most(intent_id, "max_risk_per_trade", risk, limits.max_risk_per_trade * equity * SLACK)
        self._judge_day(order, intent_id, equity, risk)
        self.entries[intent_id] = order
        now = self.exchange.now_ns
        self._entry_ns = [*(at for at in self._entry_ns if at > now - 60 * NS_PER_S), now]
        self._at_most(intent_id, "orders_per_minute", len(self._entry_ns), limits.orders_per_minute + 1)

    def _judge_day(self, order: Order, intent_id: str, equity: int, risk: int) -> None:
        """Hold an entry against the day's loss, of the equity at the roll, and the day's trades that fill or may."""
        today, limits = self._today, self.limits
        now = self.exchange.now_ns
        if now < today.began_ns + ROLL_SLACK_NS or self._date(now + ROLL_SLACK_NS) != today.date:
            return
        seen = equity + self.unseen_gain(self._known_ns(order.client_order_id))
        if seen < today.equity:
            most = limits.max_daily_loss * today.equity * SLACK
            self._at_most(intent_id, "max_daily_loss", today.equity - seen + risk, most)
        today.entries.append(order)
        trades = sum(1 for each in today.entries if each.filled_qty or each.is_live)
        self._at_most(intent_id, "max_daily_trades", trades, limits.max_daily_trades)

    def _worst_exit(self, order: Order, intent_id: str) -> int:
        """Return what the document's stop gives at worst; of a coin what its stop-limit takes."""
        stop = float(json.loads(self.documents[intent_id])["stop_loss"])
        return int(stop * NANO * (1 - self.limits.stop_limit_offset if order.asset.is_crypto else 1))

    def _at_most(self, intent_id: str, name: str, value: float, limit: float) -> None:
        if value > limit:
            self.wrongs.append(f"{intent_id}: {name} exceeded: {value:g} > {limit:g}")


def sold_too_much(exchange: Exchange) -> list[str]:
    """Return where an exit took a position below nothing: judged fill by fill."""
    held: dict[str, int] = {}
    wrongs = []
    for fill in exchange.floor.exchange.blotter.fills:
        change = fill.qty if fill.side is Side.BUY else -fill.qty
        if fill.side is Side.BUY and "/" in fill.symbol:
            change -= fill.fee
        held[fill.symbol] = held.get(fill.symbol, 0) + change
        if held[fill.symbol] < 0:
            wrongs.append(
                f"{fill.symbol}: {-held[fill.symbol] / NANO:g} more were sold than owned, by {fill.client_order_id}"
            )
    return wrongs


def unexplained_ns(from_ns: int, to_ns: int, disturbances: list[Disturbance]) -> int:
    """Return how much of a time no disturbance covers; they are given in the order in which they began."""
    covered, at = 0, from_ns
    last = bisect.bisect_left(disturbances, to_ns, key=lambda each: each.from_ns)
    first = bisect.bisect_left(disturbances, from_ns - LONGEST_NS, key=lambda each: each.from_ns)
    for each in disturbances[first:last]:
        end_ns = min(each.to_ns, to_ns)
        if end_ns > at:
            covered += end_ns - max(each.from_ns, at)
            at = end_ns
    return to_ns - from_ns - covered


KEPT_NS = 30 * NS_PER_S
"""How long marks are kept: longer than an entry can be on its way."""

LONGEST_NS = 300 * NS_PER_S
"""No disturbance lasts longer."""

NAKED_SLACK_NS = 1_500 * NS_PER_MS
"""Beyond `unprotected_max_ms`: what it takes to cancel, have it proven and sell, at the rig's latencies."""
