"""What the watchdog does next about one trade: nothing, a cancel, or one reducing order.

Owns the decision, as a pure function of what the venue shows. May not ask, send or wait. The one idea is the engine's
(`hands.core.protection`): it is level-triggered. It looks at how things stand and does one thing; then the truth is read
again. It cannot open or enlarge a position: the only orders it can make come from `hands.core.reducing`, against what the
venue shows as ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hands.core.events import VenueOrder
from hands.core.orders import ReducingOrder
from hands.core.reducing import Holding, reducing_order
from hands.core.units import NANO, NS_PER_MS, Price, Qty, ceil_to, floor_to, mul_floor
from hands.core.venue_rules import CRYPTO_MIN_NOTIONAL, price_tick
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderStatus, OrderType, TimeInForce
from hands.watchdog.trades import Held, leg_of, protected_qty

FLATTEN_SLIP = NANO // 100
"""How far beyond the market a coin's first closing order may fill; the next ones are market orders."""

REFUSED_AGAIN_NS = 250 * NS_PER_MS
REFUSED_LONGEST_NS = 5_000 * NS_PER_MS

SETTLES_NS = 500 * NS_PER_MS
"""How long a protective order that was sent may take to show as one that acts."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits file allows, where the sheet does not say: ns, on both counts."""

    unprotected_max_ns: int
    ttl_ns: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found besides the trades: our two clocks and how long the engine has been silent in ns, whether
    equities trade, and the quotes by symbol as (bid, ask)."""

    mono_ns: int
    silent_ns: int
    wall_ns: int
    session_open: bool
    quotes: dict[str, tuple[Price, Price]]


@dataclass(slots=True)
class Episode:
    """What is remembered of one trade while the engine is silent; it may be forgotten at any time.

    `naked_since_ns` (monotonic) runs while less than is owned stands under a live stop. `tried` tells that a protective
    order was sent since; `closings` counts closing orders; `refusals` in a row make the next try wait.
    """

    naked_since_ns: int | None = None
    was_covered: bool = False
    tried: bool = False
    closings: int = 0
    refusals: int = 0
    not_before_ns: int = 0
    available: Qty | None = None

    def sent(self, mono_ns: int, *, closes: bool) -> None:
        """Note that an order was handed to the venue, whatever became of it."""
        self.available = None
        if closes:
            self.closings += 1
            self.not_before_ns = mono_ns + min(REFUSED_AGAIN_NS << min(self.closings, 8), REFUSED_LONGEST_NS)
        else:
            self.tried = True
            self.not_before_ns = mono_ns + SETTLES_NS

    def failed(self, mono_ns: int, available: Qty | None = None) -> None:
        """Note that the venue refused an order."""
        wait_ns = min(REFUSED_AGAIN_NS << min(self.refusals, 8), REFUSED_LONGEST_NS) if self.refusals else 0
        # after the first the other kind of order may be tried at once
        self.not_before_ns = mono_ns + wait_ns
        self.refusals += 1
        self.available = available

    def unanswered(self, mono_ns: int) -> None:
        """Note that nobody knows what became of an order. One that protects is sent once more under its id."""
        self.failed(mono_ns)
        if self.refusals == 1:
            self.tried = False


class Cancel(msgspec.Struct, frozen=True):
    order: VenueOrder
    why: str


class Submit(msgspec.Struct, frozen=True):
    order: ReducingOrder
    why: str
    closes: bool


Step = Cancel | Submit


def next_step(held: Held, episode: Episode, seen: Seen, bounds: Bounds) -> Step | None:
    """Return what to do about a trade now, None if nothing: it is well, or it has to be looked at again."""
    if held.entry is not None and held.entry_works:
        why = _entry_is_over(held, held.entry, seen, bounds)
        if why is not None and held.entry.status is not OrderStatus.PENDING_CANCEL:
            return Cancel(held.entry, why)
    if not is_naked(held, seen):
        episode.naked_since_ns, episode.tried, episode.refusals, episode.closings = None, False, 0, 0
        episode.was_covered = True
        return None
    if episode.naked_since_ns is None:
        # nobody has looked after a bare position since the last beat; a stop that was elected may be filling
        since_beat = not episode.was_covered and is_bare(held, seen)
        episode.naked_since_ns = seen.mono_ns - (seen.silent_ns if since_beat else 0)
    bound = bounds.unprotected_max_ns
    if held.unprotected_max_ns is not None:
        bound = min(bound, held.unprotected_max_ns)
    if seen.mono_ns < episode.naked_since_ns + bound or held.entry_works:
        return None
    if seen.mono_ns < episode.not_before_ns:
        return None
    return _make_room(held) if held.live_exits else _reduce(held, episode, seen)


def is_naked(held: Held, seen: Seen) -> bool:
    """Whether some of what a trade owns stands under no stop that would act, and could be sold."""
    if held.owned < held.lot or is_dust(held, seen):
        return False
    return is_bare(held, seen) or (held.is_crypto and _is_through(held, seen))


def is_bare(held: Held, seen: Seen) -> bool:
    """Whether less than a trade owns stands under a live stop."""
    in_session = held.is_crypto or seen.session_open
    return protected_qty(held, in_session=in_session) <= held.owned - held.lot


def is_dust(held: Held, seen: Seen) -> bool:
    """Whether coins are too few for the venue to sell."""
    quote = seen.quotes.get(held.symbol)
    price = quote[0] if quote is not None else held.stop
    return held.is_crypto and price is not None and mul_floor(price, held.owned) < CRYPTO_MIN_NOTIONAL


def _entry_is_over(held: Held, entry: VenueOrder, seen: Seen, bounds: Bounds) -> str | None:
    """Return why an entry must not work any longer while nobody stands behind it."""
    if held.is_crypto:
        return "coins have no stop of their own when they fill"
    if entry.filled_qty:
        return "it is partly filled, and its legs wait for the rest"
    deadline_ns = (entry.submitted_ns or 0) + bounds.ttl_ns
    if held.deadline_ns is not None:
        deadline_ns = min(deadline_ns, held.deadline_ns) if entry.submitted_ns else held.deadline_ns
    return "its deadline has passed" if seen.wall_ns >= deadline_ns else None


def _is_through(held: Held, seen: Seen) -> bool:
    """Whether the market is beyond the stop. A coin's stop-limit that was elected and has not filled protects nothing."""
    quote = seen.quotes.get(held.symbol)
    if quote is None or held.stop is None:
        return False
    return quote[0] <= held.stop if held.is_long else quote[1] >= held.stop


def _make_room(held: Held) -> Step | None:
    """Return the cancel of what rests and does not protect: it reserves what the next order is to sell."""
    live = held.live_exits
    if any(leg_of(order) is Leg.EXIT for order in live):
        return None  # it is being closed
    on_its_own = [order for order in live if order.status is not OrderStatus.HELD]
    for order in on_its_own or live:
        if order.status is not OrderStatus.PENDING_CANCEL:
            return Cancel(order, "it does not protect all that is held, and reserves it")
    return None


def _reduce(held: Held, episode: Episode, seen: Seen) -> Step | None:
    """Return the one order that protects, or closes where protection was refused, did not stand, or cannot help."""
    through = _is_through(held, seen)
    may_close = held.is_crypto or seen.session_open
    order = None if may_close and (episode.tried or through) else _protective(held, episode)
    if order is not None:
        return Submit(order, "no live stop covers it", closes=False)
    if not may_close:
        return None
    return Submit(_closing(held, episode, seen), _why_close(episode, through=through), closes=True)


def _why_close(episode: Episode, *, through: bool) -> str:
    if through:
        return "the market is already through the stop"
    return "the venue does not keep the stop" if episode.tried else "nobody knows where its stop was"


def _protective(held: Held, episode: Episode) -> ReducingOrder | None:
    """Return the engine's own kind of protection (`hands.core.exits`); None where nobody knows its prices."""
    if held.stop is None or (held.is_crypto and held.stop_limit is None):
        return None
    if held.is_crypto:
        return _order(
            held,
            episode,
            Leg.STOP_LOSS,
            order_type=OrderType.STOP_LIMIT,
            time_in_force=TimeInForce.GTC,
            stop_price=held.stop,
            limit_price=held.stop_limit,
        )
    if held.target is None:
        return _order(
            held,
            episode,
            Leg.STOP_LOSS,
            order_type=OrderType.STOP,
            time_in_force=TimeInForce.GTC,
            stop_price=held.stop,
        )
    return _order(
        held,
        episode,
        Leg.TAKE_PROFIT,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.OCO,
        stop_price=held.stop,
        take_profit=held.target,
    )


def _closing(held: Held, episode: Episode, seen: Seen) -> ReducingOrder:
    """Return the order that closes: equities at market; coins by an IOC limit near the market, then at market."""
    quote = seen.quotes.get(held.symbol)
    if held.asset_class is AssetClass.EQUITY:
        return _order(held, episode, Leg.EXIT, order_type=OrderType.MARKET, time_in_force=TimeInForce.DAY)
    if quote is None or episode.closings:
        return _order(held, episode, Leg.EXIT, order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC)
    return _order(
        held,
        episode,
        Leg.EXIT,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        limit_price=_beyond(held, quote),
    )


def _beyond(held: Held, quote: tuple[Price, Price]) -> Price:
    price = (
        quote[0] * (NANO - FLATTEN_SLIP) // NANO if held.is_long else quote[1] * (NANO + FLATTEN_SLIP) // NANO
    )
    tick = price_tick(held.asset_class, price, held.price_increment)
    return Price(floor_to(price, tick) if held.is_long else ceil_to(price, tick))


def _order(
    held: Held,
    episode: Episode,
    leg: Leg,
    *,
    order_type: OrderType,
    time_in_force: TimeInForce,
    order_class: OrderClass = OrderClass.SIMPLE,
    limit_price: Price | None = None,
    stop_price: Price | None = None,
    take_profit: Price | None = None,
) -> ReducingOrder:
    """Return an order for all that is held, at most what the venue, refusing the last one, said is available."""
    qty = int(held.owned)
    if episode.available:
        qty = max(int(held.lot), min(qty, episode.available))
    return reducing_order(
        Holding(
            intent_id=held.intent_id,
            symbol=held.symbol,
            asset_class=held.asset_class,
            qty=Qty(held.owned if held.is_long else -held.owned),
            lot=held.lot,
        ),
        leg,
        held.next_attempt(leg),
        qty,
        order_type=order_type,
        time_in_force=time_in_force,
        order_class=order_class,
        limit_price=limit_price,
        stop_price=stop_price,
        take_profit=take_profit,
    )
