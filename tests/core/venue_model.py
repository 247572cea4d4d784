"""A venue and a desk on a virtual clock: `decide` driven against something that answers like the venue.

Owns `VenueModel` (orders, groups, fills, reservations, coin fees, refusals; it keeps its own books and knows nothing
of the engine's) and `Desk` (the shells: it carries commands out, delivers answers and reports after a delay, keeps
what the journal would keep, and can lose, double, delay, crash and restore). The one idea: all of it is a function
of the script (or of a seeded random), so a failing run is the same run again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from hands.core.commands import (
    Alert,
    AnyCommand,
    CancelOrder,
    FetchQuote,
    QueryOrder,
    RequestTruth,
    SubmitEntry,
    SubmitExit,
)
from hands.core.engine import decide
from hands.core.events import (
    AccountReport,
    AnyEvent,
    Asset,
    AssetsReport,
    DocumentReceived,
    Execution,
    Link,
    LinkReport,
    OperatorAction,
    OperatorRequest,
    OrderReport,
    PositionSnapshot,
    QuoteFetched,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    SessionReport,
    Started,
    TriggersFired,
    TruthReport,
    VenueOrder,
    Wake,
)
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.receipts import receipt
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, decimal_text, nano
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce, TradingState, Venue
from tests.core.world import NOW, ROLL, account, document, encoded, intent_id, session, world

S = OrderStatus
WORKING = frozenset({S.NEW, S.ACCEPTED, S.PARTIALLY_FILLED})
MIN_COIN_NOTIONAL = 10 * NANO


@dataclass(eq=False)
class Resting:
    """One order as the venue keeps it. `active`: a held stop leg that the venue watches."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    order_class: OrderClass
    time_in_force: TimeInForce
    qty: int
    limit: int | None
    stop: int | None
    status: OrderStatus
    filled: int = 0
    value: int = 0
    active: bool = False
    elected: bool = False
    parent: Resting | None = None
    legs: list[Resting] = field(default_factory=list)
    history: list[OrderStatus] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return not self.status.is_terminal

    @property
    def remaining(self) -> int:
        return self.qty - self.filled

    @property
    def group(self) -> list[Resting]:
        """The exits that stand for one another: a bracket's two legs, or an OCO's parent and child."""
        if self.order_class is OrderClass.BRACKET:
            return self.parent.legs if self.parent is not None else []
        if self.order_class is OrderClass.OCO:
            head = self.parent or self
            return [head, *head.legs]
        return [self]

    def view(self, *, nested: bool = True) -> VenueOrder:
        return VenueOrder(
            order_id=self.order_id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type,
            order_class=self.order_class,
            status=self.status,
            status_text=str(self.status),
            qty=Qty(self.qty),
            filled_qty=Qty(self.filled),
            avg_price=Price(self.value * NANO // self.filled) if self.filled else None,
            limit_price=None if self.limit is None else Price(self.limit),
            stop_price=None if self.stop is None else Price(self.stop),
            legs=tuple(leg.view() for leg in self.legs) if nested else (),
        )


Refusal = tuple[int, str, dict[str, str]]


class VenueModel:
    """The venue's own books. `tell(event, order, execution, position)` is its stream."""

    def __init__(self, tell: Callable[[str, Resting, Execution | None, int | None], None]) -> None:
        self.tell = tell
        self.orders: dict[str, Resting] = {}
        self.by_client: dict[str, Resting] = {}
        self.positions: dict[str, int] = {}
        self.quotes: dict[str, tuple[int, int]] = {}
        self.is_open = True
        self.now_ns = NOW
        self.tells_siblings = False
        self.portion: Callable[[Resting], int] = lambda order: order.remaining
        self.refuse: list[Refusal] = []
        self.flips: list[str] = []
        self.entries_accepted: dict[str, int] = {}
        self.refused: list[tuple[str, str]] = []
        self._count = 0

    # --- requests --------------------------------------------------------------------------------------

    def submit(self, order: ApprovedEntry | ReducingOrder) -> Resting | Refusal:
        found = self._refusal(order)
        if found is not None:
            self.refused.append((order.client_order_id, found[1]))
            return found
        entry = isinstance(order, ApprovedEntry)
        if entry:
            self.entries_accepted[order.intent_id] = self.entries_accepted.get(order.intent_id, 0) + 1
        kind = OrderType.LIMIT if entry else order.order_type
        limit = order.limit_price
        if not entry and order.order_class is OrderClass.OCO:
            limit = order.take_profit
        queued = not self.is_open and "/" not in order.symbol
        made = self._make(
            order.client_order_id, order.symbol, order.side, kind, order.order_class, order.time_in_force,
            order.qty, limit, None if entry or order.order_class is OrderClass.OCO else order.stop_price,
            S.ACCEPTED if queued else S.NEW,
        )  # fmt: skip
        if entry and order.order_class is OrderClass.BRACKET:
            self._leg(made, OrderType.LIMIT, order.take_profit, None)
            self._leg(made, OrderType.STOP, None, order.stop_loss)
        elif order.order_class is OrderClass.OCO:
            assert isinstance(order, ReducingOrder)
            self._leg(made, OrderType.STOP, None, order.stop_price).active = True
        self.tell("new", made, None, None)
        return made

    def _refusal(self, order: ApprovedEntry | ReducingOrder) -> Refusal | None:
        if order.client_order_id in self.by_client:
            return 422, "client_order_id must be unique", {}
        if self.refuse and isinstance(order, ReducingOrder):
            return self.refuse.pop(0)
        if isinstance(order, ApprovedEntry):
            return None
        held = self.positions.get(order.symbol, 0)
        against = held if order.side is Side.SELL else -held
        coin = "/" in order.symbol
        if order.order_class is OrderClass.OCO and against < order.qty:
            return 422, "oco orders must be exit orders", {}
        if against <= 0 and not coin:
            return 422, "position intent mismatch, inferred: sell_to_open, specified: sell_to_close", {}
        free = max(0, against) - self._reserved(order.symbol, order.side)
        if order.qty > free:
            what = "insufficient balance for SOL" if coin else "insufficient qty available for order"
            return 403, f"{what} (available: {decimal_text(free)})", {"available": decimal_text(free)}
        if order.qty <= 0:
            return 422, "qty must be > 0", {}
        bid, ask = self.quotes[order.symbol]
        price = order.limit_price or (bid if order.side is Side.SELL else ask)
        if coin and price * order.qty // NANO < MIN_COIN_NOTIONAL:
            return 403, "cost basis must be >= minimal amount of order 10", {}
        return self._price_refusal(order, bid, ask)

    def _price_refusal(self, order: ReducingOrder, bid: int, ask: int) -> Refusal | None:
        selling = order.side is Side.SELL
        market = bid if selling else ask
        if order.stop_price is not None and (
            order.stop_price >= market if selling else order.stop_price <= market
        ):
            if order.order_class is OrderClass.OCO:
                return 422, "stop_loss.stop_price must be <= base_price - 0.01", {}
            return 422, "stop price must be less than current price", {}
        if order.take_profit is not None and (
            order.take_profit <= market if selling else order.take_profit >= market
        ):
            return 422, "take_profit.limit_price must be >= base_price + 0.01", {}
        return None

    def _reserved(self, symbol: str, side: Side) -> int:
        total = 0
        for order in self.orders.values():
            if order.symbol != symbol or order.side is not side or not order.live:
                continue
            if order.order_class is OrderClass.BRACKET and (order.parent is None or not order.active):
                continue
            if order.order_class in (OrderClass.BRACKET, OrderClass.OCO):
                first = next((o for o in order.group if o.live), None)
                if first is not order:
                    continue  # a group counts once
            total += order.remaining
        return total

    def _make(
        self, client_id: str, symbol: str, side: Side, kind: OrderType, order_class: OrderClass,
        tif: TimeInForce, qty: int, limit: int | None, stop: int | None, status: OrderStatus,
        parent: Resting | None = None,
    ) -> Resting:  # fmt: skip
        self._count += 1
        made = Resting(
            f"v{self._count}", client_id, symbol, side, kind, order_class, tif, qty, limit, stop, status, parent=parent
        )  # fmt: skip
        made.history.append(status)
        self.orders[made.order_id] = self.by_client[client_id] = made
        return made

    def _leg(self, parent: Resting, kind: OrderType, limit: int | None, stop: int | None) -> Resting:
        side = parent.side.opposite if parent.order_class is OrderClass.BRACKET else parent.side
        leg = self._make(
            f"leg-{self._count + 1}", parent.symbol, side, kind, parent.order_class, parent.time_in_force,
            parent.qty, limit, stop, S.HELD, parent,
        )  # fmt: skip
        parent.legs.append(leg)
        return leg

    def cancel(self, order_id: str) -> Refusal | None:
        order = self.orders.get(order_id)
        if order is None:
            return 404, f"order not found for {order_id}", {}
        if not order.live:
            return 422, f'order is already in "{order.status}" state', {}
        self.end(order, S.CANCELED)
        return None

    def end(self, order: Resting, status: OrderStatus, *, silent: bool = False) -> None:
        """End an order and what depends on it; the stream tells of the order itself, seldom of the others."""
        others = [o for o in order.group if o is not order] if order.parent or not order.legs else order.legs
        self._set(order, status)
        if not silent:
            self.tell(str(status), order, None, None)
        for other in [o for o in others if o.live]:
            self._set(other, S.CANCELED)
            if self.tells_siblings:
                self.tell("canceled", other, None, None)

    def _set(self, order: Resting, status: OrderStatus) -> None:
        order.status = status
        order.history.append(status)

    # --- the market ------------------------------------------------------------------------------------

    def quote(self, symbol: str, bid: int, ask: int) -> None:
        self.quotes[symbol] = bid, ask
        self.match(symbol)

    def match(self, symbol: str) -> None:
        for order in list(self.orders.values()):
            if order.symbol == symbol:
                self.try_fill(order)

    def try_fill(self, order: Resting) -> None:
        if not order.live or order.symbol not in self.quotes or (not self.is_open and "/" not in order.symbol):
            return
        if order.status is S.HELD and not order.active:
            return
        if order.status is S.HELD and order.order_type is not OrderType.STOP:
            return
        bid, ask = self.quotes[order.symbol]
        selling = order.side is Side.SELL
        touch = bid if selling else ask
        if order.stop is not None and not order.elected:
            if touch > order.stop if selling else touch < order.stop:
                return
            order.elected = True
            for other in order.group:
                if other is not order and other.live:
                    self._set(other, S.CANCELED)
                    self.tell("canceled", other, None, None)
        if order.limit is None or (touch >= order.limit if selling else touch <= order.limit):
            qty = min(self.portion(order), order.remaining)
            if qty > 0:
                self.fill(order, qty, touch)
        if order.time_in_force is TimeInForce.IOC and order.live:
            self.end(order, S.CANCELED)

    def fill(self, order: Resting, qty: int, price: int) -> None:
        """Fill an order, move the position (coins pay their fee), and do what that means for its group."""
        before = self.positions.get(order.symbol, 0)
        order.filled += qty
        order.value += price * qty // NANO
        gain = qty if order.side is Side.BUY else -qty
        if "/" in order.symbol and gain > 0:
            gain = gain * 9975 // 10000
        after = self.positions[order.symbol] = before + gain
        if before * after < 0 or (before == 0 and after and "-entry-" not in order.client_order_id):
            self.flips.append(order.client_order_id)
        self._set(order, S.FILLED if not order.remaining else S.PARTIALLY_FILLED)
        self._count += 1
        execution = Execution(execution_id=f"x{self._count}", qty=Qty(qty), price=Price(price), at_ns=Ns(self.now_ns))
        self.tell("fill" if not order.remaining else "partial_fill", order, execution, after)
        if order.order_class is OrderClass.BRACKET and order.parent is None:
            if order.status is S.FILLED:
                for leg in order.legs:
                    leg.active = True
                    if leg.order_type is OrderType.LIMIT:
                        self._set(leg, S.NEW)
                        self.tell("new", leg, None, None)
        elif order.order_class in (OrderClass.BRACKET, OrderClass.OCO):
            for other in order.group:
                if other is order or not other.live:
                    continue
                if order.status is S.FILLED:
                    self._set(other, S.CANCELED)
                    if self.tells_siblings:
                        self.tell("canceled", other, None, None)
                else:
                    other.qty = order.remaining + other.filled

    # --- what an outsider can see ----------------------------------------------------------------------

    def covered(self, symbol: str) -> int:
        """How much of the position a live stop, or an exit on its way, would close."""
        held = self.positions.get(symbol, 0)
        side = Side.SELL if held > 0 else Side.BUY
        total = 0
        for order in self.orders.values():
            if order.symbol != symbol or order.side is not side or not order.live or "-entry-" in order.client_order_id:
                continue
            stop = order.stop is not None and (order.status in WORKING or (order.status is S.HELD and order.active))
            if stop or "-exit-" in order.client_order_id:
                total += order.remaining
        return total

    def is_naked(self, symbol: str) -> bool:
        bare = abs(self.positions.get(symbol, 0)) - self.covered(symbol)
        bid, _ = self.quotes.get(symbol, (0, 0))
        if "/" in symbol:  # dust of an earlier trade lies there too, and it may have been dust at another price
            return bare * bid // NANO >= 2 * MIN_COIN_NOTIONAL
        return bare > 0

    def truth(self, now_ns: int, asked: tuple[str, ...]) -> TruthReport:
        heads = [o for o in self.orders.values() if o.parent is None]
        wanted = [o for o in heads if o.live or any(leg.live for leg in o.legs) or o.client_order_id in asked]
        return TruthReport(
            ts_ns=Ns(now_ns),
            asked_ns=Ns(now_ns),
            orders=tuple(o.view() for o in wanted),
            missing=tuple(a for a in asked if a not in self.by_client),
            positions=tuple(
                PositionSnapshot(symbol=s, qty=Qty(q), qty_available=Qty(q), avg_price=Price(NANO))
                for s, q in sorted(self.positions.items())
                if q
            ),
        )


class Desk:
    """The shells around `decide`, in virtual time. Faults come from `faults()`: a word, or None for none."""

    def __init__(self, state: State | None = None, *, seed: int | None = None, **hard: object) -> None:
        self.state = world(**hard) if state is None else state  # type: ignore[arg-type]
        self.rng = None if seed is None else Random(seed)
        self.now_ns = int(NOW)
        self.venue = VenueModel(self._tell)
        self.latency_ns = 10 * NS_PER_MS
        self.faults: Callable[[str], str | None] = lambda _kind: None
        self.muted = False
        self.down = False
        self.polls_s = 5
        self.journal: dict[tuple[str, str], bytes] = {}
        self.commands: list[tuple[int, AnyCommand]] = []
        self.log: list[tuple[str, Any]] = []
        self.decided: list[bytes] = []
        self.naked_since: dict[str, int] = {}
        self.worst_naked_ns = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._n = 0
        for symbol in ("AAPL", "SPY", "SOL/USD", "BTC/USD"):
            found = self.state.market.quote(self.state.market.index[symbol])
            if found is not None and found.bid and found.ask:
                self.venue.quotes[symbol] = found.bid, found.ask
        self.start_bytes: dict[tuple[str, str], bytes] = {}

    # --- time ------------------------------------------------------------------------------------------

    def at(self, delay_ns: int, act: Callable[[], None]) -> None:
        self._n += 1
        heapq.heappush(self._queue, (self.now_ns + delay_ns, self._n, act))

    def run(self, seconds: float) -> None:
        """Let virtual time pass, delivering what is due in order."""
        end = self.now_ns + int(seconds * NS_PER_S)
        steps = 0
        while True:
            wake = None if self.down else self.state.next_wake_ns
            head = self._queue[0][0] if self._queue else None
            times = [t for t in (wake, head) if t is not None and t <= end]
            if not times:
                break
            steps += 1
            assert steps < 200_000, "time does not pass any more"
            self.now_ns = max(self.now_ns, min(times))
            self.venue.now_ns = Ns(self.now_ns)
            if head is not None and head <= self.now_ns:
                heapq.heappop(self._queue)[2]()
            else:
                self.feed(Wake(ts_ns=Ns(self.now_ns)))
        self.now_ns = end
        self.venue.now_ns = Ns(end)

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Let time pass until a condition holds; fail where it never does."""
        for _ in range(int(seconds * 100)):
            if condition():
                return
            self.run(0.01)
        raise AssertionError("the condition never came to hold")

    def _delay(self) -> int:
        return self.latency_ns if self.rng is None else self.rng.randrange(2, 60) * NS_PER_MS

    # --- feeding ---------------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> list[AnyCommand]:
        """Decide one event, keep what the journal keeps, carry the commands out."""
        if self.down:
            return []
        self.log.append(("event", event))
        out = decide(self.state, event)
        wake = self.state.next_wake_ns
        assert wake is None or wake > self.now_ns, f"a timer in the past after {event}"
        self.decided.append(msgspec.msgpack.encode(out))
        self._keep()
        for command in out:
            self.commands.append((self.now_ns, command))
            self._carry_out(command)
        self._watch_naked()
        return out

    def _keep(self) -> None:
        for (kind, key), entity in self.state.changed.items():
            if entity is None:
                self.journal.pop((kind, key), None)
            else:
                self.journal[kind, key] = msgspec.msgpack.encode(entity)
        self.state.changed.clear()

    def _watch_naked(self) -> None:
        for symbol in self.venue.positions:
            if self.venue.is_naked(symbol):
                since = self.naked_since.setdefault(symbol, self.now_ns)
                self.worst_naked_ns = max(self.worst_naked_ns, self.now_ns - since)
            else:
                since = self.naked_since.pop(symbol, self.now_ns)
                self.worst_naked_ns = max(self.worst_naked_ns, self.now_ns - since)

    def _later(self, make: Callable[[Ns], AnyEvent], delay_ns: int | None = None) -> None:
        session = self.state
        delay = self._delay() if delay_ns is None else delay_ns

        def deliver() -> None:
            if self.state is session:  # a process that has died hears nothing any more
                self.feed(make(Ns(self.now_ns)))

        self.at(delay, deliver)

    def _tell(self, event: str, order: Resting, execution: Execution | None, position: int | None) -> None:
        if self.muted or (self.rng is not None and event == "new" and self.rng.random() < 0.2):
            return  # not every word arrives
        view = order.view(nested=False)
        held = None if position is None else Qty(position)

        def make(ts: Ns) -> OrderReport:
            return OrderReport(ts_ns=ts, event=event, order=view, execution=execution, position_qty=held)

        self._later(make)
        if self.rng is not None and self.rng.random() < 0.1:
            self._later(make, self.rng.randrange(20, 900) * NS_PER_MS)

    # --- carrying out ----------------------------------------------------------------------------------

    def _carry_out(self, command: AnyCommand) -> None:
        match command:
            case SubmitEntry(entry=order):
                if self.now_ns >= order.deadline_ns:
                    self._failed(RequestKind.SUBMIT, order.client_order_id, sent=False)
                else:
                    self._request(RequestKind.SUBMIT, order.client_order_id, lambda: self.venue.submit(order))
            case SubmitExit(order=order):
                self._request(RequestKind.SUBMIT, order.client_order_id, lambda: self.venue.submit(order))
            case CancelOrder(order_id=order_id, client_order_id=client_id):
                self._request(RequestKind.CANCEL, client_id, lambda: self.venue.cancel(order_id))
            case QueryOrder(client_order_id=client_id):
                self._request(RequestKind.QUERY, client_id, lambda: self._find(client_id))
            case RequestTruth(client_order_ids=asked):
                self.at(self._delay(), lambda s=self.state: self._answer_truth(asked, s))
            case FetchQuote(symbol=symbol):
                self._later(lambda ts: QuoteFetched(ts_ns=ts, symbol=symbol, ok=True))
            case _:
                pass

    def _answer_truth(self, asked: tuple[str, ...], session: State) -> None:
        found = self.venue.truth(self.now_ns, asked)
        if self.state is session:
            self._later(lambda ts: msgspec.structs.replace(found, ts_ns=ts))

    def _find(self, client_id: str) -> Resting | Refusal:
        found = self.venue.by_client.get(client_id)
        return found if found is not None else (404, f"order not found for {client_id}", {})

    def _failed(self, kind: RequestKind, client_id: str, *, sent: bool) -> None:
        self._later(
            lambda ts: RequestFailed(
                ts_ns=ts, kind=kind, client_order_id=client_id, may_have_been_sent=sent, reason="connection lost"
            )
        )

    def _request(self, kind: RequestKind, client_id: str, act: Callable[[], Resting | Refusal | None]) -> None:
        fault = self.faults(str(kind))
        if fault == "not_sent":
            self._failed(kind, client_id, sent=False)
            return
        sent = Ns(self.now_ns)
        self._later(lambda ts: RequestSent(ts_ns=ts, kind=kind, client_order_id=client_id, sent_ns=sent), 1)
        if fault == "drop_request":
            self._failed(kind, client_id, sent=True)
            return
        session = self.state

        def arrive() -> None:
            found = act()
            view, refusal = None, (204, "", {})
            if isinstance(found, Resting):
                view, refusal = found.view(), (200, "", {})
            elif found is not None:
                refusal = found
            if view is not None and kind is RequestKind.SUBMIT:
                assert isinstance(found, Resting)
                self.at(0, lambda: self.venue.try_fill(found))
                view = msgspec.structs.replace(view, status=S.PENDING_NEW, status_text="pending_new")
            if fault == "drop_answer":
                self._failed(kind, client_id, sent=True)
                return
            status, message, extras = refusal
            if self.state is session:
                self._later(
                    lambda ts: RequestAnswered(
                        ts_ns=ts, kind=kind, client_order_id=client_id, status=status, order=view, message=message,
                        extras=extras,
                    )  # fmt: skip
                )

        self.at(self._delay(), arrive)

    # --- acts of a script ------------------------------------------------------------------------------

    def drop(self, number: int = 1, asset: str = "AAPL", direction: str = "LONG", **changes: Any) -> list[AnyCommand]:
        """Drop an intent stamped now."""
        agent = changes.pop("agent", "default")
        changes.setdefault("timestamp", rfc3339(self.now_ns + self.state.wall_offset_ns))
        data = encoded(document(number, asset, direction, **changes))
        event = DocumentReceived(
            ts_ns=Ns(self.now_ns), agent=agent, name=f"{number}.json", data=data, file_event_ns=Ns(self.now_ns)
        )
        return self.feed(event)

    def quote(self, symbol: str, bid: str, ask: str) -> None:
        """Move the market: the engine's view first (with what it fires), then the venue's matching."""
        rows = new_rows(1)
        rows["sym"], rows["kind"] = self.state.market.index[symbol], RowKind.QUOTE
        rows["price"], rows["price2"] = float(bid), float(ask)
        rows["size"] = rows["size2"] = 1_000.0
        self._take(rows)
        self.venue.quote(symbol, nano(bid), nano(ask))

    def print(self, symbol: str, price: str) -> None:
        """Let a trade print (the engine's view only)."""
        rows = new_rows(1)
        rows["sym"], rows["kind"], rows["flags"] = self.state.market.index[symbol], RowKind.TRADE, RowFlag.ELIGIBLE
        rows["price"], rows["size"] = float(price), 100.0
        self._take(rows)

    def _take(self, rows: Any) -> None:
        if self.down:
            return
        rows["venue_ns"] = rows["recv_ns"] = self.now_ns
        market = self.state.market
        self.log.append(("rows", rows.copy()))
        assert market.consume(rows, 0, 1) == 1
        if market.fired_count:
            slots = tuple(int(slot) for slot in market.fired[: market.fired_count])
            self.feed(TriggersFired(ts_ns=Ns(self.now_ns), slots=slots))

    def operator(self, action: OperatorAction, **facts: Any) -> list[AnyCommand]:
        return self.feed(OperatorRequest(ts_ns=Ns(self.now_ns), action=action, **facts))

    def set_session(self, *, is_open: bool, **facts: Any) -> None:
        """Open or close the equity session, at the venue and for the engine."""
        self.venue.is_open = is_open
        self.feed(session(ts_ns=Ns(self.now_ns), is_open=is_open, **facts))
        if is_open:
            for order in list(self.venue.orders.values()):
                if order.status is S.ACCEPTED:
                    order.status = S.NEW
                self.venue.try_fill(order)

    def poll(self) -> None:
        """A regular account report."""
        self.feed(account(ts_ns=Ns(self.now_ns), asked_ns=Ns(self.now_ns)))

    def link(self, which: Link, *, up: bool) -> None:
        self.feed(LinkReport(ts_ns=Ns(self.now_ns), link=which, up=up, reason="test"))

    def crash(self) -> None:
        """Die: what was not yet sent is lost, what is on its way still arrives at the venue."""
        self.down = True
        self.state = State(self.state.limits, Market(self.state.market.symbols), Venue.SIM)

    def restart(self) -> None:
        """Start from what the journal kept, as the daemon does: the only way to start."""
        old = self.state
        fresh = State(old.limits, Market(old.market.symbols), Venue.SIM)
        fresh.restore((kind, key, data) for (kind, key), data in self.journal.items())
        fresh.now_ns = Ns(self.now_ns)
        self.state, self.down = fresh, False
        self.log = []
        self.decided = []
        self.start_bytes = dict(self.journal)
        now = Ns(self.now_ns)
        rolls = (ROLL, ROLL + 86_400 * NS_PER_S, ROLL + 2 * 86_400 * NS_PER_S)
        self.feed(Started(ts_ns=now, version="test", limits_sha256=fresh.limits.sha256, rolls_ns=rolls))
        self.feed(account(ts_ns=now, asked_ns=now))
        self.feed(AssetsReport(ts_ns=now, assets=tuple(_assets())))
        self.feed(session(ts_ns=now, is_open=self.venue.is_open))
        for link in Link:
            self.link(link, up=True)
        for symbol, (bid, ask) in self.venue.quotes.items():
            self.quote(symbol, decimal_text(bid), decimal_text(ask))

    # --- looking ---------------------------------------------------------------------------------------

    def ticket(self, number: int = 1) -> Ticket:
        found = self.state.ticket(intent_id(number))
        assert found is not None
        return found

    def receipt(self, number: int = 1) -> dict[str, Any]:
        return receipt(self.state, self.ticket(number))

    def sent(self, kind: type[Any]) -> list[Any]:
        return [command for _, command in self.commands if isinstance(command, kind)]

    def exits(self, leg: Leg | None = None) -> list[ReducingOrder]:
        """Every reducing order ever asked for, in order."""
        return [c.order for c in self.sent(SubmitExit) if leg in (None, c.order.leg)]

    def alerts(self) -> list[str]:
        return [alert.code for alert in self.sent(Alert)]

    def position(self, symbol: str = "AAPL") -> str:
        return decimal_text(self.venue.positions.get(symbol, 0))

    def working(self, symbol: str = "AAPL") -> list[Resting]:
        return [o for o in self.venue.orders.values() if o.symbol == symbol and o.live]


def _assets() -> list[Asset]:
    from tests.core.world import QUOTES, asset

    return [asset(symbol) for symbol in QUOTES]


def rfc3339(ns: int) -> str:
    from hands.core.receipts import time_text

    return time_text(ns) or ""


def replayed(desk: Desk, base: State) -> tuple[list[bytes], State]:
    """Feed a session's log to `base` (a state as it was at the session's start); return the commands as bytes."""
    decided: list[bytes] = []
    for kind, what in desk.log:
        if kind == "rows":
            rows = what.copy()
            base.market.consume(rows, 0, 1)
        else:
            decided.append(msgspec.msgpack.encode(decide(base, what)))
    return decided, base


ACTIVE, REDUCE_ONLY, HALTED = TradingState.ACTIVE, TradingState.REDUCE_ONLY, TradingState.HALTED
__all__ = ["AccountReport", "Desk", "Resting", "SessionReport", "VenueModel", "replayed"]
