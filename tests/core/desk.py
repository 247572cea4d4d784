"""A desk: `decide` driven in virtual time against `tests.core.venue_model`, with the shells' duties and the world's faults.

Owns what the shells do: it carries commands out, delivers answers and reports after a delay, keeps what the journal
would keep, and can lose, double, delay, crash and restore. The one idea: everything is a function of the script (or
of a seeded random), so a failing run is the same run again. After every event no timer may be due already.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from hands.core.commands import (
    Alert,
    AnyCommand,
    CancelOrder,
    FetchQuote,
    QueryOrder,
    ReceiptChanged,
    ReplaceOrder,
    RequestDayOrders,
    RequestFills,
    RequestTruth,
    SubmitEntry,
    SubmitExit,
)
from hands.core.engine import decide
from hands.core.events import (
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
    QuoteFetched,
    ReceiptWritten,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    Started,
    TriggersFired,
    Wake,
)
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.orders import ReducingOrder
from hands.core.receipts import receipt, time_text
from hands.core.state import State, encode
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_MS, NS_PER_S, Ns, Qty, decimal_text, nano
from hands.core.vocab import Leg, TradingState, Venue
from tests.core.venue_model import Refusal, Resting, S, VenueModel
from tests.core.world import NOW, QUOTES, ROLL, account, asset, document, encoded, intent_id, session, world

ACTIVE, REDUCE_ONLY, HALTED = TradingState.ACTIVE, TradingState.REDUCE_ONLY, TradingState.HALTED


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
        self.mute_quotes = False
        self.down = False
        self.polls_s = 5
        self.journal: dict[tuple[str, str], bytes] = {}
        self.durable: dict[tuple[str, str], bytes] = {}
        self.commands: list[tuple[int, AnyCommand]] = []
        self.log: list[Any] = []  # of this session: events, and the rows the market saw between them
        self.decided: list[bytes] = []
        self.naked_since: dict[str, int] = {}
        self.worst_naked_ns = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._n = 0
        for symbol in ("AAPL", "SPY", "SOL/USD", "BTC/USD"):
            found = self.state.market.quote(self.state.market.index[symbol])
            if found is not None and found.bid and found.ask:
                self.venue.quotes[symbol] = found.bid, found.ask
        self.start_bytes: dict[tuple[str, str], bytes] | None = None
        self.start_ns = NOW

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
        self.log.append(event)
        out = decide(self.state, event)
        wake = self.state.next_wake_ns
        assert wake is None or wake > self.now_ns, f"a timer in the past after {event}"
        self.decided.append(msgspec.msgpack.encode(out))
        self._keep(durably=any(isinstance(c, SubmitEntry | SubmitExit) for c in out))
        for command in out:
            self.commands.append((self.now_ns, command))
            self._carry_out(command)
        self._watch_naked()
        return out

    def _keep(self, *, durably: bool) -> None:
        """Write down what changed; it is on the disk before an order's first byte, else some time later."""
        for (kind, key), entity in self.state.changed.items():
            if entity is None:
                self.journal.pop((kind, key), None)
            else:
                self.journal[kind, key] = encode(entity)
        self.state.changed.clear()
        if durably or self.rng is None or self.rng.random() < 0.3:
            self.durable = dict(self.journal)

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
            case ReplaceOrder(client_order_id=client_id):
                self._request(RequestKind.REPLACE, client_id, lambda: self.venue.replace(command))
            case QueryOrder(client_order_id=client_id):
                self._request(RequestKind.QUERY, client_id, lambda: self._find(client_id))
            case RequestTruth(client_order_ids=asked):
                self.at(self._delay(), lambda s=self.state: self._answer_truth(asked, s))
            case RequestDayOrders(since_ns=since_ns, symbols=held):
                found = self.venue.day_orders
                self._later(lambda ts: msgspec.structs.replace(found(since_ns, held), ts_ns=ts))
            case RequestFills(after_ns=after_ns):
                self._later(lambda ts: msgspec.structs.replace(self.venue.fills_since(after_ns), ts_ns=ts))
            case ReceiptChanged(intent_id=intent_id):
                self.at(1, lambda s=self.state: self._write_receipt(intent_id, s))
            case FetchQuote(symbol=symbol) if not self.mute_quotes:
                self._answer_quote(symbol)
            case _:
                pass

    def _answer_quote(self, symbol: str) -> None:
        """Answer with the venue's quote, its row first, where it differs from what the engine has."""
        asked_ns, session = Ns(self.now_ns), self.state

        def deliver() -> None:
            if self.state is session:  # a process that has died hears nothing any more
                found = session.market.quote(session.market.index[symbol])
                known = self.venue.quotes.get(symbol)
                if known is not None and (found is None or known != (found.bid, found.ask)):
                    self._show(symbol, decimal_text(known[0]), decimal_text(known[1]))
                self.feed(QuoteFetched(ts_ns=Ns(self.now_ns), symbol=symbol, ok=True, asked_ns=asked_ns))

        self.at(self._delay(), deliver)

    def _write_receipt(self, intent_id: str, session: State) -> None:
        """Write a receipt; of the last one of a trade the engine is told."""
        found = session.judged(intent_id)
        if self.state is session and found is not None and not found.is_live:
            self.feed(ReceiptWritten(ts_ns=Ns(self.now_ns), intent_id=intent_id, seq=found.seq))

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
                ts_ns=ts,
                kind=kind,
                client_order_id=client_id,
                may_have_been_sent=sent,
                reason="connection lost",
            )
        )

    def _request(
        self, kind: RequestKind, client_id: str, act: Callable[[], Resting | Refusal | None]
    ) -> None:
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
                        ts_ns=ts,
                        kind=kind,
                        client_order_id=client_id,
                        status=status,
                        order=view,
                        message=message,
                        extras=extras,
                    )
                )

        self.at(self._delay(), arrive)

    # --- acts of a script ------------------------------------------------------------------------------

    def drop(
        self, number: int = 1, asset: str = "AAPL", direction: str = "LONG", **changes: Any
    ) -> list[AnyCommand]:
        """Drop an intent stamped now."""
        agent = changes.pop("agent", "default")
        changes.setdefault("timestamp", rfc3339(self.now_ns + self.state.wall_offset_ns))
        data = encoded(document(number, asset, direction, **changes))
        event = DocumentReceived(
            ts_ns=Ns(self.now_ns),
            agent=agent,
            name=f"{number}.json",
            data=data,
            file_event_ns=Ns(self.now_ns),
        )
        return self.feed(event)

    def quote(self, symbol: str, bid: str, ask: str) -> None:
        """Move the market: the engine's view first (with what it fires), then the venue's matching."""
        self._show(symbol, bid, ask)
        self.venue.quote(symbol, nano(bid), nano(ask))

    def _show(self, symbol: str, bid: str, ask: str) -> None:
        """Let the engine see a quote."""
        rows = new_rows(1)
        rows["sym"], rows["kind"] = self.state.market.index[symbol], RowKind.QUOTE
        rows["price"], rows["price2"] = float(bid), float(ask)
        rows["size"] = rows["size2"] = 1_000.0
        self._take(rows)

    def print(self, symbol: str, price: str) -> None:
        """Let a trade print (the engine's view only)."""
        rows = new_rows(1)
        rows["sym"], rows["kind"], rows["flags"] = (
            self.state.market.index[symbol],
            RowKind.TRADE,
            RowFlag.ELIGIBLE,
        )
        rows["price"], rows["size"] = float(price), 100.0
        self._take(rows)

    def _take(self, rows: Any) -> None:
        if self.down:
            return
        rows["venue_ns"] = rows["recv_ns"] = self.now_ns
        market = self.state.market
        self.log.append(rows.copy())
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
        self.journal = dict(self.durable)
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
        self.start_bytes, self.start_ns = dict(self.journal), Ns(self.now_ns)
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
    return [asset(symbol) for symbol in QUOTES]


def rfc3339(ns: int) -> str:
    return time_text(ns) or ""
