"""The guard sheet: what a stranger would have to know of our trades to protect them without us.

Owns what stands in `guard.json` in the state directory: written by the engine, read by the watchdog. May not be believed
where the venue says otherwise: it is a hint, as old as its file. The one idea: whoever is to place the engine's own next
order needs the engine's own next id, so each leg's attempts are on the sheet.
All amounts are nano-units; all times Unix ns on the engine's clock.
"""

from __future__ import annotations

import msgspec

from hands.core.basis import stands_still
from hands.core.case import protective_limit
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import Ns, Price, Qty
from hands.core.vocab import AssetClass

FILE_NAME = "guard.json"
SHEET_MAX = 4 << 20
"""More bytes than any sheet has: a larger file is none of ours."""


INTENT_ID_CHARS = 36
ATTEMPTS_MAX = 1 << 32
LATEST_NS = 1 << 62
"""Past these bounds a sheet was not written by an engine."""


class Guarded(msgspec.Struct, frozen=True, kw_only=True):
    """One trade from its approval until flat. `received` is what the entry brought in after fees, `entry_filled` what the
    venue calls filled of it; `stop_limit` the limit of a coin's protective stop-limit."""

    intent_id: str
    symbol: str
    asset_class: AssetClass
    is_long: bool
    entry_id: str
    entry_created_ns: Ns
    deadline_ns: Ns
    entry_filled: Qty
    received: Qty
    written_off: Qty
    lot: Qty
    price_increment: int | None
    stop: Price
    stop_limit: Price | None
    target: Price | None
    attempts: dict[str, int]
    unprotected_max_ns: int


class GuardSheet(msgspec.Struct, frozen=True, kw_only=True):
    """Every live trade, and whose account they are on; `written_ns` is the wall's time."""

    venue: str
    account: str
    written_ns: int
    trades: tuple[Guarded, ...]


def guarded_trades(state: State) -> tuple[Guarded, ...]:
    """Return what there is to be guarded. A trade whose price basis has changed is not: it waits for the operator, and
    what is on no sheet the watchdog leaves alone."""
    return tuple(_guarded(state, ticket) for ticket in state.committed() if not stands_still(ticket))


def _guarded(state: State, ticket: Ticket) -> Guarded:
    plan, entry = ticket.plan, ticket.entry
    assert plan is not None, "a committed ticket has a plan"
    limits = state.limits.effective(ticket.agent, ticket.symbol)
    stop_limit = None
    if plan.is_crypto:
        stop_limit = protective_limit(ticket.stop_loss, limits, plan.price_increment, long=ticket.is_long)
    return Guarded(
        intent_id=ticket.intent_id,
        symbol=ticket.symbol,
        asset_class=plan.asset_class,
        is_long=ticket.is_long,
        entry_id="" if entry is None else entry.client_order_id,
        entry_created_ns=ticket.received_ns if entry is None else entry.created_ns,
        deadline_ns=ticket.deadline_ns,
        entry_filled=Qty(0) if entry is None else entry.filled_qty,
        received=ticket.received_qty,
        written_off=ticket.written_off,
        lot=plan.lot,
        price_increment=plan.price_increment,
        stop=ticket.stop_loss,
        stop_limit=stop_limit,
        target=ticket.take_profit,
        attempts={str(leg): number for leg, number in sorted(ticket.attempts.items())},
        unprotected_max_ns=limits.unprotected_max_ms,
    )


def decode_sheet(data: bytes) -> GuardSheet | None:
    """Return a sheet, None where the bytes are none, or say what no engine would: then the venue alone is believed."""
    try:
        sheet = msgspec.json.decode(data, type=GuardSheet)
    except (msgspec.DecodeError, RecursionError):
        return None
    return sheet if all(_is_possible(trade) for trade in sheet.trades) else None


def _is_possible(trade: Guarded) -> bool:
    positive = (trade.lot, trade.stop, trade.stop_limit, trade.target, trade.price_increment)
    counts = (trade.entry_filled, trade.received, trade.unprotected_max_ns, *trade.attempts.values())
    return (
        len(trade.intent_id) == INTENT_ID_CHARS
        and all(number is None or number > 0 for number in positive)
        and all(number >= 0 for number in counts)
        and 0 <= trade.entry_created_ns < LATEST_NS
        and max(trade.attempts.values(), default=0) < ATTEMPTS_MAX
    )
