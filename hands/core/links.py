"""Links: what stands or falls as a whole, and when its fall is a reason not to trade.

Owns `state.links` and the reasons that follow from a link that stays down. May not repair anything. The one idea: a
link that comes back at once is only not ready; one that stays down is a reason, and disarms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hands.core.breakers import hold_reason
from hands.core.commands import Alert, AnyCommand
from hands.core.events import Link, LinkReport
from hands.core.ownership import cancel_overdue
from hands.core.pursuit import ask_for_truth
from hands.core.state import State
from hands.core.units import NS_PER_S
from hands.core.upkeep import look_after

LINK_PATIENCE_NS = 10 * NS_PER_S
"""How long a link may be down before it is a reason to reduce only; until then entries are NOT_READY or stale."""

Out = list[AnyCommand]


def _link(state: State, event: LinkReport, out: Out) -> None:
    before = state.links.get(event.link, False)
    state.links[event.link] = event.up
    if event.up:
        state.down_since_ns.pop(event.link, None)
    else:
        state.down_since_ns.setdefault(event.link, state.now_ns)
    if before is not event.up:
        level = "info" if event.up else "warning"
        message = f"{event.link} is {'up' if event.up else f'down: {event.reason}'}"
        out.append(Alert(level=level, code="LINK", message=message))
    if event.up:
        judge_links(state, out)
    else:
        state.wake_at(state.now_ns + LINK_PATIENCE_NS, "links", "")
    if event.link is Link.JOURNAL:  # what cannot be written ahead must not be entered
        hold_reason(state, out, "JOURNAL", None if event.up else event.reason)
    if event.link is Link.ORDER_ENTRY and event.up:
        cancel_overdue(state, out)
    if event.link is Link.TRADE_UPDATES and event.up:
        ask_for_truth(state, "the trade stream is up: what was missed?", out)
    elif event.link is Link.TRADE_UPDATES:
        for ticket in list(state.tickets.values()):
            look_after(state, ticket, out)  # entries that work are asked for from now on


def judge_links(state: State, out: Out) -> None:
    """A link that stays down becomes a reason (and disarms); one that comes back at once is only not ready."""
    down = {link for link, since in state.down_since_ns.items() if state.now_ns - since >= LINK_PATIENCE_NS}
    lost = sorted(down & {Link.ORDER_ENTRY, Link.TRADE_UPDATES})
    hold_reason(state, out, "VENUE_UNREACHABLE", f"{', '.join(lost)} down" if lost else None)
    feeds = {Link.EQUITY_DATA, Link.CRYPTO_DATA} & set(state.links)
    silent = bool(feeds) and feeds <= down
    hold_reason(state, out, "STALE_FEED", "no market data arrives at all" if silent else None)


HANDLERS: dict[type[Any], Callable[[State, Any, Out], None]] = {LinkReport: _link}
