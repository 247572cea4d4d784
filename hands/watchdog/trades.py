"""What of the account is ours: the venue's orders, positions and the guard sheet put together, trade by trade.

Owns the arithmetic of ownership without a journal. May not ask or send anything: pure functions of what was read. The one
idea: ours is what orders with our prefix filled, less what our exits sold, and never more than the venue says is there.
The sheet alone is believed only of a trade whose entry the venue does not show: a holding of the owner taken into care.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from hands.core.coverage import RESTING, RESTING_CLOSED
from hands.core.events import Asset, PositionSnapshot, VenueOrder
from hands.core.guard_sheet import Guarded, GuardSheet
from hands.core.orders import parse_client_order_id
from hands.core.units import NANO, NS_PER_S, Price, Qty
from hands.core.venue_rules import received_qty
from hands.core.vocab import AssetClass, Leg, OrderStatus, Side

LIMIT_LEGS = frozenset({"limit", "market"})
SHEET_LAG_NS = 2 * NS_PER_S
"""An entry sent this shortly before the sheet was written may be younger than it."""

_LEAST_LOT = {AssetClass.EQUITY: Qty(NANO), AssetClass.CRYPTO: Qty(1)}
"""Where neither sheet nor venue tell of a lot: a whole coin would make most holdings too small to be looked after."""

BEAT_LAG_NS = 30 * NS_PER_S
"""An entry that the venue dates later than this after our engine's last beat was sent by another one."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of ours as the venue shows it.

    `owned` is what it holds now, unsigned, at most the venue's position; `exits` are its orders against the position,
    legs included; `stop` None where neither sheet nor venue tells of one. `deadline_ns` by the wall, None if unknown.
    """

    intent_id: str
    symbol: str
    asset_class: AssetClass
    is_long: bool
    owned: Qty
    lot: Qty
    price_increment: int | None
    entry: VenueOrder | None
    exits: tuple[VenueOrder, ...]
    parents: dict[str, VenueOrder]
    stop: Price | None
    stop_limit: Price | None
    target: Price | None
    deadline_ns: int | None
    attempts: dict[str, int]
    unprotected_max_ns: int | None

    @property
    def is_crypto(self) -> bool:
        return self.asset_class is AssetClass.CRYPTO

    @property
    def live_exits(self) -> tuple[VenueOrder, ...]:
        return tuple(order for order in self.exits if is_live(order))

    @property
    def entry_works(self) -> bool:
        return self.entry is not None and is_live(self.entry)

    def next_attempt(self, leg: Leg) -> int:
        """Return the engine's own next attempt for a leg."""
        return self.attempts.get(leg, 0) + 1


def is_live(order: VenueOrder) -> bool:
    """Whether an order may still trade; a status that we do not know counts as one that may."""
    return order.status is None or not order.status.is_terminal


def leg_of(order: VenueOrder) -> Leg:
    """Return what an exit is to its trade: by its id where that is ours, else by what it is."""
    named = parse_client_order_id(order.client_order_id)
    if named is not None:
        return named[1]
    return Leg.TAKE_PROFIT if order.order_type in LIMIT_LEGS else Leg.STOP_LOSS


def trades_held(
    orders: Iterable[VenueOrder],
    positions: Iterable[PositionSnapshot],
    sheet: GuardSheet | None,
    assets: Mapping[str, Asset],
    *,
    beat_ns: int | None = None,
) -> list[Held]:
    """Return our trades that hold something or whose entry works, those of the sheet first.

    `orders`: open and recent ones, nested. With a sheet, a trade that is not on it and older than it is over, and whatever
    its orders once filled is not looked at: the owner may hold the same by now. One that began after our engine's last
    beat (`beat_ns`, by the wall, None where that is not known) is another engine's.
    """
    by_intent: dict[str, list[VenueOrder]] = {}
    for order in orders:
        named = parse_client_order_id(order.client_order_id)
        if named is not None:
            by_intent.setdefault(named[0], []).append(order)
    guarded = {} if sheet is None else {trade.intent_id: trade for trade in sheet.trades}
    left = {position.symbol: int(position.qty) for position in positions}
    found: list[Held] = []
    for intent_id in (*guarded, *sorted(by_intent.keys() - guarded.keys())):
        mine, on_sheet = by_intent.get(intent_id, []), guarded.get(intent_id)
        if on_sheet is None and sheet is not None and not _is_younger(mine, sheet, beat_ns):
            continue
        held = _held(intent_id, mine, on_sheet, left, assets)
        if held is not None:
            left[held.symbol] = left.get(held.symbol, 0) - (held.owned if held.is_long else -held.owned)
            if held.owned or held.entry_works:
                found.append(held)
    return found


def symbols_to_ask(orders: Iterable[VenueOrder], sheet: GuardSheet | None) -> set[str]:
    """Return the symbols whose lots the sheet does not tell: those of trades that are not on it, also where another is."""
    guarded = set() if sheet is None else {trade.intent_id for trade in sheet.trades}
    named = ((order.symbol, parse_client_order_id(order.client_order_id)) for order in orders)
    return {symbol for symbol, name in named if name is None or name[0] not in guarded}


def _is_younger(mine: list[VenueOrder], sheet: GuardSheet, beat_ns: int | None) -> bool:
    """Whether a trade began between the writing of the sheet and the last beat, as far as can be seen."""
    entry = _entry_of(mine)
    if entry is None:
        return False
    sent_ns = entry.submitted_ns or 0
    if beat_ns is not None and sent_ns > beat_ns + BEAT_LAG_NS:
        return False
    return is_live(entry) or sent_ns >= sheet.written_ns - SHEET_LAG_NS


def _entry_of(mine: Iterable[VenueOrder]) -> VenueOrder | None:
    return next((order for order in mine if leg_of(order) is Leg.ENTRY), None)


def _held(
    intent_id: str,
    mine: list[VenueOrder],
    guarded: Guarded | None,
    left: Mapping[str, int],
    assets: Mapping[str, Asset],
) -> Held | None:
    entry = _entry_of(mine)
    if entry is None and guarded is None:
        return None  # exits of a trade whose beginning nobody shows: there is no saying what they were for
    if guarded is not None and entry is not None and guarded.symbol != entry.symbol:
        guarded = None  # the sheet is of something else: the venue is believed
    symbol = guarded.symbol if guarded is not None else entry.symbol if entry is not None else ""
    if any(order.symbol != symbol for order in mine):
        return None  # a trade has one symbol: whatever this is, it is not understood
    is_long = entry.side is Side.BUY if entry is not None else guarded is not None and guarded.is_long
    asset = assets.get(symbol)
    asset_class = AssetClass.CRYPTO if "/" in symbol else AssetClass.EQUITY
    lot = guarded.lot if guarded is not None else asset.lot if asset is not None else _LEAST_LOT[asset_class]
    exits = tuple(_exits(mine))
    received = _received(entry, guarded, asset_class, lot)
    sold = sum(order.filled_qty if _reduces(order, is_long) else -order.filled_qty for order in exits)
    owned = received - sold - (0 if guarded is None else guarded.written_off)
    position = left.get(symbol, 0) * (1 if is_long else -1)
    stop, stop_limit, target = _levels(guarded, exits)
    attempts = {} if guarded is None else dict(guarded.attempts)
    for order in mine:
        named = parse_client_order_id(order.client_order_id)
        if named is not None:
            attempts[named[1]] = max(attempts.get(named[1], 0), named[2])
    return Held(
        intent_id=intent_id,
        symbol=symbol,
        asset_class=asset_class,
        is_long=is_long,
        owned=Qty(max(0, min(owned, position))),
        lot=lot,
        price_increment=_increment(guarded, asset),
        entry=entry,
        exits=exits,
        parents=_parents(mine, exits),
        stop=stop,
        stop_limit=stop_limit,
        target=target,
        deadline_ns=None if guarded is None else guarded.deadline_ns,
        attempts=attempts,
        unprotected_max_ns=None if guarded is None else guarded.unprotected_max_ns,
    )


def _increment(guarded: Guarded | None, asset: Asset | None) -> int | None:
    if guarded is not None:
        return guarded.price_increment
    return None if asset is None else asset.price_increment


def _exits(mine: Iterable[VenueOrder]) -> Iterator[VenueOrder]:
    """Yield every order that is no entry, legs included, each once."""
    seen: set[str] = set()
    for order in mine:
        for one in (order, *order.legs):
            if leg_of(one) is not Leg.ENTRY and one.order_id not in seen:
                seen.add(one.order_id)
                yield one


def _parents(mine: Iterable[VenueOrder], exits: Iterable[VenueOrder]) -> dict[str, VenueOrder]:
    """Return the head of each leg's group. A leg that was replaced is of the group of the one whose place it took, also
    where the venue lists it on its own."""
    found = {leg.order_id: order for order in mine for leg in order.legs}
    replaced = {order.order_id: order.replaces for order in exits if order.replaces is not None}
    for order_id in replaced:
        before, seen = replaced.get(order_id), {order_id}
        while before is not None and before not in seen and order_id not in found:
            seen.add(before)
            if before in found:
                found[order_id] = found[before]
            before = replaced.get(before)
    return found


def _reduces(order: VenueOrder, is_long: bool) -> bool:
    return (order.side is Side.SELL) is is_long


def _received(entry: VenueOrder | None, guarded: Guarded | None, asset_class: AssetClass, lot: Qty) -> int:
    """Return what the entry brought in, after fees: the engine's own count where nothing has filled since."""
    if entry is None:
        return 0 if guarded is None else guarded.received
    if guarded is not None and guarded.entry_filled == entry.filled_qty:
        return min(guarded.received, entry.filled_qty)
    return received_qty(asset_class, entry.filled_qty, lot)


def _levels(
    guarded: Guarded | None, exits: tuple[VenueOrder, ...]
) -> tuple[Price | None, Price | None, Price | None]:
    """Return (stop, the limit of a coin's stop-limit, target): of the sheet, else of the newest orders that had them."""
    if guarded is not None:
        return guarded.stop, guarded.stop_limit, guarded.target
    stops = [order for order in exits if order.stop_price is not None]
    targets = [order for order in exits if leg_of(order) is Leg.TAKE_PROFIT and order.limit_price is not None]
    return (
        stops[-1].stop_price if stops else None,
        stops[-1].limit_price if stops else None,
        targets[-1].limit_price if targets else None,
    )


def protected_qty(held: Held, *, in_session: bool = True) -> int:
    """Return how much of a trade a live stop at the venue would sell, by the engine's own rules for it
    (`hands.core.coverage`): a held leg counts while its group is active, a pair counts once, and what is done for the
    day counts until the next session."""
    total, acting = 0, RESTING if in_session else RESTING_CLOSED
    for order in held.exits:
        if leg_of(order) is not Leg.STOP_LOSS or not is_live(order):
            continue
        head = held.parents.get(order.order_id)
        targets = [] if head is None else _targets_beside(held, order, head)
        working = next((one for one in targets if one.status in acting), None)
        entry_filled = (
            head is not None and leg_of(head) is Leg.ENTRY and head.status is OrderStatus.FILLED
        ) and (not targets or any(is_live(one) for one in targets))
        if order.status in acting or (
            order.status is OrderStatus.HELD and (working is not None or entry_filled)
        ):
            rest = order.qty - order.filled_qty
            total += rest if working is None else min(rest, working.qty - working.filled_qty)
    return total


def _targets_beside(held: Held, stop: VenueOrder, head: VenueOrder) -> list[VenueOrder]:
    """Return the targets of a stop's group: an OCO's head, or the other legs, and what replaced them."""
    group = {one.order_id: one for one in (head, *head.legs) if one.order_id != stop.order_id}
    group |= {one.order_id: one for one in held.exits if held.parents.get(one.order_id) is head}
    return [one for one in group.values() if leg_of(one) is Leg.TAKE_PROFIT]
