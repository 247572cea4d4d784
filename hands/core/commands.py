"""Everything the engine can ask its shells to do, as immutable values.

Owns the outputs of `decide`. The dispatcher carries them out in order; an order's bytes are written only
after the journal has committed the rows that came with it, and receipts are written after the order is out.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import Ns, Price


class Command(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    pass


class SubmitEntry(Command, frozen=True, tag="submit_entry", kw_only=True):
    entry: ApprovedEntry


class SubmitExit(Command, frozen=True, tag="submit_exit", kw_only=True):
    order: ReducingOrder


class CancelOrder(Command, frozen=True, tag="cancel_order", kw_only=True):
    """Cancel by the venue's id; the answer comes back as RequestKind.CANCEL under `client_order_id`."""

    order_id: str
    client_order_id: str


class ReplaceOrder(Command, frozen=True, tag="replace_order", kw_only=True):
    """Ask the venue to move a resting exit to other prices (PATCH); the answer comes back as RequestKind.REPLACE under
    `client_order_id`, the id of the order that is to be replaced. Quantities are never raised this way.

    `new_client_order_id` is the successor's. A price that is None stays as it is.
    """

    order_id: str
    client_order_id: str
    new_client_order_id: str
    limit_price: Price | None = None
    stop_price: Price | None = None


class QueryOrder(Command, frozen=True, tag="query_order", kw_only=True):
    """Ask the venue for one order by our id, with its legs (nested).

    `protective`: a position hangs on the answer, so the question may use the lane kept for protection.
    """

    client_order_id: str
    protective: bool = False


class FetchQuote(Command, frozen=True, tag="fetch_quote", kw_only=True):
    """Ask the venue once for the latest quote of a symbol whose stream is quiet, or away while its coins are held."""

    symbol: str


class RequestTruth(Command, frozen=True, tag="request_truth", kw_only=True):
    """Ask the venue for everything it holds; `client_order_ids` are asked for one by one besides."""

    client_order_ids: tuple[str, ...]
    reason: str


class RequestDayOrders(Command, frozen=True, tag="request_day_orders", kw_only=True):
    """Ask the venue, until it answers, for every order of ours that was sent since `since_ns`.

    `symbols`: of these, which are held and nobody here knows why, the older ones too.
    """

    since_ns: Ns
    symbols: tuple[str, ...] = ()


class RequestFills(Command, frozen=True, tag="request_fills", kw_only=True):
    """Ask the venue, until it answers, for every fill of the account later than `after_ns`."""

    after_ns: Ns


class ReceiptChanged(Command, frozen=True, tag="receipt_changed", kw_only=True):
    """The receipt of an id is another now; the shell renders and replaces it once the orders are out."""

    intent_id: str


class ArchiveDocument(Command, frozen=True, tag="archive_document", kw_only=True):
    """File the judged bytes under archive/<UTC date>/ and take the file out of the drop folder."""

    intent_id: str
    agent: str
    name: str
    data: bytes
    judged_ns: int


class RefuseDocument(Command, frozen=True, tag="refuse_document", kw_only=True):
    """Move a document that could not be read, or a duplicate, to refused/ with `receipt` beside it."""

    agent: str
    name: str
    data: bytes
    receipt: dict[str, Any]


class Record(Command, frozen=True, tag="record", kw_only=True):
    """One row for the ledger's views: `table` is the view's name, `row` its columns (nano-units as int)."""

    table: str
    row: dict[str, Any]


class OperatorAnswer(Command, frozen=True, tag="operator_answer", kw_only=True):
    """What became of an operator's request: done or not, in one sentence, and the intents it concerned."""

    ok: bool
    message: str
    intent_ids: tuple[str, ...] = ()


class Alert(Command, frozen=True, tag="alert", kw_only=True):
    """Something the operator must see; `level` is "info", "warning" or "critical"."""

    level: str
    code: str
    message: str


class Stopped(Command, frozen=True, tag="stopped", kw_only=True):
    """Everything that must happen before the process may end has happened; `still_open` names what rests."""

    still_open: tuple[str, ...] = ()


AnyCommand = (
    SubmitEntry
    | SubmitExit
    | CancelOrder
    | ReplaceOrder
    | QueryOrder
    | FetchQuote
    | RequestTruth
    | RequestDayOrders
    | RequestFills
    | ReceiptChanged
    | ArchiveDocument
    | RefuseDocument
    | Record
    | OperatorAnswer
    | Alert
    | Stopped
)
