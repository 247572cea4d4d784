"""The trade ticket: one judged document and all its business, from verdict to flat.

Owns the records `decide` keeps per document: the ticket, its orders, its executions, and the arithmetic that
follows from them (owned, cost, proceeds, P&L). May not decide anything. The one idea: quantities come from the
venue's *cumulative* numbers, taken at their largest, so a report delivered twice or late changes nothing.
All amounts are nano-units; all times Unix ns.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from hands.core.intents import Intent
from hands.core.units import NS_PER_S, Ns, Price, Qty, Ratio, Usd, div_half_up, mul_floor
from hands.core.vocab import (
    AssetClass,
    Code,
    Direction,
    ExitReason,
    Leg,
    OrderClass,
    OrderStatus,
    OrderType,
    Retry,
    Side,
    TimeInForce,
    TradeState,
    Verdict,
)

DOUBT_NS = 10 * NS_PER_S
"""How long one snapshot's doubt about what is owned stands; then it takes two new ones."""


class Form(StrEnum):
    """How a check's numbers are written in a receipt."""

    PRICE = "price"
    USD = "usd"
    RATIO = "ratio"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    COUNT = "count"
    TEXT = "text"


class Finding(msgspec.Struct, frozen=True):
    """What one check saw: `observed` against `limit` (stored raw, written in `form`)."""

    check: str
    ok: bool
    observed: int | str | None = None
    limit: int | str | None = None
    form: Form = Form.TEXT
    age_ns: int | None = None


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """Every cap in quantity, and the one that binds."""

    binding: str
    caps: dict[str, int]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The order an approval leads to, and what it can lose."""

    asset_class: AssetClass
    side: Side
    qty: Qty
    limit_price: Price
    take_profit: Price
    stop_loss: Price
    worst_exit: Price
    unit_risk: Price
    lot: Qty
    price_increment: int | None = None

    @property
    def is_crypto(self) -> bool:
        return self.asset_class is AssetClass.CRYPTO

    @property
    def risk_usd(self) -> Usd:
        return Usd(mul_floor(self.unit_risk, self.qty))

    @property
    def notional_usd(self) -> Usd:
        return Usd(mul_floor(self.limit_price, self.qty))


class Order(msgspec.Struct, kw_only=True):
    """One order of a ticket as far as it is known. `value` is the money of its fills.

    `sent_ns` None while its bytes have not been handed to a socket. `order_id` is the venue's; `parent` is the
    client order id of the order whose leg it is, for legs that the venue named itself.
    """

    client_order_id: str
    intent_id: str
    leg: Leg
    symbol: str
    side: Side
    order_type: OrderType
    order_class: OrderClass
    time_in_force: TimeInForce
    qty: Qty
    limit_price: Price | None = None
    stop_price: Price | None = None
    take_profit: Price | None = None
    status: OrderStatus = OrderStatus.UNSENT
    order_id: str | None = None
    parent: str | None = None
    filled_qty: Qty = Qty(0)
    avg_price: Price | None = None
    value: Usd = Usd(0)
    created_ns: Ns = Ns(0)
    sent_ns: Ns | None = None
    acked_ns: Ns | None = None
    updated_ns: Ns = Ns(0)
    cancel_ns: Ns | None = None
    query_ns: Ns | None = None
    queries: int = 0
    missing: int = 0
    resends: int = 0
    refusal: str | None = None
    available: Qty | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may still fill, as far as we can know."""
        return not self.status.is_terminal

    @property
    def remaining(self) -> Qty:
        return Qty(self.qty - self.filled_qty)


class ExecutionRecord(msgspec.Struct, frozen=True, kw_only=True):
    execution_id: str
    client_order_id: str
    leg: Leg
    qty: Qty
    price: Price
    at_ns: Ns


class Stamps(msgspec.Struct, kw_only=True):
    file_event: Ns | None = None
    decided: Ns | None = None
    journaled: Ns | None = None
    sent: Ns | None = None
    acked: Ns | None = None
    filled: Ns | None = None


class Arming(msgspec.Struct, frozen=True, kw_only=True):
    """A touch that waits: fires at `level` from below (`upward`) or from above, until `until_ns`."""

    level: Price
    upward: bool
    until_ns: Ns


_FINISHED = frozenset(
    {
        TradeState.CLOSED,
        TradeState.EXPIRED,
        TradeState.CANCELED,
        TradeState.VENUE_REJECTED,
        TradeState.REJECTED,
        TradeState.REFUSED,
        TradeState.DONE,
        TradeState.DRAFT,
    }
)


class Ticket(msgspec.Struct, kw_only=True):
    """Everything about one judged document."""

    intent: Intent
    agent: str
    name: str
    document: bytes
    received_ns: Ns
    deadline_ns: Ns
    limits_sha256: str
    verdict: Verdict = Verdict.REJECTED
    code: Code = Code.OK
    message: str = ""
    state: TradeState = TradeState.REJECTED
    retry: Retry = Retry.NEVER
    retry_at_ns: Ns | None = None
    checks: list[Finding] = []
    sizing: Sizing | None = None
    plan: Plan | None = None
    arming: Arming | None = None
    orders: dict[str, Order] = {}
    executions: dict[str, ExecutionRecord] = {}
    received_qty: Qty = Qty(0)
    written_off: Qty = Qty(0)
    doubted_qty: Qty = Qty(0)
    doubted_ns: Ns = Ns(0)
    fee_rate: Ratio = Ratio(0)
    attempts: dict[str, int] = {}
    exit_reason: ExitReason | None = None
    exit_since_ns: Ns | None = None
    exit_note: str = ""
    exit_price_hint: Price | None = None
    through_stop_ns: Ns | None = None
    retry_exit_ns: Ns = Ns(0)
    group_read: bool = False
    naked_since_ns: Ns | None = None
    protected_since_ns: Ns | None = None
    fired_ns: Ns | None = None
    first_fill_ns: Ns | None = None
    last_fill_ns: Ns = Ns(0)
    opened_ns: Ns | None = None
    closed_ns: Ns | None = None
    indicators: dict[str, float | None] = {}
    stamps: Stamps = msgspec.field(default_factory=Stamps)
    seq: int = 0
    frozen: str = ""
    settled: bool = False

    @property
    def intent_id(self) -> str:
        return self.intent.intent_id

    @property
    def symbol(self) -> str:
        return self.intent.asset

    @property
    def is_long(self) -> bool:
        return self.intent.direction is Direction.LONG

    @property
    def is_live(self) -> bool:
        """Whether it still has business: armed, working, open, or not known to be over."""
        return self.state not in _FINISHED

    def in_doubt(self, now_ns: int) -> bool:
        """Whether the venue's last snapshot missed some of what is owned, and the next has yet to say so too."""
        return bool(self.doubted_qty) and now_ns - self.doubted_ns <= DOUBT_NS

    @property
    def is_committed(self) -> bool:
        """Whether it counts against budgets: from approval until flat."""
        return self.is_live and self.state is not TradeState.ARMED and self.plan is not None

    @property
    def entry(self) -> Order | None:
        return next((order for order in self.orders.values() if order.leg is Leg.ENTRY), None)

    @property
    def exits(self) -> list[Order]:
        return [order for order in self.orders.values() if order.leg is not Leg.ENTRY]

    def _sign(self, order: Order) -> int:
        """An exit counts against what is owned; one that buys back what was closed too much counts the other way."""
        back = order.leg is Leg.EXIT and self.plan is not None and order.side is self.plan.side
        return -1 if back else 1

    @property
    def exit_filled(self) -> Qty:
        return Qty(sum(self._sign(order) * order.filled_qty for order in self.exits))

    @property
    def owned(self) -> Qty:
        """What this trade holds now, in its own direction; negative would mean the position flipped."""
        return Qty(self.received_qty - self.exit_filled - self.written_off)

    @property
    def entry_value(self) -> Usd:
        return Usd(sum(order.value for order in self.orders.values() if order.leg is Leg.ENTRY))

    @property
    def exit_value(self) -> Usd:
        return Usd(sum(self._sign(order) * order.value for order in self.exits))

    @property
    def avg_entry(self) -> Price | None:
        entry = self.entry
        return None if entry is None or not entry.filled_qty else entry.avg_price

    @property
    def avg_exit(self) -> Price | None:
        """The average over all exits; without one, what a part sold elsewhere was worth at the time."""
        closing = [order for order in self.exits if order.filled_qty and self._sign(order) > 0]
        filled = sum(order.filled_qty for order in closing)
        if not filled:
            return self.exit_price_hint
        return Price(div_half_up(sum((o.avg_price or 0) * o.filled_qty for o in closing), filled))

    def fees_usd(self) -> Usd:
        """Return the venue's fees so far in dollars: coins kept on the way in, dollars on the way out."""
        if not self.fee_rate:
            return Usd(0)
        entry = self.entry
        kept = 0
        if entry is not None and entry.filled_qty:
            kept = (entry.filled_qty - self.received_qty) * entry.value // entry.filled_qty
        return Usd(kept + mul_floor(self.exit_value, self.fee_rate))

    def realised_usd(self) -> Usd:
        """Return the net P&L of what has been sold so far, its share of the entry's cost (fees in coins included)."""
        if not self.received_qty:
            return Usd(0)
        out = self.exit_filled + self.written_off
        cost = self.entry_value * out // self.received_qty
        proceeds = self.exit_value
        if self.written_off and self.exit_price_hint is not None:
            proceeds = Usd(proceeds + mul_floor(self.exit_price_hint, self.written_off))
        gross = proceeds - cost if self.is_long else cost - proceeds
        return Usd(gross - mul_floor(self.exit_value, self.fee_rate))

    def unrealised_usd(self, mark: int) -> Usd:
        """Return the P&L of what is still owned at price `mark`, before the exit's fee."""
        owned = self.owned
        if not self.received_qty or owned <= 0:
            return Usd(0)
        cost = self.entry_value * owned // self.received_qty
        value = mul_floor(mark, owned)
        return Usd(value - cost if self.is_long else cost - value)


def refusal_receipt(
    code: Code, message: str, *, intent_id: str | None, agent: str, venue: str, at: str, limits_sha256: str
) -> dict[str, Any]:
    """Return the receipt of something that is not a document of its own (unreadable, or a duplicate)."""
    return {
        "v": 1,
        "intent_id": intent_id,
        "kind": None if intent_id is None else "intent",
        "agent": agent,
        "venue": venue,
        "verdict": str(Verdict.REFUSED),
        "code": str(code),
        "message": message,
        "state": str(TradeState.REFUSED),
        "seq": 1,
        "at": at,
        "limits_sha256": limits_sha256,
        "checks": [],
        "sizing": None,
        "order": None,
        "position": None,
        "protection": None,
        "nearest_admissible": None,
        "retry": str(Retry.NEVER if code is Code.DUPLICATE_INTENT else Retry.CHANGED),
        "retry_at": None,
        "fills": [],
        "exit": None,
        "stamps_ns": dict.fromkeys(("file_event", "decided", "journaled", "sent", "acked", "filled")),
        "next": "Nothing was sent; correct the document and drop it under a new intent_id.",
    }
