"""What must hold: in every situation, in every one that is at rest, and where a trade counts as safe.

Owns the tables `ALWAYS` and `AT_REST`. May not search. The one idea: what is safe is judged by the exchange's own books,
never by what the engine believes; what it believes is held against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hands.core import coverage
from hands.core.units import NANO, NS_PER_S
from tests.exploration.situation import Situation
from tests.exploration.wires import short

REST_NS = 5 * NS_PER_S
"""A situation in which nothing is on its way and nothing is due for so long is at rest."""

DUST = NANO // 100
"""What is less of a coin than this cannot be sold, and need not be protected."""


def _one_entry(s: Situation) -> Iterator[str]:
    if s.exchange.entries > 1:
        yield f"{s.exchange.entries} entries of one document were accepted"


def _no_more_than_owned(s: Situation) -> Iterator[str]:
    venue = s.exchange
    if venue.position < 0 and not venue.both_filled:
        yield f"the position is {venue.position}"
    if not venue.both_filled and venue.could_sell() > max(0, venue.position):
        yield f"exits for {venue.could_sell()} may fill, {venue.position} are held"


def _asks_no_more(s: Situation) -> Iterator[str]:
    """Whether the venue's reservation of what rests was needed: where it is not, nobody's rules protect us but ours."""
    if s.exchange.overreached and not s.exchange.both_filled:
        yield f"an exit was asked for beside one that is live: {', '.join(map(short, s.exchange.overreached))}"


def _no_false_belief(s: Situation) -> Iterator[str]:
    """Whether what the engine takes for protected is, where it has heard everything and cancels nothing itself."""
    if s.down or s.stream or s.answers or s.truth is not None or s.connection != "up":
        return
    if any(kind == "truth" for _, kind, _ in s.state._timers):
        return  # it has heard something that it could not place, and asks for everything soon
    for ticket in s.state.tickets.values():
        if any(order.is_live and order.cancel_ns is not None for order in ticket.exits):
            continue
        believed = min(coverage.protected_qty(s.state, ticket), ticket.owned)
        if believed > s.exchange.covered() + s.exchange.position // 100:
            yield f"{believed} are believed to be protected, {s.exchange.covered()} are"


def _not_naked(s: Situation) -> Iterator[str]:
    if s.exchange.bare:
        yield f"{s.exchange.bare} of {s.exchange.position} under no live stop, and nothing is due for {REST_NS // NS_PER_S} s"


def _books_agree(s: Situation) -> Iterator[str]:
    owned = sum(ticket.owned for ticket in s.state.tickets.values())
    if abs(owned - s.exchange.position) > DUST:
        yield f"{owned} are owned by our book, {s.exchange.position} are held at the venue"


Invariant = Callable[[Situation], Iterator[str]]
ALWAYS: dict[str, Invariant] = {
    "one entry": _one_entry,
    "no more than owned": _no_more_than_owned,
    "asks for no more": _asks_no_more,
    "no false belief": _no_false_belief,
}
AT_REST: dict[str, Invariant] = {
    "never naked at rest": _not_naked,
    "books agree at rest": _books_agree,
}


def is_at_rest(s: Situation) -> bool:
    """Whether nothing is on its way, and the engine means to do nothing for a while but to mark its book."""
    if s.down or not s.is_quiet:
        return False
    soon = s.now_ns + REST_NS
    return not any(kind in ("ticket", "truth") and at_ns <= soon for at_ns, kind, _ in s.state._timers)


def is_safe(s: Situation) -> bool:
    """Whether a trade is over or covered (and need not be closed), its books right, and nothing on its way."""
    venue = s.exchange
    if s.down or not s.is_quiet or s.exchange.bare:
        return False
    if any(True for _ in _books_agree(s)):
        return False
    live = [order for order in venue.live_orders() if order.parent is None or order.active]
    if not venue.position:
        return not live and not any(ticket.is_live for ticket in s.state.tickets.values())
    if venue.position <= DUST:
        return not live
    wants_out = any(ticket.exit_reason is not None for ticket in s.state.tickets.values())
    return not wants_out and not any(order.is_entry for order in live)


def plight(s: Situation) -> str:
    """Return how things stand at the venue and in our book, in one line."""
    venue = s.exchange
    live = ", ".join(f"{o.client_id} {o.word}" for o in venue.live_orders()) or "no live order"
    ours = "; ".join(
        f"{t.state}, owned {t.owned}, {', '.join(f'{o.leg} {o.status}' for o in t.orders.values())}"
        for t in s.state.tickets.values()
    )
    return f"position {venue.position}, uncovered {venue.bare}, {live}; our book: {ours or 'empty'}"
