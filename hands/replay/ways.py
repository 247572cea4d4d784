"""Ways: how long a request is on its way to the exchange, an answer on its way back, and a report.

Owns those times. May not know an exchange or a record. The one idea: what happens in a replay at about the moment at which it
happened on record, is heard of at the very moment at which it was then, so that a chain of requests does not drift; what
happens at another time takes as long as it took; what is not on record takes the median of what is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

from hands.core.events import OrderReport, RequestKind, VenueOrder
from hands.core.orders import is_ours
from hands.core.units import NS_PER_MS

NEAR_NS: Final = 250 * NS_PER_MS
"""So far apart may two moments be and still be the same one, on a busy machine."""


class Way(NamedTuple):
    """One request's way there and its answer's way back, nanoseconds; `decided_ns`: when it was decided."""

    decided_ns: int
    there_ns: int
    back_ns: int


class Heard(NamedTuple):
    """One report: when it happened, None where the venue does not say, and when it was heard of."""

    happened_ns: int | None
    heard_ns: int


Request = tuple[RequestKind, str]
Report = tuple[str, str, int]
"""Which report it is: of which order, the venue's word, and how much of the order was filled by then."""


def report_of(event: OrderReport) -> Report:
    return _name(event.order), event.event, event.order.filled_qty


def _name(order: VenueOrder) -> str:
    """Return what an order is known by: its id of ours; the venue names a leg anew every time, so what it is."""
    if is_ours(order.client_order_id):
        return order.client_order_id
    return f"{order.symbol} {order.side} {order.order_type} {order.limit_price} {order.stop_price}"


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of single ways."""

    requests: Mapping[Request, Sequence[Way]] = field(default_factory=dict)
    reports: Mapping[Report, Sequence[Heard]] = field(default_factory=dict)

    @property
    def each_way_ns(self) -> int | None:
        """Half of the median request's way there and back, None where no request was answered."""
        times = [way.there_ns + way.back_ns for ways in self.requests.values() for way in ways]
        return round(median(times) / 2) if times else None


class Ways:
    """The ways of a replay; `usual_ns` each way where `measured` knows nothing at all."""

    def __init__(self, usual_ns: int, measured: Measured | None = None) -> None:
        self.usual_ns = usual_ns
        self._measured = measured or Measured()
        known = [way for ways in self._measured.requests.values() for way in ways]
        self._there_ns = round(median(way.there_ns for way in known)) if known else usual_ns
        self._back_ns = round(median(way.back_ns for way in known)) if known else usual_ns
        heard = [each for every in self._measured.reports.values() for each in every]
        delays = [each.heard_ns - each.happened_ns for each in heard if each.happened_ns is not None]
        self._report_ns = round(median(delays)) if delays else usual_ns

    def of_request(self, kind: RequestKind, client_order_id: str, now_ns: int) -> tuple[int, int]:
        """Return how long a request decided now takes there, and its answer back."""
        known = self._measured.requests.get((kind, client_order_id))
        if not known:
            return self._there_ns, self._back_ns
        way = min(known, key=lambda each: abs(each.decided_ns - now_ns))
        shift_ns = way.decided_ns - now_ns
        if abs(shift_ns) > NEAR_NS:
            return way.there_ns, way.back_ns
        there_ns = max(0, way.there_ns + shift_ns)
        return there_ns, max(0, way.there_ns + way.back_ns + shift_ns - there_ns)

    def of_report(self, report: Report, now_ns: int) -> int:
        """Return after how long a report of what happens now is heard."""
        known = self._measured.reports.get(report)
        if not known:
            return self._report_ns
        each = min(known, key=lambda heard: abs(heard.heard_ns - now_ns))
        then_ns = each.heard_ns if each.happened_ns is None else each.happened_ns
        return max(0, each.heard_ns - now_ns) if abs(then_ns - now_ns) <= NEAR_NS else self._report_ns
