"""Everything that can happen to the engine, as immutable values.

Owns the inputs of `decide`: each carries `ts_ns`, the moment the sequencer stamped it (wall anchor plus
monotonic elapsed, so it never steps), which is the only "now" the core knows. Shells translate the world into
these and nothing else; the journal stores them as MessagePack, so a field is added at the end with a default.
Prices, quantities and money are nano-units; symbols are always in slash form for crypto ("BTC/USD").
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hands.core.units import Ns, Price, Qty, Usd
from hands.core.vocab import AssetClass, Code, OrderClass, OrderStatus, OrderType, Side


class Event(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    ts_ns: Ns


# --- what the venue tells us -------------------------------------------------------------------------------


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order as the venue describes it; `status` is the venue's word mapped to ours.

    `status_text` keeps a word we do not know (then `status` is None): an unknown word freezes the symbol.
    """

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    order_class: OrderClass
    status: OrderStatus | None
    status_text: str
    qty: Qty
    filled_qty: Qty
    avg_price: Price | None = None
    limit_price: Price | None = None
    stop_price: Price | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    submitted_ns: Ns | None = None
    legs: tuple[VenueOrder, ...] = ()


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill: `qty` and `price` of this execution alone, not cumulative."""

    execution_id: str
    qty: Qty
    price: Price
    at_ns: Ns


class VenueFill(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of the account as the venue's list of activities has it; `cum_qty` is its order's, this fill included.

    Whether its id is the trade stream's, and how exactly its time is kept, is for `hands.core.executions` to doubt.
    """

    execution_id: str
    order_id: str
    qty: Qty
    price: Price
    cum_qty: Qty
    at_ns: Ns


class PositionSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A position as the venue reports it; `qty` is signed (short < 0), `qty_available` is not held by orders."""

    symbol: str
    qty: Qty
    qty_available: Qty
    avg_price: Price


class OrderReport(Event, frozen=True, tag="order_report", kw_only=True):
    """The trade stream says something about an order (FIX ExecutionReport).

    `event` is the venue's word ("fill", "canceled", …). `position_qty` is the signed position after it.
    """

    event: str
    order: VenueOrder
    execution: Execution | None = None
    position_qty: Qty | None = None


class RequestKind(StrEnum):
    SUBMIT = "submit"
    CANCEL = "cancel"
    QUERY = "query"
    REPLACE = "replace"


class RequestSent(Event, frozen=True, tag="request_sent", kw_only=True):
    """The request's bytes were handed to the socket at `sent_ns`.

    `decided_ns` and `journaled_ns`: when the decision stood and when it was written ahead, for the latency stamps. `wire` is
    what was sent, without its headers: method, path and, in the next line, the body; for the record alone.
    """

    kind: RequestKind
    client_order_id: str
    sent_ns: Ns
    wire: bytes = b""
    decided_ns: Ns | None = None
    journaled_ns: Ns | None = None


class RequestAnswered(Event, frozen=True, tag="request_answered", kw_only=True):
    """The venue answered. 2xx with a body carries `order`; anything else `code`, `message` and `extras`.

    For a QUERY, 404 means the venue has no such order. `status` is the HTTP status; `code` the venue's number,
    None if the body had none (HTML, empty). `extras` are the error body's other members as text.
    """

    kind: RequestKind
    client_order_id: str
    status: int
    order: VenueOrder | None = None
    code: int | None = None
    message: str = ""
    extras: dict[str, str] = {}


class RequestFailed(Event, frozen=True, tag="request_failed", kw_only=True):
    """No usable answer: the connection broke, timed out, or the body was garbage.

    `may_have_been_sent` False is proof that not one byte left (the request was dropped before the socket);
    True means *unknown*: ask by id, never resend under a new one.
    """

    kind: RequestKind
    client_order_id: str
    may_have_been_sent: bool
    reason: str


class AccountReport(Event, frozen=True, tag="account", kw_only=True):
    """The venue's account at `asked_ns` (just before the request was sent: it cannot know of later orders).

    `last_equity` is what it was worth at the close of the venue's last trading day, where the venue says.
    """

    asked_ns: Ns
    account_number: str
    status: str
    equity: Usd
    cash: Usd
    buying_power: Usd
    non_marginable_buying_power: Usd
    shorting_enabled: bool = False
    trading_blocked: bool = False
    account_blocked: bool = False
    suspended_by_user: bool = False
    crypto_status: str = ""
    multiplier: int = 1
    last_equity: Usd | None = None


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says of a tradable instrument; increments in nano-units.

    `easy_to_borrow`: what is not may be sold short in day orders only, which no bracket of ours is.
    """

    symbol: str
    asset_class: AssetClass
    status: str
    tradable: bool
    shortable: bool
    fractionable: bool
    lot: Qty
    min_order_qty: Qty
    price_increment: Price | None = None
    easy_to_borrow: bool = False


class AssetsReport(Event, frozen=True, tag="assets", kw_only=True):
    assets: tuple[Asset, ...]


class SessionReport(Event, frozen=True, tag="session", kw_only=True):
    """The equity session as the venue's clock and calendar tell it, corrected to our clock.

    `open_ns` is the opening of the session in progress where it is known. `phase` is "pre", "regular", "post" or
    "closed" by the calendar, "" where that is not known. `ahead_max_ns` is the most that our clock can be ahead of the
    venue's, `ahead_min_ns` the least, by the answers of its clock; None where it did not answer.
    """

    is_open: bool
    next_open_ns: Ns
    next_close_ns: Ns
    open_ns: Ns | None = None
    phase: str = ""
    ahead_max_ns: int | None = None
    ahead_min_ns: int | None = None

    def is_open_at(self, now_ns: int) -> bool:
        """Whether the session was open when this was told, and has not been over by `now_ns`."""
        return self.is_open and now_ns < self.next_close_ns


class TruthReport(Event, frozen=True, tag="truth", kw_only=True):
    """What the venue holds, all of it: the answer to `RequestTruth`, at start and after every reconnect.

    `orders`: every open order of the account (nested), plus the ones asked for by `client_order_id`;
    `missing`: the asked ids that the venue has never heard of; `positions`: all of them. `asked_ns` is the time
    before the first request: what happened since may be missing from it.
    """

    asked_ns: Ns
    orders: tuple[VenueOrder, ...]
    missing: tuple[str, ...]
    positions: tuple[PositionSnapshot, ...]


class DayOrdersReport(Event, frozen=True, tag="day_orders", kw_only=True):
    """Every order of ours that was sent since `since_ns`, whatever became of it: the answer to `RequestDayOrders`.

    Of the symbols that were named there, older ones besides.
    """

    since_ns: Ns
    orders: tuple[VenueOrder, ...]


class FillsReport(Event, frozen=True, tag="fills", kw_only=True):
    """The fills of the account later than `after_ns`, oldest first and at most some thousands: what `RequestFills` asks."""

    after_ns: Ns
    fills: tuple[VenueFill, ...]


class Link(StrEnum):
    """Something that stands or falls as a whole, and whose loss the engine must know of."""

    EQUITY_DATA = "equity_data"
    CRYPTO_DATA = "crypto_data"
    TRADE_UPDATES = "trade_updates"
    ORDER_ENTRY = "order_entry"
    JOURNAL = "journal"


class LinkReport(Event, frozen=True, tag="link", kw_only=True):
    link: Link
    up: bool
    reason: str = ""


class QuoteFetched(Event, frozen=True, tag="quote_fetched", kw_only=True):
    """A latest-quote request is over; where it succeeded, its row went through the market before this.

    `venue_ns` is the stamp of the quote that the venue, asked at `asked_ns`, said is its latest.
    """

    symbol: str
    ok: bool
    asked_ns: Ns = Ns(0)
    venue_ns: int | None = None


class VenueClockMeasured(Event, frozen=True, tag="venue_clock", kw_only=True):
    """The clocks' offset on one feed: what a message's receipt is ahead of its venue stamp where it came quickest.

    Negative where the venue's clock is ahead of ours by more than the way takes.
    """

    link: Link
    offset_ns: int


class TradingStatusReport(Event, frozen=True, tag="trading_status", kw_only=True):
    """The venue says that a symbol is halted, or trades again; `code`, `text` and `reason` are its words."""

    symbol: str
    halted: bool
    venue_ns: int
    code: str = ""
    text: str = ""
    reason: str = ""


# --- what the market tells us ------------------------------------------------------------------------------


class TriggersFired(Event, frozen=True, tag="triggers_fired", kw_only=True):
    """One market row fired these trigger slots; the market's state is exactly at that row."""

    slots: tuple[int, ...]


# --- what people and agents tell us ------------------------------------------------------------------------


class DocumentReceived(Event, frozen=True, tag="document", kw_only=True):
    """A file from the drop folder: its raw bytes, or `fault` when it was refused without being opened.

    `file_event_ns`: when the kernel told us of it. `name` is its file name, `agent` its folder's.
    """

    agent: str
    name: str
    data: bytes
    file_event_ns: Ns
    fault: Code | None = None
    fault_detail: str = ""


class DocumentSettled(Event, frozen=True, tag="document_settled", kw_only=True):
    """The file of a judged document has been archived and left the drop folder."""

    intent_id: str


class ReceiptWritten(Event, frozen=True, tag="receipt_written", kw_only=True):
    """The receipt number `seq` of a finished ticket is in its file."""

    intent_id: str
    seq: int


class OperatorAction(StrEnum):
    HALT = "halt"
    RESUME = "resume"
    HALT_FILE = "halt_file"
    STOP = "stop"
    REDUCE_ONLY = "reduce_only"
    FLATTEN = "flatten"
    CANCEL = "cancel"
    CLOSE = "close"
    AMEND = "amend"
    ADOPT = "adopt"


class OperatorRequest(Event, frozen=True, tag="operator", kw_only=True):
    """The operator acts: over the control socket, by the HALT file, or by stopping the process (STOP).

    `target` is an intent id or a symbol (FLATTEN: a symbol or None for everything; ADOPT: a symbol); `qty`, `stop_loss`,
    `take_profit` and `max_hold_ns` are what CLOSE, AMEND and ADOPT may say, `new_id` the id that an adopted trade gets.
    """

    action: OperatorAction
    agent: str | None = None
    reason: str = ""
    target: str | None = None
    qty: Qty | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    max_hold_ns: int | None = None
    new_id: str = ""


# --- the engine's own --------------------------------------------------------------------------------------


class Started(Event, frozen=True, tag="started", kw_only=True):
    """The first event of a session; nothing is allowed until the venue's truth has been reconciled.

    `rolls_ns`: when trading days begin, past and to come, from the limits file's `[day] roll`.
    """

    version: str
    limits_sha256: str
    rolls_ns: tuple[int, ...] = ()


class LimitsRead(Event, frozen=True, tag="limits_read", kw_only=True):
    """The limits file was read: at start, where what it says is law, or because it had changed since.

    `text` is all of it; `problem` says why it could not be read (then `text` is empty). `symbols` is how the command
    line narrows its allow-list, None where it does not.
    """

    text: str
    problem: str = ""
    symbols: tuple[str, ...] | None = None
    at_start: bool = False


class ClockStepped(Event, frozen=True, tag="clock_stepped", kw_only=True):
    """The wall clock moved against the engine's steady one: wall = ts_ns + `wall_offset_ns` from now on.

    `slept_ns`: for so long the machine was suspended, and no timer of ours ran; the steady clock went on.
    """

    wall_offset_ns: int
    slept_ns: int = 0


class Fenced(Event, frozen=True, tag="fenced", kw_only=True):
    """Somebody else may have acted for us: the watchdog's fence has been raised `epoch` times since this
    session began, or we stood still for too long."""

    epoch: int
    reason: str


class Wake(Event, frozen=True, tag="wake", kw_only=True):
    """Time has passed; due timers run (as they do before any other event)."""


AnyEvent = (
    OrderReport
    | RequestSent
    | RequestAnswered
    | RequestFailed
    | AccountReport
    | AssetsReport
    | SessionReport
    | TruthReport
    | DayOrdersReport
    | FillsReport
    | LinkReport
    | QuoteFetched
    | VenueClockMeasured
    | TradingStatusReport
    | TriggersFired
    | DocumentReceived
    | DocumentSettled
    | ReceiptWritten
    | OperatorRequest
    | Started
    | LimitsRead
    | ClockStepped
    | Fenced
    | Wake
)
