"""Which orders GET /v2/orders shows, in which order: filters, nesting and pages.

Owns the reading of its parameters and the choice; formats nothing. The one idea: the filters pick single orders, and
`nested=true` then shows a group under its parent whenever any of its orders was picked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from hands.core.vocab import AssetClass, OrderStatus, Side
from hands.sim.server import rest_parse as parse
from hands.sim.venue import errors
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.orders import Order
from hands.sim.venue.quirks import Quirks

ORDERS_MAX: Final = 500
ORDERS_DEFAULT: Final = 50


def chosen_orders(query: Mapping[str, str], blotter: Blotter, quirks: Quirks, *, nested: bool) -> list[Order]:
    """Return the orders a client asks for. Raises `VenueError`: 422 for a parameter, 404 for a paging id."""
    limit = parse.read_count(query, "limit", ORDERS_DEFAULT, ORDERS_MAX)
    is_ascending = parse.read_choice(query, "direction", "desc", ("asc", "desc")) == "asc"
    wanted = _Filter(query, shows_held=nested or quirks.open_lists_held == "yes")
    first, last = _page_bounds(query, blotter, quirks)
    matching = [order for order in blotter if wanted.admits(order)]
    shown = _parents(matching) if nested else matching
    chosen = [order for order in shown if first < order.sequence < last]
    chosen.sort(key=lambda order: order.sequence, reverse=not is_ascending)
    return chosen[:limit]


def _page_bounds(query: Mapping[str, str], blotter: Blotter, quirks: Quirks) -> tuple[float, float]:
    """Return the places, exclusive, between which the orders asked for were submitted."""
    after_id, before_id = query.get("after_order_id"), query.get("before_order_id")
    if after_id and before_id:
        raise errors.parameter("only one of before_order_id or after_order_id is accepted")
    if (after_id or before_id) and (query.get("after") or query.get("until")):
        raise errors.parameter("before_order_id and after_order_id cannot be used with after or until")
    return (
        blotter.find(parse.read_order_id(after_id, quirks)).sequence if after_id else -math.inf,
        blotter.find(parse.read_order_id(before_id, quirks)).sequence if before_id else math.inf,
    )


class _Filter:
    """The filters; `after` and `until` are exclusive and by submission."""

    def __init__(self, query: Mapping[str, str], *, shows_held: bool) -> None:
        self._status = parse.read_choice(query, "status", "open", ("open", "closed", "all"))
        self._shows_held = shows_held or self._status != "open"
        self._after_ns = parse.read_time_ns(query, "after")
        self._until_ns = parse.read_time_ns(query, "until")
        self._side = parse.read_choice(query, "side", "", ("", *Side))
        self._symbols = {s.replace("/", "") for s in query.get("symbols", "").split(",") if s}
        classes = set(filter(None, query.get("asset_class", "").split(",")))
        self._classes = set(AssetClass) if "all" in classes else classes

    def admits(self, order: Order) -> bool:
        """Return whether the order belongs in the list."""
        if self._status != "all" and order.is_live != (self._status == "open"):
            return False
        if not self._shows_held and order.status is OrderStatus.HELD:
            return False
        if self._after_ns is not None and order.created_ns <= self._after_ns:
            return False
        if self._until_ns is not None and order.created_ns >= self._until_ns:
            return False
        if self._side and order.side != self._side:
            return False
        if self._classes and order.asset.asset_class not in self._classes:
            return False
        return not self._symbols or order.asset.joined_symbol in self._symbols


def _parents(orders: Iterable[Order]) -> Iterable[Order]:
    """Return `orders` with the members of a group replaced by its parent, each once."""
    shown: dict[str, Order] = {}
    for order in orders:
        is_current = order.group is not None and order.status is not OrderStatus.REPLACED
        parent = order.group.parent if is_current and order.group is not None else order
        shown[parent.order_id] = parent
    return shown.values()
