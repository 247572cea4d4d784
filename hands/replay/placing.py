"""Placing: between which of the market's rows an order reached the exchange.

Owns that question for recorded rows. Pure. The one idea: the venue stamps orders and quotes by one clock, so its stamps say
which came first, however late each of them was heard of; a replay's exchange, which sees a row when we did, must see the order
between the same two rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from hands.core.units import NS_PER_MS, NS_PER_S

LATE_NS: Final = 50 * NS_PER_MS
"""A row from before an order is looked for until so long after the order's answer was here."""

OLD_NS: Final = NS_PER_S
"""A row whose stamp is older than this when the order arrives is a correction or an old quote asked for anew."""


class Sent(NamedTuple):
    """An order on its way: decided and answered by our clock, `submitted_ns` by the venue's, `usual_ns` the same by ours."""

    symbol: str
    decided_ns: int
    answered_ns: int
    submitted_ns: int
    usual_ns: int


class _Place(NamedTuple):
    """When the last row before an order was received, and the first after it."""

    after_ns: int
    before_ns: int


_ANYWHERE: Final = _Place(0, 2**63 - 1)


def arrivals_ns(orders: Sequence[Sent], symbols: Sequence[str], chunks: Iterable[np.ndarray]) -> list[int]:
    """Return when each order meets a market that is seen when it was received; rows are in order of receipt."""
    index = {symbol: number for number, symbol in enumerate(symbols)}
    places = dict.fromkeys(range(len(orders)), _ANYWHERE)
    for rows in chunks:
        if len(rows):
            _look(rows, orders, index, places)
    return [_moment(order, places[number]) for number, order in enumerate(orders)]


def _look(
    rows: np.ndarray, orders: Sequence[Sent], index: Mapping[str, int], places: dict[int, _Place]
) -> None:
    times = rows["recv_ns"]
    first_ns, last_ns = int(times[0]), int(times[-1])
    for number, order in enumerate(orders):
        until_ns = order.answered_ns + LATE_NS
        if order.decided_ns >= last_ns or until_ns < first_ns:
            continue
        low, high = np.searchsorted(times, (order.decided_ns, until_ns), side="right")
        near = rows[low:high]
        near = near[near["sym"] == index.get(order.symbol, -1)]
        stamps, place = near["venue_ns"], places[number]
        sooner = near["recv_ns"][(stamps <= order.submitted_ns) & (stamps > order.submitted_ns - OLD_NS)]
        later = near["recv_ns"][stamps > order.submitted_ns]
        places[number] = _Place(
            max(place.after_ns, int(sooner.max(initial=0))),
            min(place.before_ns, int(later.min(initial=place.before_ns))),
        )


def _moment(order: Sent, place: _Place) -> int:
    """Return a moment between the two rows: the usual one if it is there."""
    moment_ns = max(order.usual_ns, order.decided_ns, place.after_ns + 1)
    return min(moment_ns, place.before_ns) if place.before_ns > place.after_ns else moment_ns
