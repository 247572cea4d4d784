"""An exchange as explicit state: one symbol's orders, groups and position, and every act it may choose between.

Owns its own books and rules; shares nothing with the engine but the words. May not choose: each act is a method, and
the explorer calls all of those that are possible. The one idea: nothing is numbered in the order in which it happened
(an order's id follows from its client id, an execution's from what was filled before), so two ways to the same books
give the same `key`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import msgspec

from hands.core.events import Execution, PositionSnapshot, VenueOrder
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import NANO, Ns, Price, Qty, decimal_text
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce
from tests.exploration.resting import Habits, Refusal, Resting, Told

S = OrderStatus
COIN_KEEPS = 9_975
"""Of 10 000 coins bought, what is left after the fee."""


class Exchange:
    """One symbol's books. `prices` gives each level of the market its (bid, ask); `told` is what the stream will say."""

    def __init__(self, symbol: str, prices: dict[str, tuple[int, int]], habits: Habits) -> None:
        self.symbol = symbol
        self.prices = prices
        self.habits = habits
        self.is_coin = "/" in symbol
        self.orders: dict[str, Resting] = {}
        self.position = 0
        self.before_last_fill = 0
        self.level = "mid"
        self.entries = 0
        self.overreached: tuple[str, ...] = ()
        self.both_filled = False
        self.told: list[Told] = []

    def copy(self) -> Exchange:
        """Return books of its own with the same in them; nothing may be waiting to be told."""
        new = Exchange.__new__(Exchange)
        new.__dict__.update(self.__dict__)
        new.orders = {name: copy.copy(order) for name, order in self.orders.items()}
        new.told = []
        return new

    def key(self) -> tuple[object, ...]:
        """Return everything that what happens next may depend on."""
        orders = sorted(msgspec.structs.astuple(order) for order in self.orders.values())
        return (
            self.position,
            self.before_last_fill,
            self.level,
            self.entries,
            self.both_filled,
            orders,
        )

    # --- requests --------------------------------------------------------------------------------------

    def submit(self, order: ApprovedEntry | ReducingOrder) -> Resting | Refusal:
        """Take an order or refuse it; a pair's or a bracket's legs are made with it."""
        found = self._refusal(order)
        if found is not None:
            return found
        entry = isinstance(order, ApprovedEntry)
        self.entries += entry
        limit = order.take_profit if not entry and order.order_class is OrderClass.OCO else order.limit_price
        alone = not entry and order.order_class is OrderClass.SIMPLE
        made = Resting(
            client_id=order.client_order_id,
            side=order.side,
            kind=OrderType.LIMIT if isinstance(order, ApprovedEntry) else order.order_type,
            order_class=order.order_class,
            tif=order.time_in_force,
            qty=order.qty,
            limit=limit,
            stop=order.stop_price if alone and isinstance(order, ReducingOrder) else None,
        )
        self.orders[made.client_id] = made
        if isinstance(order, ApprovedEntry):
            if order.order_class is OrderClass.BRACKET:
                self._leg(made, "tp", OrderType.LIMIT, order.take_profit, None)
                self._leg(made, "sl", OrderType.STOP, None, order.stop_loss)
        elif order.order_class is OrderClass.OCO:
            self._leg(made, "sl", OrderType.STOP, None, order.stop_price).active = True
        self._tell("new", made)
        self._elect()
        return made

    def _leg(self, head: Resting, name: str, kind: OrderType, limit: int | None, stop: int | None) -> Resting:
        leg = Resting(
            client_id=f"{''.join(head.client_id.rsplit('-', 2)[1:])}/{name}",
            side=head.side.opposite if head.is_entry else head.side,
            kind=kind,
            order_class=head.order_class,
            tif=head.tif,
            qty=head.qty,
            limit=limit,
            stop=stop,
            status=S.HELD,
            parent=head.client_id,
        )
        self.orders[leg.client_id] = leg
        head.legs = (*head.legs, leg.client_id)
        return leg

    def _refusal(self, order: ApprovedEntry | ReducingOrder) -> Refusal | None:
        if order.client_order_id in self.orders:
            return 422, "client_order_id must be unique", {}
        if isinstance(order, ApprovedEntry):
            return None
        if self.habits.refuses_stops and order.stop_price is not None:
            return 422, "the venue takes no stops", {}
        held = self.position if order.side is Side.SELL else -self.position
        if order.order_class is OrderClass.OCO and held < order.qty:
            return 422, "oco orders must be exit orders", {}
        if held <= 0 and not self.is_coin:
            return 422, "position intent mismatch, inferred: sell_to_open, specified: sell_to_close", {}
        free = max(0, held) - self.could_sell(order.side)
        if order.qty > free:
            self.overreached = (*self.overreached, order.client_order_id)
            what = "insufficient balance for SOL" if self.is_coin else "insufficient qty available for order"
            return 403, f"{what} (available: {decimal_text(free)})", {"available": decimal_text(free)}
        bid, ask = self.prices[self.level]
        selling = order.side is Side.SELL
        market = bid if selling else ask
        stop, target = order.stop_price, order.take_profit
        if stop is not None and (stop >= market if selling else stop <= market):
            pair = order.order_class is OrderClass.OCO
            why = (
                "stop_loss.stop_price must be <= base_price - 0.01"
                if pair
                else "stop price must be less than current price"
            )
            return 422, why, {}
        if target is not None and (target <= market if selling else target >= market):
            return 422, "take_profit.limit_price must be >= base_price + 0.01", {}
        return None

    def cancel(self, client_id: str) -> Refusal | None:
        """Take a cancel: it is on its way, and wins or loses against a fill later."""
        order = self.orders[client_id]
        if not order.live:
            return 422, f'order is already in "{order.status}" state', {}
        order.canceling = True
        return None

    # --- what the exchange may do next -----------------------------------------------------------------

    def fillable(self) -> list[tuple[str, int]]:
        """Return every fill that may happen now: an order and how much of it (one whole unit, or all the rest)."""
        return [
            (order.client_id, qty)
            for order in self.orders.values()
            if self._marketable(order)
            for qty in ({NANO, order.remaining} if order.remaining > NANO else {order.remaining})
        ]

    def _marketable(self, order: Resting) -> bool:
        if not order.live or (order.status is S.HELD and not (order.active and order.elected)):
            return False
        if order.stop is not None and not order.elected:
            return False
        bid, ask = self.prices[self.level]
        if order.limit is None:
            return True
        return bid >= order.limit if order.side is Side.SELL else ask <= order.limit

    def fill(self, client_id: str, qty: int, *, spares: str | None = None) -> None:
        """Fill an order, move the position (coins pay their fee), and do what that means for its group.

        `spares`: a member of it that has not heard of it yet.
        """
        order = self.orders[client_id]
        bid, ask = self.prices[self.level]
        price = bid if order.side is Side.SELL else ask
        self.before_last_fill = self.position
        gain = qty if order.side is Side.BUY else -qty
        if self.is_coin and gain > 0:
            gain = gain * COIN_KEEPS // 10_000
        self.position += gain
        name = f"{client_id}/{order.filled}"
        order.filled += qty
        order.value += price * qty // NANO
        order.status = S.PARTIALLY_FILLED if order.remaining else S.FILLED
        execution = Execution(execution_id=name, qty=Qty(qty), price=Price(price), at_ns=Ns(0))
        self._tell("partial_fill" if order.remaining else "fill", order, execution, self.position)
        if order.is_entry:
            if order.status is S.FILLED:
                self._activate(order, order.qty)
            return
        for other in self._group(order):
            if other is order or not other.live or other.client_id == spares:
                continue
            if order.status is S.FILLED:
                self._drop(other)
            else:
                other.qty = order.remaining + other.filled
                if self.habits.renames_legs and other.parent is not None and other.qty:
                    self._succeed(other, f"{other.client_id}'")

    def fill_both(self, client_id: str) -> None:
        """Fill a target and, before its group hears of it, the stop beside it (a fast market)."""
        order = self.orders[client_id]
        stop = next(o for o in self._group(order) if o is not order and o.live)
        self.both_filled = True
        self.fill(client_id, order.remaining, spares=stop.client_id)
        stop.elected = True
        self.fill(stop.client_id, stop.remaining)

    def targets_with_stops(self) -> list[str]:
        """Return the targets that could be filled whole now while the stop beside them is live."""
        return [
            order.client_id
            for order in self.orders.values()
            if order.kind is OrderType.LIMIT
            and not order.is_entry
            and self._marketable(order)
            and any(o is not order and o.live and o.stop is not None for o in self._group(order))
        ]

    def ending(self) -> list[str]:
        """Return the orders whose cancel may win now, or that end by themselves (an immediate-or-cancel's rest)."""
        return [
            o.client_id
            for o in self.orders.values()
            if o.live and (o.canceling or (o.tif is TimeInForce.IOC and not o.is_entry))
        ]

    def end(self, client_id: str, status: OrderStatus, *, keeps_legs: bool = False) -> None:
        """End an order and what depends on it. `keeps_legs`: an entry that filled in part leaves its legs to work."""
        order = self.orders[client_id]
        order.status = status
        self._tell(str(status), order)
        if order.is_entry:
            if keeps_legs:
                self._activate(order, order.filled)
            else:
                for leg in order.legs:
                    if self.orders[leg].live:
                        self._drop(self.orders[leg])
            return
        for other in self._group(order):
            if other is not order and other.live:
                self._drop(other)

    def replace_leg(self, client_id: str) -> None:
        """The owner moves a leg in the broker's app: another order takes its place, under another id."""
        self._succeed(self.orders[client_id], f"{client_id}'")

    def replace(self, client_id: str, new_id: str, limit: int | None, stop: int | None) -> Resting | Refusal:
        """Take a request to move a resting order to other prices: another order takes its place at once."""
        old = self.orders[client_id]
        if not old.live or old.canceling:
            return 422, f"cannot replace order in {old.word} status", {}
        if new_id in self.orders:
            return 422, "client_order_id must be unique", {}
        bid, ask = self.prices[self.level]
        if stop is not None and (stop >= bid if old.side is Side.SELL else stop <= ask):
            return 422, "stop price must be less than current price", {}
        new = self._succeed(old, new_id)
        new.limit, new.stop = limit or new.limit, stop or new.stop
        self._tell("new", new)
        return new

    def _succeed(self, old: Resting, new_id: str) -> Resting:
        """Put another order in the place of one, for what it has left."""
        new = copy.copy(old)
        new.client_id, new.replaces, old.replaced_by = new_id, old.client_id, new_id
        new.qty, new.filled, new.value = old.remaining, 0, 0
        self.orders[new_id] = new
        old.status = S.REPLACED
        if old.parent is not None:
            head = self.orders[old.parent]
            head.legs = tuple(new_id if leg == old.client_id else leg for leg in head.legs)
        for leg in new.legs:
            self.orders[leg].parent = new_id
        self._tell("replaced", old)
        return new

    def move(self, level: str) -> None:
        """Move the market; a stop whose price is reached is elected."""
        self.level = level
        self._elect()

    def _elect(self) -> None:
        bid, ask = self.prices[self.level]
        for order in list(self.orders.values()):
            watched = order.status is not S.HELD or order.active
            if not order.live or order.stop is None or order.elected or not watched:
                continue
            if bid > order.stop if order.side is Side.SELL else ask < order.stop:
                continue
            order.elected = True
            if order.status is S.HELD:
                order.status = S.NEW
            for other in self._group(order):
                if other is not order and other.live:
                    other.status = S.CANCELED
                    self._tell("canceled", other)

    def _activate(self, entry: Resting, qty: int) -> None:
        for name in entry.legs:
            leg = self.orders[name]
            if not leg.live:
                continue
            leg.active, leg.qty = True, qty
            if leg.kind is OrderType.LIMIT:
                leg.status = S.NEW
                if self.habits.tells_legs:
                    self._tell("new", leg)
        self._elect()

    def _drop(self, order: Resting) -> None:
        order.status = S.CANCELED
        if self.habits.tells_siblings:
            self._tell("canceled", order)

    def _tell(
        self, event: str, order: Resting, execution: Execution | None = None, position: int | None = None
    ) -> None:
        self.told.append((event, order.client_id, execution, position))

    def tell_of(self, client_id: str, event: str) -> None:
        """Let the stream tell of an order as it is."""
        self._tell(event, self.orders[client_id])

    def _group(self, order: Resting) -> list[Resting]:
        """Return the exits that stand for one another: a bracket's two legs, or a pair's head and its stop."""
        if order.order_class is OrderClass.BRACKET:
            return (
                [] if order.parent is None else [self.orders[leg] for leg in self.orders[order.parent].legs]
            )
        if order.order_class is OrderClass.OCO:
            head = self.orders[order.parent or order.client_id]
            return [head, *(self.orders[leg] for leg in head.legs)]
        return [order]

    # --- what can be seen ------------------------------------------------------------------------------

    def could_sell(self, side: Side = Side.SELL) -> int:
        """Return what live orders on one side could still sell (or buy back); a group counts once."""
        total = 0
        for order in self.orders.values():
            if not order.live or order.side is not side or order.is_entry:
                continue
            if order.status is S.HELD and not order.active:
                continue
            if next(o for o in self._group(order) if o.live) is order:
                total += order.remaining
        return total

    def covered(self) -> int:
        """Return how much of a long position a live stop, or an exit that works, would sell."""
        return sum(
            order.remaining
            for order in self.orders.values()
            if order.live
            and order.side is Side.SELL
            and not order.canceling
            and (
                f"-{Leg.EXIT}-" in order.client_id
                or (order.stop is not None and (order.status is not S.HELD or order.active))
            )
        )

    @property
    def bare(self) -> int:
        """What of the position nothing covers; less than a hundredth of a coin is dust."""
        bare = self.position - self.covered()
        return bare if bare > NANO // 100 else 0

    def live_orders(self) -> Iterator[Resting]:
        return (order for order in self.orders.values() if order.live)

    def view(self, client_id: str, *, nested: bool = True) -> VenueOrder:
        """Return an order as the venue describes it."""
        order = self.orders[client_id]
        return VenueOrder(
            order_id=f"v:{client_id}",
            client_order_id=client_id,
            symbol=self.symbol,
            side=order.side,
            order_type=order.kind,
            order_class=order.order_class,
            status=order.word,
            status_text=str(order.word),
            qty=Qty(order.qty),
            filled_qty=Qty(order.filled),
            avg_price=Price(order.value * NANO // order.filled) if order.filled else None,
            limit_price=None if order.limit is None else Price(order.limit),
            stop_price=None if order.stop is None else Price(order.stop),
            replaces=None if order.replaces is None else f"v:{order.replaces}",
            replaced_by=None if order.replaced_by is None else f"v:{order.replaced_by}",
            legs=tuple(self.view(leg) for leg in order.legs) if nested else (),
        )

    def heads(self, asked: tuple[str, ...] = ()) -> tuple[VenueOrder, ...]:
        """Return what is open, nested, and what was asked for besides."""
        found = [o for o in self.orders.values() if o.parent is None]
        live = [
            o for o in found if o.live or any(self.orders[leg].live for leg in o.legs) or o.client_id in asked
        ]
        return tuple(self.view(o.client_id) for o in live)

    def snapshot(self, qty: int) -> tuple[PositionSnapshot, ...]:
        """Return the position's part of a snapshot."""
        if not qty:
            return ()
        return (
            PositionSnapshot(
                symbol=self.symbol, qty=Qty(qty), qty_available=Qty(qty), avg_price=Price(150 * NANO)
            ),
        )
