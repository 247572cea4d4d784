"""The trade ticket: one judged document and all its business, from verdict to flat.

Owns the records `decide` keeps per document: the ticket, its orders, its executions, and the arithmetic that
follows from them (owned, cost, proceeds, P&L). May not decide anything. The one idea: quantities come from the
venue's *cumulative* numbers, taken at their largest, so a report delivered twice or late changes nothing.
All amounts are nano-units; all times Unix ns.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hands.core.intents import Intent
from hands.core.units import (
    NS_PER_S,
    Ns,
    Price,
    Qty,
    Ratio,
    Usd,
    decimal_text,
    div_half_up,
    mul_floor,
)
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
    QTY = "qty"
    USD = "usd"
    RATIO = "ratio"
    SECONDS = "seconds"
    COUNT = "count"
    TEXT = "text"


Observed = int | str | tuple[int | str, ...] | None
"""A number, a word, or words and prices in turn ("stop", 148, "target", 155): made into text only when it is read."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What one check saw: `observed` against `limit` (stored raw, written in `form`)."""

    check: str
    ok: bool
    observed: Observed = None
    limit: Observed = None
    form: Form = Form.TEXT
    age_ns: int | None = None


def labelled(prices: tuple[int | str, ...]) -> str:
    """Return ("stop", 148, "target", 155) as text: "stop 148, target 155"."""
    parts = iter(prices)
    return ", ".join(f"{word} {decimal_text(int(price))}" for word, price in zip(parts, parts, strict=True))


class Sizing(msgspec.Struct, frozen=True):
    """Every cap in quantity, and the one that binds."""

    binding: str
    caps: dict[str, int]


Suggestion = dict[str, int | float | str]
"""Members of a document and the JSON values that would have passed (`hands.core.nearest`)."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The order an approval leads to, and what it can lose. Only an adopted trade may have no `take_profit`."""

    asset_class: AssetClass
    side: Side
    qty: Qty
    limit_price: Price
    take_profit: Price | None
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
    client order id of the order whose leg it is, for legs that the venue named itself. `replaces` is the client order
    id of the order whose place it takes; where it `carries` that one's fills, they are within its own numbers.
    `first_ns`: when the first of such a row was placed. `part`: it sells a part that was asked for, not all.
    `doubt_ns`: since when a pair's legs may be others than known, 0 where they are not. `unlisted`: a leg that the venue,
    naming its group, left out. `replaces_id` is the venue's id of what `replaces` names, known or not. `refused_as`: what
    the refusal of a repeated send meant, while it proves nothing yet.
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
    legs_read: bool = False
    replaces: str | None = None
    carries: bool = False
    first_ns: Ns = Ns(0)
    part: bool = False
    refused_cancels: int = 0
    doubt_ns: Ns = Ns(0)
    unlisted: bool = False
    replaces_id: str | None = None
    refused_as: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it may still fill, as far as we can know."""
        return not self.status.is_terminal

    @property
    def is_group(self) -> bool:
        """Whether the venue keeps legs under this order."""
        return self.parent is None and self.order_class in (OrderClass.BRACKET, OrderClass.OCO)

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


_ENTRY, _EXIT, _LONG = Leg.ENTRY, Leg.EXIT, Direction.LONG
# A member reached through its class costs 90 ns (Python 3.11), through a module 20: the hot path reads these often.

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
_UNCOMMITTED = _FINISHED | {TradeState.ARMED}


class Ticket(msgspec.Struct, kw_only=True):
    """Everything about one judged document.

    `cancel_note` says who took its entry back, "" where nobody did; `adopted`: no entry of ours bought it, the operator
    handed over a holding of the owner's.
    """

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
    nearest: Suggestion | None = None
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
    group_doubt_ns: Ns = Ns(0)
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
    stop_moved: Price | None = None
    target_moved: Price | None = None
    hold_moved_ns: int | None = None
    close_qty: Qty = Qty(0)
    fills_asked: int = 0
    cancel_note: str = ""
    adopted: bool = False
    part_since_ns: Ns | None = None
    part_tries: int = 0
    move_tries: int = 0
    move_again_ns: Ns = Ns(0)
    basis: str = ""
    basis_due_ns: Ns | None = None
    renamed: bool = False
    halt_told_ns: Ns = Ns(0)

    @property
    def intent_id(self) -> str:
        return self.intent.intent_id

    @property
    def symbol(self) -> str:
        return self.intent.asset

    @property
    def is_long(self) -> bool:
        return self.intent.direction is _LONG

    @property
    def is_live(self) -> bool:
        """Whether it still has business: armed, working, open, or not known to be over."""
        return self.state not in _FINISHED

    @property
    def stop_loss(self) -> Price:
        """Where the stop belongs now: the plan's, unless it was trailed or tightened since. Needs a plan."""
        assert self.plan is not None
        return self.plan.stop_loss if self.stop_moved is None else self.stop_moved

    @property
    def take_profit(self) -> Price | None:
        """Where the target belongs now, None where there is none. Needs a plan."""
        assert self.plan is not None
        return self.plan.take_profit if self.target_moved is None else self.target_moved

    @property
    def max_hold_ns(self) -> int | None:
        """How long the position may be held, from its first fill; None for as long as it takes."""
        return self.intent.max_hold_ns if self.hold_moved_ns is None else self.hold_moved_ns

    def doubt_group(self, now_ns: Ns) -> None:
        """Forget that the entry's group was read: what was asked before now may not know of its change."""
        self.group_read, self.group_doubt_ns = False, now_ns

    def in_doubt(self, now_ns: int) -> bool:
        """Whether the venue's last snapshot missed some of what is owned, and the next has yet to say so too."""
        return bool(self.doubted_qty) and now_ns - self.doubted_ns <= DOUBT_NS

    @property
    def is_committed(self) -> bool:
        """Whether it counts against budgets: from approval until flat."""
        return self.plan is not None and self.state not in _UNCOMMITTED

    @property
    def entry(self) -> Order | None:
        for order in self.orders.values():
            if order.leg is _ENTRY:
                return order
        return None

    @property
    def exits(self) -> list[Order]:
        return [order for order in self.orders.values() if order.leg is not _ENTRY]

    def _sign(self, order: Order) -> int:
        """An exit counts against what is owned; one that buys back what was closed too much counts the other way."""
        back = order.leg is _EXIT and self.plan is not None and order.side is self.plan.side
        return -1 if back else 1

    def flows(self) -> tuple[int, int, int]:
        """Return what its orders have done so far: the entry's value, the quantity that left again, and its value."""
        paid = left = proceeds = 0
        for order in self.orders.values():
            if order.leg is _ENTRY:
                paid += order.value
            elif order.filled_qty:
                sign = self._sign(order)
                filled, value = self.own_part(order)
                left += sign * filled
                proceeds += sign * value
        return paid, left, proceeds

    def own_part(self, order: Order) -> tuple[int, int]:
        """Return what an order filled and for how much, less what it took over from the one that it replaced."""
        before = self.orders.get(order.replaces or "") if order.carries else None
        if before is None:
            return order.filled_qty, order.value
        return max(0, order.filled_qty - before.filled_qty), max(0, order.value - before.value)

    @property
    def exit_filled(self) -> Qty:
        return Qty(self.flows()[1])

    @property
    def owned(self) -> Qty:
        """What this trade holds now, in its own direction; negative would mean the position flipped."""
        return Qty(self.received_qty - self.flows()[1] - self.written_off)

    @property
    def entry_value(self) -> Usd:
        return Usd(self.flows()[0])

    @property
    def exit_value(self) -> Usd:
        return Usd(self.flows()[2])

    @property
    def avg_entry(self) -> Price | None:
        entry = self.entry
        return None if entry is None or not entry.filled_qty else entry.avg_price

    @property
    def avg_exit(self) -> Price | None:
        """The average over all exits; without one, what a part sold elsewhere was worth at the time."""
        closing = [order for order in self.exits if order.filled_qty and self._sign(order) > 0]
        parts = [(self.own_part(order)[0], order) for order in closing]
        filled = sum(qty for qty, _ in parts)
        if not filled:
            return self.exit_price_hint
        return Price(div_half_up(sum((order.avg_price or 0) * qty for qty, order in parts), filled))

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
        return Usd(self.result()[2])

    def unrealised_usd(self, mark: int) -> Usd:
        """Return the P&L of what is still owned at price `mark`, before the exit's fee."""
        owned, cost, _ = self.result()
        if owned <= 0:
            return Usd(0)
        value = mul_floor(mark, owned)
        return Usd(value - cost if self.is_long else cost - value)

    def result(self) -> tuple[int, int, int]:
        """Return what is owned, what that cost, and what has been realised."""
        paid, left, proceeds = self.flows()
        received, out = self.received_qty, left + self.written_off
        owned = received - out
        if not received:
            return owned, 0, 0
        sold, fee = paid * out // received, mul_floor(proceeds, self.fee_rate)
        if self.written_off and self.exit_price_hint is not None:
            proceeds += mul_floor(self.exit_price_hint, self.written_off)
        gross = proceeds - sold if self.is_long else sold - proceeds
        return owned, paid * owned // received, gross - fee
