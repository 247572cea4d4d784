"""What of the day the journal may have forgotten: its counters held against the venue's own list of our orders.

Owns the question after the first reconciliation of a session, and what its answer changes: trades, notional, entries of
the last minute and results of the day, each the greater (of a result: the worse) of what the journal and the venue say.
May not lower anything. The one idea: an entry's id says whose document it was, and a document that the journal has never
judged was another journal's; what nobody can be named for counts against everybody.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from hands.core.breakers import keep_watching, roll_day, watch_losses
from hands.core.commands import Alert, AnyCommand, RequestDayOrders
from hands.core.events import DayOrdersReport, VenueOrder
from hands.core.orders import parse_client_order_id
from hands.core.ownership import unexplained
from hands.core.sizing import counts_as_trade
from hands.core.state import UNNAMED, State
from hands.core.units import decimal_text, mul_ceil, mul_floor, usd_text
from hands.core.venue_rules import CRYPTO_MIN_NOTIONAL, fee_rate, received_qty
from hands.core.vocab import AssetClass, Leg, Side

Out = list[AnyCommand]

HELD_LOOKED_UP: Final = 50
"""How many symbols that are held and not by a trade of ours are looked up; an owner may hold hundreds."""


class _Trade(msgspec.Struct):
    """One document's orders since the roll: its entry, if that is among them, and what has left again and for how much."""

    entry: VenueOrder | None = None
    left: int = 0
    proceeds: int = 0


def begin(state: State) -> None:
    """Let no entry pass in this session before the venue's list has been counted."""
    state.recount_due = True


def ask(state: State, out: Out) -> None:
    """Ask for the orders since the roll; they are asked for until they come."""
    if state.recount_due:
        held = sorted(
            symbol for symbol, at in state.positions.items() if at.qty and not state.live_on(symbol)
        )
        since_ns = state.roll_started_ns(state.now_ns)
        out.append(RequestDayOrders(since_ns=since_ns, symbols=tuple(held[:HELD_LOOKED_UP])))


def _day_orders(state: State, event: DayOrdersReport, out: Out) -> None:
    roll_day(state, out)
    if not state.recount_due or state.day.equity is None:
        return
    state.recount_due = False
    trades = _trades(event.orders, state.day.started_ns)
    agents = {intent_id: _agent_of(state, intent_id) for intent_id in trades}
    _count_entries(state, trades, agents)
    _recall_rate(state, trades, agents)
    lost = {intent_id: trade for intent_id, trade in trades.items() if agents[intent_id] == UNNAMED}
    if lost:
        _take_over(state, lost, out)
    _explain_holdings(state, event.orders, out)
    state.changed["day", ""] = state.day
    watch_losses(state, out)
    keep_watching(state)


def _trades(orders: tuple[VenueOrder, ...], since_ns: int) -> dict[str, _Trade]:
    """Return our orders sent since then by their documents' ids."""
    found: dict[str, _Trade] = {}
    for head in orders:
        named = parse_client_order_id(head.client_order_id)
        if named is None or (head.submitted_ns is not None and head.submitted_ns < since_ns):
            continue
        intent_id, leg, _ = named
        trade = found.setdefault(intent_id, _Trade())
        exits = head.legs
        if leg is Leg.ENTRY:
            trade.entry = head
        else:
            exits = (head, *head.legs)
        for order in exits:
            trade.left += order.filled_qty
            value = mul_ceil if order.side is Side.BUY else mul_floor
            trade.proceeds += value(order.avg_price or 0, order.filled_qty)
    return found


def _agent_of(state: State, intent_id: str) -> str:
    ticket = state.ticket(intent_id)
    seen = state.seen.get(intent_id)
    return ticket.agent if ticket is not None else UNNAMED if seen is None else seen.agent


# --- counters ----------------------------------------------------------------------------------------------


def _counting(state: State, trades: dict[str, _Trade]) -> Iterator[tuple[str, VenueOrder]]:
    """Return the entries that filled or may still fill, with their documents' ids.

    One that worked when the list was made may have ended before it came: then its trade has been given back already.
    """
    for intent_id, trade in trades.items():
        entry = trade.entry
        if entry is None:
            continue
        works = entry.status is None or not entry.status.is_terminal
        if entry.filled_qty or (works and not _has_ended_unfilled(state, intent_id)):
            yield intent_id, entry


def _has_ended_unfilled(state: State, intent_id: str) -> bool:
    ticket = state.ticket(intent_id)
    return ticket is not None and not ticket.is_live and not counts_as_trade(ticket)


def _count_entries(state: State, trades: dict[str, _Trade], agents: dict[str, str]) -> None:
    day = state.day
    taken: dict[str, int] = {}
    notional: dict[str, int] = {}
    for intent_id, entry in _counting(state, trades):
        agent, price = agents[intent_id], entry.limit_price or entry.avg_price or 0
        taken[agent] = taken.get(agent, 0) + 1
        notional[agent] = notional.get(agent, 0) + mul_floor(price, entry.qty)
    for agent, count in taken.items():
        day.trades[agent] = max(day.trades.get(agent, 0), count)
        day.notional[agent] = max(day.notional.get(agent, 0), notional[agent])


def _recall_rate(state: State, trades: dict[str, _Trade], agents: dict[str, str]) -> None:
    """Count the entries of which the journal knows nothing, whatever became of them: the check looks back a minute."""
    for intent_id, trade in trades.items():
        if trade.entry is not None and agents[intent_id] == UNNAMED:
            sent_ns = trade.entry.submitted_ns or state.now_ns
            insort(
                state.approvals, (int(min(sent_ns, state.now_ns)), UNNAMED)
            )  # its clock may be ahead of ours


# --- results -----------------------------------------------------------------------------------------------


def _take_over(state: State, lost: dict[str, _Trade], out: Out) -> None:
    """Count the results of trades that this journal has never heard of, and tell the operator.

    A trade that was entered before the roll is not in the list, so its result cannot be worked out. Where anything is
    missing from the journal, the day's loss is therefore at least what the whole account has lost since the venue's
    last close, and the equity at the roll at most what it was then. A profit is not counted.
    """
    day, account = state.day, state.account
    result = sum(_result(trade) for trade in lost.values())
    if account is not None and account.last_equity is not None and day.equity is not None:
        result = min(result, account.equity - account.last_equity)
        day.equity = min(day.equity, account.last_equity)
    day.realised[UNNAMED] = min(result, day.realised.get(UNNAMED, 0))
    message = (
        f"{len(lost)} trades of this account since the roll are not in the journal: they count against every agent,"
        f" with a loss of {usd_text(-day.realised[UNNAMED])} USD"
    )
    out.append(Alert(level="warning", code="DAY_RECOUNTED", message=message))


def _result(trade: _Trade) -> int:
    """Return what a trade has realised, fees included, rounded against it; 0 where its entry is not known."""
    entry = trade.entry
    if entry is None or not entry.filled_qty or entry.avg_price is None:
        return 0
    asset_class = _asset_class(entry)
    received = received_qty(asset_class, entry.filled_qty, 1)
    if not received:  # the fee took all of it
        return 0
    closed = min(trade.left, received)
    if entry.side is Side.BUY:
        cost = -(-mul_ceil(entry.avg_price, entry.filled_qty) * closed // received)
        return trade.proceeds - mul_ceil(trade.proceeds, fee_rate(asset_class)) - cost
    earned = mul_floor(entry.avg_price, entry.filled_qty) * closed // received
    return earned - trade.proceeds


def _asset_class(order: VenueOrder) -> AssetClass:
    return AssetClass.CRYPTO if "/" in order.symbol else AssetClass.EQUITY


# --- what is still held ------------------------------------------------------------------------------------


def _explain_holdings(state: State, orders: tuple[VenueOrder, ...], out: Out) -> None:
    """Stop entering where trades of ours that the journal does not know are still open: no limit counts them.

    What protects them is left alone. An order's prefix is the only witness, so what the owner closed in the broker's app
    and bought again counts as such a trade too: better told once too often.
    """
    for intent_id, trade in _trades(orders, 0).items():
        entry = trade.entry
        if entry is None or _agent_of(state, intent_id) != UNNAMED or state.live_on(entry.symbol):
            continue
        left = _left(state, entry, trade)
        if left:
            detail = (
                f"{entry.symbol}: the venue holds {decimal_text(state.positions[entry.symbol].qty)}, we have 0;"
                f" {entry.client_order_id} (order {entry.order_id}) filled {decimal_text(entry.filled_qty)}, of which"
                f" {decimal_text(left)} are left; the journal does not know it"
            )
            unexplained(state, entry.client_order_id, detail, out)


def _left(state: State, entry: VenueOrder, trade: _Trade) -> int:
    """Return what a trade can still hold, by its orders and by the position; 0 for what the venue would not sell."""
    position = state.positions.get(entry.symbol)
    if position is None or (position.qty > 0) is not (entry.side is Side.BUY):
        return 0
    asset_class = _asset_class(entry)
    left = min(received_qty(asset_class, entry.filled_qty, 1) - trade.left, abs(position.qty))
    least = CRYPTO_MIN_NOTIONAL if asset_class is AssetClass.CRYPTO else 0
    return left if left > 0 and mul_floor(entry.avg_price or 0, left) > least else 0


HANDLERS: Final[dict[type[msgspec.Struct], Callable[[State, Any, Out], None]]] = {
    DayOrdersReport: _day_orders
}
"""What `decide` does with the event that only concerns this room."""
