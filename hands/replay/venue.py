"""The way to the exchange and back: every request and every report takes its time, and nothing is seen earlier.

Owns what is on its way, and which event comes of it; it does what order entry, trade stream and snapshots do for the
daemon (`hands.venues.alpaca`), without a wire. May not decide and loses nothing: what a venue or a network can do wrong is
for other tests. The one idea: an order meets the market as it is when it arrives, and what became of it is known as late
as an answer takes; so no order can profit from a row that its decision had not seen, nor from one that its arrival had.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from hands.core.commands import CancelOrder, QueryOrder, ReplaceOrder
from hands.core.events import (
    AccountReport,
    AnyEvent,
    DayOrdersReport,
    FillsReport,
    OrderReport,
    QuoteFetched,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    TruthReport,
    VenueOrder,
)
from hands.core.orders import ApprovedEntry, ReducingOrder, is_ours
from hands.core.rows import RowFlag, new_rows
from hands.core.units import NS_PER_S, Ns
from hands.replay import translation
from hands.replay.agenda import Agenda
from hands.replay.floor import Floor
from hands.replay.ways import Ways, report_of
from hands.sim.venue.errors import VenueError
from hands.venues.alpaca.clock_offset import latest_ns

DAY_OVERLAP_NS = NS_PER_S
"""How much earlier than asked the list of orders begins: the daemon asks like that."""

Deliver = Callable[[AnyEvent], None]


class VenueLink:
    """Requests to `floor` and its reports, each on its way. `take_rows(rows, count)` brings a fetched quote in."""

    def __init__(
        self,
        floor: Floor,
        agenda: Agenda,
        ways: Ways,
        deliver: Deliver,
        take_rows: Callable[[np.ndarray, int], None],
        *,
        close_intent: bool = True,
    ) -> None:
        self.in_flight = 0
        self.equity_seen: Callable[[int, int], None] = lambda _at_ns, _equity: None
        self._floor = floor
        self._agenda = agenda
        self._ways = ways
        self._told_ns: dict[str, int] = {}
        self._deliver = deliver
        self._take_rows = take_rows
        self._close_intent = close_intent
        self._truth_asked = False
        self._truth_again: tuple[str, ...] | None = None

    @property
    def now_ns(self) -> Ns:
        return Ns(self._floor.now_ns)

    # --- requests about orders -----------------------------------------------------------------------------

    def submit(self, order: ApprovedEntry | ReducingOrder) -> None:
        """Send an order; an entry at or past its deadline is not sent."""
        client_id = order.client_order_id
        if isinstance(order, ApprovedEntry) and self.now_ns >= order.deadline_ns:
            reason = "the entry's deadline has passed"
            self._deliver(
                RequestFailed(
                    ts_ns=self.now_ns,
                    kind=RequestKind.SUBMIT,
                    client_order_id=client_id,
                    may_have_been_sent=False,
                    reason=reason,
                )
            )
            return
        request = translation.order_request(order, close_intent=self._close_intent)

        def arrive() -> VenueOrder:
            return translation.venue_order(self._floor.exchange.submit(request))

        self._request(RequestKind.SUBMIT, client_id, order.symbol, arrive, 200)

    def cancel(self, command: CancelOrder) -> None:
        """Send a cancel."""

        def arrive() -> None:
            self._floor.exchange.cancel(command.order_id)

        self._request(RequestKind.CANCEL, command.client_order_id, "", arrive, 204)

    def replace(self, command: ReplaceOrder) -> None:
        """Ask for a resting exit to be moved."""
        request = translation.replace_request(command)

        def arrive() -> VenueOrder:
            replaced = self._floor.exchange.replace(command.order_id, request)
            return translation.venue_order(replaced, nested=False)

        self._request(RequestKind.REPLACE, command.client_order_id, "", arrive, 200)

    def query(self, command: QueryOrder) -> None:
        """Ask for one order with its legs."""
        client_id = command.client_order_id

        def arrive() -> VenueOrder:
            return translation.venue_order(
                self._floor.exchange.blotter.find_by_client_id(client_id).snapshot()
            )

        self._request(RequestKind.QUERY, client_id, "", arrive, 200)

    def _request(
        self,
        kind: RequestKind,
        client_id: str,
        symbol: str,
        arrive: Callable[[], VenueOrder | None],
        status: int,
    ) -> None:
        now = self.now_ns
        self._deliver(
            RequestSent(
                ts_ns=now,
                kind=kind,
                client_order_id=client_id,
                sent_ns=now,
                decided_ns=now if kind is RequestKind.SUBMIT else None,
                journaled_ns=now if kind is RequestKind.SUBMIT else None,
            )
        )
        self.in_flight += 1
        there_ns, back_ns = self._ways.of_request(kind, client_id, now)

        def at_venue() -> None:
            self._floor.catch_up(symbol)
            said: dict[str, Any]
            try:
                said = {"status": status, "order": arrive()}
            except VenueError as error:
                said = translation.refusal(error)
            self._later(lambda ts: self._answer(ts, kind, client_id, said), back_ns)
            self.flush()

        self._agenda.at(now + there_ns, at_venue)

    def _answer(self, ts_ns: Ns, kind: RequestKind, client_id: str, said: dict[str, Any]) -> None:
        self.in_flight -= 1
        self._deliver(RequestAnswered(ts_ns=ts_ns, kind=kind, client_order_id=client_id, **said))

    # --- what the exchange tells by itself -----------------------------------------------------------------

    def flush(self) -> None:
        """Send what the exchange has to tell on its way; of one symbol nothing overtakes."""
        for update in self._floor.take_updates():
            self.in_flight += 1
            report = translation.order_report(update, self.now_ns)
            heard_ns = self.now_ns + self._ways.of_report(report_of(report), self.now_ns)
            heard_ns = max(heard_ns, self._told_ns.get(report.order.symbol, 0))
            self._told_ns[report.order.symbol] = heard_ns
            self._agenda.at(heard_ns, partial(self._report, report))

    def _report(self, report: OrderReport) -> None:
        self.in_flight -= 1
        self._deliver(msgspec.structs.replace(report, ts_ns=self.now_ns))

    def _later(self, act: Callable[[Ns], None], back_ns: int) -> None:
        self._agenda.at(self.now_ns + back_ns, lambda: act(self.now_ns))

    # --- questions -----------------------------------------------------------------------------------------

    def _ask(self, answer: Callable[[], Callable[[Ns], None]]) -> None:
        """Ask: `answer` runs at the venue and returns what is done with it here."""

        def at_venue() -> None:
            self._floor.catch_up()
            self._later(answer(), self._ways.usual_ns)

        self._agenda.at(self.now_ns + self._ways.usual_ns, at_venue)

    def request_account(self) -> None:
        """Ask for the account."""
        asked_ns = self.now_ns

        def answer() -> Callable[[Ns], None]:
            found = self.account_now(asked_ns)
            return lambda ts: self._deliver(msgspec.structs.replace(found, ts_ns=ts))

        self._ask(answer)

    def account_now(self, asked_ns: int) -> AccountReport:
        """Return the account as it is at this moment, as an answer to a question of `asked_ns`."""
        found = translation.account_report(self._floor.exchange, asked_ns=asked_ns, ts_ns=self.now_ns)
        self.equity_seen(self.now_ns, found.equity)
        return found

    def request_truth(self, client_order_ids: tuple[str, ...]) -> None:
        """Ask for everything the venue holds; while it is being asked, once more afterwards."""
        if self._truth_asked:
            self._truth_again = client_order_ids
            return
        self._truth_asked = True
        asked_ns = self.now_ns

        def answer() -> Callable[[Ns], None]:
            found = self._truth(client_order_ids, asked_ns)
            return lambda ts: self._told(msgspec.structs.replace(found, ts_ns=ts))

        self._ask(answer)

    def _truth(self, asked: tuple[str, ...], asked_ns: int) -> TruthReport:
        exchange = self._floor.exchange
        orders = translation.open_orders(exchange)
        open_ids = {order.client_order_id for order in orders}
        named = [name for name in dict.fromkeys(asked) if name not in open_ids]
        known = {name: exchange.blotter.with_client_id(name) for name in named}
        found = tuple(
            translation.venue_order(order.snapshot()) for order in known.values() if order is not None
        )
        positions = exchange.account.positions.values()
        return TruthReport(
            ts_ns=Ns(asked_ns),
            asked_ns=Ns(asked_ns),
            orders=(*orders, *found),
            missing=tuple(name for name, order in known.items() if order is None),
            positions=tuple(translation.position(each, exchange) for each in positions),
        )

    def _told(self, truth: TruthReport) -> None:
        self._truth_asked = False
        self._deliver(truth)
        if self._truth_again is not None and not self._truth_asked:
            again, self._truth_again = self._truth_again, None
            self.request_truth(again)

    def request_day_orders(self, since_ns: int, symbols: tuple[str, ...] = ()) -> None:
        """Ask for our orders since then; nothing older can be there, whatever the symbols."""
        del symbols

        def answer() -> Callable[[Ns], None]:
            found = translation.orders_since(self._floor.exchange, since_ns - DAY_OVERLAP_NS)
            ours = tuple(order for order in found if is_ours(order.client_order_id))
            return lambda ts: self._deliver(DayOrdersReport(ts_ns=ts, since_ns=Ns(since_ns), orders=ours))

        self._ask(answer)

    def request_fills(self, after_ns: int) -> None:
        """Ask for the account's fills since then."""

        def answer() -> Callable[[Ns], None]:
            fills = self._floor.exchange.blotter.fills
            found = tuple(translation.venue_fill(fill) for fill in fills if fill.t_ns > after_ns)
            return lambda ts: self._deliver(FillsReport(ts_ns=ts, after_ns=Ns(after_ns), fills=found))

        self._ask(answer)

    def fetch_quote(self, symbol: str) -> None:
        """Ask for a symbol's latest quote; it goes through the market like any other row."""
        asked_ns = self.now_ns

        def at_venue() -> None:
            self._floor.catch_up(symbol)
            found = self._floor.latest_quote(symbol)
            row = None if found is None else found.copy()
            self._later(lambda ts: self._take_quote(symbol, row, asked_ns, ts), self._ways.usual_ns)

        self._agenda.at(asked_ns + self._ways.usual_ns, at_venue)

    def _take_quote(self, symbol: str, row: np.void | None, asked_ns: Ns, ts_ns: Ns) -> None:
        if row is not None and int(row["venue_ns"]) <= latest_ns(ts_ns, 0):
            rows = new_rows(1)
            rows[0] = row
            rows["flags"], rows["recv_ns"] = RowFlag.ELIGIBLE, ts_ns
            self._take_rows(rows, 1)
        self._deliver(
            QuoteFetched(
                ts_ns=ts_ns,
                symbol=symbol,
                ok=row is not None,
                asked_ns=asked_ns,
                venue_ns=None if row is None else int(row["venue_ns"]),
            )
        )
